"""Captions of everything the composer can do: what is told is so, what is not told is not said by the way."""

from __future__ import annotations

import re

import pytest

from darkroom.data.scenes.captions import (
    CAMERA_TEMPLATES,
    GROUND_TEMPLATES,
    LIGHT_TEMPLATES,
    MOTION_TEMPLATES,
    PLACE_TEMPLATES,
    PLAIN_TEMPLATES,
    QUALITY_TEMPLATES,
    STYLE_TEMPLATES,
    Told,
    caption,
    tell,
)
from darkroom.data.scenes.spec import CAMERAS, GROUNDS, LIGHTS, MEDIA, MOTIONS, PLACES, QUALITIES, Scene
from darkroom.data.split import template_held_out
from darkroom.wording.vocabulary import BARE, COLOURS, core
from tests.drawn import Drawn, drawn
from tests.unit.test_layout_full import CONFIG

COUNT = 5_000

# What a reader understands, written down apart from the module's own tables.
READ: dict[str, dict[str, str]] = {
    "light": {
        "day": r"by day|daylight|is a bright day",
        "night": r"at night|, night(?! sky)|dark of the night|it is night",
        "sunset": r"at sunset|setting (sun|THING)|evening light|(sun|THING) is setting",
        "neon": r"neon",
        "moonlight": r"moonlight|lit by the (moon|THING)|(moon|THING) is shining",
    },
    "camera": {
        "close-up": r"close-up|up close",
        "wide": r"wide shot|far away",
        "from above": r"from above|top view",
        "blurred background": r"blurred background|background is blurred",
    },
    "motion": {"fast": r"\bfast\b|speeding", "slow": r"\bslow(ly)?\b"},
    "quality": {
        "blurry": r"blurry|, blurred(?! background)",
        "noisy": r"noisy|grainy",
        "low quality": r"low quality|bad quality|quality is low",
        "cropped": r"cropped|cut off",
    },
    "style": {
        "3d": r"\b3d\b",
        "cartoon": r"cartoon",
        "flat": r"\bflat\b",
        "black and white": r"\bblack and white\b",
        "simple": r"\bsimple\b",
        "bright": r"\bbright\b(?! day)",
        "pencil sketch": r"pencil",
        "oil painting": r"\boil\b",
        "halftone": r"halftone",
        "watercolour": r"watercolou?r",
        "pixel art": r"pixel art",
    },
    "place": {
        "snow": r"\bsnowy?\b",
        "night sky": r"night sky",
        "sunset": r"\ba sunset\b",
        "city": r"\bcity\b",
        "forest": r"\bforest\b|\bwoods\b",
        "sea": r"\bsea\b|\bocean\b",
        "room": r"\broom\b|indoors",
    },
}


@pytest.fixture(scope="module")
def many() -> Drawn:
    return drawn(CONFIG, COUNT)


@pytest.fixture(scope="module")
def told(many: Drawn) -> list[tuple[Scene, Told, str]]:
    """Every scene but the photos, what is told, and the caption without names of things and without the word shown."""
    return [(s, t, without_names(s, t.text)) for s in many.scenes if s.photo is None for t in (tell(s),)]


def without_names(scene: Scene, text: str) -> str:
    """The caption without what could be taken for a look: a pencil, the word "SNOW"."""
    text = re.sub(r'"[^"]*"', '"X"', text)
    for thing in scene.objects:
        concept = core()[thing.concept]
        for name in sorted({concept.word, concept.plural, *concept.synonyms}, key=len, reverse=True):
            text = re.sub(rf"\b{re.escape(name)}\b", "THING", text)
    return text


# -- what is told --------------------------------------------------------------------------------------------------


def test_the_loaders_captions_are_these(many: Drawn) -> None:
    assert [tell(scene).text for scene in many.scenes[:100]] == many.captions[:100]  # drawn by another process
    assert [caption(scene) for scene in many.scenes[:100]] == many.captions[:100]


