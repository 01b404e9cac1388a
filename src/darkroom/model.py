"""A model: text encoder, latent codec, synthesizer and card, opened from a folder and complete from then on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch import Tensor

import darkroom
from darkroom.cards import folder_of, read_card
from darkroom.checkpoints.estimate import Keeping, check_fits
from darkroom.contracts.card import OPTIONAL, OWN, Card
from darkroom.contracts.contract import Dtypes
from darkroom.contracts.errors import BadInput, DarkroomError, NumericalFailure, shown, unknown
from darkroom.contracts.recipe import AdapterUse, ControlUse, Environment, FileUse, GuideUse, Recipe, RefinerUse
from darkroom.contracts.request import Request
from darkroom.contracts.steering import Control, ImagePrompt, ImagePromptUse, Lora, RefinerModel
from darkroom.control.adapters import Riders, check_opened
from darkroom.control.brought import Brought
from darkroom.control.controls import map_pixels
from darkroom.control.image_prompt import ImageReader
from darkroom.control.public.brought import Brought as PublicBrought
from darkroom.latent.codec import AutoencoderCodec
from darkroom.latent.tiles import TiledCodec
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.beside.tower import ImageTower
from darkroom.nn.dit import Denoiser
from darkroom.nn.public.shelf import Shelf
from darkroom.nn.slots import SLOTS
from darkroom.nn.text import TextEncoder
from darkroom.nn.upscaler import Upscaler
from darkroom.own import NETWORKS, Guide, networks_of
from darkroom.picture.inputs import Inputs, bare
from darkroom.protocols import Call, LatentCodec, Network, ReadingEncoder, Refiner, Synthesizer
from darkroom.refine.chain import check
from darkroom.refine.upscale import NetworkUpscaler, doublings
from darkroom.synthesis.combine import METHODS, guidance_of
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import Assembled
from darkroom.synthesis.external.networks import COMPUTES, dtypes_of
from darkroom.synthesis.external.opening import Public, opened
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.synthesis.spacing import SPACINGS
from darkroom.wording.parse import parse
from darkroom.wording.said import others_of, said_in
from darkroom.wording.styles import worded
from darkroom.wording.syntax import wordings
from darkroom.wording.tokenizer import Tokenizer

LANES = 2  # passes of a model of ours that are under way at once: its networks are small, and cores wait for each other
FP32 = "fp32/"  # what the names of a call begin with that is for the same model in fp32


@dataclass(frozen=True)
class Model:
    """Everything a picture needs. ``networks`` maps a call's network name to who evaluates it.

    ``again`` opens the same model in fp32; None: it is in fp32, or was not opened from a folder.
    """

    card: Card
    encoder: ReadingEncoder
    codec: LatentCodec
    synthesizer: Synthesizer
    networks: dict[str, Network]
    dtype: torch.dtype
    brought: Brought | PublicBrought = field(repr=False)  # to a model of ours, or to a checkpoint of somebody else's
    upscaler: Refiner | None = None  # None: it draws at its own size only
    image: ImageReader | None = None  # what reads reference pictures; None: it takes none
    guides: dict[str, Guide] = field(default_factory=dict, repr=False)  # those that were opened, by their hashes
    again: Callable[[], Model] | None = field(default=None, repr=False)
    openings: dict[str, Callable[[Model], object]] = field(default_factory=dict, repr=False)  # of all of these
    finer: WeakValueDictionary[str, Model] = field(default_factory=WeakValueDictionary, repr=False)

    def __repr__(self) -> str:
        return f"<model {self.card.name} {self.card.model_hash[:12]}>"

    @property
    def offload(self) -> bool:
        """Whether only the network at work is in memory."""
        return self.brought.offload

    @property
    def lanes(self) -> int:
        """How many of its passes an engine has under way at once."""
        return LANES if self.card.family == OWN else 1

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Answers calls in their order; equal batch keys share passes of at most a slot."""
        groups: dict[object, list[int]] = defaultdict(list)
        for i, call in enumerate(calls):
            groups[call.batch_key].append(i)
        answers: dict[int, Tensor] = {}
        for members in groups.values():
            for start in range(0, len(members), SLOTS[-1]):
                some = members[start : start + SLOTS[-1]]
                answers.update(zip(some, self._passed([calls[i] for i in some]), strict=True))
        return [answers[i] for i in range(len(calls))]

    def _passed(self, calls: Sequence[Call]) -> list[Tensor]:
        """One pass: calls of one batch key, with the adapters that they carry."""
        if calls[0].network.startswith(FP32):
            return self.finer[FP32].evaluate([replace(call, network=call.network.removeprefix(FP32)) for call in calls])
        network = self.networks[calls[0].network]
        with self.brought.bound(calls):
            return network.evaluate(calls)

    def resolve(self, request: Request, inputs: Inputs | None = None) -> Recipe:
        """The request with every default decided, and the choices in its prompt made by its seed.

        ``inputs`` are the files it names; None: those that can be read by their names. Raises BadInput for what the
        model does not know or have.
        """
        inputs = inputs or Inputs()
        request, written, saved_style = worded(request, self.card.styles, inputs.styles)
        recipe = Recipe.resolve(
            request,
            self.card,
            darkroom=darkroom.__version__,
            environment=self.environment(),
            init_image=None if request.init_image is None else inputs.found(request.init_image),
            mask=None if request.mask is None else inputs.found(request.mask),
            guide=None if request.guide is None else self.open_guide(request.guide),
            refiner=None if request.refiner is None else self.open_refiner(request.refiner),
            adapters=tuple(self.open_adapter(asked) for asked in request.lora or ()),
            controls=tuple(self.open_control(asked, inputs) for asked in request.control or ()),
            image_prompts=tuple(self.open_image_prompt(asked, inputs) for asked in request.image_prompt or ()),
            embeddings=tuple(self.open_embedding(file) for file in request.embedding or ()),
            vae=None if request.vae is None else self.open_vae(request.vae),
            refine=inputs.steps(request.refine),
        )
        told = said_in(recipe, inputs.wildcards) | {"written": written, "saved_style": saved_style}
        told["dtype"] = self.brought.kept(request)
        recipe = recipe.model_copy(update=told)
        if not any(wording.text for wording in wordings(parse(recipe.prompt.text).text, recipe.steps)):
            raise BadInput(f"the prompt {shown(recipe.prompt.text)}", "says nothing", "say what the picture shows")
        wordings(parse(recipe.prompt.negative).text, recipe.steps)  # what cannot be read is refused here
        for text in others_of(recipe):
            wordings(parse(text).text, recipe.steps)
        check_names(recipe)
        doublings(recipe.upscale, self.upscaler)
        if recipe.hires and recipe.upscale == 1:
            raise BadInput(f"hires {recipe.hires:g}", "draws anew what was enlarged, and nothing is", "add upscale 2")
        check(recipe.refine, (recipe.width, recipe.height), inputs, self.upscaler)
        self.synthesizer.check(recipe.sampler, guidance_of(recipe))
        return recipe

    def open_guide(self, name: str) -> GuideUse:
        """Opens a weaker model, by name or folder, for pictures to be led away from: its text encoder and its denoiser.

        Raises BadInput for one with a latent space of its own, BadFile for one that cannot be opened.
        """
        folder = folder_of(name)
        card = read_card(folder)
        other = next((one for one in (card, self.card) if one.family != OWN), None)
        if other is not None:
            fix = "leave --guide out, or say what is unwanted: --negative"
            raise BadInput(f"the guide {shown(name)}", f"cannot lead where {other.name} is no model of ours", fix)
        if card.model_hash not in self.guides:
            if _latent_space(card) != _latent_space(self.card):
                fix = "take an earlier or a smaller model that was trained with the same one"
                raise BadInput(f"the guide {shown(name)}", f"has another autoencoder than {self.card.name}", fix)
            tokenizer, parts = networks_of(folder, card, ("text", "denoiser"), self.dtype)
            guide = Guide.of(tokenizer, parts["text"], parts["denoiser"], f"{card.model_hash}/")
            self.networks.update(guide.networks)
            self.guides[card.model_hash] = guide
        self.openings[card.model_hash] = lambda model: model.open_guide(name)
        return GuideUse(name=card.name, model_hash=card.model_hash)

    def open_refiner(self, asked: RefinerModel) -> RefinerUse:
        """Opens a second checkpoint, by name or folder, that is to finish pictures. Raises DarkroomError for one that
        cannot be opened, or cannot go on with a picture of this model."""
        folder = folder_of(asked.model)
        card = read_card(folder)
        self.networks.update(self.brought.refiner(folder, card).evaluators)
        self.openings[card.model_hash] = lambda model: model.open_refiner(asked)
        return RefinerUse(name=card.name, model_hash=card.model_hash, at=asked.at)

    def open_adapter(self, asked: Lora) -> AdapterUse:
        """Opens a LoRA's file. Raises DarkroomError for one that is damaged or was made for another model."""
        sha256 = self.brought.lora(Path(asked.file))
        self.openings[sha256] = lambda model: model.open_adapter(asked)
        return AdapterUse(name=bare(asked.file, "adapter"), sha256=sha256, scale=asked.scale)

    def open_control(self, asked: Control, inputs: Inputs) -> ControlUse:
        """Opens a control, and the picture it reads. Raises DarkroomError for either that cannot be used."""
        sha256, picture = self.open_control_file(asked.network), inputs.found(asked.map)
        map_pixels(picture, picture.size, inputs)
        acting = {"scale": asked.scale, "start": asked.start, "end": asked.end}
        return ControlUse(name=bare(asked.network, "control"), sha256=sha256, map=picture, **acting)

    def open_image_prompt(self, asked: ImagePrompt, inputs: Inputs) -> ImagePromptUse:
        """Finds a reference picture. Raises DarkroomError for one that cannot be read, and where this model reads
        none."""
        if self.image is None:
            rule = f"is for models that read reference pictures, and {self.card.name} has no image tower"
            fix = "leave it out, or take a model of `darkroom train image-prompt` (--model)"
            raise BadInput(f"--image-prompt {shown(asked.file)}", rule, fix)
        return ImagePromptUse(picture=inputs.found(asked.file), scale=asked.scale, keep=asked.keep)

    def open_control_file(self, file: str) -> str:
        """Opens a control's file; its hash. Raises DarkroomError for one that is damaged or was made for another."""
        sha256 = self.brought.control(Path(file))
        self.openings[sha256] = lambda model: model.open_control_file(file)
        return sha256

    def open_embedding(self, file: str) -> FileUse:
        """Opens a file of learnt words. Raises DarkroomError for one that is damaged or made for another family."""
        sha256 = self.brought.embedding(Path(file))
        self.openings[sha256] = lambda model: model.open_embedding(file)
        return FileUse(name=bare(file, "embedding"), sha256=sha256)

    def open_vae(self, file: str) -> FileUse:
        """Opens another autoencoder. Raises DarkroomError for one that is damaged or makes other latents."""
        sha256 = self.brought.vae(Path(file))
        self.openings[sha256] = lambda model: model.open_vae(file)
        return FileUse(name=bare(file, "vae"), sha256=sha256)

    def in_fp32(self, recipe: Recipe) -> tuple[Recipe, Model, str] | None:
        """A recipe of this model in fp32, the model opened so, and what the names of its calls begin with here; None:
        this one is in fp32. The model is gone once nobody draws with it.

        Raises NumericalFailure where it cannot be opened so.
        """
        if self.again is None:
            return None
        try:
            finer = self.finer.get(FP32) or self.again()
            for sha256 in _brought_to(recipe):
                self.openings[sha256](finer)
        except DarkroomError as error:
            rule = f"overflows in {recipe.environment.dtype}, and cannot be opened in fp32 ({error})"
            raise NumericalFailure(f"the model {self.card.name}", rule, "lower the guidance") from error
        self.finer[FP32] = finer
        told = {"environment": finer.environment(), "dtype": finer.brought.kept(Request(prompt=recipe.prompt))}
        return recipe.model_copy(update=told), finer, FP32

    def fitted(self, recipe: Recipe) -> Model:
        """The model with what a recipe brings: words that its encoder knows, another autoencoder.

        Raises BadInput for what was not opened.
        """
        if not (recipe.controls or recipe.embeddings or recipe.vae or recipe.vae_tile):
            return self
        encoder, codec = self.brought.fitted(recipe)
        self.networks.update({codec.ENCODER: codec, codec.DECODER: codec})
        tiled = codec if recipe.vae_tile is None else TiledCodec(codec, recipe.vae_tile)
        return replace(self, encoder=encoder, codec=tiled)

    def riders(self, uses: Sequence[AdapterUse]) -> Riders:
        """What the calls of a recipe carry. Raises BadInput for an adapter that was not opened."""
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for use in uses:
            networks = self.brought.having(use.sha256)
            check_opened(use, bool(networks), "lora")
            for network in networks if use.scale else ():
                found[network][use.sha256] = found[network].get(use.sha256, 0.0) + use.scale
        return found

    def guide(self, use: GuideUse) -> Guide:
        """The guide that a recipe names. Raises BadInput where it was not opened."""
        if use.model_hash not in self.guides:
            rule = "is part of this recipe and was not opened"
            raise BadInput(f"the guide {use.name} {use.model_hash[:12]}", rule, "give its folder (guide)")
        return self.guides[use.model_hash]

    def refiner(self, use: RefinerUse) -> Assembled:
        """The second checkpoint that a recipe names. Raises BadInput where it was not opened."""
        if isinstance(self.brought, Brought) or use.model_hash not in self.brought.refiners:
            rule = "is part of this recipe and was not opened"
            raise BadInput(f"the refiner {use.name} {use.model_hash[:12]}", rule, "give its folder (refiner)")
        return self.brought.refiners[use.model_hash]

    def environment(self) -> Environment:
        """What besides the recipe decides the last bit of a pixel."""
        return Environment(
            torch=torch.__version__,
            threads=torch.get_num_threads(),
            instruction_set=torch.backends.cpu.get_cpu_capability(),
            mode="eager",
            dtype=str(self.dtype).removeprefix("torch."),
        )


