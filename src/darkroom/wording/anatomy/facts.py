"""What a sentence asks for, as far as it can be checked: things, counts, colours, relations, style, ground, light.

Rules over the core vocabulary, no network. A thing is named by a noun phrase: a determiner, adjectives, the noun. A
phrase whose noun is not in the vocabulary is kept as unknown; what is negated, what only describes another noun
("a chicken sandwich") and what the picture is made with ("a pencil drawing") are nothing to be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from darkroom.wording.vocabulary import COLOURS, GRADIENT, GROUNDS, WORN, Concept, concepts_by_name, core


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thing asked for. ``count`` and ``colour`` None ask for nothing more than that it is there."""

    word: str
    count: int | None = None
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Related:
    """A relation asked for of two things: their words, or their places among the objects where words are not enough."""

    first: str | int
    relation: str
    second: str | int


@dataclass(frozen=True, slots=True)
class Part:
    """Where a sentence says something: characters from ``start`` to ``end`` and the role they play."""

    role: str  # "subject", "relation", or a fact of the whole picture
    start: int
    end: int
    means: str | None = None  # in the vocabulary's words; None: it has none for it
    thing: Wanted | None = None  # of a subject


@dataclass(frozen=True)
class Facts:
    """What a sentence asks for, and where. ``said`` is the sentence as it was read: lower case, single spaces."""

    said: str
    objects: tuple[Wanted, ...]
    relations: tuple[Related, ...]
    whole: Mapping[str, str]  # fact of the whole picture -> value
    letters: str | None
    unknown: tuple[str, ...]  # nouns that are not in the vocabulary
    parts: tuple[Part, ...]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- words -------------------------------------------------------------------------------------------------------

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ONE = _words("a an another one 1")
_PAIR = _words("pair pairs couple")  # with "of"
_COUNTS = {word: number for number, word in enumerate(_NUMBERS, 1)} | dict.fromkeys(_ONE, 1) | dict.fromkeys(_PAIR, 2)
_BACK = _words("the its his her their")  # what they precede may have been named before
_MANY = _words("some several many few these those my your our")
_NOT = _words("no not without never except instead rather nor isn't aren't")
_ENDS = _words(
    """about above across against along alone also among and around as asleep at atop away before behind below beneath
    beside between but by down during each far for from he here if in inside into is it are was were has have had
    left like near next of off on onto or out outside over past right she shows so than that then there they through
    to together too toward towards under underneath until up upon upside very where which while who whose with
    within"""
)
"""Words no noun phrase goes on over, whatever they are elsewhere."""
_VERBS = _words(
    """sits stands lies rests perches hides waits hangs floats hovers runs walks jumps sleeps flies swims eats drinks
    plays looks holds wears carries rides reads drives dances sings smiles says sitting standing lying resting
    perched hiding hidden waiting hanging floating hovering running walking jumping sleeping flying swimming eating
    drinking playing looking holding wearing carrying riding reading driving dancing singing smiling saying seated
    placed located positioned moving speeding seen lit made painted drawn sketched rendered printed written"""
)
_MEDIA = _words(
    """art artwork cartoon clipart drawing emoji icon illustration image logo painting photo photograph picture
    portrait poster print render rendering scene shot sketch sticker style view wallpaper watercolor watercolour"""
)
_NO_THINGS = (
    _MEDIA
    | _words(
        """background foreground bit bottom center centre corner distance edge front ground kind letter letters lot
    middle side quality sign sort text top way word hand hands group flock herd pile row type piece big
    small large little huge tiny"""
    )
    | (COLOURS.keys() - {"orange"})
)
"""What a phrase may end in that asks for nothing to be drawn."""

# --- the whole picture -------------------------------------------------------------------------------------------

