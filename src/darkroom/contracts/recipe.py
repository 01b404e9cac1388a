"""Everything that decided a picture's pixels: generating from a recipe read out of a picture gives them again."""

from __future__ import annotations

import math
import secrets
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from darkroom.contracts.card import OWN, UPSCALER, Card, Defaults
from darkroom.contracts.contract import AnyDtypes, Contract, Name, Sha256, Share, Text, Whole
from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.prompt import MAX_TEXT, Prompt, escaped
from darkroom.contracts.refinement import BareName, Chain, Lut, Match
from darkroom.contracts.refinement import PictureFile as PictureFile  # who reads recipes finds it here
from darkroom.contracts.request import (
    CHOSEN_SEEDS,
    MAX_SIDE,
    MIN_SIDE,
    SIDE_STEP,
    UPSCALES,
    AnyPrompt,
    Candidates,
    Margins,
    Request,
    Retries,
    Seed,
    Settings,
    Shift,
    Softness,
    Threshold,
    Tile,
    VaeTile,
    can_be_drawn,
    check_guide,
    check_start,
)
from darkroom.contracts.steering import (
    MAX_ADAPTERS,
    MAX_CONTROLS,
    MAX_REFERENCES,
    TAKES_OVER,
    Control,
    ControlScale,
    ImagePromptUse,
    Lora,
    RefinerModel,
    Regions,
    Scale,
    Swap,
    Toward,
    check_acting,
)

SCHEMA_VERSION = 3  # raised when an older darkroom could misread a recipe
REDRAWN = 0.7  # of a picture to start from, where nobody says how much: its composition stays, its things change
CONTINUED = 0.9  # of the margins around one, which begin with its colours carried on: at 1 they have their own grounds
VAE_TILE = 512  # pixels a side, of pictures with more than so many: about what SDXL's pipeline takes for large ones
VAE_WHOLE = 1536 * 1024
SOFT = 4  # pixels over which what is drawn passes into what is kept, where nobody says otherwise


class Environment(Contract):
    """What besides the recipe's numbers decides the last bit of a pixel."""

    torch: Name = Field(description="Version of PyTorch.")
    threads: Annotated[Whole, Field(ge=1, le=65_536, description="Threads inside one operation.")]
    instruction_set: Name = Field(description="The CPU capability PyTorch used, such as AVX512.")
    mode: Literal["eager", "compiled"] = Field(description="How the networks ran.")
    dtype: Literal["float64", "float32", "bfloat16", "float16"] = Field(description="Number format of the networks.")
    device: Name = Field("cpu", description="Where the networks ran: cpu, or the accelerator's name.")


class FileUse(Contract):
    """A file that took part."""

    name: BareName = Field(description="Its name, without its folder.")
    sha256: Sha256 = Field(description="SHA-256 of it; of a folder, over the hashes of its files.")


class AdapterUse(FileUse):
    """An adapter that took part."""

    scale: Scale = Field(1.0, description="How strongly it acted; 1 is as trained.")


class ControlUse(FileUse):
    """A control network that took part, and the picture it read."""

    map: PictureFile = Field(description="That picture.")
    scale: ControlScale = Field(1.0, description="How strongly it acted; 1 is as trained.")
    start: Share = Field(0.0, description="From when on it acted, of the steps.")
    end: Share = Field(1.0, description="Until when it acted, of the steps.")

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        check_acting(self)
        return self

    def asked(self) -> Control:
        """What was asked for, by the names of its files."""
        return Control(network=self.name, map=self.map.name, scale=self.scale, start=self.start, end=self.end)


def _found(steps: Chain) -> Chain:
    for step in steps:
        if isinstance(step, Lut | Match) and isinstance(step.file, str):
            raise BadInput(f"the file {shown(step.file)}", "is named without its hash", "resolve the request first")
    return steps


Done = Annotated[Chain, AfterValidator(_found)]
"""Steps whose files are told by their hashes."""


class Answered(Contract):
    """One fact the prompt asked for, and the judge's answer."""

    kind: Name = Field(description="Presence, count, colour, binding, relation, style, ground, light, camera, letters.")
    text: Text = Field(max_length=2000, description="The fact, in words.")
    answer: Literal["yes", "no", "cannot tell"] = Field(description="What the judge says.")


class Verdict(Contract):
    """The judge's answers to everything a prompt asked for that it can check, and how it chose the picture by them."""

    judge: Sha256 = Field(description="SHA-256 of the judge's weights.")
    facts: tuple[Answered, ...] = Field(
        (), max_length=1000, description="The answers. Empty: nothing could be checked."
    )
    seed: Seed | None = Field(None, description="The seed asked for. None: an older recipe, which does not say.")
    best_of: Candidates = Field(1, description="Candidates asked for.")
    retry: Retries = Field(0, description="Further candidates allowed.")
    tried: Annotated[Whole, Field(ge=1, le=10_000, description="Pictures drawn before this one was kept.")] = 1

    @property
    def holds(self) -> bool:
        """Whether no fact is missing of those the judge can tell, and there is one."""
        answers = [fact.answer for fact in self.facts if fact.answer != "cannot tell"]
        return bool(answers) and all(answer == "yes" for answer in answers)


