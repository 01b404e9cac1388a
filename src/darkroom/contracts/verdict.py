"""What the judge said of a picture, as its recipe keeps it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from darkroom.contracts.contract import Contract, Name, Sha256, Text, Whole
from darkroom.contracts.request import Candidates, Retries, Seed


class Answered(Contract):
    """One fact the prompt asked for, and the judge's answer."""

    kind: Name = Field(description="Presence, count, colour, binding, relation, style, ground, light, camera, letters.")
    text: Text = Field(max_length=2000, description="The fact, in words.")
    answer: Literal["yes", "no", "cannot tell"] = Field(description="What the judge says.")


class Verdict(Contract):
    """The judge's answers to everything a prompt asked for that it can check, and how it chose the picture by them."""

    judge: Sha256 = Field(description="SHA-256 of the judge's weights.")
    facts: tuple[Answered, ...] = Field(
        (), max_length=1000, description="The answers. Empty: nothing could be checked."
    )
    seed: Seed | None = Field(None, description="The seed asked for. None: an older recipe, which does not say.")
    best_of: Candidates = Field(1, description="Candidates asked for.")
    retry: Retries = Field(0, description="Further candidates allowed.")
    tried: Annotated[Whole, Field(ge=1, le=10_000, description="Pictures drawn before this one was kept.")] = 1

    @property
    def holds(self) -> bool:
        """Whether no fact is missing of those the judge can tell, and there is one."""
        answers = [fact.answer for fact in self.facts if fact.answer != "cannot tell"]
        return bool(answers) and all(answer == "yes" for answer in answers)
