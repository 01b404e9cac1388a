"""What A1111's calls ask for, as requests of ours."""

from __future__ import annotations

from typing import Any

from darkroom.cards import known_models, read_card
from darkroom.contracts.card import UPSCALER
from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.request import MAX_SEED, SIDE_STEP, Request
from darkroom.picture.infotext import parse_infotext, plain_prompt
from darkroom.server.admit import styles
from darkroom.server.routes.a1111.asked import Asked
from darkroom.server.routes.a1111.names import adapter_named, model_named, sampling, without_loras
from darkroom.server.routes.a1111.starts import controls_of, start_of
from darkroom.server.studio import Studio

MOST_PIXELS = 64_000_000  # of all pictures of one call: the reply holds them at once
HR_SCALE = 2.0
_UNSAID = ("None", "none", "")  # styles that are none


def requests_of(asked: Asked, notes: list[str], studio: Studio, model: str, *, starts: bool) -> list[Request]:
    """The pictures that are asked for. ``model`` draws where the call names none; ``starts``: they begin from a
    picture. Adds to ``notes``. Raises BadInput or BadFile."""
    folders = studio.settings.folders
    fields = _told(asked)
    fields["model"] = _settings(asked.override_settings or {}, fields, notes, studio) or model
    text, loras = without_loras(asked.prompt or fields.pop("said", ""), folders, notes)
    negative, more = without_loras(asked.negative_prompt or fields.pop("unsaid", ""), folders, notes)
    fields["prompt"] = {"text": plain_prompt(text), "negative": plain_prompt(negative)}
    fields["lora"] = [*loras, *more] or None
    offered = studio.workers.offers().get("sampler")
    fields |= sampling(asked.sampler_name or asked.sampler_index, asked.scheduler, offered)
    fields |= _styled(asked, fields["model"], notes, studio)
    fields["control"] = controls_of(asked.alwayson_scripts or {}, notes, folders) or None
    if starts:
        fields |= start_of(asked, notes, folders)
    fields |= _sized(asked, fields["model"], notes, starts=starts)
    first = Request.checked({name: value for name, value in fields.items() if value is not None and name in _KNOWN})
    _check_pixels(first, asked.count)
    return [first.model_copy(update=_numbered(asked, at)) for at in range(asked.count)]


_KNOWN = frozenset(Request.model_fields)


def _told(asked: Asked) -> dict[str, Any]:
    """What an infotext says, and over it what the call does."""
    fields: dict[str, Any] = {}
    if asked.infotext:
        read = parse_infotext(asked.infotext)
        request = read.request()
        fields = {name: value for name, value in request if value is not None and name not in ("prompt", "model")}
        fields |= {"said": request.prompt.text, "unsaid": request.prompt.negative}
    own = {"steps": asked.steps, "guidance": asked.cfg_scale, "tile": "both" if asked.tiling else None}
    if asked.subseed_strength:
        own["variation"] = asked.subseed_strength
    return fields | {name: value for name, value in own.items() if value is not None}


def _settings(told: dict[str, Any], fields: dict[str, Any], notes: list[str], studio: Studio) -> str | None:
    """The model that ``override_settings`` name; None: none."""
    model = None
    for name, value in told.items():
        if name == "sd_model_checkpoint" and value:
            model = model_named(str(value)[:300])
        elif name == "sd_vae" and value not in ("Automatic", "None", "", None):
            fields["vae"] = adapter_named(str(value)[:300], studio.settings.folders)
            if fields["vae"] is None:
                notes.append(f"sd_vae {shown(value)} changes nothing: there is no file of that name")
        elif (name, value) not in (("CLIP_stop_at_last_layers", 1), ("sd_vae", value)) and value is not None:
            notes.append(f"{shown(name)[1:-1]} of override_settings changes nothing: it is not known here")
    return model


def _styled(asked: Asked, model: str, notes: list[str], studio: Studio) -> dict[str, Any]:
    """The first style there is; others go into ``notes``."""
    wanted = [style for style in asked.styles or [] if style not in _UNSAID]
    known = styles(model, studio) if wanted else []
    found = [style for style in wanted if style in known]
    notes += [f"the style {shown(style)} changes nothing: it is not here" for style in wanted if style not in known]
    notes += [f"the style {shown(style)} changes nothing: a picture has one, the first" for style in found[1:]]
    return {"style": found[0]} if found else {}


def _sized(asked: Asked, model: str, notes: list[str], *, starts: bool) -> dict[str, Any]:
    """Width and height of the finished picture, and how much of it is drawn anew once enlarged."""
    card = read_card(known_models()[model])
    sides = {"width": asked.width, "height": asked.height}
    hires: dict[str, Any] = {}
    if asked.enable_hr and not starts:
        drawn = {"width": asked.width or card.defaults.width, "height": asked.height or card.defaults.height}
        larger = {"width": asked.hr_resize_x, "height": asked.hr_resize_y}
        scale = asked.hr_scale or HR_SCALE
        if any(larger.values()):
            scale = max((larger[name] or 0) / side for name, side in drawn.items())
        sides = {name: larger[name] or round(side * scale) for name, side in drawn.items()}
        if UPSCALER in card.files:
            hires = {"hires": asked.denoising_strength or None}
        else:
            notes.append("enable_hr: this model has no upscaler, so all of the picture is drawn at its final size")
    for name, side in sides.items():
        if side is not None and side % SIDE_STEP:
            sides[name] = max(SIDE_STEP, round(side / SIDE_STEP) * SIDE_STEP)
            notes.append(f"{name} {side} is drawn as {sides[name]}: sides are multiples of {SIDE_STEP}")
    return {name: value for name, value in {**sides, **hires}.items() if value is not None}


def _check_pixels(request: Request, count: int) -> None:
    defaults = read_card(known_models()[request.model]).defaults
    pixels = (request.width or defaults.width) * (request.height or defaults.height)
    if pixels * count > MOST_PIXELS:
        rule = f"have more than {MOST_PIXELS:,} pixels together"
        raise BadInput(f"{count} pictures", rule, f"ask for {max(1, MOST_PIXELS // pixels)} at most")


def _numbered(asked: Asked, at: int) -> dict[str, Any]:
    """The seeds of one of the pictures: they count upwards; of variations, the other seed does."""
    varied = bool(asked.subseed_strength)
    found: dict[str, Any] = {}
    if asked.seed is not None and asked.seed >= 0:
        found["seed"] = (asked.seed + (0 if varied else at)) % (MAX_SEED + 1)
    if varied and asked.subseed is not None and asked.subseed >= 0:
        found["variation_seed"] = (asked.subseed + at) % (MAX_SEED + 1)
    return found
