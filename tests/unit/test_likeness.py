"""Pictures of a folder's captions beside the folder's own: kinds that are told, nearness, copies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.data.imported import Imported
from darkroom.evaluation import command
from darkroom.evaluation.likeness import own
from darkroom.evaluation.likeness.distances import JUDGED, plain_features
from darkroom.evaluation.likeness.naming import FOLDS, fitted, named_unseen
from darkroom.evaluation.likeness.own import beside
from darkroom.evaluation.likeness.told import NEAREST, SHEET, lines, sheets
from tests.tiny import saved, tiny_model
from tests.unit.test_judge import small_judge

# --- the rule that names ------------------------------------------------------------------------------------------


def clouds(per_kind: int, apart: float, seed: int, kinds: int = 3, width: int = 6) -> tuple[Tensor, Tensor]:
    """Gaussians of one stretched covariance around middles that are the same for every seed."""
    middles = apart * torch.randn(kinds, width, generator=torch.Generator().manual_seed(0))
    kind = torch.arange(kinds).repeat_interleave(per_kind)
    noise = torch.randn(len(kind), width, generator=torch.Generator().manual_seed(seed))
    return middles[kind] + noise * torch.linspace(0.2, 3, width), kind


def test_the_rule_names_as_well_as_whoever_knows_the_gaussians() -> None:
    x, kind = clouds(2000, 0.5, 1)
    unseen, truth = clouds(2000, 0.5, 2)
    right = (fitted(x, kind, 3)(unseen) == truth).float().mean()
    scale = torch.linspace(0.2, 3, 6)
    middles = 0.5 * torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    best = (torch.cdist(unseen / scale, middles / scale).argmin(1) == truth).float().mean()
    assert 0.6 < best < 0.98  # no rule names all of them
    assert right > best - 0.01


def test_no_picture_is_named_by_a_rule_that_knew_it() -> None:
    x = torch.randn(60, 200, generator=torch.Generator().manual_seed(3))  # more directions than pictures: all learnable
    kind = torch.randint(0, 2, (60,), generator=torch.Generator().manual_seed(4))
    assert (fitted(x, kind, 2)(x) == kind).float().mean() > 0.9
    assert 0.25 < (named_unseen(x, kind, 2) == kind).float().mean() < 0.55
    with pytest.raises(ValueError, match=f"fewer than {FOLDS} pictures"):
        named_unseen(x[:6], torch.tensor([0, 0, 0, 0, 0, 1]), 2)


# --- pictures beside pictures -------------------------------------------------------------------------------------


def pictures(kind: str, number: int, seed: int) -> list[np.ndarray]:
    """Discs and squares in noise, (128, 128, 3) uint8."""
    random = np.random.default_rng([seed, len(kind)])
    y, x = np.mgrid[:128, :128] / 128
    found = []
    for _ in range(number):
        cx, cy, r = [*random.uniform(0.4, 0.6, 2).tolist(), random.uniform(0.15, 0.3)]
        shape = np.hypot(x - cx, y - cy) < r if kind == "a disc" else np.maximum(abs(x - cx), abs(y - cy)) < r
        colour, ground = random.uniform(0, 0.5, 3), random.uniform(0.5, 1, 3)
        found.append(((np.where(shape[..., None], colour, ground)) * 255).astype(np.uint8))
    return found


def folder_of(discs: int, squares: int, seed: int = 0) -> Imported:
    shown = pictures("a disc", discs, seed) + pictures("a square", squares, seed)
    captions = ("a disc",) * discs + ("a square",) * squares
    pixels = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
    return Imported(pixels, captions, tuple(map(str, range(len(captions)))))


def shapes(pixels: Tensor) -> Tensor:
    """Features in which the two kinds differ and colours do not: the outline's light along rows and columns."""
    dark = (pixels.mean(1) - pixels.mean((1, 2, 3))[:, None, None]).sign()
    return torch.cat([dark.mean(1)[:, ::8], dark.mean(2)[:, ::8], dark[:, 16::32, 16::32].flatten(1)], 1)


SPACES = {JUDGED: lambda x: torch.cat([shapes(x), plain_features(x)], 1), "plain": plain_features}


def test_a_model_that_draws_what_it_is_asked_scores_as_the_real_ones_do() -> None:
    real = folder_of(120, 120)
    captions = ["a disc", "a square"] * 20
    own_pictures = [
        p for pair in zip(pictures("a disc", 20, 7), pictures("a square", 20, 7), strict=True) for p in pair
    ]
    good = beside(own_pictures, captions, real, SPACES)
    assert good.named is not None and set(good.kinds) == {"a disc", "a square"}
    assert good.named.real > 0.8 and abs(good.named.drawn - good.named.real) < 0.12
    assert (good.named.drawn_number, good.named.real_number) == (40, 240)
    assert good.near is not None and good.near < 0.08
    both = good.spaces["plain"]
    assert both.made.fd_own < 2 * both.real.fd_own

    other_way_round = beside(own_pictures, captions[1:] + captions[:1], real, SPACES)
    assert other_way_round.named is not None and other_way_round.named.drawn < 0.25
    one_thing = beside([own_pictures[0]] * 40, captions, real, SPACES)
    assert one_thing.named is not None and one_thing.named.drawn == pytest.approx(0.5)
    assert one_thing.spaces["plain"].made.diversity < 0.1 < both.made.diversity
    assert one_thing.spaces["plain"].made.fd_own > 2 * both.made.fd_own


