"""Which words of a sentence play which role: subject, relation, setting, light, composition, motion, style, quality.

What can be checked (``facts``) comes first. For the rest there are lists of what people write in prompts, known to the
model or not: a role says what a word is for, not that it will be drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from darkroom.wording.anatomy.facts import WHOLE_PATTERNS, Facts, Part
from darkroom.wording.vocabulary import concepts_by_name

ROLES = (
    "subject", "relation", "motion", "setting", "ground", "light", "composition", "style", "quality", "letters",
    "other",
)  # fmt: skip
"""In the order in which captions tell them."""
_NAMED = {"camera": "composition"}  # what the judge calls otherwise
_PREPOSITION = r"(?:in|on|at|by|near|inside|outside|under|through|across|along|against|beside|among|within|with)"
_INTO = re.compile(rf"\b{_PREPOSITION} $")
_THERE = re.compile(r"(?:in|at|on|near|inside|outside|under|across) (?:[\w'-]+ ){0,3}[\w'-]+$")
_LONGEST = 9  # characters of a preposition and a space
_SETTINGS = frozenset({"snow", "night sky", "sunset", "city", "forest", "sea", "room"})


def _any(words: str) -> str:
    return "|".join(re.split(r",\s+", words.strip()))


# Each pattern looks at few words: a sentence of any length takes time in proportion to it.
_LIGHTING = _any(
    """light, lights, lighting, lit, backlit, backlight, backlighting, sunlight, sunlit, sunshine, sunrise, sunbeams?,
    candlelight, lamplight, moonlit, twilight, dusk, dawn, golden hour, blue hour, god rays, glow, glowing, shadows?,
    silhouette, chiaroscuro"""
)
_LIT = _any(
    """soft, hard, warm, cold, cool, golden, dramatic, natural, studio, cinematic, volumetric, ambient, rim, back, side,
    bright, dim, low, harsh, diffused?, morning, evening, afternoon, candle, sun, god, street, rays of, long, deep,
    moody, global, even, strong, gentle, the, a"""
)
_FRAMES = _any(
    r"""macro(?: shot)?, wide[- ]angle, fisheye, aerial view, bird'?s[- ]eye view, worm'?s[- ]eye view,
    (?:low|high|dutch) angle, eye level, (?:side|front|back) view, profile, portrait, headshot, full[- ]body,
    half[- ]body,
    waist up, cent(?:er|re)d, in the (?:cent(?:er|re)|middle), symmetric(?:al)?, symmetry, rule of thirds,
    negative space,
    (?:shallow )?depth of field, bokeh, [0-9]{2,3} ?mm(?: lens)?, isometric(?: view)?, panorama, panoramic, top-down,
    overhead, vignette, close up, closeup, (?:medium|long|establishing|full) shot, telephoto, tilt[- ]shift, wide view,
    from below,
    from behind, from the side, from far away, filling the frame"""
)
_MOVES = _any(
    """(?:moving|running|driving|flying) (?:fast|slowly|slow|quickly), speeding along, in (?:fast|slow) motion,
    motion blur, in motion, mid-?air, sitting, sits, standing, stands, lying, lies, running, runs, walking, walks,
    jumping, jumps, leaping, sleeping, sleeps, flying, flies, floating, floats, swimming, swims, dancing, dances,
    hovering, resting, waiting, hiding, hidden, perched, eating, drinking, playing, reading, driving, riding, singing,
    smiling, laughing, looking, chasing, falling, rolling, spinning, climbing, waving, asleep"""
)
_LOOKS = _any(
    """photo, photograph, photography, photorealistic, photo-?realism, realistic, realism, anime, manga,
    comic(?: book)?,
    line art, vector(?: art)?, ink(?: drawing)?, charcoal, pastel, acrylic, gouache, crayon, impressionis[mt]\\w*,
    cubis[mt], surreal(?:is[mt])?, art nouveau, art deco, film noir, noir, vintage, retro,
    minimalis[mt]\\w*, low[- ]poly,
    voxel, claymation, origami, stained glass, graffiti, ukiyo-e, concept art, digital (?:art|painting), oil on canvas,
    drawing, illustration, painting, sketch, render(?:ing)?, print, clip-?art, sticker, icon, logo, emoji,
    (?:film |cinematic )?still, cinematic, hyper-?realis(?:m|tic), unreal engine, octane(?: render)?,
    (?:vivid|vibrant)(?: colou?rs)?, colou?rful, monochrome, by (?!the |an? )[a-z-]{2,20} [a-z-]{2,20}, steampunk,
    cyberpunk, gothic, baroque, psychedelic, pop art, abstract"""
)
_FLAWS = _any(
    r"""blurry, blurred, noisy, grainy, (?:low|bad|poor|worst) quality, cropped, cut off at the edge,
    (?:the )?picture is (?:blurry|noisy), (?:the )?quality is low, masterpiece, (?:best|high|highest|top|good) quality,
    (?:very |highly |ultra |extremely |insanely |intricately )?detailed, (?:intricate|fine) details?, [48]k, uhd, hdr?,
    (?:high|ultra) resolution, hi-?res, sharp(?: focus)?, in focus, award[- ]winning, trending on [a-z]+, beautiful,
    ugly, deformed, disfigured, mutated, distorted, bad [a-z]+, (?:extra|missing) (?:fingers|limbs|arms|legs),
    watermark, signature, (?:jpeg )?artifacts, stunning, gorgeous, professional,
    absurdres, perfect, amazing, clean, crisp, flawless"""
)
_LEFT = tuple(
    (re.compile(rf"(?<![\w'-]){pattern}(?![\w'-])"), role)
    for pattern, role in (
        (rf"(?:in |by |with |at |under )?(?:(?:{_LIT})[ ,]{{1,2}}){{0,3}}(?:{_LIGHTING})", "light"),
        (rf"(?:a |an |in |with )?(?:{_FRAMES})(?: of)?", "composition"),
        (rf"(?:{_FLAWS})", "quality"),
        (r"in the style of [\w'-]+(?: [\w'-]+){0,3}", "style"),
        (rf"(?:a |an |in |as )?(?:{_LOOKS})(?: style| of)?", "style"),
        (rf"(?:{_MOVES})", "motion"),
    )
)
ROLE_WORDS = frozenset(
    re.findall(r"[a-z]{3,}", " ".join((*(pattern.pattern for pattern, _ in _LEFT), *WHOLE_PATTERNS)))
)
"""Words that people write for the roles: none of them is a slip."""
_MARK = "\0"  # no prompt holds it
_REST = re.compile(r"[^\W_](?:[\w '’&/-]*\w)?")
_SMALL = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "of",
        "in",
        "on",
        "at",
        "by",
        "with",
        "is",
        "are",
        "it",
        "its",
        "to",
        "that",
        "this",
        ",",
        ".",
        ";",
        ":",
    ]
)


def roles_of(facts: Facts) -> list[Part]:
    """The parts of a sentence in the order they stand, none over another; words that play no role known are "other"."""
    said = facts.said
    known = [_renamed(part, said) for part in facts.parts if part.role != "subject" or part.thing]
    taken = _Taken(said)
    for part in sorted(known, key=lambda part: (part.role == "relation", part.start, -part.end)):
        taken.take(part)
    for pattern, role in _LEFT:
        for match in pattern.finditer(taken.left):
            taken.take(Part(role, *match.span()))
    for part in facts.parts:
        if part.role == "subject" and part.thing is None:  # a noun that is not in the vocabulary
            taken.take(_placed(part, said))
    for match in _REST.finditer(taken.left):
        if not set(match[0].split()) <= _SMALL:
            into = _THERE.match(match[0])
            taken.take(Part("setting" if into else "other", *match.span()))
    return sorted((_trimmed(part, said) for part in taken.parts), key=lambda part: part.start)


def _renamed(part: Part, said: str) -> Part:
    """What can be checked, in its role; a place that somebody is in is a setting."""
    if part.role == "ground" and part.means in _SETTINGS:
        return replace(part, role="setting")
    if part.thing is not None and concepts_by_name()[part.thing.word.lower()].group == "place":
        return _placed(part, said)
    return replace(part, role=_NAMED.get(part.role, part.role))


def _placed(part: Part, said: str) -> Part:
    """A noun phrase with the word before it that makes it a setting: "in a garden"; without one it is as it was."""
    into = _INTO.search(said, max(0, part.start - _LONGEST), part.start)
    return part if into is None else replace(part, role="setting", start=into.start())


class _Taken:
    """Parts that do not overlap, and the sentence with marks where they stand."""

    def __init__(self, said: str) -> None:
        self.letters = list(said)
        self.parts: list[Part] = []
        self._left: str | None = said

    @property
    def left(self) -> str:
        """The sentence without the parts, character for character."""
        if self._left is None:
            self._left = "".join(self.letters)
        return self._left

    def take(self, part: Part) -> None:
        """Takes a part up unless another one is there."""
        if part.start < part.end and _MARK not in self.letters[part.start : part.end]:
            self.letters[part.start : part.end] = _MARK * (part.end - part.start)
            self.parts.append(part)
            self._left = None


def _trimmed(part: Part, said: str) -> Part:
    """A part without the space and commas around it."""
    text = said[part.start : part.end]
    start = part.start + len(text) - len(text.lstrip(" ,.;"))
    return replace(part, start=start, end=part.start + len(text.rstrip(" ,.;")))


def by_role(parts: Iterable[Part]) -> Iterator[tuple[str, list[Part]]]:
    """The roles that are played, in the order captions tell them, each with its parts."""
    parts = list(parts)
    for role in ROLES:
        if found := [part for part in parts if part.role == role]:
            yield role, found
