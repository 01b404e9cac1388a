"""Cards, jobs and the ledger of training pictures."""

from __future__ import annotations

import datetime
import gzip
import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from darkroom.contracts.card import Card, DataSource, Defaults, FileEntry, Leg
from darkroom.contracts.errors import BadFile, BadInput
from darkroom.contracts.job import Event, Job
from darkroom.contracts.ledger import LedgerRow, read_ledger, write_ledger
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.request import Request

DEFAULTS = Defaults(width=128, height=128, steps=8, sampler="heun", guidance=3.5)


def card(**more: object) -> Card:
    plain = {"name": "everyday", "family": "diffusion", "licence": "Apache-2.0", "defaults": DEFAULTS}
    return Card.model_validate({**plain, **more})


def test_a_card_survives_json() -> None:
    thanks = DataSource(name="noto", licence="Apache-2.0", attribution="Noto Emoji, Google")
    full = card(
        description="Draws everyday things.\nSmall.",
        limits=("faces", "text"),
        files={"denoiser": FileEntry(path="parts/denoiser.safetensors", sha256="1" * 64, bytes=10)},
        configs={"denoiser": {"width": 384, "layers": 10, "rope": {"base": 1e4}, "tied": None}},
        training=(Leg(what="base", samples=10**9, date=datetime.date(2026, 11, 21), sources=(thanks,)),),
        scores={"overall": 0.5},
        vocabulary=("cat", "dog"),
    )
    assert Card.from_json(full.to_json()) == full


def test_the_model_hash_depends_on_the_files_alone() -> None:
    one, two = (FileEntry(path=p, sha256=h * 64, bytes=1) for p, h in (("a", "1"), ("b", "2")))
    expected = hashlib.sha256(("1" * 64 + "\n" + "2" * 64).encode()).hexdigest()
    assert (
        card(files={"x": one, "y": two}).model_hash == card(files={"a": two, "b": one}, name="b").model_hash == expected
    )
    assert card(files={"x": one}).model_hash != expected


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", ".", "a\\b", "C:/x", "a\0b", "a\nb"])
def test_files_of_a_model_stay_in_its_folder(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path=path, sha256="1" * 64, bytes=1)


def row(id: str, **more: object) -> LedgerRow:
    plain = {"id": id, "name": "fox", "source": "noto", "licence": "Apache-2.0", "sha256": "1" * 64}
    return LedgerRow.model_validate({**plain, **more})


ROWS = [
    row("b", attribution="© Zoë, \u2028 «noto»", upstream_path="svg/emoji_u1f98a.svg"),
    row("a", style="3d", consent="given", removed=datetime.date(2026, 1, 2), removed_because="asked by its author"),
]


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.jsonl.gz"])
def test_a_ledger_comes_back_sorted_and_equal_byte_for_byte(tmp_path: Path, name: str) -> None:
    one = write_ledger(ROWS, tmp_path / name)
    two = write_ledger(reversed(ROWS), tmp_path / "other" / name)
    assert list(read_ledger(one)) == sorted(ROWS, key=lambda r: r.id)
    assert one.read_bytes() == two.read_bytes()
    assert (one.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_an_id_stands_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'a' stands twice"):
        write_ledger([row("a"), row("a")], tmp_path / "ledger.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_damaged_ledger_names_the_line(tmp_path: Path) -> None:
    path = write_ledger(ROWS, tmp_path / "ledger.jsonl")
    path.write_bytes(path.read_bytes() + b'{"id": "c"}\n')
    with pytest.raises(BadFile, match=r"line 3 of .*ledger\.jsonl is no ledger row"):
        list(read_ledger(path))
    packed = tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(b"{}\n" * 1000)[:-9])
    with pytest.raises(BadFile):
        list(read_ledger(packed))
    with pytest.raises(BadFile, match="cannot be read"):
        list(read_ledger(tmp_path / "none.jsonl"))


def test_jobs_and_events_survive_json() -> None:
    job = Job(id="1", request=Request(prompt=Prompt(text="a fox")), created=1.5, state="failed", error="no_space")
    event = Event(job="1", kind="preview", stage="synthesise", step=1, steps=4, preview=b"\xff\x00\x89PNG")
    assert Job.from_json(job.to_json()) == job
    assert Event.from_json(event.to_json()) == event
