"""What the user asked for: one :class:`Request` is one picture."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from darkroom.contracts.contract import AnyDtypes, Contract, Name, Number, Share, Whole
from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.refinement import AnyChain, FileName
from darkroom.contracts.steering import (
    AnyRefiner,
    AnySwap,
    AnyToward,
    Controls,
    Embeddings,
    ImagePrompts,
    Loras,
    Regions,
)

SIDE_STEP = 16  # the autoencoder halves three times and the denoiser reads patches of two
MIN_SIDE, MAX_SIDE = 64, 2048
MAX_STEPS = 1000
MAX_GUIDANCE = 30.0
MAX_SEED = 2**63 - 1
UPSCALES = (1, 2, 4)
GUIDED_TIMES = (0.1, 0.95)  # guidance outside them costs quality: arXiv:2404.07724, section 4
NO_SETTINGS = frozenset(
    {
        *("prompt", "seed", "model", "init_image", "strength", "mask", "mask_blur", "outpaint", "variation"),
        *("variation_seed", "verify", "best_of", "retry", "verbatim", "regions", "toward", "swap", "control"),
        *("image_prompt", "dtype", "offload", "vae_tile"),
    }
)
"""Fields of a request that say what is drawn, and from what, rather than how."""
CHOSEN_SEEDS = 2**32  # a seed nobody gave is drawn below this: short enough to type, wide enough not to repeat
MAX_SEEDS = 10_000  # pictures one command or call may ask for


def _side(value: Any, info: ValidationInfo) -> Any:
    """The bounds stand in the field, for the schema; here they are said with a fix that obeys all of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        _check_side(info.field_name or "the side", value)
    return value