@pytest.mark.parametrize("fact", ["light", "camera", "motion", "quality", "style"])
def test_a_fact_is_said_just_where_it_is_told(told: list[tuple[Scene, Told, str]], fact: str) -> None:
    said = set()
    for scene, (text, facts), rest in told:
        read = {value for value, pattern in READ[fact].items() if re.search(pattern, rest)}
        assert read == ({getattr(scene, fact)} if fact in facts else set()), text
        said |= read
    assert said == set(READ[fact])


def test_a_place_is_said_just_where_it_is_told(told: list[tuple[Scene, Told, str]]) -> None:
    for scene, (text, facts), rest in told:
        read = {place for place, pattern in READ["place"].items() if re.search(pattern, rest)}
        if scene.room is not None:
            assert read == {"room"} and "ground" not in facts, text
        else:
            assert read == ({scene.ground.name} if "ground" in facts and scene.ground.place else set()), text


def test_a_ground_is_told_where_it_is_said_and_never_under_a_coloured_light(
    told: list[tuple[Scene, Told, str]],
) -> None:
    for scene, (text, facts), rest in told:
        plain = re.search(rf"\b({'|'.join(GROUNDS)})( background|$|,| gradient)", rest)
        if "ground" in facts and not scene.ground.place:
            assert scene.light is None and scene.ground.name in text
        elif scene.lettering is None and scene.room is None and "black and white" not in text:
            assert not plain, text


def test_flaws_are_always_told_and_other_looks_mostly(told: list[tuple[Scene, Told, str]]) -> None:
    for fact, share in (("quality", 1.0), ("light", 0.9), ("camera", 0.9), ("motion", 0.9)):
        ones = [fact in facts for scene, (_, facts), _ in told if getattr(scene, fact) is not None]
        assert len(ones) > 60 and sum(ones) / len(ones) == pytest.approx(share, abs=0.09 if share < 1 else 0), fact


def test_words_are_quoted_exactly(told: list[tuple[Scene, Told, str]]) -> None:
    for scene, (text, _), rest in told:
        expected = [scene.lettering.text] if scene.lettering is not None else []
        assert re.findall(r'"([^"]*)"', text) == expected
        for colour in re.findall(r"in (\w+) letters|written in (\w+)", text):
            assert scene.lettering is not None and scene.lettering.colour in colour, text
        assert ("a sign" in rest) == (scene.lettering is not None and scene.lettering.board), text


def test_tones_and_genders_are_said(told: list[tuple[Scene, Told, str]]) -> None:
    seen = set()
    for scene, (text, _), rest in told:
        tones = [thing.person.tone for thing in scene.objects if thing.person.tone]
        assert re.findall(r"with (\w+) skin", rest) == tones, text
        genders = [thing.person.gender for thing in scene.objects if thing.person.gender]
        assert re.findall(r"\b(female|male) THING", rest) == genders, text
        seen |= {*tones, *genders}
    assert seen == {"light", "dark", "female", "male"}


def test_mannequins_are_told_with_pose_and_colour(told: list[tuple[Scene, Told, str]]) -> None:
    for scene, (text, _), rest in told:
        assert ("mannequin" in rest) == (scene.figure is not None), text
        if scene.figure is not None:
            assert f"mannequin {scene.figure.pose}" in text
            colours = re.findall(rf"({'|'.join(COLOURS)}|wooden) mannequin", text)
            assert colours == [scene.figure.colour] if scene.figure.colour else colours in ([], ["wooden"]), text
            held = any(words in text for words in ("and holding", "in its hand"))
            assert held == bool(scene.objects)


def test_boxes_are_told_from_left_to_right(told: list[tuple[Scene, Told, str]]) -> None:
    rooms = [(scene.room, text) for scene, (text, _), _ in told if scene.room is not None]
    assert len(rooms) > 50
    for room, text in rooms:
        assert re.findall(r"(\w+) box\b", text) == [box.colour for box in room.boxes], text
        assert "right of" not in text and "on top" not in text


