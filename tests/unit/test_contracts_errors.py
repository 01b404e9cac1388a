"""Errors are one sentence, and files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkroom.contracts import files
from darkroom.contracts.errors import (
    BadInput,
    CannotWrite,
    DarkroomError,
    NoSpace,
    brief,
    nearest,
    reason,
    shown,
    unknown,
)
from darkroom.contracts.files import publish, sweep

SAMPLERS = ("heun", "euler", "euler-a", "dpmpp-2m")


def test_an_error_is_value_rule_and_fix() -> None:
    error = BadInput("width 1001", "is not a multiple of 16", "try 1008")
    assert str(error) == "width 1001 is not a multiple of 16; try 1008"
    assert isinstance(error, ValueError) and error.code == "bad_input"
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.fix) == (BadInput, str(error), "try 1008")


def test_an_unknown_name_gets_the_nearest() -> None:
    said = "unknown sampler 'heum'; did you mean 'heun'? known: dpmpp-2m, euler, euler-a, heun"
    assert str(unknown("sampler", "heum", SAMPLERS)) == said
    assert str(unknown("sampler", "zzz", [])) == "unknown sampler 'zzz'; known: none"
    assert nearest("HEUN", SAMPLERS) == "heun" and nearest("zzz", SAMPLERS) is None
    assert nearest("dpm", ["dpmpp-2m", "euler"]) == "dpmpp-2m" and nearest("abracadabra", ["a", "euler"]) is None
    assert nearest("x" * 10_000_000, SAMPLERS) is None
    many = str(unknown("concept", "cot", [f"concept {n}" for n in range(1000)]))
    assert many.endswith("and 976 more") and len(many) < 500


def test_lists_of_words_are_short() -> None:
    assert brief(["a", "cat"], quoted=True) == "'a', 'cat'"
    said = brief(["x" * 10_000] * 20)
    assert len(said) < 500 and said.endswith("… and 8 more")


def test_reasons_hold_no_numbers_of_the_system() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "x")) == "no such file or directory"
    assert reason(ValueError("it is odd")) == "it is odd"


def test_values_are_shown_short_and_on_one_line() -> None:
    assert shown("a\nb\x1b") == r"'a\nb\x1b'"
    assert len(shown("x" * 10**7)) <= 60 and len(shown(10**6000)) <= 60 and shown(1.5) == "1.5"


def failing(number: int, at: int = 1) -> Callable[..., Any]:
    """A stand-in for a system call that works until its ``at``-th call."""
    calls = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= at:
            raise OSError(number, os.strerror(number))
        return call.real(*arguments, **named)  # type: ignore[attr-defined]

    return call


def breaking(monkeypatch: pytest.MonkeyPatch, name: str, number: int, at: int = 1) -> None:
    call = failing(number, at)
    call.real = getattr(os, name)  # type: ignore[attr-defined]
    monkeypatch.setattr(files.os, name, call)


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "close"])
@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, CannotWrite)]
)
def test_a_full_or_failing_disk_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, number: int, kind: type[DarkroomError], replace: bool
) -> None:
    path = tmp_path / "picture.png"
    with monkeypatch.context() as patch:
        breaking(patch, call, number)
        with pytest.raises(kind) as caught:
            publish(b"x" * 100, path, replace=replace)
    assert list(tmp_path.iterdir()) == []
    assert "picture.png could not be written" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("call", "replace"), [("replace", True), ("link", False)])
def test_a_failing_rename_keeps_the_old_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, replace: bool
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        breaking(patch, call, errno.EIO)
        with pytest.raises(CannotWrite):
            publish(b"new", path, replace=replace)
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"] and path.read_bytes() == b"old"


def test_a_disk_that_fills_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, left = os.write, 100

    def write(file: int, data: memoryview) -> int:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, "full")
        count = real(file, data[: min(40, left)])  # short writes too
        left -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", write)
        publish(b"y" * 90, tmp_path / "fits")
        with pytest.raises(NoSpace):
            publish(b"y" * 90, tmp_path / "does-not")
    assert (tmp_path / "fits").read_bytes() == b"y" * 90
    assert [p.name for p in tmp_path.iterdir()] == ["fits"]


def test_a_file_system_without_links_still_overwrites_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    breaking(monkeypatch, "link", errno.EPERM)
    publish(b"1", tmp_path / "a", replace=False)
    with pytest.raises(FileExistsError):
        publish(b"2", tmp_path / "a", replace=False)
    assert (tmp_path / "a").read_bytes() == b"1" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("path", ["file/x.png", "x\0.png", "x" * 300])
def test_bad_paths_are_one_sentence(tmp_path: Path, path: str, replace: bool) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CannotWrite) as caught:
        publish(b"x", tmp_path / path, replace=replace)
    assert caught.value.fix and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_sweep_takes_old_leftovers_only(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".darkroom-1.part", ".darkroom-2.part", "a.png"))
    for path in (old, young, other):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    assert sweep(tmp_path) == [old]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".darkroom-2.part", "a.png"]


def test_words_and_pictures_do_not_import_torch() -> None:
    code = (
        "import sys, darkroom.contracts.request, darkroom.contracts.ledger, darkroom.contracts.job\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), 'contracts import more than pydantic'\n"
        "import darkroom.picture.write, darkroom.picture.read, darkroom.picture.sheet, darkroom.picture.metadata\n"
        "assert 'torch' not in sys.modules, 'picture imports torch'\n"
    )
    source = Path(files.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
