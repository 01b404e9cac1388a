"""The composer, on drawings made here: what is painted is what the spec says."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from darkroom.data.scenes.compose import Composer, recolour
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import GROUNDS, PLACED, ComposerConfig, Ground, Relation, Shape, Stock
from darkroom.data.stock.drawings import SpriteTable
from darkroom.wording.vocabulary import COLOURS
from tests.sprites import BLUE, DISC, FINE, RED, RIM, SHADED, SQUARE, WIDE, alone, box, ink, own_table, scene, thing


@pytest.fixture(scope="module")
def own() -> SpriteTable:
    return own_table()


@pytest.fixture(scope="module")
def composer(own: SpriteTable) -> Composer:
    return Composer(own)


# -- where and how large -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("concept", [SQUARE, WIDE])
@pytest.mark.parametrize(
    ("x", "y", "size"), [(0.5, 0.5, 0.9), (0.5, 0.5, 0.5), (0.3, 0.6, 0.33), (0.71, 0.27, 0.44), (0.2, 0.8, 0.25)]
)
def test_an_object_is_where_and_as_large_as_its_spec_says(
    own: SpriteTable, side: int, concept: int, x: float, y: float, size: float
) -> None:
    found = box(ink(Composer(own, side), scene(thing(concept, x, y, size))))
    width, height = size, size if concept == SQUARE else size / 3  # the drawing is 96 by 32
    expected = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    for value, edge in zip(found, expected, strict=True):
        assert value == pytest.approx(edge * side, abs=1.0)


def test_an_object_off_the_middle_of_its_sprite_is_centred_by_its_visible_box(composer: Composer) -> None:
    alpha = ink(composer, scene(thing(RIM, 0.5, 0.5, 0.6)))
    x0, y0, x1, y1 = box((alpha > 0.5).float())
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((64, 64), abs=1)
    assert x1 - x0 == pytest.approx(0.6 * 128, abs=1.5)


def test_turning_is_counter_clockwise(composer: Composer) -> None:
    picture = composer.render([scene(thing(SHADED, angle=90.0, size=0.6))]).pixels[0]
    alpha = ink(composer, scene(thing(WIDE, angle=90.0, size=0.6)))
    x0, y0, x1, y1 = box(alpha)
    assert (x1 - x0, y1 - y0) == pytest.approx((0.2 * 128, 0.6 * 128), abs=1.5)
    top, bottom = picture[0, 30, 64], picture[0, 98, 64]
    assert top > bottom + 0.3  # its light end was on the right


def test_flipping_mirrors_about_the_middle(composer: Composer) -> None:
    for concept in (RIM, SHADED):
        plain, flipped = composer.render([scene(thing(concept)), scene(thing(concept, flip=True))]).pixels
        assert (plain - flipped.flip(2)).abs().max() < 1e-5
    assert (plain - flipped).abs().max() > 0.2


def test_what_lies_outside_is_cut_off_not_wrapped(composer: Composer) -> None:
    alpha = ink(composer, scene(thing(SQUARE, 1.0, 0.5, 0.5)))
    x0, _, x1, _ = box(alpha)
    assert x0 == pytest.approx(96, abs=1) and x1 == pytest.approx(128, abs=0.1)
    outside = composer.render([scene(thing(SQUARE, 1.5, 0.5, 0.5)), scene(thing(SQUARE, 0.5, -2.0, 0.5))])
    assert torch.equal(outside.pixels, torch.ones_like(outside.pixels))
    assert not outside.coverage.any() and bool((outside.concept == -1).all())


def test_shrinking_does_not_alias(composer: Composer) -> None:
    """Stripes of one pixel, shrunk, are an even grey; sampled without a smaller copy they beat."""
    for size in (0.32, 0.2):
        picture = composer.render([scene(thing(FINE, size=size))]).pixels[0, 0]
        half = int(size * 64) - 2
        inside = picture[64 - half : 64 + half, 64 - half : 64 + half]
        assert float(inside.mean()) == pytest.approx(0.5, abs=0.05)
        assert float(inside.std()) < 0.12


# -- grounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GROUNDS)
def test_a_plain_ground_has_its_colour_everywhere(composer: Composer, name: str) -> None:
    picture = composer.render([scene(thing(SQUARE, 9.0), ground=name)]).pixels[0]
    expected = torch.tensor(GROUNDS[name]).view(3, 1, 1) / 255
    assert torch.equal(picture, expected.expand(3, 128, 128))


def test_gradients_run_from_the_first_colour_to_the_second(composer: Composer) -> None:
    first, second = (torch.tensor(GROUNDS[name]) / 255 for name in ("red", "light blue"))
    up, round_ = composer.render(
        [scene(thing(SQUARE, 9.0), ground=Ground("red", "light blue", radial)) for radial in (False, True)]
    ).pixels
    assert (up[:, 0, :] - first[:, None]).abs().max() < 0.01 and (up[:, -1, :] - second[:, None]).abs().max() < 0.01
    assert torch.equal(up[:, :, 0], up[:, :, -1])
    assert bool((up[2].diff(dim=0) > 0).all())
    assert (round_[:, 63, 63] - first).abs().max() < 0.02 and (round_[:, 0, 0] - second).abs().max() < 0.02
    assert torch.allclose(round_, round_.transpose(1, 2)) and torch.allclose(round_, round_.flip(2), atol=1e-6)


# -- relations, on pixels ------------------------------------------------------------------------------------------


def centre(alpha: Tensor) -> tuple[float, float]:
    axis = torch.arange(alpha.shape[0]) + 0.5
    return float((alpha.sum(0) * axis).sum() / alpha.sum()), float((alpha.sum(1) * axis).sum() / alpha.sum())


@pytest.mark.parametrize("relation", PLACED)
def test_relations_are_seen_in_the_pixels(
    composer: Composer, relation: Relation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.data.scenes.subjects.PLACED", (relation,))
    stock = Stock({(SQUARE, "3d"): (Shape(),), (DISC, "3d"): (Shape(),)})
    config = ComposerConfig("core", {"3d": 1.0}, {"pair": 1.0}, 0.0, held_out="include", stock=stock)
    for seed in range(3):
        of = replace(draw_scene(seed, config), ground=Ground("white"))
        assert of.relation == relation
        (ax, ay), (bx, by) = (centre(alone(composer, of, i)) for i in of.named)
        below, above = (alone(composer, of, i) for i in (0, 1))  # in painting order
        both = (below > 0.99) & (above > 0.99)
        match relation:
            case "left of":
                assert ax < bx - 30 and abs(ay - by) < 2
            case "right of":
                assert ax > bx + 30 and abs(ay - by) < 2
            case "next to":
                assert abs(ax - bx) > 30 and abs(ay - by) < 2
            case "above":
                assert ay < by - 30 and abs(ax - bx) < 2
            case "below":
                assert ay > by + 30 and abs(ax - bx) < 2
            case "on":  # these two fill their squares: the upper one's foot reaches the lower one's head
                upper, lower = (box(alone(composer, of, i)) for i in of.named)
                assert ay < by - 20 and upper[3] >= lower[1] - 1
            case "in front of" | "behind":
                front = of.named[0] if relation == "in front of" else of.named[1]
                assert front == 1 and both.sum() > 100
                mixed, only = composer.render([of, replace(of, objects=(of.objects[1],), named=(0,))]).pixels
                assert (mixed - only)[:, both].abs().max() < 0.01  # the other one is hidden there
                assert (below > 0.99).sum() > 2 * both.sum()  # but seen elsewhere


def test_the_last_object_hides_the_first(composer: Composer) -> None:
    square, wide = thing(SQUARE), thing(WIDE)
    first, second = composer.render([scene(square, wide), scene(wide, square)]).pixels
    middle = (slice(None), 64, 64)
    assert first[middle] == pytest.approx(torch.tensor(BLUE) / 255, abs=0.01)
    assert second[middle] == pytest.approx(torch.tensor(RED) / 255, abs=0.01)


# -- colours -------------------------------------------------------------------------------------------------------


def hue(rgb: Tensor) -> float:
    return colorsys.rgb_to_hsv(*rgb.tolist())[0] * 360


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("concept", [SQUARE, WIDE, SHADED])
def test_recolouring_gives_the_asked_colour(composer: Composer, concept: int, colour: str) -> None:
    of = scene(thing(concept, size=0.8, colour=colour))
    picture, seen = composer.render([of]).pixels[0], ink(composer, of) > 0.99
    mean = picture[:, seen].mean(1)
    asked = torch.tensor(COLOURS[colour]) / 255
    assert (mean - asked).abs().max() < 0.2
    if colour in ("black", "white", "grey"):
        assert float(mean.max() - mean.min()) < 0.03
    else:
        turn = abs(hue(mean) - hue(asked))
        assert min(turn, 360 - turn) < 12


def test_recolouring_keeps_light_and_shadow_and_the_outline(composer: Composer) -> None:
    plain, blue = (scene(thing(SHADED, size=0.8, colour=colour)) for colour in (None, "blue"))
    assert torch.equal(ink(composer, plain), ink(composer, blue)) or torch.allclose(
        ink(composer, plain), ink(composer, blue), atol=1e-5
    )
    line = composer.render([blue]).pixels[0, :, 64, 16:112].mean(0)
    assert bool((line.diff() > -1e-4).all()) and line[-1] > line[0] + 0.4


def test_recolouring_leaves_nothing_nothing() -> None:
    painted = torch.zeros(2, 4, 16, 16)
    assert torch.equal(recolour(painted, torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.4, 0.6]])), painted)


@pytest.mark.parametrize("angle", [0.0, 17.0])
@pytest.mark.parametrize("size", [0.9, 0.6, 0.4, 0.25, 0.12])
def test_edges_have_no_fringe(composer: Composer, size: float, angle: float) -> None:
    """A white thing on white is invisible, whatever colour its unseen pixels hold."""
    of = scene(thing(DISC, size=size, angle=angle))
    assert float(composer.render([of]).pixels.min()) > 1 - 1 / 255
    dark = composer.render([replace(of, ground=Ground("black"))]).pixels[0]
    grey = dark[0]
    assert float((dark[1] - grey).abs().max()) < 1 / 255  # no magenta: red and green stay equal on black
    assert float(dark.min()) > 21 / 255  # and nothing is darker than the ground