def _brought_to(recipe: Recipe) -> list[str]:
    """The hashes of all that a recipe brings to its model."""
    files = [use.sha256 for use in recipe.adapters]
    files += [use.sha256 for use in (*recipe.controls, *recipe.embeddings)]
    files += [] if recipe.vae is None else [recipe.vae.sha256]
    return files + [use.model_hash for use in (recipe.guide, recipe.refiner) if use is not None]


def check_names(recipe: Recipe) -> None:
    """Raises BadInput, with the nearest name, for a sampler, a spacing or a guidance method that is not here."""
    named = (
        ("sampler", recipe.sampler, SAMPLERS),
        ("spacing", recipe.spacing, SPACINGS),
        ("guidance method", recipe.guidance_method, METHODS),
    )
    for kind, name, known in named:
        if name not in known:
            raise unknown(kind, name, known)


def assembled(
    card: Card,
    tokenizer: Tokenizer,
    text: TextEncoder,
    autoencoder: Autoencoder,
    denoiser: Denoiser,
    upscaler: Upscaler | None = None,
    image: ImageTower | None = None,
) -> Model:
    """A model of our own networks; they are put in evaluation mode and not changed otherwise."""
    own, codec = Guide.of(tokenizer, text, denoiser), AutoencoderCodec(autoencoder.eval())
    networks: dict[str, Network] = {**own.networks, codec.ENCODER: codec, codec.DECODER: codec}
    refiner = None if upscaler is None else NetworkUpscaler(upscaler.eval())
    if refiner is not None:
        networks[refiner.NETWORK] = refiner
    reader = None if image is None else ImageReader(image.eval())
    if reader is not None:
        networks[reader.NETWORK] = reader
    dtype = next(denoiser.parameters()).dtype
    brought = Brought(card.name, own.encoder, codec, own.synthesizer, dtype)
    return Model(card, own.encoder, codec, own.synthesizer, networks, dtype, brought, refiner, reader)


