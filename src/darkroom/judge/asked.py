"""What a sentence asks for, as the judge checks it: ``wording.anatomy.facts`` reads it."""

from __future__ import annotations

from darkroom.judge.expect import Expectation
from darkroom.wording.anatomy.facts import facts_of


def asked(text: str) -> Expectation:
    """The checkable part of a sentence, and by name what cannot be checked. Everything it leaves open stays open."""
    facts = facts_of(text)
    return Expectation(facts.objects, facts.relations, facts.whole, facts.letters, facts.unknown)
