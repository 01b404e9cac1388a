"""Reference pictures: an image tower makes a few vectors of each, which stand beside those of the words.

A picture is read once, before the steps, as a sentence is, and the denoiser attends to what was read as to further
words (the image prompt of IP-Adapter, arXiv:2308.06721, with joined attention in place of a second one). So the
networks stay as they are and know nothing of it. How strongly it acts is how much its vectors count among all that are
attended to, each s times in the softmax's sum (``synthesis.diffusion.attention_to``), and in the mean that is the
sentence's pooled vector: both go to the plain picture's as s goes to 0, where it is not there at all.

What is unwanted is said without it, so that guidance leads towards it; so are prompts for parts of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.recipe import PictureFile
from darkroom.contracts.steering import KEEPS, ImagePromptUse
from darkroom.control.canvas import covering, flat
from darkroom.nn.beside.tower import SEEN, ImageTower
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Call, Conditioning, Pixels, Said, Task, Wanted


class Reference(NamedTuple):
    """What was read of a reference picture, and how strongly it acts."""

    tokens: Float[Tensor, "tokens width"]
    scale: float


class ImageReader:
    """The image tower behind the ``Network`` protocol."""

    NETWORK = "image"

    def __init__(self, network: ImageTower) -> None:
        self.network: ImageTower = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def read(self, pixels: Pixels, keep: str) -> Task[Tensor]:
        """The vectors of a picture, SEEN pixels a side, (tokens, width)."""
        [tokens] = yield [Call(self.NETWORK, {"pixels": pixels, "keep": float(KEEPS.index(keep))})]
        return tokens

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Reads pictures, one by one: its statistics are matrices over (batch, features), with other bits in other
        batches; it is asked once for each reference."""
        like = self.network.queries
        found = []
        for call in calls:
            pixels = call.inputs["pixels"]
            assert isinstance(pixels, Tensor)
            keeps = torch.tensor([int(call.inputs["keep"])], device=like.device)
            found.append(self.network(pixels[None].to(like.device, like.dtype), keeps)[0])
        return found


def references(uses: Sequence[ImagePromptUse], inputs: Inputs, reader: ImageReader | None) -> Task[list[Reference]]:
    """What is read of the reference pictures of a recipe; those that do not act are not looked at.

    Raises BadInput where a picture was not brought along, and where there is nobody to read it.
    """
    found = []
    for use in uses:
        if reader is None:
            rule = "is part of this recipe, and this model has no image tower"
            raise BadInput(f"the reference picture {shown(use.picture.name)}", rule, "draw with the recipe's model")
        if use.scale:
            pixels = as_seen(use.picture, inputs)
            found.append(Reference((yield from reader.read(pixels, use.keep)), use.scale))
    return found


@lru_cache(maxsize=8)  # many seeds share them
def as_seen(file: PictureFile, inputs: Inputs) -> Pixels:
    """A picture as the tower sees it: on white, cut to a square and scaled."""
    pixels = covering(flat(inputs.pixels(file), ground=255), SEEN, SEEN)
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255


def beside(wanted: Wanted, seen: Sequence[Reference]) -> Wanted:
    """What is wanted, with reference pictures beside the words of all of it; parts of a picture are said without."""
    if not seen:
        return wanted
    toward = None if wanted.toward is None else (_said(wanted.toward[0], seen), wanted.toward[1])
    regions = [(box, with_room(said, seen)) for box, said in wanted.regions]
    return replace(wanted, said=_said(wanted.said, seen), toward=toward, regions=regions)


def with_room(said: Said, seen: Sequence[Reference]) -> Said:
    """What is said without reference pictures, with room where they would stand: so it is asked in one pass with what
    is said beside them."""
    return [(since, _without(conditioning, seen)) for since, conditioning in said] if seen else said


def _said(said: Said, seen: Sequence[Reference]) -> Said:
    return [(since, with_references(conditioning, seen)) for since, conditioning in said]


def with_references(said: Conditioning, seen: Sequence[Reference]) -> Conditioning:
    """A text with what was read of pictures behind its words."""
    tokens, scales, real = _behind(seen), _scales(seen), int(said.mask.sum())
    pooled = (said.pooled.float() * real + (tokens * scales[:, None]).sum(0)) / (real + scales.sum())
    return replace(_longer(said, tokens, scales), pooled=pooled.to(said.pooled))


def _without(said: Conditioning, seen: Sequence[Reference]) -> Conditioning:
    longer = _longer(said, torch.zeros_like(_behind(seen)), _scales(seen))
    return replace(longer, mask=torch.cat([said.mask, longer.mask.new_zeros(len(longer.mask) - len(said.mask))]))


def _longer(said: Conditioning, tokens: Tensor, scales: Tensor) -> Conditioning:
    """A text with more tokens, each attended to as much as it says."""
    words, attended = len(said.tokens), None
    if said.attended is not None or not bool((scales == 1.0).all()):
        attended = torch.cat([torch.ones(words) if said.attended is None else said.attended, scales])
    return Conditioning(
        torch.cat([said.tokens, tokens.to(said.tokens)]),
        torch.cat([said.mask, said.mask.new_ones(len(tokens))]),
        said.pooled,
        None if said.weights is None else torch.cat([said.weights, said.weights.new_ones(len(tokens))]),
        attended,
    )


def _behind(seen: Sequence[Reference]) -> Float[Tensor, "tokens width"]:
    return torch.cat([one.tokens.float() for one in seen])


def _scales(seen: Sequence[Reference]) -> Float[Tensor, " tokens"]:
    return torch.cat([torch.full((len(one.tokens),), one.scale) for one in seen])