def of_public(card: Card, public: Public) -> Model:
    """A model of a public checkpoint; it has no upscaler."""
    encoder, codec, synthesizer = public.parts.encoder, public.parts.codec, public.parts.synthesizer
    networks: dict[str, Network] = {**public.parts.evaluators, codec.ENCODER: codec, codec.DECODER: codec}
    dtype = COMPUTES[public.dtypes.denoiser]
    return Model(card, encoder, codec, synthesizer, networks, dtype, brought=PublicBrought(public))


def load(
    name: str = "default",
    dtype: torch.dtype | Dtypes | str | None = None,
    *,
    offload: bool = False,
    size: tuple[int, int] | None = None,
    vae_tile: int | None = None,
) -> Model:
    """Opens a model by name or folder.

    Args:
        name: as ``darkroom models list`` has it, or the folder of one.
        dtype: how its weights are kept, of a public checkpoint also int8, or by network ("int8,vae=fp32"); None: bf16.
        offload: of a public checkpoint, only the network at work is in memory.
        size: width and height of what is to be drawn, which has to find room, too; None: the card's.
        vae_tile: pixels a side of the tiles it is decoded in; None: as :meth:`Recipe.resolve` decides.

    Raises:
        DarkroomError: says which file is missing or damaged, or how much memory is lacking, and the fix.
    """
    folder = folder_of(name)
    card = read_card(folder)
    dtypes = dtypes_of(dtype)
    wide = {*dict(dtypes).values()} <= {"fp32", "fp64"}
    again = None if wide else partial(load, name, "fp32", offload=offload, size=size, vae_tile=vae_tile)
    if card.family in FAMILIES:
        check_fits(folder, card, Keeping(dtypes, offload, *(size or card.defaults.drawn), vae_tile))
        return replace(of_public(card, opened(folder, card, dtypes, Shelf(offload))), again=again)
    if offload or len({*dict(dtypes).values()}) > 1 or dtypes.vae == "int8":
        flag = "--offload" if offload else f"--dtype {dtypes}"
        rule = f"is for public checkpoints, and {card.name} is a model of ours, which is small"
        raise BadInput(flag, rule, "leave it out, or draw with a public checkpoint (--model)")
    dtype = COMPUTES[dtypes.denoiser]
    lacking = [part for part in OPTIONAL if part not in card.files]
    tokenizer, parts = networks_of(folder, card, [part for part in NETWORKS if part not in lacking], dtype)
    return replace(assembled(card, tokenizer, **parts), again=again)


def _latent_space(card: Card) -> tuple[object, ...]:
    """What decides which latents mean what: the autoencoder's weights and shape."""
    file = card.files.get("autoencoder")
    return (None if file is None else file.sha256, card.configs.get("autoencoder"))
