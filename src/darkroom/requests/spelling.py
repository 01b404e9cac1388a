"""Fields of a request as text: batch files, axes of grids and the command line spell them alike."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import ValidationError

from darkroom.contracts.errors import BadInput, explain, shown, unknown
from darkroom.contracts.request import MAX_SEEDS, Margins, Request, parse_seeds, parse_size

MAX_FRAMES = 500
TEXTS = frozenset({"prompt", "negative"})  # which hold any text, blank ends and quotes too
_PLAIN = frozenset({"integer", "number", "boolean", "string"})
_OURS = ("negative", "size", "count")  # spelled so on the command line, and no fields of a request
_YES, _NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def names() -> list[str]:
    """What can be said of a picture, by name."""
    return [*Request.model_fields, *_OURS]


def named(name: str, kind: str, known: Collection[str]) -> str:
    """The known name that is spelled ``name``, with dashes or underscores. Raises BadInput with the nearest one."""
    plain = name.strip().removeprefix("--").replace("-", "_").lower() if len(name) <= 100 else name
    if plain not in known:
        raise unknown(kind, name.strip(), known)
    return plain


@cache
def kind_of(name: str) -> str:
    """The kind of a field's value: integer, number, boolean, interval, string, size or margins; or "object"."""
    other = {"prompt": "string", "negative": "string", "size": "size", "count": "integer", "outpaint": "margins"}
    if name in other:
        return other[name]
    shape = Request.model_json_schema()["properties"][name]
    [one, *others] = forms = [one for one in shape.get("anyOf", [shape]) if one.get("type") != "null"]
    if any(form.get("type") == "string" for form in forms):  # what has a short form is spelled so
        return "string"
    if one.get("type") == "array" and one.get("maxItems") == 2:
        return "interval"
    return str(one["type"]) if not others and one.get("type") in _PLAIN else "object"


def value_of(name: str, text: str) -> Any:
    """The value of a field, of its text. Raises BadInput for what is none; bounds are the request's matter."""
    kind = kind_of(name)
    if kind == "integer":
        return whole(name, text)
    if kind == "number":
        return number(name, text)
    if kind == "interval":
        return interval(name, text)
    if kind == "boolean":
        return _switch(name, text)
    if kind == "size":
        return parse_size(text)
    if kind == "object":
        return _json(name, text)
    return parse_margins(text) if kind == "margins" else text