_IMAGE = "(?:style|illustration|drawing|picture|portrait|rendering|image|photo|print|sketch|art)"
_STYLE = (
    (r"\b3-?d\b", "3d"),
    (r"\bcartoon\w*", "cartoon"),
    (rf"\bin black and white\b|\bblack and white(?= {_IMAGE}\b|$|[,.])", "black and white"),
    (r"\bpencil (?:sketch|drawing)\b|\bin pencil\b", "pencil sketch"),
    (r"\boil painting\b|\bpainted in oil\b", "oil painting"),
    (r"\bhalftone\b", "halftone"),
    (r"\bwatercolou?r\b", "watercolour"),
    (r"\bpixel art\b", "pixel art"),
    (rf"\bflat(?= {_IMAGE}\b|$|[,.])", "flat"),
    (rf"\bsimple(?= {_IMAGE}\b|$|[,.])", "simple"),
    (rf"\bbright(?= {_IMAGE}\b|$|[,.])", "bright"),
)
_PLACE = (
    (r"\b(?:in|on)(?: the| deep| fresh)? snow\b|\b(?:in|on) a snowy (?:landscape|day|field|hill)\b", "snow"),
    (r"\b(?:a |the )?(?:starry )?night sky\b", "night sky"),
    (r"\b(?:in front of )?a sunset(?: sky| behind it)?\b", "sunset"),
    (r"\b(?:in|of) (?:a|the) city\b|\ba city (?:skyline|in the background)\b", "city"),
    (r"\b(?:in|of) (?:a|the) forest\b|\bin the woods\b|\ba forest in the background\b", "forest"),
    (r"\b(?:by|at) the sea\b|\bfront of the ocean\b", "sea"),
    (r"\b(?:in|inside) an? (?:empty )?room\b|\bindoors\b", "room"),
)
_LIGHT = (
    (r"\bby day\b|\bin daylight\b|\b(?:on )?a bright day\b", "day"),
    (r"\bat night\b|, night\b|\bin the dark(?: of the night)?\b|\bit is night\b", "night"),
    (r"\bat sunset\b|\b(?:in the light of )?the setting sun\b|\bthe sun is setting\b|\bevening light\b", "sunset"),
    (r"\b(?:a )?neon(?: lights?)?\b", "neon"),
    (r"\bmoonlight\b|\bby the moon\b|\bthe moon is shining\b", "moonlight"),
)
_CAMERA = (
    (r"\b(?:a )?close-up\b|\bup close\b", "close-up"),
    (r"\b(?:a )?wide shot\b|\bfar away\b", "wide"),
    (r"\bfrom above\b|\b(?:a )?top view\b", "from above"),
    (
        r"\b(?:a )?blurred background\b|\bout of focus background\b|\bbackground (?:is )?(?:out of focus|blurred)\b",
        "blurred background",
    ),
)
WHOLE_PATTERNS = tuple(pattern for pattern, _ in (*_STYLE, *_PLACE, *_LIGHT, *_CAMERA))
_GROUND_WORDS = "|".join(sorted(map(re.escape, GROUNDS), key=len, reverse=True))
_AFTER = "(?:in|as|by|at|from|with|lit|seen|painted|sketched|far|rendered) "
_PLAIN_GROUND = re.compile(
    rf"\b(?:an? )?({_GROUND_WORDS}) background\b|\bthe background is ({_GROUND_WORDS})\b"
    rf"|\bon ({_GROUND_WORDS})(?=$|[,.]| {_AFTER})"
)
_GRADIENT = re.compile(rf"\b(?:an? )?(?:(?:{_GROUND_WORDS}) (?:to (?:{_GROUND_WORDS}) )?)?gradient\b")
_MADE_WITH = re.compile(rf"\b(?:pencil|crayon|pen) (?={_IMAGE}\b)|\bin (?:pencil|crayon|pen)\b")
_SPELT = re.compile(r'(?:\b(?:the|a) )?\b(?:letters?|words?|text) (?=")|\bin (?:[\w-]+ )?letters\b')

# --- between two things, from the first to the second ------------------------------------------------------------

_STANDS = (
    r"(?:sit(?:s|ting)|stand(?:s|ing)|l(?:ies|ying)|rest(?:s|ing)|perch(?:es|ed)|hid(?:es|ing|den)|hang(?:s|ing)|"
    r"float(?:s|ing)|hover(?:s|ing)|fl(?:ies|ying)|run(?:s|ning)|walk(?:s|ing)|wait(?:s|ing)|seated|placed|located|"
    r"positioned)"
)
_BETWEEN = tuple(
    (re.compile(rf"(?:with [\w-]+ skin )?(?:(?:that|which|who) )?(?:is |are )?(?:{pattern})"), relation)
    for pattern, relation in (
        (r"on the left and", "left of"),
        (r"on the right and", "right of"),
        (rf"(?:{_STANDS} )?(?:just )?(?:(?:to the )?left of|on the left of|left from)", "left of"),
        (rf"(?:{_STANDS} )?(?:just )?(?:(?:to the )?right of|on the right of|right from)", "right of"),
        (rf"(?:{_STANDS} )?(?:right |just )?in front of", "in front of"),
        (rf"(?:{_STANDS} )?(?:right |just )?behind", "behind"),
        (rf"(?:{_STANDS} )?(?:right |just )?(?:next to|beside)", "next to"),
        (rf"(?:{_STANDS} )?(?:right |just )?(?:above|over)", "above"),
        (rf"(?:{_STANDS} )?(?:right |just )?(?:below|under|underneath|beneath)", "below"),
        (rf"(?:{_STANDS} )?(?:on|on top of|atop)", "on"),
        (r"wearing|wears|dressed in|in", "wearing"),
        (r"holding|holds|carrying|carries", "holding"),
    )
)


