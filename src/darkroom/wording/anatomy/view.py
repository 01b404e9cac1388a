"""A prompt laid open before anything is drawn: tokens, syntax, roles, unknown words, what talk was reduced to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darkroom.contracts.card import Card
from darkroom.contracts.request import Request
from darkroom.wording.anatomy.facts import facts_of
from darkroom.wording.anatomy.nearest import Near, near
from darkroom.wording.anatomy.roles import roles_of
from darkroom.wording.cutting import MOST_PARTS, parts_of
from darkroom.wording.parse import parse, styled, words_of
from darkroom.wording.styles import worded
from darkroom.wording.syntax import Sentence, Wording, wordings
from darkroom.wording.tokenizer import BUCKETS, Tokenizer
from darkroom.wording.vocabulary import concept_of, concepts_in
from darkroom.wording.wildcards import Choice, expanded_telling

EXPLAINED = 24  # unknown words that near ones are looked for


@dataclass(frozen=True, slots=True)
class Read:
    """Words that the network reads at once. ``chunk`` counts the sentences that BREAK parts, from 1."""

    chunk: int
    text: str
    tokens: int
    cut: bool  # one of several parts of a sentence that is too long


@dataclass(frozen=True, slots=True)
class Weighted:
    """Words that count more or less than others."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Role:
    """A part of the sentence. ``means`` is the vocabulary's word for it; None: it has none. ``untaught`` are its words
    that the model was never taught, as far as its card tells."""

    role: str
    text: str
    means: str | None
    count: int | None
    colour: str | None
    untaught: list[str]


