"""A film: frames from one prompt, or one seed's noise, to another, and an animation of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import Request
from darkroom.picture.metadata import read_recipe
from darkroom.picture.read import read
from darkroom.requests.spelling import frames_of
from tests.program import ran
from tests.tiny import saved, tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_model(), tmp_path_factory.mktemp("tiny") / "model")


def test_frames_go_all_the_way_and_are_pictures_like_others(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    drawn = tmp_path / "drawn"
    asked = ["--model", str(tiny), "--upscale", "1", "--size", "64"]
    first, last_one = ["a red fox", "--seed", "3", *asked], ["two blue cats", "--seed", "9", *asked]
    to = ["--toward", "two blue cats", "--variation-seed", "9"]
    assert ran("generate", *first, *to, "--frames", "4", "--out", str(drawn), "--sheet") == 0
    lines = [Path(line) for line in capsys.readouterr().out.splitlines()]
    frames = [line for line in lines if line.name.startswith("0003")]
    assert [line.name for line in lines[len(frames) :]] == ["sheet.png", "film.webp"] and len(frames) == 4
    assert frames == sorted(frames) and frames[0].stem.endswith("-01")
    shares = [toward.share for path in frames if (toward := read_recipe(path).toward) is not None]
    assert shares == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert ran("generate", *first, "--out", str(tmp_path / "one")) == 0
    assert ran("generate", *last_one, "--out", str(tmp_path / "other")) == 0
    ends = [read(Path(line)) for line in capsys.readouterr().out.splitlines()]
    assert np.array_equal(read(frames[0]), ends[0]) and np.array_equal(read(frames[-1]), ends[1])
    with Image.open(drawn / "film.webp") as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (6, (64, 64), 0)  # there and back
        assert b"trainedAlgorithmicMedia" in film.info["xmp"]
        film.seek(3)
        last = np.asarray(film.convert("RGB"), np.int16)
    assert np.abs(last - read(frames[-1])).mean() < 12  # WebP is not exact


def test_frames_between_seeds_lie_on_one_way() -> None:
    request = Request(prompt="a fox", variation=1.0)
    frames = frames_of(request, 5, (11, 22))
    assert {(frame.seed, frame.variation_seed) for frame in frames} == {(11, 22)}
    assert [frame.variation for frame in frames] == [0, 0.25, 0.5, 0.75, 1]
    both = frames_of(Request.checked({"prompt": "a", "toward": "b:0.4", "variation": 0.2, "seed": 1}), 3, (0, 7))
    assert [(f.toward.share, f.variation, f.seed) for f in both if f.toward] == [
        (0, 0, 1),
        (0.2, 0.1, 1),
        (0.4, 0.2, 1),
    ]


@pytest.mark.parametrize(
    ("asked", "count", "said"),
    [
        ({"toward": "b"}, 1, "frames 1 is not between 2 and 500"),
        ({"toward": "b"}, 501, "frames 501 is not between 2 and 500"),
        ({}, 4, "frames lead nowhere"),
    ],
)
def test_what_is_no_film_is_refused(asked: dict[str, Any], count: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        frames_of(Request.checked({"prompt": "a", **asked}), count, (0, 1))
