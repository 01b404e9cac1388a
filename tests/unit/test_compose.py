"""The composer, on drawings made here: what is painted is what the spec says, and company changes nothing."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from darkroom.data.scenes import compose
from darkroom.data.scenes.compose import PATCHES, Composed, Composer, recolour
from darkroom.data.scenes.spec import (
    GROUNDS,
    RELATIONS,
    ComposerConfig,
    Ground,
    Relation,
    Scene,
    SpecObject,
    draw_scene,
    scene_seed,
)
from darkroom.data.shards import Sprite, SpriteTable, alpha_box, premultiplied
from darkroom.wording.vocabulary import COLOURS
from tests.tiny_pack import drawing

SQUARE, WIDE, DISC, SHADED, FINE, RIM = range(6)  # concepts, by what stands for them here
RED, BLUE = (220, 30, 30), (30, 60, 220)


def disc() -> np.ndarray:
    """A white disc with a soft edge, and magenta where nothing is seen: filtering must never drag it in."""
    y, x = np.mgrid[:128, :128] + 0.5
    rgba = np.full((128, 128, 4), (255, 0, 255, 0), np.uint8)
    alpha = np.clip((44.5 - np.hypot(x - 64, y - 64)) / 6, 0, 1)
    rgba[alpha > 0, :3] = 255
    rgba[..., 3] = np.round(alpha * 255)
    return rgba


def shaded() -> np.ndarray:
    """A box that is dark at its left end and light at its right one."""
    rgba = drawing((90, 90, 90), (24, 32, 104, 96))
    rgba[32:96, 24:104, :3] = np.linspace(50, 220, 80).astype(np.uint8)[None, :, None]
    return rgba


def fine() -> np.ndarray:
    """Black and white stripes of one pixel: what aliases first."""
    rgba = drawing((0, 0, 0), (16, 16, 112, 112))
    rgba[16:112, 17:112:2, :3] = 255
    return rgba


def rim() -> np.ndarray:
    """A small box far from the middle in a wide faint haze, which lies outside its visible box."""
    rgba = drawing((20, 160, 40), (8, 40, 60, 70))
    haze = rgba[4:110, 4:124, 3] == 0
    rgba[4:110, 4:124][haze] = (20, 160, 40, 8)
    return rgba


def table(*pictures: np.ndarray, style: str = "3d") -> SpriteTable:
    """The pictures as drawings of concepts 0, 1, 2 ..."""
    sprites = tuple(Sprite(i, i, style, alpha_box(rgba), f"s{i}") for i, rgba in enumerate(pictures))
    return SpriteTable(sprites, torch.from_numpy(np.stack([premultiplied(rgba) for rgba in pictures])))


@pytest.fixture(scope="module")
def own() -> SpriteTable:
    square, wide = drawing(RED, (32, 32, 96, 96)), drawing(BLUE, (16, 48, 112, 80))
    return table(square, wide, disc(), shaded(), fine(), rim())


@pytest.fixture(scope="module")
def composer(own: SpriteTable) -> Composer:
    return Composer(own)


def scene(*things: SpecObject, ground: Ground | str = "white", seed: int = 0) -> Scene:
    ground = Ground(ground) if isinstance(ground, str) else ground
    return Scene("single", "3d", things, ground, named=tuple(range(len(things))), seed=seed)


def thing(
    concept: int, x: float = 0.5, y: float = 0.5, size: float = 0.5, colour: str | None = None, **more
) -> SpecObject:
    return SpecObject(concept, colour, x, y, size, **more)


def ink(composer: Composer, of: Scene) -> Tensor:
    """How opaque the scene's objects are together, (side, side): what changes when the ground changes."""
    light, dark = composer.render([replace(of, ground=Ground(name)) for name in ("white", "black")]).pixels
    span = (GROUNDS["white"][0] - GROUNDS["black"][0]) / 255
    return 1 - (light[0] - dark[0]) / span


def box(alpha: Tensor) -> tuple[float, float, float, float]:
    """Edges x0, y0, x1, y1 of what is painted, to the fraction of a pixel that its edge pixels are covered."""
    columns, lines = alpha.amax(0), alpha.amax(1)

    def ends(line: Tensor) -> tuple[float, float]:
        seen = (line > 0.02).nonzero().flatten()
        first, last = int(seen[0]), int(seen[-1])
        return first + 1 - float(line[first]), last + float(line[last])

    (x0, x1), (y0, y1) = ends(columns), ends(lines)
    return x0, y0, x1, y1


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


