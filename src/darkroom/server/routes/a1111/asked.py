"""The fields of A1111's calls that mean something here, within bounds, and what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkroom.contracts.contract import Number, Share, Text, Whole
from darkroom.contracts.errors import BadInput, explained, shown
from darkroom.contracts.prompt import MAX_TEXT
from darkroom.contracts.request import MAX_SEED, MAX_SIDE, MIN_SIDE, Guidance, Steps

MOST = 100  # pictures of one call
Words = Annotated[Text, Field(max_length=MAX_TEXT)]
Pixels = Annotated[Whole, Field(ge=MIN_SIDE, le=MAX_SIDE)]
AnySeed = Annotated[Whole, Field(ge=-1, le=MAX_SEED)]  # -1: chosen anew
Short = Annotated[Text, Field(max_length=300)]


class Asked(BaseModel):
    """What txt2img and img2img are told. None: not said; ours holds then."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    prompt: Words = ""
    negative_prompt: Words | None = None
    styles: Annotated[list[Short], Field(max_length=64)] | None = None
    seed: AnySeed | None = None
    subseed: AnySeed | None = None
    subseed_strength: Share | None = None
    sampler_name: Short | None = None
    sampler_index: Short | None = None  # its older name
    scheduler: Short | None = None
    batch_size: Annotated[Whole, Field(ge=1, le=MOST)] | None = None
    n_iter: Annotated[Whole, Field(ge=1, le=MOST)] | None = None
    steps: Steps | None = None
    cfg_scale: Guidance | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    tiling: bool | None = None
    denoising_strength: Share | None = None
    override_settings: dict[str, Any] | None = None
    alwayson_scripts: dict[str, Any] | None = None
    send_images: bool | None = None
    infotext: Words | None = None
    enable_hr: bool | None = None
    hr_scale: Annotated[Number, Field(ge=1, le=8)] | None = None
    hr_resize_x: Annotated[Whole, Field(ge=0, le=MAX_SIDE)] | None = None
    hr_resize_y: Annotated[Whole, Field(ge=0, le=MAX_SIDE)] | None = None
    init_images: Annotated[list[Any], Field(min_length=1, max_length=16)] | None = None
    mask: Text | None = None
    mask_blur: Annotated[Whole, Field(ge=0, le=256)] | None = None
    inpainting_fill: Annotated[Whole, Field(ge=0, le=3)] | None = None
    inpaint_full_res: bool | None = None
    inpainting_mask_invert: bool | None = None
    resize_mode: Annotated[Whole, Field(ge=0, le=3)] | None = None
    include_init_images: bool | None = None

    @property
    def count(self) -> int:
        """Pictures in all."""
        return (self.batch_size or 1) * (self.n_iter or 1)


def read(fields: Mapping[str, Any]) -> Asked:
    """What a body asks for. Raises BadInput."""
    try:
        asked = Asked.model_validate(dict(fields))
    except ValidationError as error:
        raise BadInput(explained(error.errors())) from None
    if asked.count > MOST:
        said = f"batch_size {asked.batch_size} times n_iter {asked.n_iter}"
        raise BadInput(said, f"is more than {MOST} pictures", "ask in several calls")
    return asked


_ANY = object()  # whatever it holds, the picture is as it would be with A1111
# Fields we do nothing with, and the values that ask for nothing.
_NOTHING: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("image_cfg_scale", "override_settings_restore_afterwards", "do_not_save_grid"), (_ANY,)),
    **dict.fromkeys(("save_images", "inpaint_full_res_padding", "refiner_switch_at", "force_task_id"), (_ANY,)),
    **dict.fromkeys(("restore_faces", "disable_extra_networks", "do_not_save_samples"), (False,)),
    **dict.fromkeys(("s_churn", "s_tmin", "s_tmax", "firstphase_width", "firstphase_height"), (0,)),
    **dict.fromkeys(("seed_resize_from_h", "seed_resize_from_w"), (0, -1)),
    **dict.fromkeys(("s_noise", "initial_noise_multiplier"), (1,)),
    **dict.fromkeys(("script_name", "refiner_checkpoint", "latent_mask", "s_min_uncond"), ("", 0)),
    **{"eta": (0, 1), "script_args": ([],), "comments": ({},)},
}
_OF_HIRES = {"hr_upscaler", "hr_second_pass_steps", "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler"}
_OF_HIRES |= {"hr_prompt", "hr_negative_prompt"}
_HIRES_NOTHING = ("", 0, "None", "Use same sampler", "Use same scheduler", "Use same checkpoint")
_WHY = {
    "restore_faces": "there is nothing here that repairs faces",
    "do_not_save_samples": "pictures are kept in the gallery; throw them away there",
    "hr_upscaler": "the model's own upscaler enlarges",
    "eta": "how much fresh noise comes is the sampler's own",
    "script_name": "scripts are not run here",
}


def notes_on(fields: Mapping[str, Any], asked: Asked) -> list[str]:
    """What of a body changes nothing, and why, a sentence each."""
    found = []
    for name, value in fields.items():
        nothing = _NOTHING.get(name, ())
        if name in Asked.model_fields or value is None or _ANY in nothing or value in nothing:
            continue
        if name in _OF_HIRES and (not asked.enable_hr or value in _HIRES_NOTHING):
            continue
        found.append(f"{shown(name)[1:-1]} changes nothing: {_WHY.get(name, 'it is not known here')}")
    return found
