"""What people bring to a public checkpoint: LoRAs, ControlNets, words that were learnt, another autoencoder.

Each is opened once and known by its hash from then on. Nothing of the checkpoint is changed by it: calls name what they
are made with, and pictures that are made with other things, or with none, are drawn at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darkroom.contracts.card import Card
from darkroom.contracts.contract import Dtypes
from darkroom.contracts.errors import BadFile, BadInput, reason, shown
from darkroom.contracts.recipe import FileUse, Recipe
from darkroom.contracts.request import Request
from darkroom.control.adapters import check_kept, check_opened
from darkroom.control.public.beside import hash_of, read_control, read_vae
from darkroom.control.public.embeddings import read_embedding, word
from darkroom.control.public.lora import read_lora
from darkroom.control.public.refiner import read_refiner
from darkroom.latent.kl import KlCodec
from darkroom.prompt.public import ClipReader, Learnt, PublicEncoder
from darkroom.protocols import Call
from darkroom.synthesis.external.family import Assembled
from darkroom.synthesis.external.opening import Public

Stamp = tuple[tuple[str, int, int], ...]  # of files: path, bytes, time of the last change


@dataclass
class Brought:
    """What was brought to a checkpoint so far."""

    public: Public
    vaes: dict[str, KlCodec] = field(default_factory=dict)
    refiners: dict[str, Assembled] = field(default_factory=dict)
    words: dict[str, tuple[str | None, int]] = field(default_factory=dict)  # what tensors are called, and tokens
    _hashes: dict[Stamp, str] = field(default_factory=dict)  # of files that are large, and named by every request

    @property
    def offload(self) -> bool:
        """Whether only the network at work is in memory."""
        return self.public.shelf.offload

    def kept(self, asked: Request) -> Dtypes | None:
        """How the weights are kept; None: in bf16. Raises BadInput where it is ``asked`` otherwise."""
        mine = self.public.dtypes
        check_kept(asked, mine, offload=self.offload)
        return None if mine == Dtypes() else mine

    def lora(self, path: Path) -> str:
        """The hash of a LoRA, whose branches the checkpoint's networks have at hand from now on."""
        opened = self.public.opened
        networks = {part: network for part, network in opened.networks.items() if part != "vae"}
        found = read_lora(path, networks, opened.configs.get("unet", {}), self.public.title)
        for part, branches in found.parts.items():
            self.public.parts.at_hand(opened.networks[part])[found.sha256] = branches
        return found.sha256

    def control(self, path: Path) -> str:
        """The hash of a ControlNet, which the denoiser has at hand from now on."""
        at_hand = self.public.parts.synthesizer.controls
        return self._once(path, at_hand, lambda _: read_control(path, self.public))

    def refiner(self, folder: Path, card: Card) -> Assembled:
        """Another checkpoint, which can finish the pictures of this one from now on."""
        if card.model_hash not in self.refiners:
            self.refiners[card.model_hash] = read_refiner(folder, card, self.public)
        return self.refiners[card.model_hash]

    def embedding(self, path: Path) -> str:
        """The hash of a file of learnt words, which the text encoders have at hand from now on."""
        return self._once(path, self.words, lambda sha256: self._learn(path, sha256))

    def vae(self, path: Path) -> str:
        """The hash of an autoencoder, which can take the place of the checkpoint's from now on."""
        return self._once(path, self.vaes, lambda sha256: read_vae(path, self.public, f"{sha256}/"))

    def _once(self, path: Path, at_hand: dict[str, Any], read: Callable[[str], Any]) -> str:
        """The hash of what lies at a path, which is read where it is not yet at hand."""
        stamp = _stamp(path)
        sha256 = self._hashes.get(stamp) or hash_of(path)
        if sha256 not in at_hand:
            at_hand[sha256] = read(sha256)
        self._hashes[stamp] = sha256
        return sha256

    def _learn(self, path: Path, sha256: str) -> tuple[str | None, int]:
        encoder = self.public.parts.encoder
        readers = [reader for reader in encoder.readers if isinstance(reader, ClipReader)]
        if len(readers) < len(encoder.readers) or not encoder.chunked:
            rule = f"has no meaning to {self.public.title}, which reads sentences as a whole"
            raise BadInput(f"the embedding {shown(path.name)}", rule, "leave it out")
        vectors, called = read_embedding(path, readers, self.public.title)
        for reader, own in zip(readers, vectors, strict=True):
            reader.learnt[sha256] = own
        return called, len(vectors[0])

    def having(self, adapter: str) -> list[str]:
        """The networks that have branches of a LoRA, by a call's name of them; none: it was not opened."""
        return self.public.parts.having(adapter)

    def bound(self, calls: Sequence[Call]) -> AbstractContextManager[None]:
        """The networks that calls go through have their weights; each binds by itself what its calls carry."""
        self.public.shelf.take(self._asked(calls))
        return nullcontext()

    def _asked(self, calls: Sequence[Call]) -> list[Any]:
        """The networks that have to work for calls of one batch key; none where all answers are remembered."""
        name = calls[0].network
        for codec in (self.public.parts.codec, *self.vaes.values()):
            if name in (codec.ENCODER, codec.DECODER):
                return [codec.network]
        parts = next(one for one in (self.public.parts, *self.refiners.values()) if name in one.evaluators)
        return (parts.synthesizer if name == parts.synthesizer.NETWORK else parts.encoder).asked(calls)

    def fitted(self, recipe: Recipe) -> tuple[PublicEncoder, KlCodec]:
        """Text encoders and autoencoder of a recipe, which knows words and may have another one.

        Raises BadInput for what was not opened, ControlNets among it.
        """
        parts = self.public.parts
        for use in recipe.controls:
            check_opened(use, use.sha256 in parts.synthesizer.controls, "control")
        for learnt in recipe.embeddings:
            check_opened(learnt, learnt.sha256 in self.words, "embedding")
        encoder = parts.encoder.knowing([self.word(use) for use in recipe.embeddings])
        if recipe.vae is None:
            return encoder, parts.codec
        check_opened(recipe.vae, recipe.vae.sha256 in self.vaes, "vae")
        return encoder, self.vaes[recipe.vae.sha256]

    def word(self, use: FileUse) -> Learnt:
        """The word of a file that was opened."""
        return word(use.name, use.sha256, *self.words[use.sha256])


def _stamp(path: Path) -> Stamp:
    """What tells whether files are those of before, without reading them."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        told = [(str(file.resolve()), file.stat()) for file in files if file.is_file()]
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give a file that can be") from error
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in told)