def test_who_wears_and_what_is_worn_are_told_in_this_order(told: list[tuple[Scene, Told, str]]) -> None:
    worn = [(scene, rest) for scene, _, rest in told if scene.kind == "wearing"]
    assert len(worn) > 100
    for _, rest in worn:
        what = r"(?:an? )?(?:pair of )?(?:\w+ )?(?:THING|(?:sun)?glasses)"
        assert re.search(rf"THING(?: with \w+ skin)? (?:wearing|that wears|in) {what}\b", rest), rest


def test_photos_have_captions_of_their_own(many: Drawn) -> None:
    shown = [(s.photo, text) for s, text in zip(many.scenes, many.captions, strict=True) if s.photo is not None]
    assert len(shown) > 50 and {text for _, text in shown} == {t for photo, _ in shown for t in photo.captions}
    assert all(text in photo.captions for photo, text in shown)
    assert all(tell(scene).facts == frozenset() for scene in many.scenes if scene.photo is not None)


# -- how it is said ------------------------------------------------------------------------------------------------


def test_articles_spaces_and_words_are_right(many: Drawn) -> None:
    for text in (*many.captions, *many.paraphrases):
        assert not re.search(r"\ban? (?:an?|two|three|four|five|six) |  |\s,|^\s|\s$|[{}]", text), text
        assert not re.search(r"\ba (?!uni|ufo|one)[aeiou]", text), text
        assert not re.search(r"\ban (?!hour)[^aeiou]", text), text
        assert not re.search(rf"\ban? (?:{'|'.join(COLOURS)} )?(?:{'|'.join(BARE)})\b(?! bolt| bar| pot)", text), text
        assert not re.search(r"\b([a-z]+) \1\b", text), text  # no word twice in a row


def test_no_caption_is_endless(many: Drawn) -> None:
    assert max(len(text.split()) for text in many.captions) <= 34


# -- held-out templates --------------------------------------------------------------------------------------------

TABLES = (
    STYLE_TEMPLATES,
    PLACE_TEMPLATES,
    LIGHT_TEMPLATES,
    CAMERA_TEMPLATES,
    MOTION_TEMPLATES,
    QUALITY_TEMPLATES,
    {"plain": PLAIN_TEMPLATES},
    {"ground": GROUND_TEMPLATES},
)
EVERY = [template for table in TABLES for templates in table.values() for template in templates]
FRAGMENTS = [t.replace("{x}", "").split("{g}")[0].strip() for t in EVERY if template_held_out(t)]


def test_every_table_has_a_trained_template() -> None:
    for table in TABLES:
        assert all(any(not template_held_out(t) for t in templates) for templates in table.values())


def test_tables_cover_what_the_spec_can_draw() -> None:
    assert set(PLACE_TEMPLATES) == set(PLACES) and set(LIGHT_TEMPLATES) == set(LIGHTS)
    assert set(CAMERA_TEMPLATES) == set(CAMERAS) and set(MOTION_TEMPLATES) == set(MOTIONS)
    assert set(QUALITY_TEMPLATES) == set(QUALITIES) and set(MEDIA) < set(STYLE_TEMPLATES)
    assert len(EVERY) == len(set(EVERY)) + 2  # the bare thing stands there three times


def test_held_out_templates_are_in_no_training_caption(many: Drawn) -> None:
    assert {"in front of a sunset", "a top view of", "in neon light"} < set(FRAGMENTS)
    for scene, text in zip(many.scenes, many.captions, strict=True):
        assert scene.photo is not None or not any(fragment in text for fragment in FRAGMENTS), text


def test_paraphrases_use_every_held_out_template(many: Drawn) -> None:
    text = "\n".join(many.paraphrases)
    assert all(fragment in text for fragment in FRAGMENTS)
