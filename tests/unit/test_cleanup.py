"""Noise: how well it is measured, how much of it goes, and what stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from darkroom.data.stock.pack import Pack
from darkroom.refine.cleanup import cleaned, noise_of
from tests.tiny_pack import drawing, row, write_pack

SIDE = 192
GROUNDS = ["white", "grey", "gradient", "dark"]


def drawn(ground: str, side: int = SIDE) -> np.ndarray:
    """Flat shapes with smooth edges, a shaded ball and lettering on a ground, float in [0, 1], not yet rounded."""
    y, x = np.mgrid[:side, :side] / side
    level = {"white": 1.0 + 0 * x, "grey": 0.6 + 0 * x, "gradient": 0.25 + 0.5 * (x + y) / 2, "dark": 0.08 + 0 * x}
    picture = np.stack([level[ground]] * 3, -1) * ([1.0, 1.0, 1.0] if ground == "white" else [0.9, 1.0, 0.8])
    ink = 0.9 if ground == "dark" else 0.1

    def shape(distance: np.ndarray, colour: np.ndarray | list[float]) -> None:
        share = np.clip(0.5 - distance * side, 0, 1)[..., None]
        picture[:] = picture * (1 - share) + np.asarray(colour) * share

    shape(np.hypot(x - 0.3, y - 0.35) - 0.2, [0.85, 0.2, 0.15])
    shape(np.maximum(abs(x - 0.75), abs(y - 0.3)) - 0.14, [0.2, 0.4, 0.8])
    lit = 0.3 + 0.5 * np.clip(1 - np.hypot(x - 0.65, y - 0.62) / 0.3, 0, 1)
    shape(np.hypot(x - 0.7, y - 0.7) - 0.18, lit[..., None] * [0.6, 1.0, 0.5])
    letters = Image.new("L", (side, side))
    pen = ImageDraw.Draw(letters)
    for line in range(3):
        pen.text((6, int(side * (0.66 + 0.09 * line))), "a red fox sat", fill=255)
    share = np.asarray(letters)[..., None] / 255
    return picture * (1 - share) + ink * share


def rounded(picture: np.ndarray) -> np.ndarray:
    """As eight bits hold it."""
    return (np.clip(picture, 0, 1) * 255).round().astype(np.float32) / 255


def noisy(picture: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    return rounded(picture + np.random.default_rng(seed).normal(0, sigma, picture.shape))


def psnr(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(-10 * np.log10(((found.astype(np.float64) - wanted) ** 2).mean()))


@pytest.mark.parametrize("ground", GROUNDS)
def test_noise_goes_and_a_drawing_stays(ground: str) -> None:
    wanted = drawn(ground)
    before = noisy(wanted, 25 / 255)
    assert psnr(cleaned(before, None), wanted) > psnr(before, wanted) + 9
    weak = noisy(wanted, 5 / 255)
    assert psnr(cleaned(weak, None), wanted) > psnr(weak, wanted) + 9
    clean = rounded(wanted)  # all that it has lost are the bits after the eighth
    assert psnr(cleaned(clean, None), wanted) > psnr(clean, wanted) - 0.5


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("sigma", [2, 5, 10, 25, 40])
def test_noise_is_measured(ground: str, sigma: int) -> None:
    assert noise_of(noisy(drawn(ground), sigma / 255)) * 255 == pytest.approx(sigma, rel=0.12)


def test_there_is_no_noise_where_there_is_none() -> None:
    for ground in GROUNDS:
        clean = rounded(drawn(ground))
        assert noise_of(clean) < 0.4 / 255 and cleaned(clean, None) is clean
    for flat in (0.0, 0.5, 1.0):
        assert noise_of(np.full((64, 64, 3), flat, np.float32)) == 0
    for small in ((1, 1, 3), (9, 200, 3), (3, 2, 3)):
        assert noise_of(np.random.default_rng(0).random(small, np.float32)) == 0


def test_a_white_ground_under_noise_is_white_again() -> None:
    found = cleaned(noisy(drawn("white"), 25 / 255), None)
    assert found[:10, :60].mean() > 0.985  # under its noise, which is cut off at white, it had a mean of 0.96
    assert noisy(drawn("white"), 25 / 255)[:10, :60].mean() < 0.97


def test_edges_are_no_softer() -> None:
    wanted = drawn("grey")
    found = cleaned(noisy(wanted, 15 / 255), None)
    across = (
        slice(int(SIDE * 0.28), int(SIDE * 0.32)),
        slice(int(SIDE * 0.57), int(SIDE * 0.65)),
    )  # an edge of the square
    steps = [np.abs(np.diff(part[across].mean(0)[:, 0])).max() for part in (wanted, found)]
    assert steps[1] > 0.85 * steps[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 9), (8, 8), (33, 64), (65, 130)])
def test_every_size_is_cleaned_whole(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (*shape, 3)).astype(np.float32)
    found = cleaned(np.clip(0.5 + noise, 0, 1), 0.05)
    assert found.shape == (*shape, 3) and found.dtype == np.float32 and np.isfinite(found).all()
    if min(shape) >= 8:
        assert np.abs(found - 0.5).mean() < 0.4 * np.abs(noise).mean()


def test_a_given_strength_is_taken() -> None:
    clean = rounded(drawn("grey"))
    assert cleaned(clean, 0.0) is clean
    assert psnr(cleaned(clean, 0.1), clean) < psnr(cleaned(clean, 0.02), clean) < 60
    assert np.array_equal(cleaned(clean, 0.1), cleaned(clean.copy(), 0.1))


def gains(pack: Pack, rows: list[dict[str, object]]) -> tuple[list[float], list[float]]:
    """For each drawing on grey and on white: decibels gained of noise, and the mean square lost of a clean one, of
    255."""
    gained, lost = [], []
    for number, found in enumerate(rows):
        rgba = pack.picture(found).astype(np.float64) / 255
        for ground in (0.55, 1.0):
            wanted = rounded(rgba[..., :3] * rgba[..., 3:] + ground * (1 - rgba[..., 3:]))
            before = noisy(wanted, 25 / 255, number)
            gained.append(psnr(cleaned(before, None), wanted) - psnr(before, wanted))
            lost.append(float(((cleaned(wanted, None) - wanted) ** 2).mean()) * 255**2)
    return gained, lost


def kept_within_half_a_decibel(lost: float) -> bool:
    """Beside what rounding to 8 bits has lost of them already, a twelfth."""
    return lost < (10**0.05 - 1) / 12


def test_drawings_of_a_tiny_pack(tmp_path: Path) -> None:
    pack = Pack(write_pack(tmp_path, "sprites", [(row("cat"), drawing((200, 40, 20), (10, 20, 50, 100)))]))
    gained, lost = gains(pack, pack.rows("sprites"))
    assert min(gained) > 3 and all(map(kept_within_half_a_decibel, lost))


@pytest.mark.datapack
def test_drawings_of_the_data_pack(data_pack: Path) -> None:
    pack = Pack(data_pack)
    rows = pack.rows("sprites_256")
    gained, lost = gains(pack, rows[:: max(1, len(rows) // 20)])
    assert min(gained) > 3 and np.mean(gained) > 6
    assert np.mean([kept_within_half_a_decibel(share) for share in lost]) == 1
