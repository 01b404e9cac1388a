"""Settings as one text, the way A1111 wrote them and other programs read them.

    a red fox
    Negative prompt: blurry
    Steps: 12, Sampler: heun, CFG scale: 3.5, Seed: 7, Size: 256x192, Model hash: 0123456789, Model: "a, b"

A value with a comma, a colon or a newline is quoted as JSON. The format cannot tell every prompt from its own
keywords ("Negative prompt:" inside a prompt): where the plain text would be read wrongly, the last line repeats the
prompt, quoted, as ``Darkroom prompt`` and ``Darkroom negative``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from darkroom.contracts.errors import BadInput, explain, shown
from darkroom.contracts.recipe import Recipe, RefinerUse
from darkroom.contracts.request import MAX_SIDE, UPSCALES, Request, parse_size

NEGATIVE = "Negative prompt:"
EXACT_PROMPT, EXACT_NEGATIVE = "Darkroom prompt", "Darkroom negative"
MODEL_HASH_CHARACTERS = 10  # what A1111 shows of a SHA-256
MIN_SETTINGS = 3  # fewer on the last line, and it belongs to the prompt: A1111's own rule
MAX_KEY = 60
_NUMBERS = {"Steps": ("steps", int), "Seed": ("seed", int), "CFG scale": ("guidance", float)}
UPSCALE = "Hires upscale"  # A1111's word; beside it, Size is that of the drawing
OURS = "darkroom "  # what Version begins with in a text of our own
_NAMES = {"Sampler": "sampler", "Style": "style"}
# Written where a recipe differs from what it holds by itself, under A1111's word where that has one.
_OPTIONAL = {
    "Schedule type": "spacing",
    "Shift": "shift",
    "Guidance method": "guidance_method",
    "CFG Rescale": "guidance_rescale",
    "Guidance interval": "guidance_interval",
    "Guidance threshold": "guidance_threshold",
    "Variation seed strength": "variation",
    "Variation seed": "variation_seed",
    "Regions": "regions",
    "Toward": "toward",
    "Swap": "swap",
    "Edges meet": "tile",
    "Hires denoising": "hires",
    "Number formats": "dtype",
    "VAE tile": "vae_tile",
}


# Other programs' names, without case, signs and what says on which processor; the last words of an older A1111 sampler
# name are its schedule.
_SAMPLERS = {
    **{
        name.replace("-", ""): name for name in ("euler", "heun", "dpm2", "lms", "dpmpp-2m", "unipc", "euler-a", "ddim")
    },
    **{name.replace("-", ""): name for name in ("dpmpp-2s-a", "dpmpp-sde", "dpmpp-2m-sde", "dpmpp-3m-sde", "lcm")},
    "eulerancestral": "euler-a",
    "dpmpp2sancestral": "dpmpp-2s-a",
    "unipcbh2": "unipc",
}
_SPACINGS = {
    **{name: name for name in ("karras", "exponential", "beta")},
    **dict.fromkeys(("automatic", "uniform", "normal", "simple", "sgmuniform", "ddimuniform"), "even"),
}
_ADAPTER = re.compile(r"<(?:lora|lyco|hypernet):[^<>]{1,300}>")


@dataclass(frozen=True, slots=True)
class Infotext:
    """What an infotext says, unchecked: it may come from any program."""

    prompt: str
    negative: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    def request(self) -> Request:
        """The request it amounts to, within the same bounds as any other; settings darkroom has no word for are left
        out, and so is the model, which is another program's."""
        ours = self.settings.get("Version", "").startswith(OURS)
        said = {"text": self.prompt, "negative": self.negative}
        asked: dict[str, Any] = {"prompt": said if ours else {name: plain_prompt(text) for name, text in said.items()}}
        for key, (name, number) in _NUMBERS.items():
            if (value := self.settings.get(key)) is not None:
                try:
                    asked[name] = number(value)
                except ValueError:
                    raise BadInput(f"{key} {shown(value)}", "is not a number", "correct it in the text") from None
        if not ours:
            asked |= steered(self.settings)
        else:
            asked |= {name: self.settings[key] for key, name in _NAMES.items() if key in self.settings}
            asked |= {name: _plain(name) for name in _OPTIONAL.values()}
            asked |= {name: _read(name, self.settings[key]) for key, name in _OPTIONAL.items() if key in self.settings}
        factor = self.settings.get(UPSCALE, "1" if ours else "")  # others do not know a model's size
        if "Size" in self.settings:
            asked["width"], asked["height"] = parse_size(self.settings["Size"])
            if factor in map(str, UPSCALES):  # other programs have others, such as 1.5
                asked |= {side: min(asked[side] * int(factor), MAX_SIDE) for side in ("width", "height")}
                asked |= {"upscale": int(factor)} if ours else {}  # how others drew is not how this model does
        try:
            return Request(**asked)
        except ValidationError as error:
            raise BadInput(explain(error)) from error

    def left_out(self) -> dict[str, str]:
        """The settings that the request does not hold, and what it leaves out of the prompt."""
        ours = self.settings.get("Version", "").startswith(OURS)
        read = {*_NUMBERS, "Size", *(_NAMES if ours else ()), *(_OPTIONAL if ours else ())}
        known = {} if ours else steered(self.settings)
        read |= {key for key, name in (("Sampler", "sampler"), ("Schedule type", "spacing")) if name in known}
        adapters = [] if ours else _ADAPTER.findall(f"{self.prompt} {self.negative}")
        left = {key: text for key, text in self.settings.items() if key not in {*read, UPSCALE, "Version"}}
        return {**left, **({"Adapters": ", ".join(adapters)} if adapters else {})}


