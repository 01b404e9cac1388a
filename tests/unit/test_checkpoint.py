"""A checkpoint is all or nothing: whatever call fails, and wherever the process dies."""

from __future__ import annotations

import builtins
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from darkroom.training import checkpoint
from darkroom.training.checkpoint import MANIFEST, CheckpointError, newest, read, write

Groups = dict[str, dict[str, Tensor]]


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power fails in these tests: which calls are made counts, not the disk's time for them."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def groups(value: float) -> Groups:
    """What a trainer saves, small: a matrix, a channels-last convolution, moments with a scalar step."""
    conv = torch.full((4, 3, 3, 3), float(value)).to(memory_format=torch.channels_last)
    masters = {"a.weight": torch.arange(12.0).view(3, 4) + value, "conv": conv}
    moments = {"a.weight|step": torch.tensor(float(value)), "a.weight|exp_avg": torch.full((3, 4), float(value))}
    return {"masters": masters, "ema": {k: v + 1 for k, v in masters.items()}, "moments": moments}


def save(folder: Path, step: int, value: float | None = None, **options: Any) -> Path:
    return write(folder, step, groups(step if value is None else value), {"step": step, "value": value}, **options)


def holds(folder: Path, value: float) -> bool:
    """Whether the newest checkpoint is the one of this value, whole; damaged ones beside it fail the test."""
    warnings: list[str] = []
    found = newest(folder, warnings.append)
    assert warnings == []
    assert found is not None
    expected = groups(value)
    return {g: {n: t.tolist() for n, t in ts.items()} for g, ts in found.tensors.items()} == {
        g: {n: t.tolist() for n, t in ts.items()} for g, ts in expected.items()
    }


# --- what is written is read back --------------------------------------------------------------------------------


def test_every_bit_and_the_state_come_back(tmp_path: Path) -> None:
    tensors: Groups = {"masters": {"x": torch.randn(5, 7), "n": torch.tensor(3), "b": torch.randn(4).bfloat16()}}
    path = write(tmp_path, 12, tensors, {"step": 12, "config": {"rate": 1e-3}})
    found = read(path)
    assert found.state == {"step": 12, "config": {"rate": 1e-3}}
    for name, tensor in tensors["masters"].items():
        assert found.tensors["masters"][name].dtype == tensor.dtype
        assert torch.equal(found.tensors["masters"][name], tensor)


def test_the_folder_holds_what_older_runs_wrote(tmp_path: Path) -> None:
    """The format of runs in progress: these names, and a manifest of sha256 digests."""
    path = save(tmp_path, 7)
    assert path.name == "step-000000007"
    names = {"masters.safetensors", "ema.safetensors", "moments.safetensors", "state.json"}
    assert {p.name for p in path.iterdir()} == {*names, MANIFEST}
    assert json.loads((path / MANIFEST).read_text()).keys() == names


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert newest(tmp_path / "not there") is None
    assert newest(tmp_path) is None


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 1000):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000015", "step-000001000"]
    assert holds(tmp_path, 1000)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("group", ["masters", "ema", "moments"])
