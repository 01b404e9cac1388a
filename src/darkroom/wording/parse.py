"""From what the user typed to a prompt the model can read.

Only what no reader of text should ever see is taken out here; ``syntax`` reads weights, switches and chunks of what is
left, ``wildcards`` has made the choices before.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from darkroom.contracts.errors import BadInput, shown
from darkroom.contracts.prompt import MAX_TEXT
from darkroom.wording.vocabulary import concept_of

# Control characters say nothing to a model. Bidirectional embeddings, overrides and isolates only reorder the display,
# of every line that quotes the prompt too; without them right-to-left text keeps its letters in the order typed.
# Whitespace among the controls (newline, tab) is kept here and becomes a space below.
_SILENT = {
    code: None for code in range(0xA0) if unicodedata.category(chr(code)) == "Cc" and not chr(code).isspace()
} | dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF))
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # has no UTF-8 form


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """What the picture should show, and what it should not; single-spaced, without control characters."""

    text: str
    negative: str = ""


def parse(text: str, negative: str = "") -> ParsedPrompt:
    """``text`` and ``negative`` cleaned, in linear time; no part of either is evaluated."""
    return ParsedPrompt(_clean(text), _clean(negative))


def _clean(text: str) -> str:
    return " ".join(_SURROGATE.sub("\ufffd", text.translate(_SILENT)).split())


def words_of(text: str) -> set[str]:
    """The words of a caption or prompt in lower case, as it is looked up whether a word was ever seen."""
    return {word for part in text.split() if (word := part.strip(".,;:!?()[]\"'").lower())}


def swapped(text: str, old: str, new: str) -> str:
    """A prompt with words of it changed wherever they stand by themselves, in whatever case.

    A thing that is left out (``new`` is empty) goes with its article and what joined it: "a fox and a tree" without
    "tree" is "a fox". Raises BadInput where they are not in it, and where nothing or too much is left.
    """
    text, old, new = _clean(text), _clean(old), _clean(new)
    before, after = (r"(?<!\w)" if re.match(r"\w", old) else ""), (r"(?!\w)" if re.search(r"\w\Z", old) else "")
    words = before + re.escape(old) + after
    left, things = (text, 0) if new else _without(text, old, words)
    found, count = re.subn(words, lambda _: new, left, flags=re.IGNORECASE)
    count += things
    if not count:
        rule = f"swaps words that are not in the prompt {shown(text)}"
        raise BadInput(f"the swap of {shown(old)}", rule, "name words that stand in it")
    if not found.strip(" ,.") or len(found) > MAX_TEXT:
        rule = "leaves nothing to draw" if len(found) <= MAX_TEXT else f"makes a prompt of over {MAX_TEXT} characters"
        raise BadInput(f"the swap of {shown(old)}", rule, "say what stands in its place, in a few words")
    return found


def _without(text: str, thing: str, words: str) -> tuple[str, int]:
    """A sentence without a thing (``words`` is its pattern), its article and what is said of it before, and without
    what joins it to the rest; and how often it was there. What is no thing that is known is left to stand."""
    if concept_of(thing) is None:
        return text, 0
    article, ends = r"\b(?:an?|the|two|three|four|five|six)\s+", rf"(?=\s*(?:[,.;!?)]|$|(?:{_JOINS})\b))"
    named = rf"{article}(?:(?!(?:{_JOINS})\b)\w+\s+){{0,2}}?{words}{ends}"
    joined = rf"(?:\s*,)?\s*\b(?:{_JOINS})\s+{named}|\s*,\s*{named}"
    return re.subn(rf"{joined}|{named}(?:\s*,)?\s*(?:\b(?:{_JOINS})\s+)?", "", text, flags=re.IGNORECASE)


_JOINS = (
    "and|with|wearing|holding|on|in|at|by|under|over|above|below|behind|beside|near|next to|in front of|on top of|"
    "(?:to the )?(?:left|right) of"
)


def styled(text: str, style: str | None) -> str:
    """The sentence with its style said the way captions say it; None adds nothing."""
    return text if style is None else f"{text}, {style}"