def alone(composer: Composer, of: Scene, position: int) -> Tensor:
    """The ink of one of the scene's objects, as if it were alone."""
    return ink(composer, replace(of, objects=(of.objects[position],), named=(0,)))


def centre(alpha: Tensor) -> tuple[float, float]:
    axis = torch.arange(alpha.shape[0]) + 0.5
    return float((alpha.sum(0) * axis).sum() / alpha.sum()), float((alpha.sum(1) * axis).sum() / alpha.sum())


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_are_seen_in_the_pixels(
    composer: Composer, relation: Relation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.data.scenes.spec.RELATIONS", (relation,))
    available = frozenset({(SQUARE, "3d"), (DISC, "3d")})
    config = ComposerConfig("core", {"3d": 1.0}, {"pair": 1.0}, 0.0, held_out="include", available=available)
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


# -- truth per patch -----------------------------------------------------------------------------------------------


def brute_force(composer: Composer, of: Scene) -> tuple[Tensor, Tensor]:
    """For each patch, counted pixel by pixel: the share each object shows, (objects, 8, 8), and what is covered."""
    shown: list[Tensor] = []
    for i in range(len(of.objects)):
        alpha = alone(composer, of, i)
        shown = [part * (1 - alpha) for part in shown] + [alpha]
    size = composer.side // PATCHES
    shares = torch.zeros(len(shown), PATCHES, PATCHES)
    for o, part in enumerate(shown):
        for i in range(PATCHES):
            for j in range(PATCHES):
                shares[o, i, j] = part[i * size : (i + 1) * size, j * size : (j + 1) * size].mean()
    return shares, shares.sum(0)


@pytest.mark.parametrize("side", [64, 128])
def test_truth_per_patch_agrees_with_counting_pixels(own: SpriteTable, side: int) -> None:
    composer = Composer(own, side)
    config = ComposerConfig(
        "core", {"3d": 1.0}, shapes=own.shapes, held_out="include", kinds={"count": 1.0, "pair": 2.0}
    )
    judged = 0
    for seed in range(8):
        of = draw_scene(seed, config)
        composed = composer.render([of])
        shares, covered = brute_force(composer, of)
        assert torch.allclose(composed.coverage[0], covered, atol=2e-3)
        ranked = shares.sort(0, descending=True)
        best, winner = ranked.values[0], ranked.indices[0]
        told = composed.concept[0]
        clear = (best - ranked.values[1] > 0.1) & (best > 0.25)
        concepts = torch.tensor([t.concept for t in of.objects])
        assert torch.equal(told[clear], concepts[winner][clear])
        assert bool((told[best < 0.15] == -1).all())
        judged += int(clear.sum())
    assert judged > 60


@pytest.mark.parametrize(("down", "expected"), [(6, WIDE), (3, SQUARE)])
def test_a_patch_belongs_to_whoever_shows_most_of_it(composer: Composer, down: int, expected: int) -> None:
    """A later object covers 58 or 39 % of the patches of line 5, which an earlier one filled."""
    told = composer.render([scene(thing(SQUARE, size=0.9), thing(WIDE, y=0.5 + down / 128, size=0.9))]).concept[0]
    assert told[5, 3] == told[5, 4] == expected
    assert told[4, 4] == WIDE and told[1, 4] == SQUARE


def test_two_of_a_kind_both_count_as_their_concept(composer: Composer) -> None:
    of = scene(thing(SQUARE, 0.25, 0.5, 0.4), thing(SQUARE, 0.75, 0.5, 0.4))
    told = composer.render([of]).concept[0]
    assert told[4, 2] == told[4, 5] == SQUARE and told[0, 0] == -1


# -- company changes nothing ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(own: SpriteTable) -> list[Scene]:
    config = ComposerConfig(
        "core",
        {"3d": 1.0},
        {"single": 1.0, "count": 1.0, "pair": 1.0},
        0.5,
        0.5,
        held_out="include",
        shapes=own.shapes,
    )
    return [draw_scene(scene_seed("preview", 0, i), config) for i in range(10)]


def same(a: Composed, b: Composed) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def picked(composed: Composed, rows: list[int]) -> Composed:
    return Composed(*(part[rows] for part in composed))


@pytest.mark.parametrize("side", [64, 128])
def test_alone_and_in_a_batch_a_scene_has_the_same_bits(own: SpriteTable, batch: list[Scene], side: int) -> None:
    composer = Composer(own, side)
    together = composer.render(batch)
    for i, of in enumerate(batch):
        assert same(composer.render([of]), picked(together, [i]))
    backwards = composer.render(batch[::-1])
    assert same(picked(backwards, list(reversed(range(len(batch))))), together)


def test_painting_in_groups_as_on_a_gpu_gives_the_same_bits(own: SpriteTable, batch: list[Scene]) -> None:
    one, many = Composer(own), Composer(own)
    many.together = True
    assert same(one.render(batch), many.render(batch))
    assert same(many.render(batch[5:6]), picked(one.render(batch), [5]))


def test_threads_do_not_change_bits(own: SpriteTable, batch: list[Scene]) -> None:
    composer = Composer(own)
    composer.together = True
    threads = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(composer.render(batch))
    torch.set_num_threads(threads)
    assert same(*found)


class _WholePicture(Composer):
    """Paints every object in a window of the whole picture."""

    def _place(self, number: int, scene: Scene, thing: SpecObject) -> compose._Placed:
        return replace(super()._place(number, scene, thing), window=(0, 0, PATCHES, PATCHES))


@pytest.mark.parametrize("side", [64, 128])
def test_no_window_cuts_anything_off(own: SpriteTable, batch: list[Scene], side: int) -> None:
    turned = [
        scene(thing(c, 0.4, 0.55, size, angle=angle, flip=flip, colour=colour))
        for c, size, angle, flip, colour in (
            (RIM, 0.3, 0.0, False, None),
            (RIM, 0.3, 0.0, True, None),
            (RIM, 0.2, 50.0, True, "red"),
            (WIDE, 0.12, 45.0, False, None),
            (DISC, 0.07, 10.0, False, "blue"),
            (RIM, 0.5, -130.0, False, None),
        )
    ]
    assert same(Composer(own, side).render(batch + turned), _WholePicture(own, side).render(batch + turned))


def test_pictures_are_ready_for_a_network(composer: Composer, batch: list[Scene]) -> None:
    composed = composer.render(batch)
    assert composed.pixels.is_contiguous() and composed.pixels.dtype == torch.float32
    assert float(composed.pixels.min()) >= 0 and float(composed.pixels.max()) <= 1 + 1e-6
    assert float(composed.coverage.min()) >= 0 and float(composed.coverage.max()) <= 1 + 1e-6
    assert set(composed.concept.unique().tolist()) <= {-1, *range(6)}


def test_the_table_is_left_alone(own: SpriteTable, batch: list[Scene]) -> None:
    before = own.pixels.clone()
    Composer(own).render(batch)
    assert torch.equal(own.pixels, before)


# -- drawings ------------------------------------------------------------------------------------------------------


def test_the_seed_picks_between_several_drawings_of_a_concept() -> None:
    pictures = [drawing(RED, (32, 32, 96, 96)), drawing(BLUE, (32, 32, 96, 96))]
    both = table(*pictures)
    both = SpriteTable(tuple(replace(sprite, concept=0) for sprite in both.sprites), both.pixels)
    composer = Composer(both)
    found = [composer.render([scene(thing(0), seed=seed)]).pixels[0, :, 64, 64].argmax() for seed in range(4)]
    assert found == [0, 2, 0, 2]


@pytest.mark.parametrize(
    ("work", "error", "message"),
    [
        (lambda own: Composer(own, 100), ValueError, "side 100 is not a multiple of 8; try 104"),
        (lambda own: Composer(own).render([scene(thing(77))]), KeyError, "no drawing of concept 77 in style '3d'"),
    ],
)
def test_errors_say_what_is_wrong(
    own: SpriteTable, work: Callable[[SpriteTable], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        work(own)


def test_an_empty_sprite_paints_nothing() -> None:
    ghost = SpriteTable(
        (Sprite(0, 0, "3d", (0, 0, 128, 128), "ghost"),), torch.zeros(1, 4, 128, 128, dtype=torch.uint8)
    )
    composed = Composer(ghost).render([scene(thing(0)), scene(thing(0, colour="red"))])
    assert torch.equal(composed.pixels, torch.ones_like(composed.pixels)) and not composed.coverage.any()
    assert math.isfinite(float(composed.pixels.sum()))
