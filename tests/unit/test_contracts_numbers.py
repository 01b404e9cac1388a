"""Every number of every contract is bounded before anything is allocated: a table of bad ones, field by field."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from darkroom.contracts.card import Card, Defaults, FileEntry, Leg
from darkroom.contracts.contract import Contract
from darkroom.contracts.errors import BadInput, explain
from darkroom.contracts.job import Event, Job
from darkroom.contracts.recipe import AdapterUse, Environment, PictureFile, Recipe
from darkroom.contracts.request import Margins, Request

HASH = "0" * 64
DEFAULTS = {"width": 256, "height": 256, "steps": 8, "sampler": "heun", "guidance": 3.5}
ENVIRONMENT = {"torch": "2.13.0", "threads": 2, "instruction_set": "AVX512", "mode": "eager", "dtype": "bfloat16"}
FILE = {"name": "start.png", "sha256": HASH, "width": 64, "height": 64}
VALID: dict[type[Contract], dict[str, Any]] = {
    Request: {"prompt": "a fox", "init_image": "start.png", "mask": "mask.png", "variation": 0.5, "variation_seed": 1},
    Recipe: {
        **DEFAULTS,
        "prompt": "a fox",
        "seed": 7,
        "model": "default",
        "model_hash": HASH,
        "darkroom": "0.1.0",
        "init_image": FILE,
        "strength": 0.5,
        "variation": 0.5,
        "variation_seed": 1,
        "environment": ENVIRONMENT,
    },
    Environment: ENVIRONMENT,
    Margins: {},
    PictureFile: FILE,
    AdapterUse: {"name": "line", "sha256": HASH},
    FileEntry: {"path": "denoiser.safetensors", "sha256": HASH, "bytes": 1},
    Defaults: DEFAULTS,
    Leg: {"what": "base", "samples": 1, "date": "2026-11-21"},
    Job: {"id": "1", "request": {"prompt": "a fox"}, "created": 0.0},
    Event: {"job": "1", "kind": "progress"},
}
WRONG_KIND = (True, False, "12", math.nan, math.inf, -math.inf, 1e309, [12], {"value": 12}, b"12")


@dataclass(frozen=True)
class Field:
    contract: type[Contract]
    name: str
    whole: bool
    low: float
    high: float
    step: int

    def __str__(self) -> str:
        return f"{self.contract.__name__}.{self.name}"

    def refuses(self, value: Any) -> None:
        fields = {**VALID[self.contract], self.name: value}
        with pytest.raises(ValidationError) as caught:
            self.contract(**fields)
        sentence = explain(caught.value)
        assert "\n" not in sentence and len(sentence) < 200
        assert self.name.replace("_", " ").split()[0] in sentence

    def accepts(self, value: Any) -> None:
        made = self.contract(**{**VALID[self.contract], self.name: value})
        assert getattr(made, self.name) == value or self.name == "schema_version"  # an old one is read as the new one
        assert self.contract.from_json(made.to_json()) == made


def numeric_fields() -> list[Field]:
    """From the schema, so that a new field is in the table without being listed here."""
    found = []
    for contract in VALID:
        for name, entry in contract.model_json_schema()["properties"].items():
            kind = next((e for e in entry.get("anyOf", [entry]) if e.get("type") in ("integer", "number")), None)
            if kind is not None:
                whole = kind["type"] == "integer"
                found.append(Field(contract, name, whole, kind["minimum"], kind["maximum"], kind.get("multipleOf", 1)))
    return found


FIELDS = numeric_fields()


def test_the_table_holds_every_numeric_field() -> None:
    names = {str(field) for field in FIELDS}
    assert len(names) == len(FIELDS) >= 20
    assert {f"Request.{name}" for name in ("seed", "width", "height", "steps", "guidance")} <= names


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_bounds_are_inclusive_and_hold(field: Field) -> None:
    field.accepts(field.low if not field.whole else int(field.low))
    field.accepts(field.high if not field.whole else int(field.high))
    outside = {field.low - 1, field.high + 1, 2**63, -(2**63), 10**400}
    for value in outside | ({-1} if field.low >= 0 else set()):
        field.refuses(value)


@pytest.mark.parametrize("field", FIELDS, ids=str)
@pytest.mark.parametrize("value", WRONG_KIND, ids=repr)
def test_what_is_no_number_is_refused(field: Field, value: Any) -> None:
    field.refuses(value)


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_the_same_through_json(field: Field) -> None:
    plain = json.dumps({**VALID[field.contract], field.name: "HERE"})
    for text in ("1e309", "-1e309", "NaN", "Infinity", "true", '"12"', str(2**63), "9" * 5000, "[12]"):
        with pytest.raises(BadInput):
            field.contract.from_json(plain.replace('"HERE"', text))


@pytest.mark.parametrize("field", [field for field in FIELDS if field.whole], ids=str)
def test_whole_numbers_are_not_rounded(field: Field) -> None:
    field.refuses(float(field.low))
    field.refuses(field.low + 0.5)
    if field.step > 1:
        field.refuses(field.low + 1)


@pytest.mark.parametrize("score", [True, "12", math.nan, math.inf], ids=repr)
def test_scores_are_numbers(score: Any) -> None:
    with pytest.raises(ValidationError):
        Card(name="tiny", family="diffusion", licence="CC0-1.0", defaults=Defaults(**DEFAULTS), scores={"fd": score})
