"""Checking a user's folder of pictures before anything is trained on it: ``darkroom data check``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.data.dedup import Fingerprint, exact_duplicates, fingerprint, near_duplicates
from darkroom.data.filter import KINDS, WARNINGS, Kind, Problem, caption_problems, decode, pixel_problems, printable
from darkroom.data.sources import Example, Layout, Progress, read_folder

SHOWN = 3  # problems of a kind on the console; as_json() has them all

_CAPTIONS: dict[Layout, str] = {
    "metadata": "captions from metadata files",
    "sidecar": "captions from name.txt files",
    "classes": "captions from folder names",
    "none": "no captions",
}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a folder holds, what of it can be trained on, and what is wrong with the rest."""

    folder: Path
    layout: Layout
    pictures: int  # listed, whether usable or not
    usable: tuple[Example, ...]
    problems: tuple[Problem, ...]  # grouped by kind, in the order of KINDS

    @property
    def ok(self) -> bool:
        """Whether nothing is left out; warnings do not count."""
        return all(problem.kind in WARNINGS for problem in self.problems)

    @property
    def counts(self) -> dict[Kind, int]:
        """How many problems there are of each kind, for the kinds there are."""
        return dict(Counter(problem.kind for problem in self.problems))

    def grouped(self) -> dict[Kind, list[Problem]]:
        """The problems of each kind."""
        groups: dict[Kind, list[Problem]] = {}
        for problem in self.problems:
            groups.setdefault(problem.kind, []).append(problem)
        return groups

    def lines(self) -> list[str]:
        """The report for the console: a summary, then each kind with its first problems."""
        summary = f"{self.pictures:,} pictures, {len(self.usable):,} usable, {_CAPTIONS[self.layout]}"
        text = [f"{printable(str(self.folder))}: {summary}"]
        for kind, problems in self.grouped().items():
            text.append(f"{kind:<15}{len(problems):>7,}  {KINDS[kind]}")
            text += [f"    {problem.path}: {problem.detail}; {problem.fix}" for problem in problems[:SHOWN]]
            if len(problems) > SHOWN:
                text.append(f"    … and {len(problems) - SHOWN:,} more")
        return text

    def as_json(self) -> dict[str, Any]:
        """The whole report for machines, ready for ``json.dumps``."""
        problems = {
            kind: [{"path": p.path, "detail": p.detail, "fix": p.fix} for p in group]
            for kind, group in self.grouped().items()
        }
        return {
            "folder": printable(str(self.folder)),
            "layout": self.layout,
            "ok": self.ok,
            "pictures": self.pictures,
            "usable": len(self.usable),
            "counts": self.counts,
            "problems": problems,
        }


def check_folder(folder: str | Path, progress: Progress | None = None) -> CheckReport:
    """Lists a folder, looks at every picture, and finds duplicates among those with nothing else wrong.

    A file that cannot be read is a problem in the report, never an error. Raises BadInput when there is no such folder.
    """
    listing = read_folder(folder, progress)
    problems = list(listing.problems)
    sound: list[Example] = []
    prints: list[Fingerprint] = []
    for done, example in enumerate(listing.examples, start=1):
        pixels, found = decode(example.path, example.id)
        found += caption_problems(example.caption, example.id)
        if pixels is not None:
            found += pixel_problems(pixels, example.id)
        if pixels is not None and not found:
            sound.append(example)
            prints.append(fingerprint(pixels))
        problems += found
        if progress:
            progress("check", done, len(listing.examples))
    usable, repeated = _without_duplicates(sound, prints)
    order = list(KINDS)
    problems = sorted(problems + repeated, key=lambda problem: order.index(problem.kind))  # stable: sorted within
    return CheckReport(Path(folder), listing.layout, len(listing.examples), usable, tuple(problems))


def _without_duplicates(sound: list[Example], prints: list[Fingerprint]) -> tuple[tuple[Example, ...], list[Problem]]:
    """The pictures without those that repeat an earlier one, and a problem for each of these."""
    same = exact_duplicates([example.sha256 for example in sound])
    rest = [index for index in range(len(sound)) if index not in same]
    near = {rest[at]: rest[twin] for at, twin in near_duplicates([prints[index] for index in rest]).items()}
    problems = [
        Problem("duplicate", sound[i].id, f"is the same file as {sound[twin].id}", "delete one of them")
        for i, twin in same.items()
    ]
    problems += [
        Problem("near-duplicate", sound[i].id, f"looks like {sound[twin].id}", "keep the better one")
        for i, twin in near.items()
    ]
    return tuple(sound[index] for index in rest if index not in near), problems
