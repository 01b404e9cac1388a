"""A sentence without one of the things it names, or without all the others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from darkroom.wording.anatomy.facts import Part, facts_of

_JOINING = frozenset({"and", "or", "but", "with"})


def told_apart(text: str, words: str) -> tuple[str, str] | None:
    """What a sentence says without its other things, and without the thing that some of its words are about.

    None where the words are about no thing it names, or it names no other.
    """
    text, words = " ".join(text.split()), " ".join(words.split())
    facts = facts_of(text)
    if len(facts.said) != len(text):  # letters that are more than one in lower case
        return None
    spoken = rf"(?<!\w){re.escape(facts_of(words).said)}(?!\w)"
    places = [match.span() for match in re.finditer(spoken, facts.said)]
    things = [part for part in facts.parts if part.role == "subject"]
    own = [thing for thing in things if any(thing.start < end and start < thing.end for start, end in places)]
    others = [thing for thing in things if thing not in own]
    if not own or not others:
        return None
    between = [part for part in facts.parts if part.role == "relation"]
    return _leaving_out(text, [*others, *between]), _leaving_out(text, [*own, *between])


def _leaving_out(text: str, parts: Sequence[Part]) -> str:
    """The sentence without some of its phrases, and without what joined them."""
    kept, at = [], 0
    for part in sorted(parts, key=lambda part: part.start):
        kept.append(text[at : part.start])
        at = max(at, part.end)
    kept.append(text[at:])
    return ", ".join(piece for piece in map(_bare, kept) if piece)


def _bare(piece: str) -> str:
    """A piece of a sentence without joining words and signs at its ends."""
    words = piece.strip(" ,;.").split()
    while words and words[0].strip(",;.") in _JOINING:
        words.pop(0)
    while words and words[-1].strip(",;.") in _JOINING:
        words.pop()
    return " ".join(words).strip(" ,;.")
