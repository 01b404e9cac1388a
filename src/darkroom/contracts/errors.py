"""What can go wrong, said in one sentence: the value, the rule and the fix.

``BadInput("width 1001", "is not a multiple of 16", "try 1008")`` reads
"width 1001 is not a multiple of 16; try 1008". The ``code`` is for machines: exit codes, HTTP bodies, job states.
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ValidationError

SHOWN_CHARACTERS = 60  # of an offending value; enough to recognise it, short enough for one line
KNOWN_SHOWN = 24  # names listed after "known:"
WORDS_SHOWN, WORD_SHOWN = 12, 30  # words of a list, and characters of a word
LEAST_IN_COMMON = 3  # letters a name and the beginning of a known one share
PROBLEMS_SHOWN = 3  # sentences explain() gives before it counts the rest


class DarkroomError(Exception):
    """An error a user can act on. Subclasses say what kind; nothing else is ever shown without a traceback."""

    code: ClassVar[str] = "error"

    def __init__(self, value: str, rule: str = "", fix: str = "") -> None:
        super().__init__(value, rule, fix)  # all three in args, so that the error survives pickling between processes
        self.value, self.rule, self.fix = value, rule, fix

    def __str__(self) -> str:
        sentence = " ".join(part for part in (self.value, self.rule) if part)
        return f"{sentence}; {self.fix}" if self.fix else sentence


class BadInput(DarkroomError, ValueError):
    """A value outside its bounds, an unknown name. A ValueError, so pydantic validators may raise it."""

    code = "bad_input"


class BadFile(DarkroomError):
    """A file that is damaged, of a kind that is not read, or too large to open safely."""

    code = "bad_file"


class NoRecipe(BadFile):
    """A sound picture that holds no darkroom recipe."""

    code = "no_recipe"


class CannotWrite(DarkroomError):
    """A file could not be written; nothing was left under its name."""

    code = "cannot_write"


class Unfinished(DarkroomError):
    """Not all that was asked for was done; ``done`` says what was, for a program that reads it."""

    code = "unfinished"

    def __init__(self, value: str, rule: str = "", fix: str = "", done: Mapping[str, Any] | None = None) -> None:
        super().__init__(value, rule, fix)
        self.done = dict(done or {})


class Stopped(Unfinished):
    """The user ended it early."""

    code = "stopped"


class NoSpace(CannotWrite):
    """The disk or the quota is full; nothing was left under the file's name."""

    code = "no_space"


class NoMemory(DarkroomError):
    """A picture needs more memory than there is."""

    code = "no_memory"


class NumericalFailure(DarkroomError):
    """A network's numbers overflowed: what it made is no picture."""

    code = "numerical"


def shown(value: object) -> str:
    """A value as it may appear inside a sentence: one line, short, text in quotes."""
    if isinstance(value, str):
        value = value[: SHOWN_CHARACTERS + 1]  # before repr: the value may be megabytes long
    elif isinstance(value, int) and abs(value) >= 10**SHOWN_CHARACTERS:
        return f"of more than {SHOWN_CHARACTERS} digits"  # repr() itself refuses more than 4300
    elif not isinstance(value, (int, float, type(None))):
        return f"({type(value).__name__})"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def brief(words: Sequence[str], *, quoted: bool = False) -> str:
    """A list of words as a sentence may hold it: the first few, none of them long, and how many more there are."""
    short = [word if len(word) <= WORD_SHOWN else word[: WORD_SHOWN - 1] + "…" for word in words[:WORDS_SHOWN]]
    more = len(words) - WORDS_SHOWN
    return ", ".join(f"'{word}'" if quoted else word for word in short) + (f" and {more} more" if more > 0 else "")