def test_copies_are_found_and_their_originals_named() -> None:
    real = folder_of(40, 40)
    chosen = [3, 50, 17, 61] * 5
    copied = [real.pixels[i].permute(1, 2, 0).numpy() for i in chosen]
    found = beside(copied, [real.captions[i] for i in chosen], real, SPACES)
    assert found.near is None and found.nearest == chosen  # of 80 pictures, two are nearest by chance
    assert max(found.distance) < 0.01
    many = folder_of(120, 120)
    chosen = [3, 150, 17, 201] * 5
    copied = [many.pixels[i].permute(1, 2, 0).numpy() for i in chosen]
    assert beside(copied, [many.captions[i] for i in chosen], many, SPACES).near == 1.0


def test_captions_of_their_own_are_no_kinds() -> None:
    real = folder_of(20, 20)
    told = Imported(real.pixels, tuple(f"picture {i}" for i in range(40)), real.ids)
    found = beside(pictures("a disc", 20, 3), list(told.captions[:20]), told, SPACES)
    assert found.kinds == {} and found.named is None
    assert any(line.startswith("Not named") for line in lines(found))
    assert found.spaces["plain"].real.precision > 0.5  # halves of the folder, though each caption is there once


def test_the_two_halves_share_no_picture_and_are_alike() -> None:
    captions = ["a"] * 40 + ["b"] * 10 + ["c"] * 7
    one, other = own._halves(captions, ["a", "b"], 200)
    assert not set(one) & set(other) and max(*one, *other) < 50  # c is no kind
    for half in (one, other):
        assert [sum(captions[i] == kind for i in half) for kind in "ab"] == [5, 5]  # as many of each, as is drawn
        assert max(i for i in half if captions[i] == "a") > 30  # from all over
    one, other = own._halves([f"picture {i}" for i in range(5000)], [], 100)
    assert (len(one), len(other)) == (own.REAL, 100) and not set(one) & set(other)
    assert max(one) > 4900 and max(other) > 4900


def test_the_nearest_are_found_whatever_the_lots() -> None:
    points = torch.randn(3 * own.LOT // 2, 4, generator=torch.Generator().manual_seed(0))
    away, nearest = own._nearest(points, points)
    assert torch.equal(nearest, torch.arange(len(points))) and away.max() == 0
    away, nearest = own._nearest(points, points, other_than_itself=True)
    direct = torch.cdist(points, points).fill_diagonal_(torch.inf).min(1)
    assert torch.equal(nearest, direct.indices) and torch.allclose(away, direct.values, atol=1e-5)


# --- the command --------------------------------------------------------------------------------------------------


def test_a_folder_is_compared_and_sheets_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, judge = saved(tiny_model(), tmp_path / "tiny"), small_judge(tmp_path / "judge")
    for kind in ("disc", "square"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        for i, picture in enumerate(pictures(f"a {kind}", 12, 1)):
            Image.fromarray(picture).save(tmp_path / "mine" / kind / f"{i}.png")
    out = tmp_path / "out"
    command.own(tmp_path / "mine", str(model), out, judge, 20, settings={"steps": 2}, as_data=True)
    told = json.loads(capsys.readouterr().out)
    assert told["settings"] == {"steps": 2} and set(told["kinds"]) == {"disc", "square"}
    assert told["kinds"]["disc"]["drawn_number"] == 10 and told["named"]["real_number"] == 24
    assert told["near"] is None and set(told["distances"]) >= {JUDGED, "latents"}
    for name in (SHEET, NEAREST):
        with Image.open(out / name) as page:
            assert page.width > 8 * 100
    command.own(tmp_path / "mine", str(model), None, judge, 20, settings={"steps": 2}, as_data=False)
    text = capsys.readouterr().out
    assert "all kinds" in text and "by chance 0.50" in text and "FD-own" in text

    with pytest.raises(BadInput, match=r"--count 5 draws too few to compare; take 20 or more"):
        command.own(tmp_path / "mine", str(model), None, judge, 5, as_data=False)


def test_the_nearest_stand_over_what_they_are_near_to(tmp_path: Path) -> None:
    real = folder_of(10, 10)
    drawn = pictures("a disc", 20, 2)
    found = beside(drawn, ["a disc"] * 10 + ["a square"] * 10, real, SPACES)
    _, nearest = sheets(found, real, tmp_path)
    order = sorted(range(20), key=found.distance.__getitem__)[:16]
    page = np.asarray(Image.open(nearest).convert("RGB"))
    shown = [drawn[i] for i in order[:8]] + [real.pixels[found.nearest[i]].permute(1, 2, 0).numpy() for i in order[:8]]
    rows, columns = _places_of(page, shown[0]), _places_of(page, shown[8])
    assert rows[1] == columns[1] and rows[0] < columns[0]
    with Image.open(nearest) as file:
        assert "compositeWithTrainedAlgorithmicMedia" in str(file.info)


def _places_of(page: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """Where a picture of 128 px stands on a page, pixel by pixel."""
    for y in range(page.shape[0] - 127):
        for x in np.flatnonzero((page[y, : page.shape[1] - 127] == picture[0, 0]).all(-1)):
            if np.array_equal(page[y + 1 : y + 127, x + 1 : x + 127], picture[1:127, 1:127]):
                return y, int(x)
    raise AssertionError("it is not on the page")