def test_what_is_not_finite_is_refused(tmp_path: Path, group: str, value: float) -> None:
    save(tmp_path, 1)
    tensors = groups(2)
    name, tensor = next(iter(tensors[group].items()))
    tensor.view(-1)[-1] = value
    with pytest.raises(CheckpointError, match=re.escape(f"{group}/{name} holds non-finite values at step 2")):
        write(tmp_path, 2, tensors, {"step": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]


# --- damage ------------------------------------------------------------------------------------------------------

FILES = ("masters.safetensors", "ema.safetensors", "moments.safetensors", "state.json", MANIFEST)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip, empty])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_the_one_before_taken(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    save(tmp_path, 1)
    damage(save(tmp_path, 2) / name)
    warnings: list[str] = []
    found = newest(tmp_path, warnings.append)
    assert found is not None and found.state["step"] == 1
    assert len(warnings) == 1 and "step-000000002" in warnings[0]
    if name != MANIFEST or damage is not flip:  # a flipped bit in a digest shows as damage of the file it is of
        assert name in warnings[0]


@pytest.mark.parametrize("text", ["[]", "{}", '"x"', '{"masters.safetensors": "0"}'])
def test_a_manifest_that_lists_no_state_is_damage(tmp_path: Path, text: str) -> None:
    path = save(tmp_path, 1)
    (path / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged"):
        read(path)


def test_nothing_but_damage_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    for step in (1, 2):
        empty(save(tmp_path, step) / "ema.safetensors")
    warnings: list[str] = []
    with pytest.raises(CheckpointError, match=r"every checkpoint .* is damaged; start again in another folder"):
        newest(tmp_path, warnings.append)
    assert len(warnings) == 2


def test_a_damaged_newer_one_does_not_push_out_good_ones(tmp_path: Path) -> None:
    save(tmp_path, 1)
    for step in (8, 9):
        flip(save(tmp_path, step, keep=5) / "masters.safetensors")
    save(tmp_path, 2)
    found = newest(tmp_path)
    assert found is not None and found.state["step"] == 2
    assert (tmp_path / "step-000000001").exists()


# --- faults ------------------------------------------------------------------------------------------------------


@contextmanager
def calls_watched(before: Callable[[str], None]) -> Iterator[None]:
    """Tells ``before`` the name of every call that changes the disk, before it is made. A write is two calls."""

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **options: Any) -> Any:
            before(name)
            return call(*arguments, **options)

        return made

    def opened(*arguments: Any, **options: Any) -> Any:
        before("open")
        file = builtins.open(*arguments, **options)  # noqa: SIM115 - Written closes it
        whole = file.write

        def halves(data: bytes) -> None:
            whole(data[: len(data) // 2])
            file.flush()
            before("write")
            whole(data[len(data) // 2 :])

        return Written(file, halves)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "mkdir", "open"):
            patch.setattr(os, name, watched(name, getattr(os, name)))
        patch.setattr(checkpoint, "open", opened, raising=False)
        yield


class Written:
    """A file whose writes come in halves."""

    def __init__(self, file: Any, write: Callable[[bytes], None]) -> None:
        self.file, self.write = file, write
        self.flush, self.fileno = file.flush, file.fileno

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


# What stands before, the step that is written, and what the newest must then hold: None where nothing stood.
SITUATIONS: dict[str, tuple[tuple[tuple[int, float], ...], int, float | None]] = {
    "first": ((), 1, None),
    "next": (((1, 1.0),), 2, 1.0),
    "third": (((1, 1.0), (2, 2.0)), 3, 2.0),
    "again": (((1, 1.0),), 1, 1.0),  # a run that ends where it was resumed writes the same step once more
}


def prepared(folder: Path, situation: str) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for step, value in SITUATIONS[situation][0]:
        save(folder, step, value)
    return folder


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_whichever_call_fails_old_or_new_loads(tmp_path: Path, situation: str, number: int, lasts: bool) -> None:
    _, step, old = SITUATIONS[situation]
    failed: list[str] = []
    for k in range(200):
        folder = prepared(tmp_path / "run", situation)
        calls: list[str] = []

        def fail(name: str, calls: list[str] = calls, k: int = k) -> None:
            calls.append(name)
            if len(calls) == k + 1 or (lasts and len(calls) > k):
                raise OSError(number, os.strerror(number))

        with calls_watched(fail):
            try:
                save(folder, step, 99.0)
            except CheckpointError as error:
                assert os.strerror(number) in str(error) and f"step {step}" in str(error)
                if old is not None or newest(folder) is not None:  # else nothing was there and nothing is
                    assert (old is not None and holds(folder, old)) or holds(folder, 99.0)
            else:  # nothing failed, or what failed was not needed: the folder to make was there
                assert holds(folder, 99.0)
        if len(calls) <= k:
            break
        failed.append(calls[k])
        save(folder, step + 1, 100.0)  # the run goes on once there is room
        assert holds(folder, 100.0)
        assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
    else:
        pytest.fail("the write never came to its end")
    assert {"open", "write", "fsync", "replace", "mkdir"} == set(failed)
    assert len(failed) >= 20


@pytest.mark.parametrize("situation", SITUATIONS)
def test_wherever_the_process_dies_old_or_new_loads(tmp_path: Path, situation: str) -> None:
    """The folder as each call finds it is what a kill just before that call leaves."""
    _, step, old = SITUATIONS[situation]
    folder = prepared(tmp_path / "run", situation)
    deaths: list[Path] = []

    def look(name: str) -> None:
        if folder.exists() and not looking:
            looking.append(True)  # copying makes calls of its own
            deaths.append(shutil.copytree(folder, tmp_path / f"death-{len(deaths):03d}"))
            looking.clear()

    looking: list[bool] = []
    with calls_watched(look):
        save(folder, step, 99.0)
    assert holds(folder, 99.0)
    assert len(deaths) >= 20
    loaded = []
    for death in deaths:
        if old is None and newest(death) is None:
            continue
        loaded.append(99.0 if holds(death, 99.0) else old)
        assert loaded[-1] == 99.0 or (old is not None and holds(death, old))
        save(death, step + 1, 100.0)  # the run that resumes from it
        assert holds(death, 100.0)
        assert not [p.name for p in death.iterdir() if p.name.startswith(".")]
    assert 99.0 in loaded  # a death after the rename finds the new one
    assert loaded == sorted(loaded)


def test_the_manifest_is_written_last_and_all_is_synced_before_the_rename(tmp_path: Path) -> None:
    done: list[str] = []
    opened, fsync, replace = builtins.open, os.fsync, os.replace

    def note(path: Any, *arguments: Any) -> Any:
        done.append(Path(path).name)
        return opened(path, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "open", note, raising=False)
        patch.setattr(os, "fsync", lambda descriptor: (done.append("fsync"), fsync(descriptor)))
        patch.setattr(os, "replace", lambda a, b: (done.append("replace"), replace(a, b)))
        save(tmp_path, 1)
    names = [name for name in done if name.endswith((".safetensors", ".json"))]
    assert names[-1] == MANIFEST and sorted(names) == sorted(FILES)
    assert all(done[i + 1] == "fsync" for i, name in enumerate(done) if name in FILES)
    # The folder's own entry before the rename, the parent's after it.
    assert done[-3:] == ["fsync", "replace", "fsync"]


def test_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / ".staged-step-000000002").mkdir()
    (tmp_path / ".staged-step-000000002" / "masters.safetensors").write_bytes(b"half")
    assert holds(tmp_path, 1)
    save(tmp_path, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000001", "step-000000003"]