def whole(name: str, text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise BadInput(f"{name} {shown(text)}", "is not a whole number", "give one like 12") from None


def number(name: str, text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{name} {shown(text)}", "is not a number", "give one like 3.5") from None


def interval(name: str, text: str) -> tuple[float, float]:
    """Two numbers, "0.1-0.9"."""
    try:
        lowest, highest = map(float, text.split("-"))
    except ValueError:
        raise BadInput(f"{name} {shown(text)}", "is not two numbers", "give them like 0.1-0.9") from None
    return lowest, highest


def parse_margins(text: str) -> dict[str, int]:
    """The margins of "left=64,top=32", or of the same on all sides, "64"."""
    sides = list(Margins.model_fields)
    if text.strip().isdecimal():
        return dict.fromkeys(sides, int(text))
    found: dict[str, int] = {}
    for part in text.split(","):
        match = _MARGIN.fullmatch(part)
        if not match or match[1] not in sides or match[1] in found:
            rule = "is not sides (left, top, right, bottom) with a number of pixels, each once"
            raise BadInput(f"outpaint {shown(text)}", rule, 'write "left=64", "left=64,right=64" or "64" for all sides')
        found[match[1]] = int(match[2])
    return found


_MARGIN = re.compile(r"\s*([a-z]+)\s*=\s*([0-9]{1,6})\s*")


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput(f"{name} {shown(text)}", "is no JSON", "write it as JSON") from None


def _switch(name: str, text: str) -> bool:
    if (plain := text.strip().lower()) not in _YES | _NO:
        raise BadInput(f"{name} {shown(text)}", "is neither yes nor no", "write yes or no")
    return plain in _YES


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said of one or more pictures, by field: not yet checked together. ``seed`` None: none was given."""

    fields: Mapping[str, Any]
    seed: str | None = None
    count: int = 1

    def but(self, told: Mapping[str, Any]) -> Asked:
        """The same with what else is told, which wins: values of fields, or their texts. None tells nothing.

        Raises BadInput for a text that is no value of its field.
        """
        fields, seed, count = dict(self.fields), self.seed, self.count
        if "size" in told and told["size"] is not None and (told.get("width") or told.get("height")):
            raise BadInput(f"size {shown(told['size'])}", "says width and height again", "give one or the other")
        for name, value in told.items():
            if value is None:
                continue
            if name == "seed":
                seed = str(value) if _plain(value) else value
                if not isinstance(seed, str):
                    raise BadInput(f"seed {shown(value)}", "is not a whole number", "give one like 12")
                continue
            found = value_of(name, value) if isinstance(value, str) else value
            if name == "count":
                count = found
            elif name == "size":
                if isinstance(value, str | int) and not isinstance(value, bool):
                    fields["width"], fields["height"] = parse_size(str(value))
                else:
                    raise BadInput(f"size {shown(value)}", "is not a size", 'write "128x96", or one side, "128"')
            else:
                fields[name] = found
        return Asked(fields, seed, count)

    def requests(self, chosen: int) -> list[Request]:
        """A request for each picture; ``chosen`` is the first seed where none was given.

        Raises BadInput for what cannot be asked for.
        """
        fields = dict(self.fields)
        said, negative = fields.pop("prompt", None), fields.pop("negative", "")
        if said is None:
            raise BadInput("no prompt", "was given", "say what the picture shows")
        if not isinstance(said, str | Mapping):
            raise BadInput(f"prompt {shown(said)}", "is not text", "say what the picture shows")
        prompt = {"negative": negative, **said} if isinstance(said, Mapping) else {"text": said, "negative": negative}
        seeds = seeds_of(self.seed, self.count, chosen)
        return [Request.checked({**fields, "prompt": prompt, "seed": seed}) for seed in seeds]

    def sample(self) -> Request:
        """A request that is drawn with the same model, opened in the same way."""
        opening = {name: self.fields[name] for name in ("model", "dtype", "offload") if name in self.fields}
        return Request.checked({"prompt": "anything", **opening})

    def check(self) -> None:
        """Raises BadInput for a field that is out of its bounds whatever else is said."""
        sample = replace(self, fields={"prompt": "anything", **self.fields})
        try:
            fields = {name: value for name, value in sample.fields.items() if name not in TEXTS}  # and those as one
            prompt = {"text": sample.fields["prompt"], "negative": sample.fields.get("negative", "")}
            Request.model_validate({**fields, "prompt": prompt})
        except ValidationError as error:
            if any(problem["loc"] for problem in error.errors(include_url=False)):
                raise BadInput(explain(error, flags=True)) from None
        seeds_of(self.seed, self.count, 0)


def frames_of(request: Request, count: int, chosen: tuple[int, int]) -> list[Request]:
    """The frames of a film: the request with nothing of its ``toward`` and ``variation``, then ever more, up to all.

    ``chosen`` are the seed and the other seed of all of them where none is given; a share that is not given is 1.
    """
    if not 2 <= count <= MAX_FRAMES:
        raise BadInput(f"frames {shown(count)}", f"is not between 2 and {MAX_FRAMES}", "try 8")
    toward, variation = request.toward, request.variation
    if toward is None and variation is None:
        rule = "lead nowhere: nothing changes from one to the next"
        raise BadInput("frames", rule, 'say where to: --toward "a dog", or --variation-seed 9')
    end = 1.0 if toward is None or "share" not in toward.model_fields_set else toward.share
    seeds: dict[str, Any] = {"seed": chosen[0] if request.seed is None else request.seed}
    if variation is not None:
        seeds["variation_seed"] = chosen[1] if request.variation_seed is None else request.variation_seed
    found = []
    for share in (n / (count - 1) for n in range(count)):
        told: dict[str, Any] = {} if toward is None else {"toward": {"prompt": toward.prompt, "share": end * share}}
        told |= {} if variation is None else {"variation": variation * share}
        found.append(Request.checked({**dict(request), **seeds, **told}))
    return found


def _plain(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def seeds_of(seed: str | None, count: int, chosen: int) -> list[int]:
    """The seeds of a text such as "7", "0-7" or "1,4,9", or so many from the first on; None: from ``chosen`` on."""
    if not _plain(count) or not 1 <= count <= MAX_SEEDS:
        if not _plain(count):
            raise BadInput(f"count {shown(count)}", "is not a whole number", "give one like 12")
        raise BadInput(f"count {count}", f"is not between 1 and {MAX_SEEDS}", f"try {min(max(count, 1), MAX_SEEDS)}")
    seeds = parse_seeds(seed) if seed is not None else [chosen]
    if count == 1:
        return seeds
    if len(seeds) > 1:
        raise BadInput(f"count {count}", f"and {len(seeds)} seeds say two different numbers", "give one of them")
    return parse_seeds(f"{seeds[0]}-{seeds[0] + count - 1}")