def reason(error: Exception) -> str:
    """Why something failed, without the system's numbers: "no such file or directory"."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``; None when nothing is near."""
    by_lower = {word.lower(): word for word in known}
    # difflib takes quadratic time and the name may be hostile: its first characters decide
    asked = name[:SHOWN_CHARACTERS].lower()
    found = difflib.get_close_matches(asked, by_lower, n=1)
    if not found and len(asked) >= LEAST_IN_COMMON:  # "dpm" is the beginning of "dpmpp-2m", "cartoons" goes beyond
        long = [word for word in by_lower if len(word) >= LEAST_IN_COMMON]
        found = [word for word in long if word.startswith(asked) or asked.startswith(word)]
    return by_lower[found[0]] if found else None


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that is not in a list: "unknown sampler 'heum'; did you mean 'heun'? known: euler, heun"."""
    names = sorted(known)
    guess = nearest(name, names)
    listed = ", ".join(names[:KNOWN_SHOWN]) + (f" and {len(names) - KNOWN_SHOWN} more" if names[KNOWN_SHOWN:] else "")
    fix = (f"did you mean {guess!r}? " if guess else "") + f"known: {listed or 'none'}"
    return BadInput(f"unknown {kind} {shown(name)}", fix=fix)


def explain(error: ValidationError, *, flags: bool = False) -> str:
    """A pydantic error in plain words: one sentence for each problem, on one line.

    ``flags`` names fields as the command line does: --best-of.
    """
    return explained(error.errors(include_url=False), flags=flags)


def explained(problems: Sequence[Mapping[str, Any]], *, flags: bool = False) -> str:
    """What pydantic lists as wrong, as :func:`explain` says it."""
    sentences = [_sentence(dict(problem), flags) for problem in problems[:PROBLEMS_SHOWN]]
    rest = len(problems) - PROBLEMS_SHOWN
    return ". Also: ".join(sentences) + (f". And {rest} more" if rest > 0 else "")


def _sentence(problem: dict[str, Any], flags: bool) -> str:
    context: Mapping[str, Any] = problem.get("ctx", {})
    raised = context.get("error")
    if isinstance(raised, DarkroomError):
        return str(raised)
    name = _flag(problem["loc"]) if flags else ".".join(str(part) for part in problem["loc"]) or "the input"
    if problem["type"] == "missing":
        return f"{name} is missing; give it"
    value = problem["input"]
    words = _WORDS.get(problem["type"])
    rule = words(context, value) if words else "is refused: " + problem["msg"].removeprefix("Value error, ")
    return f"{name} {shown(value)} {rule}"


def _flag(where: Sequence[str | int]) -> str:
    """A field, or a part of one, as the command line names it: --best-of, "--toward: share"."""
    names = [str(part) for part in where if isinstance(part, str)]
    if names[:1] == ["prompt"] and names[1:] != ["text"]:
        names = names[1:] or ["prompt"]  # its parts have flags of their own
    if names[:1] in (["prompt"], []):
        return "the prompt" if names else "the input"
    first, *parts = (name.replace("_", "-") for name in names)
    flag = "--" + {"regions": "region"}.get(first, first)
    return f"{flag}: {' '.join(parts)}" if parts else flag


def _whole(_: Mapping[str, Any], value: object) -> str:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < SHOWN_CHARACTERS:
        return f"is not a whole number; write {value} without quotes"
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return "is not a plain whole number; wrap it in int()"  # numpy's
    return "is not a whole number; give one like 12"


def _bound(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


_WORDS: dict[str, Callable[[Mapping[str, Any], Any], str]] = {
    "json_invalid": lambda c, _: f"is not valid JSON ({c['error']}); copy it again",
    "int_type": _whole,
    "int_from_float": _whole,
    "int_parsing": _whole,
    "int_parsing_size": _whole,
    "float_type": lambda _, value: "is not a number; give one like 3.5",
    "finite_number": lambda _, value: "is not a finite number; give one like 3.5",
    "greater_than_equal": lambda c, _: f"is below {_bound(c['ge'])}; try {_bound(c['ge'])}",
    "greater_than": lambda c, _: f"is not above {_bound(c['gt'])}; give more",
    "less_than_equal": lambda c, _: f"is above {_bound(c['le'])}; try {_bound(c['le'])}",
    "multiple_of": lambda c, _: f"is not a multiple of {c['multiple_of']}",
    "string_type": lambda _, value: "is not text; give it in quotes",
    "string_unicode": lambda _, value: "is not valid Unicode text; remove the broken characters",
    "string_too_short": lambda c, _: f"is too short; give at least {c['min_length']} characters",
    "string_too_long": lambda c, v: f"is too long ({len(v)} characters); give at most {c['max_length']}",
    "string_pattern_mismatch": lambda c, _: f"does not match {c['pattern']}; write it in that form",
    "literal_error": lambda c, _: f"is not allowed; give {c['expected']}",
    "model_type": lambda _, value: "is not an object; give its fields by name",
    "dict_type": lambda _, value: "is not an object; give its fields by name",
    "too_long": lambda c, v: f"holds {c['actual_length']} values; give {c['max_length']}",
    "tuple_type": lambda _, value: "is not a list; give one",
    "bool_type": lambda _, value: "is not true or false; give one of them",
}
