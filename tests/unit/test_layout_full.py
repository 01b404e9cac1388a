"""Scenes of everything the composer can do: the split holds, every choice turns up, and what is said can be seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from darkroom.data.scenes.anchors import heads, put_on, wearables
from darkroom.data.scenes.backdrops import brightness
from darkroom.data.scenes.layout import LIGHT_ENOUGH, PLACE_COLOURS, UNTOLD, draw_scene
from darkroom.data.scenes.spec import (
    CAMERAS,
    FULL,
    LIGHTS,
    MEDIA,
    MOTIONS,
    PLACES,
    QUALITIES,
    RELATIONS,
    USUAL,
    ComposerConfig,
    Ground,
    Scene,
    Shape,
    SpecObject,
    Stock,
    scene_seed,
)
from darkroom.data.split import HELD_OUT_CHARACTER, HELD_OUT_STYLE, TURNED, pair_held_out, style_trained
from darkroom.data.stock.pack import COLOURLESS
from darkroom.wording.vocabulary import COLOURS, HELD, core
from tests.drawn import drawn
from tests.wardrobe import PEOPLE, full_stock, random_shape

COUNT = 100_000
CONFIG = replace(FULL, stock=full_stock())


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return drawn(CONFIG, COUNT, captions=False).scenes


def box(thing: SpecObject, shape: Shape) -> tuple[float, float, float, float]:
    """Edges of the visible box of an upright thing."""
    wide, high = thing.size * shape.width / 2, thing.size * shape.height / 2
    return thing.x - wide, thing.y - high, thing.x + wide, thing.y + high


def worn(scene: Scene) -> SpecObject | None:
    return scene.objects[1] if scene.kind == "wearing" else None


def part(scene: Scene, thing: SpecObject) -> str:
    """What a thing is to the other one."""
    assert scene.relation is not None
    if scene.relation in ("wearing", "holding") or thing is scene.objects[scene.named[0]]:
        return scene.relation
    return TURNED[scene.relation]


def shape_of(scene: Scene, thing: SpecObject) -> Shape:
    return CONFIG.stock.shape(thing.concept, scene.drawings, scene.seed)


# -- the split -----------------------------------------------------------------------------------------------------


def test_no_held_out_pair_is_ever_shown(many: list[Scene]) -> None:
    words = [concept.word for concept in core()]
    things = [(scene, thing) for scene in many for thing in scene.objects]
    styles = {(words[t.concept], s.drawings) for s, t in things}
    colours = {(words[t.concept], t.colour) for _, t in things if t.colour}
    # Of wearing the split holds out who wears: a hat held out would be worn by nobody.
    relations = {(words[t.concept], part(s, t)) for s, t in things if s.relation and t is not worn(s)}
    assert min(len(styles), len(colours), len(relations)) > 1_800
    assert {relation for _, relation in relations} == {*RELATIONS, "under"}
    assert all(style_trained(*pair) for pair in styles)
    assert not any(pair_held_out("colour", *pair) for pair in colours)
    assert not any(pair_held_out("relation", *pair) for pair in relations)


def test_the_held_out_style_and_character_are_never_shown(many: list[Scene]) -> None:
    assert HELD_OUT_STYLE not in {style for s in many for style in (s.style, s.drawings)}
    assert HELD_OUT_CHARACTER not in {core()[t.concept].drawing for s in many for t in s.objects}


# -- what is drawn -------------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_scenes(many: list[Scene]) -> None:
    assert many[:60] == [draw_scene(scene_seed("train", 0, i), CONFIG) for i in range(60)]  # of another process


def test_every_kind_and_style_has_its_share(many: list[Scene]) -> None:
    kinds = Counter(scene.kind for scene in many)
    moved = FULL.kinds["wearing"] * FULL.styles["black and white"]  # no hats on drawings one sees through
    for kind, share in FULL.kinds.items():
        lost = {"wearing": -moved, "single": moved}.get(kind, 0.0)
        assert kinds[kind] / COUNT == pytest.approx(share + lost, abs=0.006), kind
    drawings = Counter(scene.drawings for scene in many if scene.kind in ("single", "count", "pair"))
    for style, share in FULL.styles.items():
        assert drawings[style] / drawings.total() == pytest.approx(share, abs=0.01), style


def test_every_look_turns_up_with_about_its_share(many: list[Scene]) -> None:
    free = [scene for scene in many if scene.kind != "photo"]

    def seen(scenes: list[Scene], name: str) -> Counter[str | None]:
        return Counter(getattr(scene, name) for scene in scenes)

    placed = Counter(s.ground.name for s in free if s.kind not in ("boxes", "word") and s.style not in COLOURLESS)
    total = placed.total()
    assert all(placed[place] / total == pytest.approx(0.3 / 7, abs=0.005) for place in PLACES)
    media = seen([s for s in free if s.drawings not in COLOURLESS and s.kind != "boxes"], "style")
    assert all(media[medium] / media.total() == pytest.approx(0.15 / 5, abs=0.005) for medium in MEDIA)
    flaws = seen([s for s in free if s.kind == "single"], "quality")
    assert all(0.01 < flaws[flaw] / flaws.total() < 0.03 for flaw in QUALITIES)
    lights, cameras, motions = (seen(free, name) for name in ("light", "camera", "motion"))
    assert all(0.002 < lights[light] / len(free) < 0.03 for light in LIGHTS)
    assert all(0.01 < cameras[camera] / len(free) < 0.04 for camera in CAMERAS)
    assert all(0.003 < motions[motion] / len(free) < 0.02 for motion in MOTIONS)
    assert {s.photo.id for s in many if s.photo} == {"photo 0", "photo 1", "photo 2"}


def test_people_are_shown_in_all_the_ways_they_are_drawn_in_and_never_painted(many: list[Scene]) -> None:
    people = [(s, t) for s in many for t in s.objects if core()[t.concept].group == "person"]
    assert len(people) > 300 and not any(thing.colour for _, thing in people)
    shown = Counter(t.person for s, t in people if s.kind == "single" and s.style != "pencil sketch")
    assert 1 - shown[USUAL] / shown.total() == pytest.approx(FULL.person_share, abs=0.06)
    assert set(shown) == {USUAL, *PEOPLE}
    sketched = {t.person for s, t in people if s.kind == "single" and s.style == "pencil sketch"}
    assert {person.tone for person in sketched} == {""} and {person.gender for person in sketched} > {"female"}


def test_looks_of_no_share_change_no_scene() -> None:
    """A plain run draws what it drew before there were looks; a look that is asked for changes nothing else."""
    plain = ComposerConfig("core", FULL.styles, {"single": 1.0, "count": 1.0, "pair": 1.0})
    lit = drawn(replace(plain, light_share=1.0), 600, captions=False).scenes
    for a, b in zip(drawn(plain, 600, captions=False).scenes, lit, strict=True):
        assert (a.light, a.camera, a.motion, a.quality, a.drawn) == (None,) * 5 and not a.ground.place
        assert replace(b, light=None, ground=a.ground) == a
    assert any(scene.light for scene in lit)


# -- what is said can be seen --------------------------------------------------------------------------------------


def test_black_lines_are_drawn_on_light_grounds(many: list[Scene]) -> None:
    drawings = [scene for scene in many if scene.style in COLOURLESS and scene.objects]
    assert len(drawings) > 3_000
    assert min(brightness(scene.ground) for scene in drawings) >= LIGHT_ENOUGH


def test_a_word_can_be_told_from_its_ground(many: list[Scene]) -> None:
    words = [(s, s.lettering) for s in many if s.lettering is not None]
    for scene, word in words:
        backing = Ground("white") if word.board else scene.ground
        assert abs(sum(COLOURS[word.colour]) / 765 - brightness(backing)) > 0.3, scene


def test_a_pencil_sketch_shows_no_colour(many: list[Scene]) -> None:
    sketches = [scene for scene in many if scene.style == "pencil sketch"]
    assert {s.ground.name for s in sketches} == {"white", *PLACES}
    assert not any(thing.colour for scene in sketches for thing in scene.objects)
    assert {s.figure.colour for s in sketches if s.figure} == {None}
    assert {s.lettering.colour for s in sketches if s.lettering} == {"black"}


def test_a_lit_scene_claims_no_colour(many: list[Scene]) -> None:
    lit = [scene for scene in many if scene.light is not None]
    assert not any(thing.colour for scene in lit for thing in scene.objects)
    assert all(scene.ground.place or scene.ground == UNTOLD for scene in lit)
    assert all(scene.style not in MEDIA and scene.style not in COLOURLESS for scene in lit)
    assert not {(s.light, s.ground.name) for s in lit} & {(light, "night sky") for light in LIGHTS}


def test_views_are_what_they_say(many: list[Scene]) -> None:
    sizes = {camera: [s.objects[0].size for s in many if s.camera == camera and s.objects] for camera in CAMERAS}
    assert min(sizes["close-up"]) > 1 and max(sizes["wide"]) < 0.31
    assert all(s.kind == "single" for s in many if s.camera in ("close-up", "wide", "from above"))
    assert all(s.ground.place for s in many if s.camera == "blurred background")
    assert not any(s.ground.place for s in many if s.camera == "from above")


def test_only_what_can_move_moves(many: list[Scene]) -> None:
    moving = [core()[scene.objects[0].concept].group for scene in many if scene.motion]
    assert set(moving) == {"vehicle", "animal"}


def test_cropped_things_reach_over_the_edge(many: list[Scene]) -> None:
    cropped = [scene.objects[0] for scene in many if scene.quality == "cropped"]
    assert all(max(abs(t.x - 0.5), abs(t.y - 0.5)) + t.size / 2 > 0.6 for t in cropped)


# -- where things are ----------------------------------------------------------------------------------------------


def test_a_hat_sits_on_the_brow_and_glasses_on_the_eyes(many: list[Scene]) -> None:
    worn_at = Counter[bool]()
    for scene in (s for s in many if s.kind == "wearing"):
        (who, what), (a, b) = scene.objects, (shape_of(scene, t) for t in scene.objects)
        head, hat = heads()[who.concept, scene.drawings], wearables()[what.concept, scene.drawings]
        at = hat.x if not what.flip else 1 - hat.x
        x, y = what.x + (at - 0.5) * b.width * what.size, what.y + (hat.y - 0.5) * b.height * what.size
        middle = head.x if not who.flip else 1 - head.x
        assert x == pytest.approx(who.x + (middle - 0.5) * a.width * who.size, abs=1e-9)
        level = head.eyes if hat.at_eyes else head.brow
        assert level > 0 and y == pytest.approx(who.y + (level - 0.5) * a.height * who.size, abs=1e-9)
        assert what.size * b.width == pytest.approx(head.width * hat.width * a.width * who.size)
        worn_at[hat.at_eyes] += 1
    assert min(worn_at.values()) > 500


def test_a_mirrored_head_wears_a_mirrored_hat() -> None:
    (concept, style), _ = next((pair, head) for pair, head in heads().items() if head.x != 0.5)
    hat = next(pair[0] for pair, worn in wearables().items() if pair[1] == style and not worn.at_eyes)
    who = SpecObject(concept, None, 0.5, 0.5, 0.7)
    shape = Shape(0.8, 1.0)
    left, right = (put_on(replace(who, flip=f), shape, hat, shape, None, style) for f in (False, True))
    assert (right.x - 0.5, right.y, right.size, right.flip) == pytest.approx((0.5 - left.x, left.y, left.size, True))


def test_the_dressed_lie_inside_the_picture(many: list[Scene]) -> None:
    for scene in (s for s in many if s.kind == "wearing"):
        for thing in scene.objects:
            edges = box(thing, shape_of(scene, thing))
            assert min(edges[1], 1 - edges[3]) >= 0.049, scene
            # Only the brim of a hat on a head as wide as the drawing may lose something at the sides.
            assert thing is scene.objects[1] or min(edges[0], 1 - edges[2]) > 0.03, scene


def test_what_is_held_lies_inside_the_picture(many: list[Scene]) -> None:
    for scene in (s for s in many if s.relation == "holding"):
        assert min(v - scene.objects[0].size / 2 for t in scene.objects for v in (t.x, t.y, 1 - t.x, 1 - t.y)) >= 0


def test_what_stands_on_a_thing_rests_on_it() -> None:
    """Whatever their outlines, the middle of the one's foot meets the middle of the other's top."""
    random = Random(1)
    stock = Stock({(concept.index, "3d"): (random_shape(random),) for concept in core()})
    config = ComposerConfig("core", {"3d": 1.0}, {"pair": 1.0}, stock=stock)
    pairs = [scene for scene in drawn(config, 4_000, captions=False).scenes if scene.relation == "on"]
    assert len(pairs) > 300
    for scene in pairs:
        upper, lower = (scene.objects[i] for i in scene.named)
        a, b = (stock.shape(thing.concept, "3d", 0) for thing in (upper, lower))
        foot = box(upper, a)[1] + a.bottom * upper.size
        top = box(lower, b)[1] + b.top * lower.size
        assert -0.03 <= top - foot <= 0.03
        assert box(upper, a)[1] > 0 and box(lower, b)[3] < 1, scene


def test_drawings_do_not_stand_on_a_plain_ground_of_their_own_colour() -> None:
    stock = full_stock()
    red = {pair: tuple(replace(shape, colour="red") for shape in found) for pair, found in (stock.shapes or {}).items()}
    config = replace(CONFIG, stock=replace(stock, shapes=red))
    scenes = [draw_scene(scene_seed("preview", 3, i), config) for i in range(1_500)]
    bare = [s for s in scenes if s.objects and s.lettering is None and any(t.colour is None for t in s.objects)]
    assert len(bare) > 500 and not any("red" in (s.ground.name, s.ground.name_to) for s in bare)


def test_only_what_lies_is_seen_from_above_and_no_place_stands_in_another(many: list[Scene]) -> None:
    def groups(scene: Scene) -> set[str]:
        return {core()[thing.concept].group for thing in scene.objects}

    above = [groups(scene) for scene in many if scene.camera == "from above"]
    assert len(above) > 50 and set().union(*above) == {"food", "thing"}
    houses = [scene for scene in many if "place" in groups(scene)]
    assert len(houses) > 200 and not any(scene.ground.place for scene in houses)


def test_hands_hold_what_fits_in_them(many: list[Scene]) -> None:
    held = [core()[scene.objects[0].concept] for scene in many if scene.relation == "holding"]
    assert len(held) > 50 and all(concept.group == "food" or concept.word in HELD for concept in held)


def test_nothing_is_told_in_the_colour_of_its_ground(many: list[Scene]) -> None:
    told = 0
    for scene in many:
        colours = [thing.colour for thing in scene.objects if thing.colour] if scene.lettering is None else []
        if scene.figure is not None and scene.figure.colour:
            colours.append(scene.figure.colour)
        told += len(colours)
        ends = (PLACE_COLOURS.get(scene.ground.name, scene.ground.name), scene.ground.name_to or "")
        assert not any(end.endswith(colour) for colour in colours for end in ends), scene
    assert told > 10_000
