"""Saved styles: words around a prompt, words to keep out, and settings, under a name; and what a prompt is read as.

A model's own styles are words it was trained with, and win where a saved style has their name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from darkroom.contracts.contract import Contract, Text
from darkroom.contracts.errors import BadFile, BadInput, shown, unknown
from darkroom.contracts.prompt import MAX_TEXT
from darkroom.contracts.request import NO_SETTINGS, Request
from darkroom.wording.reduce import reduced
from darkroom.wording.stylefile import check_name, read_styles
from darkroom.wording.templates import fields_of

PROMPT = "prompt"  # the one field of a style's template
_AT = re.compile(r"\\.|\{prompt\}", re.DOTALL)
_CLOSED = re.compile(r"\s*[.,;:]")


def _template(value: str) -> str:
    if others := [name for name in fields_of(value) if name != PROMPT]:
        raise BadInput(
            f"the field {{{others[0]}}} of a style", "is not {prompt}", "a style's words hold {prompt} alone"
        )
    if "\0" in value:
        raise BadInput("a style's words", "hold a NUL character", "remove it")
    return value


def _settings(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for name in value:
        if name not in Request.model_fields or name in NO_SETTINGS:
            raise unknown("setting of a style", str(name), [n for n in Request.model_fields if n not in NO_SETTINGS])
    Request.checked({"prompt": "a", **value})  # the same bounds
    return dict(value)


class SavedStyle(Contract):
    """Words and settings under a name."""

    prompt: Annotated[Text, AfterValidator(_template)] = Field(
        "", max_length=MAX_TEXT, description="Words with {prompt} where the prompt stands; without it they come after."
    )
    negative: Text = Field("", max_length=MAX_TEXT, description="What to keep out, besides what the prompt does.")
    settings: Annotated[dict[str, Any], BeforeValidator(_settings)] = Field(
        default_factory=dict, description="Settings, for what a request leaves open."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.prompt.strip(" ,") and not self.negative.strip(" ,") and not self.settings:
            raise BadInput("the style", "says nothing", "give it words, a negative or a setting")
        return self

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From a table of the style file, where settings stand beside the words."""
        words = {name: value for name, value in told.items() if name in ("prompt", "negative")}
        return cls.checked({**words, "settings": {n: v for n, v in told.items() if n not in words}})

    def table(self) -> dict[str, Any]:
        """As the style file has it; :meth:`of` reads it back."""
        words = {name: text for name, text in (("prompt", self.prompt), ("negative", self.negative)) if text}
        return {**words, **self.settings}

    def around(self, text: str) -> str:
        """A prompt within the style's words."""
        words = self.prompt.strip(" ,\t\r\n")
        if not words:
            return text
        if not any(match[0] != "\\" and match[0].startswith("{") for match in _AT.finditer(words)):
            return f"{_bare(text)}, {words}"

        def said(match: re.Match[str]) -> str:
            if match[0].startswith("\\"):
                return match[0]
            return _bare(text) if _CLOSED.match(words, match.end()) else text.strip()

        return _AT.sub(said, words)

    def applied(self, request: Request) -> Request:
        """The request in this style: what it says itself stays as it is."""
        open_ = {n: v for n, v in self.settings.items() if getattr(request, n) == Request.model_fields[n].default}
        if request.width is not None or request.height is not None:
            open_ = {name: value for name, value in open_.items() if name not in ("width", "height")}
        negative = ", ".join(text for text in (request.prompt.negative.strip(" ,"), self.negative.strip(" ,")) if text)
        prompt = {"text": self.around(request.prompt.text), "negative": negative}
        return Request.checked({**dict(request), "style": None, **open_, "prompt": prompt})


def _bare(text: str) -> str:
    """A prompt without the marks at its end, as more comes after it."""
    ended = re.search(r"(?<!\\)[\s.,;]{1,20}$", text[-40:])
    return text.strip() if ended is None else text[: len(text) - len(ended[0])].strip() or text.strip()


def style_named(name: str, file: Path | None) -> SavedStyle | None:
    """The saved style of a name; None: there is none. Raises BadFile for a file, or a style of it, beyond use."""
    told = {} if file is None else read_styles(file)
    if name not in told:
        return None
    try:
        check_name(name)
        return SavedStyle.of(told[name])
    except BadInput as error:
        raise BadFile(f"the style {shown(name)} in {file}", f"cannot be used: {error}") from error


class Worded(NamedTuple):
    """A request with the words that are drawn; what was written, where that is another text; its saved style's name."""

    request: Request
    written: str | None
    saved_style: str | None


def worded(request: Request, styles: Collection[str], file: Path | None) -> Worded:
    """What a request is read as: talk reduced to what is to be drawn, within its saved style.

    ``styles`` are the model's own; ``file`` holds the saved ones, None: there are none. Choices are made later. Raises
    BadInput for a style that is neither, and for a prompt of which nothing is left.
    """
    text = request.prompt.text
    left = text if request.verbatim else reduced(text)
    if not left.strip():
        rule = "asks for a picture and names no subject: nothing is left to draw"
        raise BadInput(f"the prompt {shown(text)}", rule, "say what it shows, or draw it as it is with --verbatim")
    if left != text:
        prompt = {"text": left, "negative": request.prompt.negative}
        request = Request.checked({**dict(request), "prompt": prompt})
    name = request.style
    if name is None or name in styles:
        return Worded(request, text if left != text else None, None)
    saved = style_named(name, file)
    if saved is None:
        raise unknown("style", name, {*styles, *(read_styles(file) if file is not None else ())})
    inner = saved.settings.get("style")
    if inner is not None and inner not in styles:
        raise unknown(f"style of the saved style {shown(name)},", inner, styles)
    request = saved.applied(request)
    return Worded(request, text if request.prompt.text != text else None, name)