@dataclass(frozen=True, slots=True)
class _Mention:
    concept: Concept
    start: int  # of its determiner or adjectives
    end: int
    count: int | None
    colour: str | None
    back: bool  # of what may have been named before: "the cat"


def facts_of(text: str) -> Facts:
    """The checkable part of a sentence, and by name what cannot be checked. Everything it leaves open stays open."""
    said = re.sub(r"\bgray\b", "grey", " ".join(text.lower().split()))
    quoted = re.search(r'"([A-Za-z]{1,12})"', text)
    written = [Part("letters", *match.span(), match[0]) for match in re.finditer(r'"[^"]*"', said)]
    told = _without(r'"[^"]*"', _without(_SPELT, said))
    whole, rest, parts = _whole(told)
    mentions, unknown = _read(_without(_MADE_WITH, rest))
    objects, places = _objects(mentions)
    related = list(_relations(told, mentions, objects, places))
    named = zip(mentions, places, strict=True)
    things = [Part("subject", m.start, m.end, m.concept.word, objects[i]) for m, i in named]
    others = [Part("subject", start, end) for _, start, end in unknown]
    return Facts(
        said,
        objects,
        tuple(relation for relation, _ in related),
        whole,
        quoted.group(1).upper() if quoted else None,
        tuple(dict.fromkeys(word for word, _, _ in unknown)),
        (*written, *parts, *things, *(part for _, part in related), *others),
    )


def _without(pattern: str | re.Pattern[str], said: str, mark: str = ";") -> str:
    """The sentence with marks in place of what matches, character for character."""
    return re.sub(pattern, lambda match: mark * len(match.group()), said)


def _whole(said: str) -> tuple[dict[str, str], str, list[Part]]:
    """The facts of the whole picture, the sentence without the words that say them, and where those stand."""
    whole: dict[str, str] = {}
    rest = said
    parts: list[Part] = []
    for fact, patterns in (("style", _STYLE), ("ground", _PLACE), ("light", _LIGHT), ("camera", _CAMERA)):
        for pattern, value in patterns:
            found = [Part(fact, *match.span(), value) for match in re.finditer(pattern, said)]
            if found:
                parts += found
                whole.setdefault(fact, value)
                rest = _without(pattern, rest, " " if fact == "style" else ";")  # a style may stand before a noun
    if _GRADIENT.search(said):
        whole["ground"] = GRADIENT
    elif ground := _PLAIN_GROUND.search(said):
        whole["ground"] = next(filter(None, ground.groups()))
    if whole.get("style") == "pencil sketch":
        whole.pop("ground", None)  # a drawing in grey shows no ground's colour
    parts += [Part("ground", *match.span(), GRADIENT) for match in _GRADIENT.finditer(said)]
    plain = _PLAIN_GROUND.finditer(said)
    parts += [Part("ground", *match.span(), next(filter(None, match.groups()))) for match in plain]
    return whole, _without(_PLAIN_GROUND, _without(_GRADIENT, rest)), parts


# --- noun phrases ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    concept: Concept | None  # of a name, which may be of several words


def _read(said: str) -> tuple[list[_Mention], list[tuple[str, int, int]]]:
    """The things a sentence names, and the nouns after a determiner that are not in the vocabulary, with their phrases'
    places."""
    words = [
        _Word(m.group("pair") or m.group(), m.start(), m.end(), concepts_by_name().get(m.group()))
        for m in _tokens().finditer(said)
    ]
    mentions: list[_Mention] = []
    unknown: list[tuple[str, int, int]] = []
    at, negated = 0, False
    while at < len(words):
        end = _phrase_end(words, at)
        phrase = words[at:end]
        if not phrase or _determines(phrase[-1].text):  # no noun begins here
            word = words[at].text
            negated = word in _NOT or (negated and word.isalpha() and word not in ("and", "but"))
            at = max(end, at + 1)
            continue
        if len(phrase) > 1 and phrase[-1].text in _MEDIA and phrase[-2].concept is not None:
            phrase = phrase[:-1]  # "a cat drawing" shows a cat
        head = phrase[-1]
        if not negated and head.concept is not None:
            mentions.append(_mention(phrase, head.concept))
        elif not negated and _determines(phrase[0].text) and head.text.isalpha() and head.text not in _NO_THINGS:
            unknown.append((head.text, phrase[0].start, head.end))
        at = end
        negated = negated and at < len(words) and words[at].text in ("or", "nor")
    return mentions, unknown


