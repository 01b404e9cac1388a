"""Sentences with fields to be filled: "product photo of {subject} on {ground}".

A field is a name in braces; ``{red|blue}`` is a choice, as in any prompt, and ``\\{`` a brace that is text. What a
field is filled with is taken as it is: braces in it are no fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from darkroom.contracts.errors import BadInput, brief, shown, unknown

_TOKEN = re.compile(r"\\.|\{([A-Za-z][\w-]{0,60})\}|[{}|]", re.DOTALL)
_FIX = r"close it, or write \{ for a brace that is text"


def fields_of(template: str) -> list[str]:
    """The names of a template's fields, in order, each once. Raises BadInput for braces that mean nothing."""
    found: dict[str, None] = {}
    opened: list[tuple[int, bool]] = []  # where, and whether there is a bar in it: a choice
    for token in _TOKEN.finditer(template):
        if token[1]:
            found[token[1]] = None
        elif token[0] == "{":
            opened.append((token.start(), False))
        elif token[0] == "|" and opened:
            opened[-1] = opened[-1][0], True
        elif token[0] == "}":
            if not opened:
                rule = f"closes a brace at character {token.start() + 1} that was not opened"
                raise BadInput(
                    f"the template {shown(template)}", rule, r"open it, or write \} for a brace that is text"
                )
            start, choice = opened.pop()
            if not choice:
                inner = template[start + 1 : token.start()]
                rule = "is no name: letters, digits, - and _, beginning with a letter"
                raise BadInput(f"the field {shown(inner)} of the template", rule, r"rename it, or write \{ for a brace")
    if opened:
        rule = f"opens a brace at character {opened[-1][0] + 1} that is not closed"
        raise BadInput(f"the template {shown(template)}", rule, _FIX)
    return list(found)


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its fields filled. Raises BadInput, with their names, for fields that are missing, unknown or
    filled with nothing."""
    if not template.strip():
        raise BadInput("the template", "is blank", 'write one, "photo of {subject}"')
    fields = fields_of(template)
    for name, value in values.items():
        if name not in fields:
            raise unknown("field", name, fields)
        if not value.strip():
            raise BadInput(f"the field {name}", "is filled with nothing", "say what stands there")
    if missing := [name for name in fields if name not in values]:
        fix = f'give it: --fill {missing[0]}="..."' if len(missing) == 1 else "give them"
        raise BadInput(f"the template {shown(template)}", f"lacks {brief(missing)}", fix)
    return _TOKEN.sub(lambda token: values[token[1]] if token[1] else token[0], template)


def fills_of(texts: Sequence[str]) -> dict[str, str]:
    """What fields are filled with, of texts like ``subject=a red mug`` or ``{"subject": "a red mug"}``."""
    found: dict[str, str] = {}
    for text in texts:
        for name, value in _fill(text).items():
            if name in found:
                raise BadInput(f"the field {shown(name)}", "is filled twice", "fill it once")
            found[name] = value
    return found


def _fill(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        try:
            told = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"--fill {shown(text)}", f"is no JSON ({error})", 'write {"subject": "a red mug"}') from None
        for name, value in told.items():
            if not isinstance(value, str):
                raise BadInput(f"the field {shown(name)}", f"is filled with {shown(value)}", "give text in quotes")
        return dict(told)
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise BadInput(f"--fill {shown(text)}", "names no field", 'write --fill subject="a red mug"')
    return {name.strip(): value}
