"""A1111's names for what we have, and ours for what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterable

from darkroom.cards import known_models, read_card
from darkroom.contracts.errors import BadInput, unknown
from darkroom.picture.infotext import MODEL_HASH_CHARACTERS, steered
from darkroom.server.keeping.folders import Folders

SAMPLERS = {  # ours, and A1111's word for it
    "euler": "Euler",
    "euler-a": "Euler a",
    "heun": "Heun",
    "dpm2": "DPM2",
    "lms": "LMS",
    "dpmpp-2m": "DPM++ 2M",
    "dpmpp-2s-a": "DPM++ 2S a",
    "dpmpp-sde": "DPM++ SDE",
    "dpmpp-2m-sde": "DPM++ 2M SDE",
    "dpmpp-3m-sde": "DPM++ 3M SDE",
    "ddim": "DDIM",
    "unipc": "UniPC",
    "lcm": "LCM",
}
SCHEDULERS = {"even": "Uniform", "karras": "Karras", "exponential": "Exponential", "beta": "Beta"}
AUTOMATIC = "Automatic"  # the model's own
_HASH = re.compile(r"\s*\[[0-9a-fA-F]*\]\s*$")


def sampling(sampler: str | None, scheduler: str | None, offered: Iterable[str] | None) -> dict[str, str]:
    """Sampler and spacing of ours for their names, or for ours; what they leave to the model is left out.

    ``offered`` are the samplers there are; None: nobody knows yet. Raises BadInput for an unknown one.
    """
    known = set(SAMPLERS if offered is None else offered)
    told = {"Sampler": sampler or "", "Schedule type": "" if _is_automatic(scheduler) else scheduler or ""}
    found = steered(told)
    if sampler and "sampler" not in found and not _is_automatic(sampler):
        if sampler not in known:
            raise unknown("sampler", sampler, [SAMPLERS.get(name, name) for name in known])
        found["sampler"] = sampler
    if told["Schedule type"] and "spacing" not in found:
        if told["Schedule type"] not in SCHEDULERS:
            raise unknown("scheduler", told["Schedule type"], [AUTOMATIC, *SCHEDULERS.values()])
        found["spacing"] = told["Schedule type"]
    return found


def _is_automatic(name: str | None) -> bool:
    return (name or "").lower() in ("", "automatic", "use same sampler", "use same scheduler")


def model_titles() -> dict[str, str]:
    """Models by our names, and as A1111 shows them: name and the beginning of the hash."""
    cards = {name: read_card(folder) for name, folder in known_models().items()}
    return {name: f"{name} [{card.model_hash[:MODEL_HASH_CHARACTERS]}]" for name, card in cards.items()}


def model_named(text: str) -> str:
    """The model that a title, a name, a file's name or the beginning of a hash means. Raises BadInput."""
    titles = model_titles()
    plain = re.sub(r"\.(safetensors|ckpt)$", "", _HASH.sub("", text).strip())
    for name, title in titles.items():
        hashed = title.rpartition("[")[2].rstrip("]")
        if plain == name or (len(text) >= 8 and hashed.startswith(text.strip()[:MODEL_HASH_CHARACTERS])):
            return name
    raise unknown("model", text, titles.values())


def adapter_named(text: str, folders: Folders) -> str | None:
    """The adapter of that name, with or without its ending and a hash behind it; None: there is none."""
    plain = _HASH.sub("", text).strip()
    names = folders.adapter_names()
    return next((name for name in names if plain in (name, name.rpartition(".")[0])), None)


def adapter(kind: str, text: str, folders: Folders) -> str:
    """The same, where there must be one. Raises BadInput."""
    if (found := adapter_named(text, folders)) is None:
        raise unknown(kind, text, folders.adapter_names())
    return found


_LORA = re.compile(r"<lora:([^<>:]{1,200})(?::([^<>:]{0,20}))?(?::[^<>]{0,100})?>")
_OTHER = re.compile(r"<(?:lyco|hypernet):[^<>]{1,300}>")
LARGEST_SCALE = 10.0


def without_loras(text: str, folders: Folders, notes: list[str]) -> tuple[str, list[dict[str, object]]]:
    """A prompt without its ``<lora:name:0.8>``, and those as loras of a request; those not here go into ``notes``.

    Raises BadInput for a strength that is no number.
    """
    found: list[dict[str, object]] = []
    for name, scale in _LORA.findall(text):
        try:
            strength = float(scale or 1)
        except ValueError:
            raise BadInput(f"the strength {scale!r} of <lora:{name}>", "is not a number", "write 0.8") from None
        if not -LARGEST_SCALE <= strength <= LARGEST_SCALE:
            raise BadInput(f"the strength {scale} of <lora:{name}>", "is not between -10 and 10", "write 0.8")
        if (file := adapter_named(name, folders)) is None:
            notes.append(f"<lora:{name}> changes nothing: there is no adapter of that name")
        else:
            found.append({"file": file, "scale": strength})
    notes += [f"{other} changes nothing: only <lora:...> is known" for other in _OTHER.findall(text)]
    return _OTHER.sub("", _LORA.sub("", text)).strip(), found
