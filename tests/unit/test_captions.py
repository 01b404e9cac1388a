"""Captions: everything a scene holds, in the right direction, and nothing it does not hold."""

from __future__ import annotations

import re

import pytest

from darkroom.data.scenes.captions import (
    GROUND_TEMPLATES,
    NUMBERS,
    PLAIN_TEMPLATES,
    RELATION_PHRASES,
    STYLE_TEMPLATES,
    caption,
)
from darkroom.data.scenes.spec import GROUNDS, MEDIA, RELATIONS, ComposerConfig, Ground, Scene, SpecObject
from darkroom.data.split import template_held_out
from darkroom.data.stock.pack import COLOURLESS, STYLES
from darkroom.wording.vocabulary import BARE, COLOURS, Concept, concept_of, concepts_in, core
from tests.drawn import Drawn, drawn

WIDE = ComposerConfig("core", dict.fromkeys(STYLES, 1.0), {"single": 0.4, "count": 0.2, "pair": 0.4}, colour_share=0.5)
COUNT = 4_000


@pytest.fixture(scope="module")
def many() -> Drawn:
    return drawn(WIDE, COUNT)


@pytest.fixture(scope="module")
def captioned(many: Drawn) -> list[tuple[Scene, str]]:
    """Every scene with its caption, and again with its paraphrase."""
    return [*zip(many.scenes, many.captions, strict=True), *zip(many.scenes, many.paraphrases, strict=True)]


def scene(
    word: str, *, colour: str | None = None, ground: Ground | None = None, seed: int = 0, style: str = "3d"
) -> Scene:
    """One object on a ground."""
    concept = concept_of(word)
    assert concept is not None
    return Scene(
        "single", style, (SpecObject(concept.index, colour, 0.5, 0.5, 0.8),), ground or Ground("red"), seed=seed
    )


def names(concept: Concept, *, several: bool = False) -> list[str]:
    """Every name of one such thing, or of several."""
    found = {concept.plural, *concept.synonyms_plural} if several else {concept.word, *concept.synonyms}
    return sorted(found, key=len, reverse=True)


def described(thing: SpecObject, *, several: bool = False) -> str:
    """A pattern of an object, or several such, with its colour, if it has one."""
    found = names(core()[thing.concept], several=several)
    if thing.colour is None:
        return f"({'|'.join(map(re.escape, found))})"
    coloured = [re.sub(r"^(pairs? of )?", rf"\g<0>{thing.colour} ", name) for name in found]
    return f"({'|'.join(map(re.escape, coloured))})"


def without_ground(text: str, ground: Ground) -> str:
    """The caption without the words for its ground."""
    name = ground.name if ground.name_to is None else f"{ground.name} to {ground.name_to} gradient"
    return re.sub(rf"(?:,| (?:on|with|against) an?|\. the picture has an?) {name} background", "", text)


# -- what is said --------------------------------------------------------------------------------------------------


def test_every_object_is_named_and_nothing_else(captioned: list[tuple[Scene, str]]) -> None:
    for of, text in captioned:
        assert {c.index for c in concepts_in(text)} == {thing.concept for thing in of.objects}, text


def test_every_colour_is_said_once_before_its_object_and_no_other(captioned: list[tuple[Scene, str]]) -> None:
    for of, text in captioned:
        rest = without_ground(text.replace("black and white", ""), of.ground)
        things = [of.objects[i] for i in of.named]
        told = things[:1] if of.kind == "count" else things
        assert sorted(w for w in re.findall(r"\w+", rest) if w in COLOURS) == sorted(t.colour for t in told if t.colour)
        for thing in told:
            assert re.search(rf"\b{described(thing, several=of.kind == 'count')}\b", text), text


def test_colourless_styles_have_no_colour_but_the_grounds(many: Drawn) -> None:
    for of, text in zip(many.scenes, many.captions, strict=True):
        if of.style in COLOURLESS:
            rest = without_ground(text.replace("black and white", ""), of.ground)
            assert not set(re.findall(r"\w+", rest)) & {*COLOURS, "beige"}, text


