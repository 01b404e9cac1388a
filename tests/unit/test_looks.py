"""Looks: every light, medium and flaw does to a picture what its word says, the same at every call."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darkroom.data.scenes.looks import blurred, finished, grain
from darkroom.data.scenes.spec import LIGHTS, MEDIA, QUALITIES
from tests.wardrobe import one

SIDE = 128


def drawing(side: int = SIDE) -> Tensor:
    """A red disc and a blue square on light beige, with a fine texture in the square."""
    axis = (torch.arange(side) + 0.5) / side
    x, y = axis[None, :].expand(side, side), axis[:, None].expand(side, side)
    picture = torch.tensor([0.94, 0.89, 0.78]).view(3, 1, 1).expand(3, side, side).clone()
    disc = (x - 0.35).square() + (y - 0.4).square() < 0.05
    picture[:, disc] = torch.tensor([0.85, 0.15, 0.15])[:, None]
    square = ((x - 0.68).abs() < 0.18) & ((y - 0.65).abs() < 0.18)
    picture[:, square] = torch.tensor([0.2, 0.35, 0.9])[:, None]
    texture = 0.05 * torch.sin(x * 2 * torch.pi * 40) * square
    return (picture + texture).clamp(0, 1)


def done(seed: int = 3, picture: Tensor | None = None, style: str = "3d", **looks: str) -> Tensor:
    return finished(drawing() if picture is None else picture, one(style=style, seed=seed, **looks))


def sharpness(picture: Tensor) -> float:
    """The mean size of the Laplacian."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float(F.conv2d(picture[:, None], kernel).abs().mean())


def grey(value: float, side: int = SIDE) -> Tensor:
    return torch.full((3, side, side), value)


# -- all of them ---------------------------------------------------------------------------------------------------

LOOKS = [{"light": x} for x in LIGHTS] + [{"style": x} for x in MEDIA] + [{"quality": x} for x in QUALITIES[:3]]


