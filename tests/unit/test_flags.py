"""Flags that follow from a contract."""

from __future__ import annotations

import re

import pytest
from pydantic import Field

from darkroom.cli.given.flags import flags_of, given
from darkroom.cli.run import main
from darkroom.contracts.contract import Contract, Name, Number, Whole
from darkroom.contracts.request import Request
from darkroom.synthesis.combine import METHODS
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.synthesis.spacing import SPACINGS


class Wish(Contract):
    """Of every kind of field."""

    steps: Whole = Field(4, ge=0, le=9, description="How many.")
    strength: Number | None = Field(None, ge=0, le=9, description="How much. None: as it is.")
    named: Name = Field("plain", description="What it is called.")
    loud: bool = Field(False, description="Whether it is said.")
    between: tuple[float, float] | None = Field(None, description="From where to where.")
    hidden: Whole = Field(1, ge=0, le=9, description="What is no flag.")


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
        one_by_one = {"regions": "region"}
        flag = one_by_one.get(name, name.replace("_", "-"))
        assert name in ("width", "height") or f"--{flag} " in out
    assert "Without it:" in out and "None:" not in out


def test_the_help_names_everything_there_is_by_name() -> None:
    for field, table in (("sampler", SAMPLERS), ("spacing", SPACINGS), ("guidance_method", METHODS)):
        words = set(re.findall(r"[\w-]+", Request.model_fields[field].description or ""))
        assert set(table) <= words