def test_counts_are_said_with_the_plural(captioned: list[tuple[Scene, str]]) -> None:
    for of, text in captioned:
        words = set(re.findall(r"[\w-]+", text))  # a four-leaf clover is one
        if of.kind == "count":
            several = described(of.objects[0], several=True)
            assert re.search(rf"\b{NUMBERS[len(of.objects)]} {several}\b", text), text
            assert words & set(NUMBERS.values()) == {NUMBERS[len(of.objects)]}
        else:
            assert not words & set(NUMBERS.values()), text
    assert NUMBERS == {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


# What a reader understands, written down apart from the module's own table: the words between two objects.
READ = {
    "left": ("to the left of", "left of", "on the left and"),
    "right": ("to the right of", "right of", "on the right and"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
    "on": ("on", "on top of"),
    "front": ("in front of",),
    "behind": ("behind",),
    "beside": ("next to", "and", "beside"),
}
SIDE_OF = {words: side for side, phrases in READ.items() for words in phrases}


def read(text: str, a: SpecObject, b: SpecObject) -> str:
    """The side of ``b`` that the caption says ``a`` is on."""
    one, other = (re.compile(rf"\b(?:an? )?{described(thing)}\b") for thing in (a, b))
    first = one.search(text)
    second = first and other.search(text, first.end())  # a ball also stands in a rice ball
    assert first and second, text
    between = text[first.end() : second.start()].strip()
    other = {"on the left and": " on the right", "on the right and": " on the left"}.get(between, "")
    assert text[second.end() :].startswith(other), text
    return SIDE_OF[between]


def test_relations_point_the_right_way(captioned: list[tuple[Scene, str]]) -> None:
    said = set()
    for of, text in captioned:
        if of.kind != "pair":
            continue
        a, b = (of.objects[i] for i in of.named)
        side = read(text, a, b)
        said.add(side)
        match side:  # judged by where the objects are, not by the relation's own word
            case "left":
                assert a.x < b.x - 0.3, text
            case "right":
                assert a.x > b.x + 0.3, text
            case "above":
                assert a.y < b.y - 0.3, text
            case "below":
                assert a.y > b.y + 0.3, text
            case "on":
                assert a.y < b.y and of.objects[-1] is a, text
            case "front":
                assert of.objects[-1] is a, text
            case "behind":
                assert of.objects[-1] is b, text
            case "beside":
                assert of.relation == "next to" and abs(a.x - b.x) > 0.3, text
    assert said == set(READ)


def test_the_ground_is_said_as_painted(captioned: list[tuple[Scene, str]]) -> None:
    told = 0
    for of, text in captioned:
        ground = of.ground
        if " background" in text or " gradient" in text:
            told += 1
            name = ground.name if ground.name_to is None else f"{ground.name} to {ground.name_to} gradient"
            assert re.search(rf"\b{name} background\b", text), text
            assert ("gradient" in text) == (ground.name_to is not None), text
        if ", plain" in text:
            assert ground == Ground("white"), text
    assert told > 0.4 * len(captioned)


def test_only_the_scenes_own_style_is_named(captioned: list[tuple[Scene, str]]) -> None:
    for of, text in captioned:
        for style in STYLES:
            if style != of.style:
                assert not re.search(rf"\b{style}\b", text), text


def test_small_and_large_are_what_they_say(captioned: list[tuple[Scene, str]]) -> None:
    sizes: dict[str, list[float]] = {"small": [], "large": []}
    for of, text in captioned:
        for word, kind in (("small", "small"), ("little", "small"), ("large", "large"), ("big", "large")):
            if re.search(rf"\b{word}\b", text):
                assert of.kind == "single", text
                sizes[kind].append(of.objects[0].size)
    assert sizes["small"] and max(sizes["small"]) < 0.6 <= min(sizes["large"])


# -- how it is said ------------------------------------------------------------------------------------------------


def test_captions_are_mostly_long(many: Drawn) -> None:
    pairs = list(zip(many.scenes, many.captions, strict=True))
    styled = sum(s.style in text for s, text in pairs) / COUNT
    ground = sum(without_ground(text, s.ground) != text for s, text in pairs) / COUNT
    assert styled == pytest.approx(0.85, abs=0.02)
    assert ground == pytest.approx(0.60, abs=0.02)


def test_articles_and_spaces_are_right(captioned: list[tuple[Scene, str]]) -> None:
    for _, text in captioned:
        assert not re.search(r"\ban? (?:an?|two|three|four|five|six) |  |\s,|^\s|\s$|[{}]", text), text
        assert not re.search(r"\ba (?!uni|ufo|one)[aeiou]", text), text
        assert not re.search(r"\ban (?!hour)[^aeiou]", text), text
        assert not re.search(rf"\ban? (?:{'|'.join(COLOURS)} )?(?:{'|'.join(BARE)})\b(?! bolt| bar| pot)", text), text


@pytest.mark.parametrize(
    ("word", "colour", "expected"),
    [
        ("hourglass", None, "an hourglass"),
        ("unicorn", None, "a unicorn"),
        ("unicorn", "orange", "an orange unicorn"),
        ("owl", "green", "a green owl"),
        ("bowling pins", None, "bowling pins"),
        ("bowling pins", "red", "red bowling pins"),
    ],
)
def test_one_object_takes_its_article(word: str, colour: str | None, expected: str) -> None:
    said = {caption(scene(word, colour=colour, seed=seed)) for seed in range(60)}
    plain = [text for text in said if re.search(rf"(?:^|of |draw |me |shows ){expected}\b", text)]
    sized = [text for text in said if re.search(r"(?:\ba |^|\bof |draw |me |shows )(?:large|big) ", text)]
    assert plain and len(plain) + len(sized) == len(said), said


@pytest.mark.parametrize(
    ("ground", "expected"),
    [
        (Ground("orange"), {"on an orange background", ", orange background", "the picture has an orange background"}),
        (Ground("light blue"), {"on a light blue background", "with a light blue background"}),
        (Ground("orange", "red"), {"on an orange to red gradient background", ", orange to red gradient background"}),
        (Ground("red", "orange"), {"with a red to orange gradient background", ", red to orange gradient background"}),
    ],
)
def test_grounds_take_their_article(ground: Ground, expected: set[str]) -> None:
    said = [caption(scene("cat", ground=ground, seed=seed)) for seed in range(100)]
    for phrase in expected:
        assert any(re.search(rf"{phrase}(?:,|$|\.| in| 3d)", text) for text in said), phrase
    told = [text for text in said if ground.name in text]
    assert all(
        any(phrase in text for phrase in expected | {f", {ground.name}", f"an {ground.name}", f"a {ground.name}"})
        for text in told
    )
    assert not any("a orange" in text or "on red to" in text or "on orange to" in text for text in said)


def test_plain_is_for_plain_white_only() -> None:
    def said(ground: Ground) -> bool:
        return any(", plain" in caption(scene("cat", ground=ground, seed=seed)) for seed in range(100))

    assert said(Ground("white"))
    assert not said(Ground("white", "red")) and not said(Ground("red")) and not said(Ground("red", "white"))


def test_synonyms_are_used_now_and_then(many: Drawn) -> None:
    singles = [(s, t) for s, t in zip(many.scenes, many.captions, strict=True) if s.kind == "single"]
    spoken = [(core()[s.objects[0].concept], text) for s, text in singles]
    named = [
        any(re.search(rf"\b{re.escape(x)}\b", text) for x in c.synonyms) and c.word not in text for c, text in spoken
    ]
    assert 0.03 < sum(named) / len(named) < 0.2


# -- paraphrases ---------------------------------------------------------------------------------------------------


def pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{x\}", r"(?:.+)").replace(r"a\ \{g\}", r"an?\ (?:.+)"))


STYLED = [template for templates in STYLE_TEMPLATES.values() for template in templates] + list(PLAIN_TEMPLATES)
HELD = [pattern(template) for template in STYLED if template_held_out(template)]


def test_held_out_templates_are_never_trained(many: Drawn) -> None:
    grounds = [
        pattern(template).pattern.replace("(?:.+)", "", 1)
        for template in GROUND_TEMPLATES
        if template_held_out(template)
    ]
    assert grounds
    for text in many.captions:
        assert not any(held.fullmatch(text) for held in HELD), text
        assert not any(re.search(ground, text) for ground in grounds), text


def test_paraphrases_use_nothing_else(many: Drawn) -> None:
    for text in many.paraphrases:
        assert any(held.fullmatch(text.removesuffix(", plain")) for held in HELD), text
        if " background" in text:
            assert "against a" in text, text


def test_every_style_has_templates_on_both_sides() -> None:
    assert set(STYLE_TEMPLATES) == {*STYLES, *MEDIA}
    for templates in (*(STYLE_TEMPLATES[style] for style in STYLES), PLAIN_TEMPLATES, GROUND_TEMPLATES):
        assert {template_held_out(template) for template in templates} == {True, False}


def test_captions_repeat_and_use_the_scenes_seed(many: Drawn) -> None:
    assert [caption(s) for s in many.scenes[:50]] == many.captions[:50]  # drawn by another process
    assert len({caption(scene("cat", seed=seed)) for seed in range(50)}) > 15


def test_phrases_and_grounds_cover_what_the_spec_can_draw() -> None:
    assert set(RELATION_PHRASES) == set(RELATIONS)
    assert set(COLOURS) - {"brown", "grey"} <= set(GROUNDS)