def _check_side(name: str, value: int) -> None:
    near = (min(max(value, MIN_SIDE), MAX_SIDE) + SIDE_STEP // 2) // SIDE_STEP * SIDE_STEP
    if not MIN_SIDE <= value <= MAX_SIDE:
        raise BadInput(f"{name} {shown(value)}", f"is not between {MIN_SIDE} and {MAX_SIDE}", f"try {near}")
    if value % SIDE_STEP:
        raise BadInput(f"{name} {value}", f"is not a multiple of {SIDE_STEP}", f"try {near}")


def _upscale(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value not in UPSCALES:
        near = max((factor for factor in UPSCALES if factor <= value), default=UPSCALES[0])
        raise BadInput(f"upscale {shown(value)}", "is not 1, 2 or 4", f"try {near}")
    return value


def can_be_drawn(width: int, height: int, upscale: int) -> bool:
    """Whether a drawing so many times smaller has sides that a drawing can have."""
    step = SIDE_STEP * upscale
    return not width % step and not height % step and min(width, height) >= MIN_SIDE * upscale


def check_drawn(width: int, height: int, upscale: int) -> None:
    """Raises BadInput, with a size near to it, for what cannot be drawn so many times smaller."""
    if can_be_drawn(width, height, upscale):
        return
    step, least = SIDE_STEP * upscale, MIN_SIDE * upscale
    rule = f"would be drawn at {width / upscale:g}x{height / upscale:g}, and a drawing's sides are multiples of "
    near = "x".join(str(max(least, (side + step // 2) // step * step)) for side in (width, height))
    fix = f"try {near}, or less upscaling"
    raise BadInput(f"{width}x{height} upscaled {upscale} times", f"{rule}{SIDE_STEP} from {MIN_SIDE} on", fix)


def _interval(value: tuple[float, float]) -> tuple[float, float]:
    lowest, highest = value
    if lowest > highest:
        raise BadInput(f"the guidance interval {lowest:g}-{highest:g}", "runs backwards", f"try {highest:g}-{lowest:g}")
    return value


def _prompt(value: Any) -> Any:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, (dict, Prompt)):
        raise BadInput(f"prompt {shown(value)}", "is not text", "say what the picture shows")
    return value


# Validators stand after the bounds: only so do the bounds reach the JSON schema.
Side = Annotated[Whole, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_STEP), BeforeValidator(_side)]
Seed = Annotated[Whole, Field(ge=0, le=MAX_SEED)]
Steps = Annotated[Whole, Field(ge=1, le=MAX_STEPS)]
Guidance = Annotated[Number, Field(ge=0, le=MAX_GUIDANCE)]
Candidates = Annotated[Whole, Field(ge=1, le=64)]
Retries = Annotated[Whole, Field(ge=0, le=64)]
Upscale = Annotated[
    Whole,
    Field(ge=UPSCALES[0], le=UPSCALES[-1], json_schema_extra={"enum": list(UPSCALES)}),
    BeforeValidator(_upscale),
]
Shift = Annotated[Number, Field(ge=0.01, le=100)]
Threshold = Annotated[Number, Field(ge=0.01, le=1)]
Interval = Annotated[tuple[Share, Share], AfterValidator(_interval)]
Softness = Annotated[Whole, Field(ge=0, le=256)]
Edge = Annotated[Whole, Field(ge=0, le=MAX_SIDE)]
Tile = Literal["both", "across", "down"]
VaeTile = Annotated[Whole, Field(ge=128, le=MAX_SIDE, multiple_of=64)]
AnyPrompt = Annotated[Prompt, BeforeValidator(_prompt, json_schema_input_type=Prompt | str)]
"""A prompt, or its text alone."""


class Margins(Contract):
    """Pixels added around a picture."""

    left: Edge = Field(0, description="To its left.")
    top: Edge = Field(0, description="Above it.")
    right: Edge = Field(0, description="To its right.")
    bottom: Edge = Field(0, description="Below it.")


class Settings(Contract):
    """How a picture is made, but for its words and its seed: what a card has defaults of, and a recipe the values."""

    width: Side = Field(description="Width of the finished picture in pixels.")
    height: Side = Field(description="Height of the finished picture in pixels.")
    steps: Steps = Field(description="Steps from noise to picture.")
    sampler: Name = Field(description="The sampler, by name.")
    guidance: Guidance = Field(description="How strongly the prompt steers.")
    guidance_method: Name = Field("classifier-free", description="How prompt and negative make one estimate.")
    guidance_rescale: Share = Field(0.0, description="Share of the way back to the spread of what is not guided.")
    guidance_interval: Interval = Field(GUIDED_TIMES, description="Between which times guidance acts.")
    spacing: Name = Field("even", description="Where the steps lie.")
    upscale: Upscale = Field(1, description="How many times larger the finished picture is than drawn.")

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        check_drawn(self.width, self.height, self.upscale)
        return self

    @property
    def drawn(self) -> tuple[int, int]:
        """Width and height as drawn, before the upscaler."""
        return self.width // self.upscale, self.height // self.upscale


_OF_PICTURE = (
    "of the finished picture in pixels, a multiple of 16. None: about that of the picture it starts from, or of its "
    "control map, or that of the card's drawings, as many times larger as upscaled."
)


class Request(Contract):
    """One picture, as asked for. None always means: decided when the request is resolved, as each field says."""

    prompt: AnyPrompt = Field(description="What to draw: a text, or an object with text and negative.")
    seed: Seed | None = Field(
        None, description="The number the noise is drawn from: the same seed gives the same picture. None: chosen anew."
    )
    width: Side | None = Field(None, description=f"Width {_OF_PICTURE}")
    height: Side | None = Field(None, description=f"Height {_OF_PICTURE}")
    steps: Steps | None = Field(None, description="Steps from noise to picture. None: the model card's default.")
    sampler: Name | None = Field(
        None,
        description="The sampler: euler (or ddim), heun, dpm2, lms, dpmpp-2m, unipc; with fresh noise on the way "
        "euler-a, dpmpp-2s-a, dpmpp-sde, dpmpp-2m-sde, dpmpp-3m-sde; lcm and flow-map with models made for few steps. "
        "None: the model card's default.",
    )
    guidance: Guidance | None = Field(
        None, description="How strongly the prompt steers; 1 is plain. None: the model card's default."
    )
    guidance_method: Name | None = Field(
        None,
        description="How prompt and negative make one estimate: classifier-free, zero-star or projected. None: the "
        "model card's default.",
    )
    guidance_rescale: Share | None = Field(
        None,
        description="Against burnt colours: share of the way back to the spread of what is not guided, 0 to 1. None: "
        "the model card's default.",
    )
    guidance_interval: Interval | None = Field(
        None,
        description="Between which times guidance acts, of 1 (noise) to 0 (clean). None: the model card's default.",
    )
    guidance_threshold: Threshold | None = Field(
        None, description="Quantile of sizes at which the estimate is cut, such as 0.995. None: nowhere."
    )
    guide: Name | None = Field(
        None,
        description="A weaker model to lead away from, in place of a negative prompt: an earlier or a smaller one with "
        "the same autoencoder, by name or folder. None: none.",
    )
    refiner: AnyRefiner | None = Field(
        None,
        description="A second model that takes over where little noise is left, and from when on: 'refiner:0.8'. One "
        "with the same latents and noise, by name or folder. None: none.",
    )
    lora: Loras | None = Field(
        None,
        description="An adapter's file, and how strongly it acts: 'style.safetensors:0.8'; several may be given. None: "
        "none.",
        json_schema_extra={"flag": "lora"},
    )
    control: Controls | None = Field(
        None,
        description="A control network and the picture it reads, how strongly it acts and when: "
        "'canny.safetensors=edges.png:0.8:0-0.5'; several may be given. None: none.",
        json_schema_extra={"flag": "control"},
    )
    image_prompt: ImagePrompts | None = Field(
        None,
        description="A picture whose subject or style is wanted, how strongly, and which of them: 'fox.png:0.6:style'; "
        "several may be given. None: none.",
        json_schema_extra={"flag": "image-prompt"},
    )
    embedding: Embeddings | None = Field(
        None,
        description="A file of words that were learnt (textual inversion), which stand in the prompt by its name; "
        "several may be given. None: none.",
        json_schema_extra={"flag": "embedding"},
    )
    vae: FileName | None = Field(
        None, description="Another autoencoder: a safetensors file, or a folder. None: the model's own."
    )
    spacing: Name | None = Field(
        None,
        description="Where the steps lie: even, karras, exponential or beta; as public pipelines have them leading, "
        "linspace or sd3. None: the model card's default.",
    )
    shift: Shift | None = Field(
        None, description="How far the steps move towards the noise; 1 is not at all. None: as the picture's size asks."
    )
    style: Name | None = Field(
        None, description="A style the model knows, or a saved one, by name. None: no style is added."
    )
    verbatim: bool = Field(False, description="Draw the prompt as it is written: talk in it is not reduced.")
    upscale: Upscale | None = Field(
        None,
        description="How many times larger the finished picture is than drawn: 1, 2 or 4. None: what brings the "
        "drawing nearest to the size that the model was trained at.",
    )
    init_image: FileName | None = Field(
        None, description="The picture to start from: a PNG, JPEG or WebP. None: noise alone."
    )
    strength: Share | None = Field(
        None,
        description="How much of the start picture is drawn anew: 0 leaves it, 1 forgets it. None: 0.7; within a mask "
        "1; in margins alone 0.9.",
    )
    mask: FileName | None = Field(
        None,
        description="Where to draw: a picture as large as the start picture, white where it is drawn anew, black where "
        "it is kept. None: everywhere.",
    )
    mask_blur: Softness | None = Field(
        None, description="Pixels, within the mask, over which what is drawn passes into what is kept. None: 4."
    )
    outpaint: Margins | None = Field(
        None, description="Pixels to draw around the start picture: left, top, right and bottom. None: none."
    )
    variation: Share | None = Field(
        None, description="How far to go from the seed's noise to that of another seed, 0 to 1. None: nowhere."
    )
    variation_seed: Seed | None = Field(None, description="That other seed. None: chosen anew.")
    regions: Regions | None = Field(
        None,
        description="A prompt for a part of the picture, 'left half: a cat' or '0,0,0.5,1: a cat' (left, top, right, "
        "bottom); several may be given. None: the one prompt is for all of it.",
        json_schema_extra={"flag": "region"},
    )
    toward: AnyToward | None = Field(
        None, description="Another prompt to go towards, and how far: 'a dog:0.3'. None: none."
    )
    swap: AnySwap | None = Field(
        None,
        description="Words of the prompt to change in the finished picture, and how much anew: 'blue->stormy:0.6'. "
        "None: none.",
    )
    tile: Tile | None = Field(
        None, description="Let the picture's edges meet: across, down or both. None: they do not."
    )
    hires: Share | None = Field(
        None,
        description="How much of the enlarged picture is drawn anew at its own size, 0 to 1. None: it is enlarged "
        "only.",
    )
    refine: AnyChain = Field(
        (),
        description='What is done to the finished picture, in this order: "clean, exposure=0.3, sharpen, crop=16:9" '
        "(docs/finishing.md). Empty: nothing.",
    )
    model: Name = Field("default", description="The model, by name, or the folder that holds its card.json.")
    dtype: AnyDtypes | None = Field(
        None,
        description="How a public checkpoint's weights are kept: bf16, fp32 or int8, all of them or by network, "
        "'int8,vae=fp32' (text, denoiser, vae). None: bf16.",
    )
    offload: bool = Field(False, description="Keep only the network at work in memory: slower, the same pixels.")
    vae_tile: VaeTile | None = Field(
        None,
        description="Pixels a side of the tiles that pictures are decoded and encoded in. None: 512 with a public "
        "checkpoint from 1.5 megapixels on, and else all at once.",
    )
    verify: bool = Field(False, description="Let the judge say whether the picture holds what was asked for.")
    best_of: Candidates = Field(1, description="Candidates to draw; the judge keeps the best.")
    retry: Retries = Field(0, description="Further candidates to draw until the judge finds every fact right.")

    @model_validator(mode="after")
    def _can_begin(self) -> Self:
        check_start(self)
        check_guide(self)
        if self.mask_blur is not None and self.mask is None and self.outpaint is None:
            raise BadInput(f"mask_blur {self.mask_blur}", "has no edge to soften", "give a mask, or leave it out")
        if self.variation_seed is not None and self.variation is None:
            said = f"variation_seed {self.variation_seed}"
            raise BadInput(said, "needs to know how far to go there", "give a variation such as 0.2")
        return self

    @property
    def judged(self) -> bool:
        """Whether the judge has a part in it."""
        return self.verify or self.best_of > 1 or self.retry > 0


def check_start(asked: Any) -> None:
    """Raises BadInput for what only a picture to start from gives a meaning, where there is none."""
    if asked.outpaint is not None and not any(dict(asked.outpaint).values()):
        raise BadInput("outpaint", "adds nothing on any side", "give a side and its pixels, or leave it out")
    if asked.init_image is not None:
        return
    for name in ("strength", "mask", "outpaint"):
        if (value := getattr(asked, name)) is not None:
            said = f"{name} {shown(value)}" if isinstance(value, str | float | int) else name
            raise BadInput(said, "needs a picture to start from", "give one: init_image, or --init-image")


def check_guide(asked: Any) -> None:
    """Raises BadInput where a picture is to be led away from two things at once."""
    if asked.guide is not None and asked.prompt.negative:
        rule = "leads away from a weaker model, and a negative prompt from what it says"
        named = getattr(asked.guide, "name", asked.guide)
        raise BadInput(f"guide {shown(named)}", rule, "give one of them")


def expand(request: Request, seeds: Iterable[int]) -> list[Request]:
    """One request for each seed, otherwise alike."""
    fields = dict(request)
    return [Request(**{**fields, "seed": seed}) for seed in seeds]


def parse_seeds(text: str) -> list[int]:
    """The seeds of "7", "0-7" (both ends included) or "1,4,9", in the order written."""
    too_many = BadInput(f"seeds {shown(text)}", f"are more than {MAX_SEEDS}", "ask in several goes")
    if text.count(",") >= MAX_SEEDS:
        raise too_many
    seeds: list[int] = []
    for part in text.split(","):
        match = _SEEDS.fullmatch(part)
        if not match:
            rule = f"are not whole numbers from 0 to {MAX_SEED}"
            raise BadInput(f"seeds {shown(text)}", rule, 'write "7", "0-7" or "1,4,9"')
        first, last = int(match[1]), int(match[2] or match[1])
        if max(first, last) > MAX_SEED:
            raise BadInput(f"seed {max(first, last)}", f"is above {MAX_SEED}", f"try {MAX_SEED}")
        if last < first:
            raise BadInput(f"seeds {first}-{last}", "run backwards", f"try {last}-{first}")
        if len(seeds) + last - first + 1 > MAX_SEEDS:
            raise too_many
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise BadInput(f"seeds {shown(text)}", "name one seed twice, which draws one picture twice", "name each once")
    return seeds


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "256x192", or of a square, "128"."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise BadInput(f"size {shown(text)}", "is not a size", 'write width x height, "128x96", or one side, "128"')
    width, height = int(match[1]), int(match[2] or match[1])
    _check_side("width", width)
    _check_side("height", height)
    return width, height


_SEEDS = re.compile(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?")
_SIZE = re.compile(r"\s*([0-9]{1,6})\s*(?:[xX×]\s*([0-9]{1,6})\s*)?")
