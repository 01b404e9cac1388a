"""The composer on batches: the truth about each patch, and company that changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from darkroom.data.scenes import compose
from darkroom.data.scenes.compose import PATCHES, Composed, Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import ComposerConfig, Scene, SpecObject, scene_seed
from darkroom.data.stock.drawings import Sprite, SpriteTable
from tests.sprites import BLUE, DISC, RED, RIM, SQUARE, WIDE, alone, own_table, scene, table, thing
from tests.tiny_pack import drawing


@pytest.fixture(scope="module")
def own() -> SpriteTable:
    return own_table()


@pytest.fixture(scope="module")
def composer(own: SpriteTable) -> Composer:
    return Composer(own)


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
    config = ComposerConfig("core", {"3d": 1.0}, stock=own.stock, held_out="include", kinds={"count": 1.0, "pair": 2.0})
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
        stock=own.stock,
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
