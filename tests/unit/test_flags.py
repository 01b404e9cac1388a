"""Flags that follow from a contract."""

from __future__ import annotations

import pytest
from pydantic import Field

from darkroom.cli.flags import flags_of, given
from darkroom.cli.run import main
from darkroom.contracts.contract import Contract, Name, Number, Whole
from darkroom.contracts.request import Request


class Wish(Contract):
    """Of every kind of field."""

    steps: Whole = Field(4, description="How many.")
    strength: Number | None = Field(None, description="How much. None: as it is.")
    named: Name = "plain"
    loud: bool = Field(False, description="Whether it is said.")
    between: tuple[float, float] | None = Field(None, description="From where to where.")
    hidden: Whole = 1


def test_every_field_but_those_left_out_is_a_flag_that_says_nothing_by_itself() -> None:
    made = flags_of(Wish, leaving_out={"hidden"})
    assert set(made.__annotations__) == {"steps", "strength", "named", "loud", "between"}
    assert given(made()) == {}
    assert given(made(steps=0, strength=0.0, loud=True)) == {"steps": 0, "strength": 0.0, "loud": True}


def test_the_help_is_the_fields_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    out = capsys.readouterr().out
    for name in Request.model_fields:
        assert name in ("width", "height") or f"--{name.replace('_', '-')}" in out
    assert "Without it:" in out and "None:" not in out