class GuideUse(Contract):
    """A weaker model that the picture was led away from."""

    name: Name = Field(description="The model, by its own name.")
    model_hash: Sha256 = Field(description="SHA-256 over its files, as its card computes it.")


class RefinerUse(GuideUse):
    """A second model that took over where little noise was left."""

    at: Share = Field(TAKES_OVER, description="From when on it drew, of the way from noise to picture.")

    @property
    def since(self) -> float:
        """The time, from 1 (noise) to 0 (clean), from which on it was asked."""
        return round(1.0 - self.at, 9)  # so that an entry of the table is the one it is meant to be

    def asked(self) -> RefinerModel:
        """What was asked for, by its name."""
        return RefinerModel(model=self.name, at=self.at)


class Subject(Contract):
    """What was drawn; comes first in a recipe."""

    prompt: AnyPrompt = Field(description="What was drawn.")
    seed: Seed = Field(description="The number the noise was drawn from.")


class Recipe(Settings, Subject):
    """A request with every default resolved, and what it ran on."""

    guidance_threshold: Threshold | None = Field(None, description="Quantile estimates were cut at. None: nowhere.")
    shift: Shift | None = Field(None, description="How far steps moved towards the noise. None: as the size asks.")
    style: Name | None = Field(None, description="The style. None: none was added.")
    written: Text | None = Field(
        None, max_length=MAX_TEXT, description="What was written, before it was read as the prompt. None: the same."
    )
    saved_style: Name | None = Field(
        None, description="The saved style it was asked for in; what that says is in the recipe. None: none."
    )
    verbatim: bool = Field(False, description="Whether it was asked for as it is written, talk and all.")
    init_image: PictureFile | None = Field(None, description="The picture it started from. None: noise alone.")
    strength: Share | None = Field(None, description="How much of that was drawn anew. None: there was none.")
    mask: PictureFile | None = Field(None, description="Where it was drawn: white. None: everywhere.")
    mask_blur: Softness | None = Field(
        None, description="Pixels over which what was drawn passes into what was kept. None: nothing was kept so."
    )
    outpaint: Margins | None = Field(None, description="Pixels added around that picture. None: none.")
    variation: Share | None = Field(
        None, description="How far its noise lies from the seed's to that of another seed. None: it is the seed's."
    )
    variation_seed: Seed | None = Field(None, description="That other seed. None: there was none.")
    regions: Regions | None = Field(None, description="Prompts for parts of it. None: the one is for all of it.")
    toward: Toward | None = Field(
        None, description="Another prompt, and how far it lies towards it. None: there was none."
    )
    swap: Swap | None = Field(None, description="Words changed in the finished picture. None: there were none.")
    tile: Tile | None = Field(None, description="Where its edges meet. None: nowhere.")
    hires: Share | None = Field(None, description="How much of it was drawn anew once enlarged. None: nothing.")
    refine: Done = Field((), description="What was done to the picture of that size afterwards, in order.")
    model: Name = Field(description="The model, by its own name.")
    model_hash: Sha256 = Field(description="SHA-256 over the model's files, as its card computes it.")
    guide: GuideUse | None = Field(None, description="The weaker model it was led away from. None: there was none.")
    refiner: RefinerUse | None = Field(None, description="The second model that finished it. None: there was none.")
    adapters: tuple[AdapterUse, ...] = Field((), max_length=64, description="Adapters that took part, in order.")
    controls: tuple[ControlUse, ...] = Field((), max_length=MAX_CONTROLS, description="Control networks, in order.")
    image_prompts: tuple[ImagePromptUse, ...] = Field((), max_length=MAX_REFERENCES, description="Reference pictures.")
    embeddings: tuple[FileUse, ...] = Field((), max_length=MAX_ADAPTERS, description="Words that were learnt.")
    vae: FileUse | None = Field(None, description="The autoencoder that took the model's place. None: it has its own.")
    dtype: AnyDtypes | None = Field(None, description="How a public checkpoint's weights were kept. None: in bf16.")
    vae_tile: VaeTile | None = Field(
        None, description="Pixels a side of the tiles it was decoded and encoded in. None: all at once."
    )
    darkroom: Name = Field(description="Version of darkroom that made the picture.")
    environment: Environment = Field(description="What it ran on.")
    verdict: Verdict | None = Field(None, description="What the judge said. None: it was not asked.")
    schema_version: Annotated[Whole, Field(ge=1, le=SCHEMA_VERSION, description="Version of this format.")] = (
        SCHEMA_VERSION
    )

    @model_validator(mode="before")
    @classmethod
    def _in_this_version(cls, data: Any) -> Any:
        version = data.get("schema_version") if isinstance(data, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise BadInput(
                f"recipe schema version {shown(version)}",
                f"is newer than this darkroom reads ({SCHEMA_VERSION})",
                "update darkroom",
            )
        if type(version) is int and version == 1:
            data = _from_drawn(data)
        return _from_plain(data) if type(version) is int and version in (1, 2) else data

    @model_validator(mode="after")
    def _can_begin(self) -> Self:
        check_start(self)
        check_guide(self)
        if self.init_image is not None and self.strength is None:
            raise BadInput("init_image without strength", "does not say how much was drawn anew", "give it")
        if (self.variation is None) != (self.variation_seed is None):
            raise BadInput("variation and variation_seed", "say something together only", "give both, or neither")
        if self.init_image is not None and self.mask is not None and self.mask.size != self.init_image.size:
            (wide, high), (width, height) = self.mask.size, self.init_image.size
            rule = f"is not as large as {self.init_image.name}, {width}x{height}"
            raise BadInput(f"the mask {self.mask.name}, {wide}x{high}", rule, "scale it to that")
        return self

    @classmethod
    def resolve(
        cls,
        request: Request,
        card: Card,
        *,
        darkroom: str,
        environment: Environment,
        init_image: PictureFile | None = None,
        mask: PictureFile | None = None,
        guide: GuideUse | None = None,
        refiner: RefinerUse | None = None,
        adapters: tuple[AdapterUse, ...] = (),
        controls: tuple[ControlUse, ...] = (),
        image_prompts: tuple[ImagePromptUse, ...] = (),
        embeddings: tuple[FileUse, ...] = (),
        vae: FileUse | None = None,
        refine: Chain | None = None,
    ) -> Self:
        """Put the card's defaults where the request says nothing, and draw a seed if it names none.

        ``init_image`` and what follows it up to ``vae`` are what was found under the names that the request has for
        them, ``refine`` its steps with the files that were found; None: its own, which name none.
        """
        asked = {name: value for name, value in request if value is not None and name in cls.model_fields}
        asked |= {"init_image": init_image, "mask": mask, "guide": guide, "refiner": refiner, "vae": vae}
        asked |= {"adapters": adapters, "controls": controls, "image_prompts": image_prompts, "embeddings": embeddings}
        asked |= _sizes(request, card, init_image, next((use.map for use in controls), None))
        asked |= {} if refine is None else {"refine": refine}
        if init_image is not None and request.strength is None:
            asked["strength"] = 1.0 if mask is not None else REDRAWN if request.outpaint is None else CONTINUED
        if (mask is not None or request.outpaint is not None) and request.mask_blur is None:
            asked["mask_blur"] = SOFT
        if card.family != OWN and (tile := tile_for(asked["width"], asked["height"])):
            asked.setdefault("vae_tile", tile)
        chosen = {} if "seed" in asked else {"seed": secrets.randbelow(CHOSEN_SEEDS)}
        if request.variation is not None and request.variation_seed is None:
            chosen["variation_seed"] = secrets.randbelow(CHOSEN_SEEDS)
        drawn = {"model": card.name, "model_hash": card.model_hash, "darkroom": darkroom, "environment": environment}
        return cls.checked({**dict(card.defaults), **asked, **chosen, **drawn})

    def request(self) -> Request:
        """The request that makes this picture again. Of pictures and models it has but names: who opens them compares
        hashes."""
        told = {name: getattr(self, name) for name in Request.model_fields if name in Recipe.model_fields}
        told["verbatim"] = self.verbatim or self.written is not None  # what was read is not read a second time
        told["refine"] = tuple(step.asked() for step in self.refine)
        told["lora"] = tuple(Lora(file=use.name, scale=use.scale) for use in self.adapters) or None
        told["control"] = tuple(use.asked() for use in self.controls) or None
        told["image_prompt"] = tuple(use.asked() for use in self.image_prompts) or None
        told["embedding"] = tuple(use.name for use in self.embeddings) or None
        told["refiner"] = None if self.refiner is None else self.refiner.asked()
        named = ("init_image", "mask", "guide", "vae")
        return Request(**told | {name: told[name].name for name in named if told[name] is not None})


class Refinement(Contract):
    """What was done to a picture that is not drawn from a recipe, such as a photo: what stands in its file instead."""

    source: PictureFile = Field(description="The picture it was made from.")
    refine: Done = Field(description="What was done to it, in order.")
    model: Name | None = Field(None, description="The model whose upscaler took part. None: none did.")
    model_hash: Sha256 | None = Field(None, description="That model's hash. None: none took part.")
    darkroom: Name = Field(description="Version of darkroom that did it.")
    schema_version: Annotated[Whole, Field(ge=1, le=1, description="Version of this format.")] = 1


def tile_for(width: int, height: int) -> int | None:
    """Pixels a side of the tiles that a picture of a public checkpoint is decoded in by itself; None: all at once."""
    return VAE_TILE if width * height > VAE_WHOLE else None


def _sizes(request: Request, card: Card, start: PictureFile | None, map: PictureFile | None) -> dict[str, int]:
    """How large the finished picture is, and how much of that the upscaler makes; it starts from ``start``, and reads
    ``map``.

    Where the request names no upscaling, as much of it as leaves the drawing nearest to the size that the model was
    trained at: of doublings, the most that leave half that area or more. Where it names no size, that of the picture it
    starts from or of the map it reads, or the card's; a map of less than that gives its shape alone.
    """
    defaults = card.defaults
    chosen = defaults if request.upscale is None else defaults.enlarged(request.upscale)
    if request.width is None and request.height is None:
        small = start is None and map is not None and map.width * map.height < chosen.width * chosen.height
        if map is not None and small:
            return _size_shaped(map, chosen)
        if (like := start or map) is not None:
            return _size_of(like, request, card)
        return {"width": chosen.width, "height": chosen.height, "upscale": chosen.upscale}
    width, height = request.width or chosen.width, request.height or chosen.height
    if request.upscale is not None or UPSCALER not in card.files:
        return {"width": width, "height": height, "upscale": request.upscale or 1}
    trained_width, trained_height = defaults.drawn
    for upscale in sorted(UPSCALES, reverse=True):
        enough = 2 * width * height >= upscale**2 * trained_width * trained_height
        if upscale == 1 or (enough and can_be_drawn(width, height, upscale)):
            break
    return {"width": width, "height": height, "upscale": upscale}


def _size_shaped(map: PictureFile, chosen: Defaults) -> dict[str, int]:
    """A size of a map's shape, as large as the card's."""
    step, least = SIDE_STEP * chosen.upscale, MIN_SIDE * chosen.upscale
    long = math.sqrt(chosen.width * chosen.height / (map.width * map.height))
    near = [min(max(least, round(side * long / step) * step), MAX_SIDE) for side in (map.width, map.height)]
    return {"width": near[0], "height": near[1], "upscale": chosen.upscale}


def _size_of(start: PictureFile, request: Request, card: Card) -> dict[str, int]:
    """The size nearest to a picture's own, with its margins, that can be drawn; no larger than upscaling reaches from
    twice the area that the model was trained at."""
    margins = request.outpaint or Margins()
    width = start.width + margins.left + margins.right
    height = start.height + margins.top + margins.bottom
    trained = card.defaults.drawn[0] * card.defaults.drawn[1]
    factors = UPSCALES if UPSCALER in card.files else UPSCALES[:1]
    if request.upscale is not None:
        factors = (request.upscale,)
    upscale = max((f for f in factors if 2 * width * height >= f**2 * trained), default=min(factors))
    scale = min(1.0, math.sqrt(2 * trained * upscale**2 / (width * height)))
    step, least = SIDE_STEP * upscale, MIN_SIDE * upscale
    near = [min(max(least, round(side * scale / step) * step), MAX_SIDE) for side in (width, height)]
    return {"width": near[0], "height": near[1], "upscale": upscale}


def _from_drawn(data: dict[str, Any]) -> dict[str, Any]:
    """A recipe of version 1, whose sides were those of the drawing."""
    factor, width, height = data.get("upscale", 1), data.get("width"), data.get("height")
    finished: dict[str, Any] = {}
    if factor in UPSCALES and isinstance(width, int) and isinstance(height, int):  # what else it holds is refused later
        finished |= {"width": width * factor, "height": height * factor}
    return {**data, **finished}


def _from_plain(data: dict[str, Any]) -> dict[str, Any]:
    """A recipe of version 1 or 2, in whose prompt a bracket was a bracket."""
    prompt = data.get("prompt")
    if isinstance(prompt, Prompt):
        prompt = dict(prompt)
    if isinstance(prompt, dict):
        prompt = {name: _said(text) for name, text in prompt.items()}
    return {**data, "prompt": _said(prompt), "schema_version": SCHEMA_VERSION}


def _said(text: Any) -> Any:
    """Escaped, where it is text and stays short enough to be a prompt."""
    return plain if isinstance(text, str) and len(plain := escaped(text)) <= MAX_TEXT else text
