"""The pages are true: what the README's tree names exists, what exists is in the tree, and examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from darkroom import cli
from darkroom.protocols import Sampler
from darkroom.synthesis.noise import CosineVP, RectifiedFlow, SeededNoise
from tests.analytic import FOUR_D, even, exact, integrated, orders, run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: str, language: str = "") -> list[str]:
    """The fenced blocks of a page, in one language; plain ones by default."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", page, re.M | re.S)
    return [body for kind, body in found if kind == language]


def tree() -> dict[str, str]:
    """The paths of the README's tree, each with what is said of it."""
    [block] = [block for block in blocks(README) if "src/darkroom/\n" in block]
    paths: dict[str, str] = {}
    parents: list[str] = []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, words = line.strip().partition("  ")
        parents[depth:] = [name]
        paths["".join(parents)] = words.strip()
    return paths


def test_every_path_in_the_tree_exists() -> None:
    for path, words in tree().items():
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
        assert words or path.endswith("/"), f"{path} is not explained"


def test_the_whole_package_is_in_the_tree() -> None:
    package = ROOT / "src" / "darkroom"
    there = {f"{p.name}/" for p in package.iterdir() if p.is_dir() and p.name != "__pycache__"}
    there |= {p.name for p in package.glob("*.py") if p.name != "__init__.py"}
    told = {path.removeprefix("src/darkroom/") for path in tree() if path.startswith("src/darkroom/")} - {""}
    assert told == there


def test_every_room_is_on_the_architecture_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [path.removeprefix("src/darkroom/") for path in tree() if path.startswith("src/darkroom/")]
    assert [room for room in rooms if room and f"`{room}`" not in page] == []


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def commands() -> list[list[str]]:
    """Every darkroom command the pages show in a block of its own."""
    texts = [block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"))]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("darkroom ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands_in_the_pages_are_understood(arguments: list[str]) -> None:
    function, bound, _ = cli.app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert callable(function) and bound is not None


def adams() -> Sampler:
    """The sampler of docs/adding-things.md, as it stands there."""
    page = (ROOT / "docs" / "adding-things.md").read_text(encoding="utf-8")
    [source] = blocks(page, "python")
    names: dict[str, Any] = {}
    exec("from __future__ import annotations\nfrom darkroom.synthesis.samplers import *\n" + IMPORTS + source, names)
    sampler: Sampler = names["adams"]
    return sampler


IMPORTS = "from itertools import pairwise\nfrom darkroom.synthesis.prediction import to_eps\n"


@pytest.mark.parametrize("schedule", [RectifiedFlow(), CosineVP()], ids=["flow", "cosine"])
def test_the_worked_example_has_the_order_it_claims(schedule: RectifiedFlow | CosineVP) -> None:
    sampler = adams()
    start, end = 0.95, 0.05
    denoise, evaluate = exact(FOUR_D)
    x = SeededNoise(0).draw((16, 4)).double()
    truth = integrated(FOUR_D, x, schedule, start, end, 800)

    def error(steps: int) -> float:
        made = run(sampler(denoise, x, even(schedule, start, end, steps), SeededNoise(0)), evaluate)
        return float((made - truth).abs().mean())

    assert orders([error(64), error(128), error(256)]) == pytest.approx([2, 2], abs=0.15)
