"""The doctor: each answer it can give, and that a sound machine gets no fault it does not have."""

from __future__ import annotations

import os
import re
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

from darkroom import doctor
from darkroom.contracts.card import Card, Defaults, FileEntry
from darkroom.doctor import GIB, Finding


def test_version_bounds_are_those_of_the_package() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    torch_line = next(line for line in project["dependencies"] if line.startswith("torch>"))
    for text, bounds in ((project["requires-python"], doctor.PYTHON), (torch_line, doctor.TORCH)):
        assert tuple(tuple(map(int, number.split("."))) for number in re.findall(r"[0-9][0-9.]*", text)) == bounds


@pytest.mark.parametrize(
    ("version", "sound"), [((3, 10, 9), False), ((3, 11, 0), True), ((3, 13, 9), True), ((3, 14, 0), False)]
)
def test_python(version: tuple[int, ...], sound: bool) -> None:
    finding = doctor.python_version(version)
    assert (finding.fix == "") is sound
    assert sound or "3.11" in finding.fix


@pytest.mark.parametrize(
    ("version", "sound"),
    [("2.8.1", False), ("2.9.0", True), ("2.13.0+cpu", True), ("2.14.0a0+git1f", False), ("3.0", False)],
)
def test_torch(version: str, sound: bool) -> None:
    finding = doctor.torch_version(version, "12.8")
    assert (finding.fix == "") is sound
    assert "CUDA 12.8" in finding.found
    assert "CPU" in doctor.torch_version(version, None).found


@pytest.mark.parametrize(
    ("version", "cuda", "system", "faults"),
    [
        (None, None, "Linux", []),
        ("0.28.0", None, "Linux", ["pip uninstall torchvision"]),  # the package index's wheel beside a CPU torch
        ("0.28.0+cpu", None, "Linux", [""]),
        ("0.28.0", "12.8", "Linux", [""]),
        ("0.28.0", None, "Darwin", [""]),
    ],
)
def test_torchvision(version: str | None, cuda: str | None, system: str, faults: list[str]) -> None:
    assert [finding.fix for finding in doctor.torchvision(version, cuda, system)] == faults


def test_opencv_five_is_a_note_and_no_fault() -> None:
    assert doctor.opencv({"numpy": "2.0", "opencv-python-headless": "4.12.0.88"}) == []
    [finding] = doctor.opencv({"opencv-python": "5.0.0.1"})
    assert finding.fix == ""
    assert "opencv-python>=4.10,<5" in finding.found


def test_device() -> None:
    assert doctor.device([], None).found == "cpu"
    assert "sees no GPU" in doctor.device([], "12.8").found
    assert doctor.device(["NVIDIA H200"], "12.8").found == "NVIDIA H200"


def test_threads_and_instructions() -> None:
    assert doctor.threads(2, 2) == Finding("threads", "2 on 2 cores")
    assert "OMP_NUM_THREADS" in doctor.threads(8, 1).found
    assert doctor.instructions("AVX512").found == "AVX512"
    assert "slow" in doctor.instructions("DEFAULT").found
    assert doctor.cores() >= 1


def test_memory_and_disk() -> None:
    assert doctor.memory(None).fix == ""
    assert doctor.memory(4 * GIB) == Finding("memory", "4.0 GiB free")
    assert doctor.memory(GIB // 2).fix
    assert doctor.disk(GIB) == Finding("disk", "1.0 GiB free here")
    assert "--out" in doctor.disk(GIB / 10).fix
    free = doctor.free_memory()
    assert free is None or free > 0


def test_a_missing_compiler_is_a_note() -> None:
    assert doctor.compiler("g++") == Finding("compiler", "g++")
    assert doctor.compiler(None).fix == ""
    assert "slower" in doctor.compiler(None).found


def test_allocator() -> None:
    assert doctor.allocator("Linux", {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}).found == "jemalloc"
    assert "darkroom train" in doctor.allocator("Linux", {}).found
    assert doctor.allocator("Darwin", {}).fix == ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder whose two files are as its card says."""
    files = {}
    for component, data in (("denoiser", b"weights"), ("tokenizer", b"words")):
        (tmp_path / component).write_bytes(data)
        files[component] = FileEntry(path=component, sha256=sha256(data).hexdigest(), bytes=len(data))
    defaults = Defaults(width=128, height=128, steps=4, sampler="euler", guidance=1.0)
    card = Card(name="toy", family="diffusion", licence="CC0-1.0", defaults=defaults, files=files)
    (tmp_path / "card.json").write_text(card.to_json())
    return tmp_path


def test_a_sound_model(folder: Path) -> None:
    assert doctor.model(folder) == Finding("model", "toy, 0.0 MB, all 2 files sound")


def test_a_damaged_model_is_named(folder: Path) -> None:
    (folder / "denoiser").write_bytes(b"weightz")
    assert doctor.model(folder) == Finding("model", "denoiser is damaged", "install darkroom again")
    (folder / "denoiser").unlink()
    assert "denoiser cannot be read" in doctor.model(folder).found
    (folder / "card.json").write_text("{")
    assert "card.json" in doctor.model(folder).found
    (folder / "card.json").unlink()
    assert "missing" in doctor.model(folder).found
    assert doctor.model(folder).fix


def test_writing_looks_and_creates_nothing(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    assert doctor.writable(deep).fix == ""
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").write_text("a file")
    assert "is not a folder" in doctor.writable(deep).found
    if os.geteuid() != 0:  # to root every folder is writable
        tmp_path.chmod(0o500)
        assert "--out" in doctor.writable(tmp_path / "pictures").fix


def test_examining_says_each_thing_once_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    findings = doctor.examine()
    names = [finding.what for finding in findings]
    assert len(names) == len(set(names))
    assert {"python", "torch", "device", "threads", "cpu", "memory", "disk", "model", "pictures"} <= set(names)
    assert all(finding.found and len(finding.what) <= 11 for finding in findings)  # the table's first column
    assert list(tmp_path.iterdir()) == []
