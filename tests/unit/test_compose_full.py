"""The composer on scenes of everything: company changes nothing, and pixels are a picture's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from darkroom.data.scenes.compose import Composed, Composer
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import (
    CAMERAS,
    LIGHTS,
    MEDIA,
    MOTIONS,
    QUALITIES,
    USUAL,
    Figure,
    Ground,
    Person,
    Scene,
)
from darkroom.data.stock.drawings import SpriteTable
from darkroom.wording.vocabulary import COLOURS
from tests.wardrobe import everything, full_composer, full_table, index, one


@pytest.fixture(scope="module")
def table() -> SpriteTable:
    return full_table()


@pytest.fixture(scope="module")
def batch(table: SpriteTable) -> list[Scene]:
    """Every kind as often, most of them with a look."""
    config = everything(
        table.stock,
        place_share=0.5,
        light_share=0.4,
        camera_share=0.4,
        motion_share=0.5,
        quality_share=0.4,
        medium_share=0.4,
    )
    config = replace(config, kinds=dict.fromkeys(config.kinds, 1.0) | {"single": 6.0})
    return [draw_scene(seed, config) for seed in range(130)] + [one(light="day", ground=Ground("sea"))]


def same(a: Composed, b: Composed) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def picked(composed: Composed, rows: list[int]) -> Composed:
    return Composed(*(part[rows] for part in composed))


def test_the_batch_holds_everything(batch: list[Scene]) -> None:
    assert {s.kind for s in batch} == {"single", "count", "pair", "wearing", "figure", "boxes", "word", "photo"}
    for name, values in (("light", LIGHTS), ("camera", CAMERAS), ("motion", MOTIONS), ("quality", QUALITIES)):
        assert {getattr(s, name) for s in batch} == {None, *values}
    assert {s.style for s in batch} > set(MEDIA)
    assert any(thing.person.tone for s in batch for thing in s.objects)


@pytest.mark.parametrize("side", [64, 128])
def test_alone_and_in_a_batch_a_scene_has_the_same_bits(table: SpriteTable, batch: list[Scene], side: int) -> None:
    composer = full_composer(table, side)
    together = composer.render(batch)
    for i, scene in enumerate(batch):
        assert same(composer.render([scene]), picked(together, [i])), scene
    backwards = full_composer(table, side).render(batch[::-1])
    assert same(picked(backwards, list(reversed(range(len(batch))))), together)


def test_painting_in_groups_as_on_a_gpu_gives_the_same_bits(table: SpriteTable, batch: list[Scene]) -> None:
    one_by_one, grouped = full_composer(table), full_composer(table)
    grouped.together = True
    assert same(one_by_one.render(batch), grouped.render(batch))


def test_pictures_are_ready_for_a_network(table: SpriteTable, batch: list[Scene]) -> None:
    composed = full_composer(table).render(batch)
    assert composed.pixels.is_contiguous() and composed.pixels.dtype == torch.float32
    assert float(composed.pixels.min()) >= 0 and float(composed.pixels.max()) <= 1 + 1e-6
    whole = [i for i, scene in enumerate(batch) if scene.camera != "close-up"]  # of these toys one sees but a square
    assert float(composed.pixels[whole].flatten(1).std(1).min()) > 0.02


def test_truth_is_of_drawings_alone(table: SpriteTable, batch: list[Scene]) -> None:
    composed = full_composer(table).render(batch)
    for i, scene in enumerate(batch):
        concepts = {thing.concept for thing in scene.objects}
        assert set(composed.concept[i].unique().tolist()) - {-1} <= concepts
        if not scene.objects:
            assert not composed.coverage[i].any()


def test_a_look_does_not_change_the_truth(table: SpriteTable) -> None:
    composer = full_composer(table)
    plain = composer.render([one()])
    for look in ({"light": "neon"}, {"style": "halftone", "drawn": "3d"}, {"quality": "noisy"}, {"motion": "fast"}):
        looked = composer.render([one(**look)])
        assert torch.equal(looked.concept, plain.concept) and torch.equal(looked.coverage, plain.coverage)
        assert not torch.equal(looked.pixels, plain.pixels)


def test_a_medium_is_made_of_drawings_of_its_own_style(table: SpriteTable) -> None:
    composer = full_composer(table)
    flat, solid = (one(style="pixel art", drawn=drawn) for drawn in ("flat", "3d"))
    assert composer.sprite(flat, flat.objects[0]).style == "flat"
    assert not torch.equal(composer.render([flat]).pixels, composer.render([solid]).pixels)


def test_a_blurred_background_leaves_the_thing_sharp(table: SpriteTable) -> None:
    composer = full_composer(table)
    sharp = one(ground=Ground("city"))
    soft = replace(sharp, camera="blurred background")
    a, b = composer.render([sharp, soft]).pixels
    alpha = composer.alphas(sharp)[0]
    assert float((a - b).abs()[:, alpha == 1].max()) == 0

    def detail(pixels: torch.Tensor) -> float:
        return float(pixels.diff(dim=2).abs()[:, alpha[:, 1:] == 0].mean())

    assert detail(b) < 0.6 * detail(a)


def test_people_are_drawings_of_their_own_and_a_missing_one_is_an_error(table: SpriteTable) -> None:
    composer = full_composer(table)
    woman = one("woman")
    thing = replace(woman.objects[0], person=Person("male", "dark"))
    assert composer.sprite(woman, thing).person == thing.person
    assert composer.sprite(woman, woman.objects[0]).person == USUAL
    with pytest.raises(KeyError, match=f"no drawing of concept {index('woman')}"):
        composer.sprite(woman, replace(thing, person=Person(tone="green")))


def test_visible_boxes_hold_what_is_painted(table: SpriteTable, batch: list[Scene]) -> None:
    composer = full_composer(table)
    axis = (torch.arange(128) + 0.5) / 128
    judged = 0
    for scene in batch:
        alphas = composer.alphas(scene)[scene.figure is not None :]
        for thing, alpha in zip(scene.objects, alphas, strict=True):
            x0, y0, x1, y1 = composer.visible_box(scene, thing)
            beyond = (axis < x0 - 0.02) | (axis > x1 + 0.02), (axis < y0 - 0.02) | (axis > y1 + 0.02)
            assert not (alpha[:, beyond[0]] > 0.05).any() and not (alpha[beyond[1]] > 0.05).any()
            judged += 1
    assert judged > 80


@pytest.mark.parametrize("name", ["red", "green", "blue"])
def test_a_mannequin_stands_before_its_ground_in_its_colour(table: SpriteTable, name: str) -> None:
    figure = Figure("standing", (0.0, -12.0, -8.0, 12.0, 8.0, -5.0, -3.0, 5.0, 3.0), 0.5, 0.5, 0.8, name)
    scene = Scene("figure", "3d", (), Ground("forest"), named=(), figure=figure)
    composer: Composer = full_composer(table)
    pixels, alpha = composer.render([scene]).pixels[0], composer.alphas(scene)[0]
    mean = pixels[:, alpha == 1].mean(1)
    assert int(mean.argmax()) == max(range(3), key=lambda i: COLOURS[name][i])
    bare = composer.render([replace(scene, figure=None)]).pixels[0]
    assert torch.equal(pixels[:, alpha == 0], bare[:, alpha == 0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_paints_what_a_cpu_paints(table: SpriteTable, batch: list[Scene]) -> None:
    """To 2 of 255 steps, but for pixels on an edge that falls between two: at most one in a thousand."""
    composer = full_composer(table)
    photos = composer.photos and composer.photos.to(torch.device("cuda"))
    there = Composer(table.to(torch.device("cuda")), 128, photos=photos).render(batch)
    here = composer.render(batch)
    apart = (there.pixels.cpu() - here.pixels).abs().amax(1) > 2 / 255
    assert apart.float().mean() < 1e-3
    assert (there.concept.cpu() == here.concept).float().mean() > 0.999