def _phrase_end(words: Sequence[_Word], start: int) -> int:
    """Where the noun phrase ends that begins at ``start``; ``start`` itself where none does."""
    first = start
    while first < len(words) and _determines(words[first].text):
        first += 1
    single = any(word.text in _ONE for word in words[start:first])
    end = first
    if first > start and first < len(words) and words[first].text in _VERBS:
        end += 1  # "a flying fox"
    while end < len(words) and (_listed(words, end) or not _ends(words, end, end == first, single)):
        end += 1
    return end


def _ends(words: Sequence[_Word], at: int, first: bool, single: bool) -> bool:
    """Whether a noun phrase goes no further than the word before ``at``; ``first``: it holds no word yet."""
    word = words[at]
    before = words[at - 1] if not first else None
    if word.concept is not None or before is None:
        plural = before is not None and before.text in _plurals()
        return plural or (word.concept is None and _apart(word))
    if _apart(word) or before.text in _plurals():
        return True
    if before.concept is not None and (
        word.text.endswith(("ing", "ly")) or (single and re.search("[^s]s$", word.text))
    ):
        return True  # "a cat chasing", "a cat chases"
    return word.text.endswith(("ing", "ed")) and (at + 1 == len(words) or _apart(words[at + 1]))


def _apart(word: _Word) -> bool:
    """Whether a word belongs to no noun phrase, or begins one."""
    text = word.text
    return not re.match(r"\w", text) or text in _ENDS | _NOT | _VERBS or _determines(text)


def _listed(words: Sequence[_Word], at: int) -> bool:
    """Whether it stands between two colours: "red and blue"."""
    between = 0 < at < len(words) - 1 and words[at].text in ("and", "or", ",")
    return between and words[at - 1].text in COLOURS and words[at + 1].text in COLOURS


def _determines(word: str) -> bool:
    return word in _COUNTS or word in _BACK or word in _MANY or word.isdigit()


def _mention(phrase: Sequence[_Word], concept: Concept) -> _Mention:
    """The thing a phrase names. Of two colours, or one said of a noun before, none is the thing's."""
    said = [word.text for word in phrase if word.text not in _PAIR or not concept.word.startswith("pair of")]
    counts = [_COUNTS.get(word) or int(word) for word in said if word in _COUNTS or re.fullmatch("[1-9][0-9]?", word)]
    colours = {word for word in said if word in COLOURS}
    plain = len(colours) == 1 and not any(word.concept for word in phrase[:-1])
    back = said[0] in _BACK
    return _Mention(
        concept, phrase[0].start, phrase[-1].end, counts[-1] if counts else None, colours.pop() if plain else None, back
    )


def _objects(mentions: Sequence[_Mention]) -> tuple[tuple[Wanted, ...], list[int]]:
    """What is wanted, and which of it each mention is of."""
    objects: list[Wanted] = []
    places = []
    for mention in mentions:
        wanted = Wanted(mention.concept.word, mention.count, mention.colour)
        same = [i for i, o in enumerate(objects) if o.word == wanted.word and wanted.colour in (None, o.colour)]
        if not (mention.back and same):
            same = [len(objects)]
            objects.append(wanted)
        places.append(same[-1])
    return tuple(objects), places


def _relations(
    said: str, mentions: Sequence[_Mention], objects: Sequence[Wanted], places: Sequence[int]
) -> Iterator[tuple[Related, Part]]:
    """What stands between one thing and the next, and where it is said; a thing is told by its place where others have
    its name."""

    def party(place: int) -> str | int:
        word = objects[place].word
        return word if sum(o.word == word for o in objects) == 1 else place

    for (one, i), (other, j) in pairwise(zip(mentions, places, strict=True)):
        between = said[one.end : other.start].strip(" ,")
        for pattern, relation in _BETWEEN:
            if pattern.fullmatch(between):
                worn = other.concept.word in WORN  # "a cat in a box" wears nothing
                if i != j and (worn or not re.search(r"\bin$", between)):
                    yield Related(party(i), relation, party(j)), Part("relation", one.end, other.start, relation)
                break


@cache
def _plurals() -> frozenset[str]:
    singles = {name.lower() for concept in core() for name in (concept.word, *concept.synonyms)}
    several = (name.lower() for concept in core() for name in (concept.plural, *concept.synonyms_plural))
    return frozenset(name for name in several if name not in singles)


@cache
def _tokens() -> re.Pattern[str]:
    """Names, the longest first; other words; marks."""
    names = "|".join(map(re.escape, sorted(concepts_by_name(), key=len, reverse=True)))
    return re.compile(rf"(?<![\w'-])(?P<name>{names})(?![\w'-])|(?P<pair>pairs?|couple) of\b|[\w'-]+|[^\s\w'-]+")