def steered(settings: dict[str, str]) -> dict[str, str]:
    """Sampler and spacing by our names, where another program's (``Sampler``, ``Schedule type``) are known."""
    sampler, spacing = (_key(settings.get(name, "")) for name in ("Sampler", "Schedule type"))
    for name in _SPACINGS:
        if sampler.endswith(name) and sampler not in _SAMPLERS:  # DPM++ 2M Karras
            sampler, spacing = sampler.removesuffix(name), name
    found = {"sampler": _SAMPLERS.get(sampler), "spacing": _SPACINGS.get(spacing)}
    return {name: known for name, known in found.items() if known is not None}


def _key(name: str) -> str:
    """A name without case, signs and processor."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    return re.sub(r"^k(?=dpm|euler|heun|lms)", "", plain).removesuffix("gpu")


def plain_prompt(text: str) -> str:
    """Another program's prompt: its adapters are not words, and braces are no choices of ours."""
    return re.sub(r"(?<!\\)[{}]", r"\\\g<0>", _ADAPTER.sub("", text)).strip()


def infotext(recipe: Recipe) -> str:
    """A recipe as infotext. ``parse_infotext`` gives prompt, negative prompt and settings back, whatever they hold."""
    prompt, negative = recipe.prompt.text, recipe.prompt.negative
    told = dict(recipe)
    settings = {
        "Steps": str(recipe.steps),
        "Sampler": recipe.sampler,
        "CFG scale": repr(recipe.guidance),
        "Seed": str(recipe.seed),
        "Size": "{}x{}".format(*recipe.drawn),
        "Model hash": recipe.model_hash[:MODEL_HASH_CHARACTERS],
        "Model": recipe.model,
        **({UPSCALE: str(recipe.upscale)} if recipe.upscale > 1 else {}),
        **({"Style": recipe.style} if recipe.style is not None else {}),
        **{key: _told(told[name]) for key, name in _OPTIONAL.items() if told[name] != _plain(name)},
        # told and not read: the pictures are not in the text
        **({"Denoising strength": _told(recipe.strength)} if recipe.init_image is not None else {}),
        **({"Guide": recipe.guide.name} if recipe.guide is not None else {}),
        **(_refiner(recipe.refiner) if recipe.refiner is not None else {}),
        **(_adapters(recipe) if recipe.adapters else {}),
        **({"Mask blur": _told(recipe.mask_blur)} if recipe.mask is not None else {}),
        "Version": f"{OURS}{recipe.darkroom}",
    }
    text = _written(prompt, negative, settings)
    read = parse_infotext(text)
    if (read.prompt, read.negative) != (prompt, negative):
        text = _written(prompt, negative, {**settings, EXACT_PROMPT: prompt, EXACT_NEGATIVE: negative})
    return text


