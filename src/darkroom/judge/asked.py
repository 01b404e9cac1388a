"""What a sentence asks for, as far as the judge can check it: things, counts, colours, relations, style, ground, light.

Rules over the core vocabulary, no network: what they do not recognise they leave out, so a verdict never holds a
picture to something nobody asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from darkroom.data.scenes.anchors import wearables
from darkroom.data.scenes.captions import NUMBERS
from darkroom.data.scenes.spec import GROUNDS
from darkroom.judge.expect import Expectation, Related, Wanted
from darkroom.judge.truth import GRADIENT
from darkroom.wording.vocabulary import COLOURS, Concept, concept_of, core

_COUNTS = {word: number for number, word in NUMBERS.items()} | {str(n): n for n in NUMBERS}
_ONE = frozenset({"a", "an", "one", "1"})
_SIZES = frozenset({"large", "big", "small", "little", "huge", "tiny"})

# Between two things, from the first to the second; the first pattern that matches counts.
_BETWEEN: tuple[tuple[str, str], ...] = (
    (r"on the left and", "left of"),
    (r"on the right and", "right of"),
    (r"(?:to the )?left of|on the left of|left from", "left of"),
    (r"(?:to the )?right of|on the right of|right from", "right of"),
    (r"in front of", "in front of"),
    (r"behind", "behind"),
    (r"next to|beside", "next to"),
    (r"above|over", "above"),
    (r"below|under|underneath|beneath", "below"),
    (r"(?:sitting |standing |lying )?on(?: top of)?", "on"),
    (r"wearing|that wears|who wears|in", "wearing"),
    (r"holding|that holds|who holds", "holding"),
)

_STYLE = (
    (r"\b3-?d\b", "3d"),
    (r"\bcartoon", "cartoon"),
    (r"\bblack and white\b", "black and white"),
    (r"\bpencil sketch\b|\bin pencil\b", "pencil sketch"),
    (r"\boil painting\b|\bpainted in oil\b", "oil painting"),
    (r"\bhalftone\b", "halftone"),
    (r"\bwatercolou?r\b", "watercolour"),
    (r"\bpixel art\b", "pixel art"),
    (r"\bflat(?= (?:style|illustration|drawing)\b|$|,)", "flat"),
    (r"\bsimple(?= (?:style|drawing|picture|rendering)\b|$|,)", "simple"),
    (r"\bbright(?= (?:style|drawing)\b|$|,)", "bright"),
)
_PLACE = (
    (r"\bsnow(?:y|)\b", "snow"),
    (r"\bnight sky\b", "night sky"),
    (r"\b(?:in front of a sunset|sunset sky|sunset behind)\b", "sunset"),
    (r"\b(?:in|of) (?:a|the) city\b|\bcity skyline\b", "city"),
    (r"\b(?:in|of) (?:a|the) forest\b|\bin the woods\b|\bfront of a forest\b", "forest"),
    (r"\b(?:by|at) the sea\b|\bfront of the ocean\b", "sea"),
    (r"\b(?:in|inside) a room\b|\bindoors\b", "room"),
)
_LIGHT = (
    (r"\bby day\b|\bin daylight\b|\bbright day\b", "day"),
    (r"\bat night\b|, night\b|\bof the night\b", "night"),
    (r"\bat sunset\b|\bsetting sun\b|\bevening light\b", "sunset"),
    (r"\bneon\b", "neon"),
    (r"\bmoonlight\b|\bby the moon\b", "moonlight"),
)
_CAMERA = (
    (r"\bclose-up\b|\bup close\b", "close-up"),
    (r"\bwide shot\b|\bfar away\b", "wide"),
    (r"\bfrom above\b|\btop view\b", "from above"),
    (r"\bblurred background\b|\bout of focus background\b|\bbackground out of focus\b", "blurred background"),
)
_GROUND_WORDS = "|".join(sorted(map(re.escape, GROUNDS), key=len, reverse=True))
_AFTER = "(?:in|as|by|at|from|with|lit|seen|painted|sketched|far|rendered) "
_PLAIN_GROUND = re.compile(rf"\b({_GROUND_WORDS}) background\b|\bon ({_GROUND_WORDS})(?=$|,| {_AFTER})")


# Lights and styles that speak of things which are not to be drawn.
_NO_THING = re.compile(r"\bby the moon\b|\bsetting sun\b|\bneon lights?\b|\bpencil sketch\b|\bin pencil\b")


@dataclass(frozen=True, slots=True)
class _Mention:
    concept: Concept
    start: int  # of its article, number or adjectives
    end: int
    count: int | None
    colour: str | None


def asked(text: str) -> Expectation:
    """The checkable part of a sentence. Everything it leaves open stays open."""
    said = " ".join(text.lower().split())
    quoted = re.search(r'"([A-Za-z]{1,12})"', text)
    spoken = re.sub(r'"[^"]*"', lambda match: " " * len(match.group()), said)
    whole: dict[str, str] = {}
    for fact, patterns in (("style", _STYLE), ("ground", _PLACE), ("light", _LIGHT), ("camera", _CAMERA)):
        for pattern, value in patterns:
            if re.search(pattern, spoken):
                whole.setdefault(fact, value)
    if re.search(r"\bgradient\b", spoken):
        whole["ground"] = GRADIENT
    elif ground := _PLAIN_GROUND.search(spoken):
        whole["ground"] = ground.group(1) or ground.group(2)
    if whole.get("style") == "pencil sketch":
        whole.pop("ground", None)  # a drawing in grey shows no ground's colour
    mentions = _mentions(_NO_THING.sub(lambda match: " " * len(match.group()), spoken))
    relations = _relations(spoken, mentions)
    objects = tuple(dict.fromkeys(Wanted(m.concept.word, m.count, m.colour) for m in mentions))
    return Expectation(objects, relations, whole, quoted.group(1).upper() if quoted else None)


def _mentions(said: str) -> list[_Mention]:
    """The things a sentence names, with number and colour. A plural without a number leaves the number open."""
    found = []
    for match in _names().finditer(said):
        concept = concept_of(match.group())
        assert concept is not None
        before = re.findall(r"[\w-]+", said[: match.start()])[-4:]
        if {"no", "without"} & set(before[-2:]):
            continue
        count, colour, start = None, None, match.start()
        while before:
            word = before.pop()
            if word in COLOURS and colour is None:
                colour = word
            elif word in _COUNTS:
                count = _COUNTS[word]
                before.clear()
            elif word in _ONE:
                count = 1
                before.clear()
            elif word not in _SIZES:
                break
            start = said.rindex(word, 0, start)
        found.append(_Mention(concept, start, match.end(), count, colour))
    return found


def _relations(said: str, mentions: list[_Mention]) -> tuple[Related, ...]:
    """What stands between one thing and the next."""
    found = []
    for one, other in pairwise(mentions):
        between = said[one.end : other.start].strip(" ,")
        for pattern, relation in _BETWEEN:
            if re.fullmatch(rf"(?:with [\w-]+ skin )?(?:that )?(?:is |are )?(?:{pattern})", between):
                if between != "in" or other.concept.index in _worn():  # "a cat in a box" wears nothing
                    found.append(Related(one.concept.word, relation, other.concept.word))
                break
    return tuple(found)


@cache
def _worn() -> frozenset[int]:
    return frozenset(concept for concept, _ in wearables())


@cache
def _names() -> re.Pattern[str]:
    """Every name of every concept, the longest first."""
    names = sorted({n.lower() for c in core() for n in (c.word, c.plural, *c.synonyms)}, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(map(re.escape, names)) + r")\b")
