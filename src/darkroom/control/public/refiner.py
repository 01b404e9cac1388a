"""A second checkpoint that takes over where little noise is left, such as Stable Diffusion XL's refiner.

The picture stays one latent on one way from noise to clean: from a time on another network is asked for its estimate.
So both have to have the same latents and the same noise; each reads the prompt with text encoders of its own.
"""

from __future__ import annotations

from pathlib import Path

from darkroom.contracts.card import Card
from darkroom.contracts.errors import BadInput, shown
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import Assembled
from darkroom.synthesis.external.opening import Public, opened


def read_refiner(folder: Path, card: Card, host: Public) -> Assembled:
    """A checkpoint that finishes the pictures of another one, whose calls are set apart from those of that; its weights
    are kept as that one's are.

    Raises BadInput for one with other latents, other noise or another kind of guidance; BadFile for a damaged one.
    """
    said = f"the refiner {shown(card.name)}"
    if card.family not in FAMILIES:
        raise BadInput(said, "is no public checkpoint", "take one of the same family, or its refiner")
    base, found = host.parts, opened(folder, card, host.dtypes, host.shelf).parts
    codecs = [(one.codec.channels, one.codec.factor, one.codec.scale, one.codec.shift) for one in (found, base)]
    if codecs[0] != codecs[1]:
        raise BadInput(said, "has other latents than the model whose pictures it is to finish", "take its own refiner")
    if found.synthesizer.schedule != base.synthesizer.schedule:
        raise BadInput(said, "was trained on other noise than the model whose pictures it is to finish", "take its own")
    asking = [(one.synthesizer.asking.guides_itself, one.synthesizer.asking.guidable) for one in (found, base)]
    if asking[0] != asking[1]:
        raise BadInput(said, "is guided in another way than the model whose pictures it is to finish", "take its own")
    return found.called(f"{card.model_hash}/")