@dataclass(frozen=True, slots=True)
class Spell:
    """A prompt while it is the same: from which step on (from 1), and what is read and meant then."""

    step: int
    text: str
    read: list[Read]
    dropped: list[str]
    weights: list[Weighted]
    roles: list[Role]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A word of no training caption, and the nearest that were in one."""

    word: str
    near: list[Near]
    vocabulary: str | None  # the thing it names, where the vocabulary has it and this model was not taught it


@dataclass(frozen=True, slots=True)
class View:
    """All that is seen of a prompt."""

    prompt: str
    written: str | None
    negative: str
    style: str | None
    saved_style: str | None
    settings: dict[str, Any]  # of the saved style
    model: str
    limit: int
    steps: int
    seed: int | None
    choices: list[Choice]
    spells: list[Spell]
    against: list[Spell]  # of the negative prompt
    unknown: list[Unknown]

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        told = asdict(self)
        return told | {"choices": [choice._asdict() for choice in self.choices]}


def view_of(
    request: Request, card: Card, tokenizer: Tokenizer, *, wildcards: Path | None = None, styles: Path | None = None
) -> View:
    """How a model reads a request's prompt. ``wildcards`` and ``styles`` are as in ``Inputs``.

    Raises BadInput for all that drawing it would refuse of its words.
    """
    asked = request
    request, written, saved_style = worded(asked, card.styles, styles)
    seed = request.seed or 0
    text, choices = expanded_telling(request.prompt.text, f"{seed}/text", wildcards)
    negative, others = expanded_telling(request.prompt.negative, f"{seed}/negative", wildcards)
    choices = choices + others
    words = parse(text, negative)
    steps = request.steps or card.defaults.steps
    reader = _Reader(card, tokenizer)
    spells = [reader.spell(wording, request.style) for wording in wordings(words.text, steps)]
    against = [reader.spell(wording, None) for wording in wordings(words.negative, steps) if wording.text]
    kept = {
        n: v for n, v in request if saved_style is not None and v != getattr(asked, n) and n not in ("prompt", "style")
    }
    return View(
        text,
        written,
        negative,
        request.style,
        saved_style,
        Request.checked({"prompt": "a", **kept}).model_dump(mode="json", include=set(kept)),
        card.name,
        BUCKETS[-1],
        steps,
        seed if choices else None,
        choices,
        spells,
        against,
        unknown_in(" ".join(spell.text for spell in (*spells, *against)), card),
    )


class _Reader:
    """How a model reads what is said in one step."""

    def __init__(self, card: Card, tokenizer: Tokenizer) -> None:
        self.card, self.tokenizer = card, tokenizer
        self.known = frozenset(card.words)

    def spell(self, wording: Wording, style: str | None) -> Spell:
        """A wording, its chunks counted and its parts named."""
        read, dropped = self._read([chunk.also(styled("", style)) for chunk in wording.chunks])
        weights = [
            Weighted(text, weight)
            for chunk in wording.chunks
            for (text, weight) in _weights(chunk)
        ]  # fmt: skip
        return Spell(wording.since + 1, wording.text, read, dropped, weights, self.roles(styled(wording.text, style)))

    def _read(self, chunks: Sequence[Sentence]) -> tuple[list[Read], list[str]]:
        """The parts read at once, in order, and the words for which there is no room."""
        read: list[Read] = []
        dropped: list[str] = []
        for number, chunk in enumerate(chunks, 1):
            parts, left = parts_of([chunk], lambda text: len(self.tokenizer.encode(text)), BUCKETS[-1])
            room = MOST_PARTS - len(read)
            for part in parts[:room]:
                read.append(Read(number, part.text, self.tokenizer.tokens(part.text).length, len(parts) > 1))
            dropped += [word for part in parts[room:] for word in part.text.split()] + list(left)
        return read, dropped

    def roles(self, text: str) -> list[Role]:
        """The parts of a sentence that play a role."""
        facts = facts_of(text)
        plain = " ".join(text.split())
        source = plain if len(plain) == len(facts.said) else facts.said  # quoted text keeps its case
        return [
            Role(
                part.role,
                source[part.start : part.end],
                part.means,
                None if part.thing is None else part.thing.count,
                None if part.thing is None else part.thing.colour,
                self._untaught(part.role, source[part.start : part.end]),
            )
            for part in roles_of(facts)
        ]

    def _untaught(self, role: str, words: str) -> list[str]:
        """The words of a part that no training caption held, and the thing it names where the model draws none."""
        if not self.known or role == "letters":
            return []
        found = [word for word in _in_order(words.lower()) if word not in self.known]
        things = concepts_in(words)[-1:] if role == "subject" and self.card.vocabulary else []
        new = [concept.word for concept in things if concept.word not in self.card.vocabulary]
        return list(dict.fromkeys([*found, *new]))


def _weights(chunk: Sentence) -> list[tuple[str, float]]:
    starts = [0, *(end for end, _ in chunk.runs)]
    runs = zip(starts, chunk.runs, strict=False)
    return [(text, weight) for start, (end, weight) in runs if weight != 1 and (text := chunk.text[start:end].strip())]


def unknown_in(text: str, card: Card) -> list[Unknown]:
    """The words of a text that no training caption held, each with the nearest that one did; quoted text has none."""
    if not card.words:
        return []
    known, things = frozenset(card.words), frozenset(card.vocabulary)
    plain = re.sub(r'"[^"]*"', " ", text)
    found = [word for word in dict.fromkeys(_in_order(plain)) if word not in known]
    told = []
    for i, word in enumerate(found):
        concept = concept_of(word)
        new = concept is not None and bool(things) and concept.word not in things
        told.append(
            Unknown(word, near(word, known, things) if i < EXPLAINED else [], concept.word if concept and new else None)
        )
    return told


def _in_order(text: str) -> list[str]:
    return [word for part in text.split() for word in words_of(part)]


def lines_of(view: View) -> list[str]:
    """A view in plain words."""
    lines = [_line("prompt", _flat(view.prompt))]
    lines += [_line("written", _flat(view.written))] if view.written is not None else []
    lines += [_line("negative", _flat(view.negative))] if view.negative else []
    if view.saved_style is not None:
        told = ", ".join(f"{name} {value}" for name, value in view.settings.items())
        lines.append(_line("style", f"{view.saved_style}, saved{'; ' + told if told else ''}"))
    lines += [_line("style", f"{view.style}, the model's own")] if view.style is not None else []
    lines += [
        _line("chosen", f"{_short(c.written)} -> {_short(c.made) or 'nothing'}   (seed {view.seed})")
        for c in view.choices
    ]
    for spells, against in ((view.spells, False), (view.against, True)):
        for spell in spells:
            lines += ["", *_spell_lines(view, spell, switching=len(spells) > 1, against=against)]
    if view.unknown:
        lines += ["", *_unknown_lines(view)]
    return lines


def _line(name: str, text: str) -> str:
    return f"{name:<13}{text}"


def _spell_lines(view: View, spell: Spell, *, switching: bool, against: bool) -> list[str]:
    lines = [_line(f"from step {spell.step}", f"of {view.steps}: {spell.text}")] if switching else []
    lines += [_line("against", spell.text)] if against and not switching else []
    for number, part in enumerate(spell.read, 1):
        several = f"  part {number}{', cut' if part.cut else ''}: {part.text}" if len(spell.read) > 1 else ""
        lines.append(_line("tokens", f"{part.tokens} of {view.limit}{several}"))
    if spell.dropped:
        lines.append(_line("dropped", f"{len(spell.dropped)} words, no room: {_some(spell.dropped)}"))
    lines += [_line("weight", f"{weighted.weight:.4g}  {weighted.text}") for weighted in spell.weights]
    for role in spell.roles:
        lines.append(_line(role.role, role.text + _aside(role)))
    return lines


def _flat(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def _short(text: str, most: int = 120) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _some(words: Sequence[str], most: int = 12, joint: str = " ") -> str:
    short = [_short(word, 30) for word in words[:most]]
    return joint.join(short) + (f" … and {len(words) - most} more" if len(words) > most else "")


def _aside(role: Role) -> str:
    """What a part was read as, where that is not what it says."""
    told = []
    if role.role == "subject":
        told.append(_thing(role) if role.means is not None else "a thing the vocabulary does not have")
    elif role.means is not None and role.means.lower() not in role.text.lower():
        told.append(role.means)
    told += [f"never taught: {', '.join(role.untaught)}"] if role.untaught else []
    return f"   ({'; '.join(told)})" if told else ""


def _thing(role: Role) -> str:
    """ "2 cats, blue"."""
    concept = concept_of(role.means or "")
    name = concept.plural if concept is not None and role.count not in (None, 1) else role.means
    counted = f"{role.count} {name}" if role.count is not None else f"{name}"
    return counted + (f", {role.colour}" if role.colour is not None else "")


def _unknown_lines(view: View) -> list[str]:
    lines = []
    for unknown in view.unknown:
        whys: dict[str, list[str]] = {}
        for found in unknown.near:
            whys.setdefault(found.why, []).append(found.word)
        told = [f"{why}: {', '.join(words)}" for why, words in whys.items()]
        if told:
            lines.append(_line("unknown", f"{unknown.word}   {'; '.join(told)}"))
    if far := [unknown.word for unknown in view.unknown if not unknown.near]:
        lines.append(_line("unknown", f"{_some(far, joint=', ')}   nothing it was taught is near"))
    return lines