def test_without_looks_it_is_the_very_same_picture() -> None:
    picture = drawing()
    assert finished(picture, one()) is picture
    assert finished(picture, one(quality="cropped", camera="wide", motion="fast")) is picture


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("side", [64, 128, 256])
def test_equal_seeds_give_equal_bits_in_range(look: dict[str, str], side: int) -> None:
    first, second = (done(picture=drawing(side), **look) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (3, side, side)
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    assert float((first - drawing(side)).abs().mean()) > 0.003


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_picture_that_is_given_is_left_alone(look: dict[str, str]) -> None:
    picture = drawing()
    done(picture=picture, **look)
    assert torch.equal(picture, drawing())


@pytest.mark.parametrize("look", [{"quality": "noisy"}, {"style": "watercolour"}, {"style": "oil painting"}], ids=str)
def test_other_seeds_give_other_grain(look: dict[str, str]) -> None:
    assert not torch.equal(done(seed=1, **look), done(seed=2, **look))


@pytest.mark.parametrize("look", [*LOOKS[:8], *LOOKS[9:11]], ids=str)
def test_a_large_picture_is_a_small_ones_enlargement(look: dict[str, str]) -> None:
    """Apart from grain and screens (halftone, noise, blocks), which have their own pixels."""
    large, small = done(picture=drawing(256), **look), done(picture=drawing(128), **look)
    assert float((F.avg_pool2d(large[None], 8) - F.avg_pool2d(small[None], 4)).abs().mean()) < 0.03


# -- light ---------------------------------------------------------------------------------------------------------


def test_night_and_moonlight_are_darker_and_day_is_not() -> None:
    mean = float(drawing().mean())
    assert float(done(light="night").mean()) < 0.55 * mean
    assert float(done(light="moonlight").mean()) < 0.75 * mean
    assert float(done(light="day").mean()) > mean


def ratio(picture: Tensor) -> float:
    """Red over blue."""
    return float(picture[0].mean() / picture[2].mean())


def test_sunset_is_warmer_and_the_night_colder() -> None:
    assert ratio(done(light="sunset")) > 1.5 * ratio(drawing())
    assert ratio(done(light="night")) < 0.8 * ratio(drawing())
    assert ratio(done(light="moonlight")) < 0.8 * ratio(drawing())


def test_moonlight_takes_most_colour_away() -> None:
    colour = drawing().amax(0) - drawing().amin(0)
    lit = done(light="moonlight")
    assert float((lit.amax(0) - lit.amin(0)).max()) < 0.6 * float(colour.max())


def test_neon_is_pink_on_the_left_and_cyan_on_the_right() -> None:
    lit = done(picture=grey(0.6), light="neon")
    left, right = lit[:, :, :10].mean((1, 2)), lit[:, :, -10:].mean((1, 2))
    assert left[0] > left[2] > left[1] + 0.1  # pink
    assert min(right[1], right[2]) > right[0] + 0.2  # cyan


# -- media ---------------------------------------------------------------------------------------------------------


def test_a_pencil_sketch_has_no_colour_but_lines() -> None:
    sketch = done(style="pencil sketch")
    assert torch.equal(sketch[0], sketch[1]) and torch.equal(sketch[0], sketch[2])
    paper, line = sketch[0, 5:15, 5:15].mean(), sketch[0].min()
    assert float(paper) > 0.75 and float(line) < 0.35


def test_pixel_art_has_32_flat_cells_a_side_in_few_colours() -> None:
    art = done(style="pixel art")
    cells = art.view(3, 32, 4, 32, 4)
    assert torch.equal(cells, cells[:, :, :1, :, :1].expand_as(cells))
    assert len((art * 6).round().unique()) <= 7 and float(((art * 6) - (art * 6).round()).abs().max()) < 1e-5


def test_halftone_has_its_strongest_waves_at_the_screens_frequency() -> None:
    """26 cells a side along each diagonal: 26 * 0.7071 waves across and down."""
    ink = done(picture=grey(0.5), style="halftone").mean(0)
    waves = torch.fft.rfft2(ink - ink.mean()).abs()
    y, x = divmod(int(waves.argmax()), waves.shape[1])
    assert min(y, SIDE - y) == pytest.approx(26 * 0.7071, abs=1.5) and x == pytest.approx(26 * 0.7071, abs=1.5)


def test_halftone_prints_dark_as_larger_dots() -> None:
    light, dark = (done(picture=grey(value), style="halftone").mean() for value in (0.9, 0.2))
    assert float(light) > float(dark) + 0.3


def test_watercolour_leaves_the_rim_white() -> None:
    art = done(picture=drawing() * 0.6, style="watercolour")
    rim = torch.cat([art[:, :3].flatten(), art[:, -3:].flatten(), art[:, :, :3].flatten(), art[:, :, -3:].flatten()])
    assert float(rim.min()) > 0.9
    assert float(art[:, 20:-20, 20:-20].mean()) < 0.8


def test_oil_paint_loses_fine_detail_and_keeps_edges() -> None:
    """Beside a blur that takes as much of the texture away."""
    flat = drawing()
    oil, soft = done(style="oil painting"), blurred(flat, 2.5 / 128)

    def texture(p: Tensor) -> float:  # waves of 40 a side, by how much a row of the square correlates with them
        x = (torch.arange(SIDE) + 0.5) / SIDE
        row = p[0, 70:96, 70:102] - p[0, 70:96, 70:102].mean()
        return float((row.mean(0) * torch.sin(x[70:102] * 2 * torch.pi * 40)).mean())

    def edge(p: Tensor) -> float:  # the disc's left edge
        return float(p[1, 51, 10:30].diff().abs().max())

    assert abs(texture(oil)) < 0.35 * texture(flat)
    assert edge(oil) > 0.5 * edge(flat) and edge(oil) > 1.5 * edge(soft)


# -- flaws ---------------------------------------------------------------------------------------------------------


def test_blurry_is_softer_and_noisy_is_rougher() -> None:
    clean = sharpness(drawing())
    assert sharpness(done(quality="blurry")) < 0.25 * clean
    assert sharpness(done(quality="noisy")) > 5 * clean


def test_noise_is_even_and_has_no_mean() -> None:
    change = done(picture=grey(0.5), quality="noisy") - 0.5
    assert float(change.mean()) == pytest.approx(0, abs=0.005)
    assert float(change.std()) == pytest.approx(0.55 / 12**0.5, abs=0.01)
    assert abs(float((change[0, :, 1:] * change[0, :, :-1]).mean() / change[0].var())) < 0.05  # nor neighbours alike


def test_low_quality_breaks_at_the_edges_of_blocks_of_eight() -> None:
    axis = (torch.arange(SIDE) + 0.5) / SIDE
    smooth = (0.3 + 0.4 * axis[None, :] * axis[:, None]).expand(3, -1, -1)
    steps = done(picture=smooth, quality="low quality").diff(dim=2).abs().mean((0, 1))  # between columns i and i + 1
    at = torch.arange(SIDE - 1) % 8 == 7
    assert float(steps[at].mean()) > 3 * float(steps[~at].mean())
    blocks = done(quality="low quality")
    assert float((blocks - drawing()).abs().mean()) < 0.06  # and it is still the picture


# -- blurring ------------------------------------------------------------------------------------------------------


def test_blurring_keeps_a_constant_picture_and_the_mean() -> None:
    assert torch.allclose(blurred(grey(0.37), 3 / 128), grey(0.37), atol=1e-6)
    spot = torch.zeros(3, 64, 64)
    spot[:, 30:34, 30:34] = 1
    assert float(blurred(spot, 3 / 128).sum()) == pytest.approx(float(spot.sum()), rel=1e-4)


def test_blurring_spreads_by_its_radius() -> None:
    spot = torch.zeros(1, 129, 129)
    spot[0, 64, 64] = 1
    line = blurred(spot, 4 / 129)[0].sum(0)
    spread = float((line * (torch.arange(129) - 64).square()).sum().sqrt())
    assert spread == pytest.approx(4, abs=0.4)  # the kernel ends at two and a half deviations


def test_grain_is_hashed_from_pixel_numbers() -> None:
    cpu = torch.device("cpu")
    fine, coarse = grain(128, 7, cpu), grain(128, 7, cpu, 8)
    assert fine.shape == coarse.shape == (128, 128)
    assert float(fine.min()) >= 0 and float(fine.max()) < 1 and float(fine.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(coarse.diff().abs().mean()) < 0.2 * float(fine.diff().abs().mean())
    assert torch.equal(fine, grain(128, 7, cpu)) and not torch.equal(fine, grain(128, 8, cpu))