def _refiner(use: RefinerUse) -> dict[str, str]:
    """A second model as A1111 tells of it."""
    told = f"{use.name} [{use.model_hash[:MODEL_HASH_CHARACTERS]}]"
    return {"Refiner": told, "Refiner switch at": _told(use.at)}


def _adapters(recipe: Recipe) -> dict[str, str]:
    """Adapters as A1111 tells of them, "name: hash, name: hash"; and, which it does not, how strongly each acted."""
    names = [re.sub(r"[,:]", " ", use.name.rpartition(".")[0] or use.name) for use in recipe.adapters]
    pairs = list(zip(names, recipe.adapters, strict=True))
    return {
        "Lora hashes": ", ".join(f"{name}: {use.sha256[:12]}" for name, use in pairs),
        "Lora weights": ", ".join(f"{name}: {use.scale:g}" for name, use in pairs),
    }


def _plain(name: str) -> Any:
    """What a recipe holds where nothing was asked for."""
    return Recipe.model_fields[name].default


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=dict, ensure_ascii=False)


def _read(name: str, text: str) -> Any:
    """What :func:`_told` wrote of a field; what is no JSON stays text, which the request then refuses."""
    if isinstance(_plain(name), str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _written(prompt: str, negative: str, settings: dict[str, str]) -> str:
    last = ", ".join(f"{key}: {_quoted(value)}" for key, value in settings.items())
    return "\n".join([prompt, *([f"{NEGATIVE} {negative}"] if negative else []), last])


def _quoted(value: str) -> str:
    plain = value and value == value.strip() and not set(value) & set(',:"\n\r')
    return value if plain else json.dumps(value, ensure_ascii=False)


def parse_infotext(text: str) -> Infotext:
    """What an infotext says. Any text has a reading: without settings, all of it is prompt."""
    text = text.strip()
    body, _, last = text.rpartition("\n")
    settings = _settings(last)
    if len(settings) < MIN_SETTINGS:
        body, settings = text, {}
    prompt, negative = _split_negative(body)
    prompt, negative = settings.pop(EXACT_PROMPT, prompt), settings.pop(EXACT_NEGATIVE, negative)
    return Infotext(prompt, negative, settings)


def _split_negative(body: str) -> tuple[str, str]:
    """Everything from the first line that begins with "Negative prompt:" on is negative."""
    at = 0 if body.startswith(NEGATIVE) else body.find("\n" + NEGATIVE) + 1
    if not at and not body.startswith(NEGATIVE):
        return body.strip(), ""
    return body[:at].strip(), body[at + len(NEGATIVE) :].strip()


def _settings(line: str) -> dict[str, str]:
    """ "Key: value, Key: "quoted, value"" as a mapping, in one pass; what has no key is skipped. The first of two
    equal keys counts."""
    found: dict[str, str] = {}
    at = 0
    while at < len(line):
        end = _or_end(line.find(",", at), line)
        colon = line.find(":", at, min(end, at + MAX_KEY + 1))
        if colon < 0:
            at = end + 1
            continue
        key = line[at:colon].strip()
        at = colon + 1
        while at < len(line) and line[at] == " ":
            at += 1
        value, at = _value(line, at)
        if key:
            found.setdefault(key, value)
    return found


def _value(line: str, at: int) -> tuple[str, int]:
    """One value and where the next setting begins."""
    if quoted := _QUOTED.match(line, at):
        try:
            return str(json.loads(quoted[0])), _or_end(line.find(",", quoted.end()), line) + 1
        except ValueError:
            pass  # not JSON: take it as it stands
    end = _or_end(line.find(",", at), line)
    return line[at:end].strip(), end + 1


def _or_end(found: int, line: str) -> int:
    return len(line) if found < 0 else found


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"')  # possessive: a quote that never ends is given up in one pass
