"""What is held out of training for ever: a hash of names, in this one place.

Ten percent of the pairs concept x colour, concept x relation and concept x style, five percent of the concepts seen in
one style only, one whole art style and one character, and a share of the caption templates. Of wearing it is who wears
that is held out, never what is worn: a hat held out would be worn by nobody. The hash depends on nothing but the names,
so every run, machine and version agrees.
"""

from __future__ import annotations

from hashlib import blake2b

HELD_OUT_STYLE = "line-and-fill"  # kept for the proof that a LoRA can teach a style
HELD_OUT_CHARACTER = "Santa Claus"  # kept for the proof that a LoRA can teach a character
BASE_STYLES = ("3d", "cartoon", "flat")  # the styles of every leg; a concept's one style is one of them
PAIR_SHARE = 0.10
ONE_STYLE_SHARE = 0.05
BIAS_SHARE = 0.25


def _fraction(*names: str) -> float:
    """A number in [0, 1) that is a fixed function of the names."""
    digest = blake2b("\x1f".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def pair_held_out(kind: str, concept: str, other: str) -> bool:
    """Whether a pair is never trained; ``kind`` is "colour", "relation" or "style"."""
    if kind not in ("colour", "relation", "style"):
        raise ValueError(f"kind {kind!r} is not a kind of pair; use colour, relation or style")
    return _fraction(kind, concept, other) < PAIR_SHARE


TURNED = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "on": "under",
    "in front of": "behind",
    "behind": "in front of",
    "next to": "next to",
}
"""What the second of two things is to the first. A picture is held out, not a phrase: where no cat may be right of
anything, no dog may be left of a cat."""


def only_style(concept: str) -> str | None:
    """The one style a concept is trained in, for the five percent that get one only; None for the others.

    A function of the name alone: a leg with more styles must not move a concept out of the style an earlier leg showed.
    """
    if _fraction("one style", concept) >= ONE_STYLE_SHARE:
        return None
    return min(BASE_STYLES, key=lambda style: _fraction("one style", concept, style))


def style_trained(concept: str, style: str) -> bool:
    """Whether training may show this concept in this style; every concept keeps at least one of the base styles."""
    only = only_style(concept)
    if only is not None:
        return style == only
    if not pair_held_out("style", concept, style):
        return True
    return style == BASE_STYLES[0] and all(pair_held_out("style", concept, base) for base in BASE_STYLES)


def kept_for_bias(concept: str) -> bool:
    """Whether drawings of these people are kept to test what tells genders and skin tones apart in pictures.

    Such a classifier is taught on the others alone, so that it cannot know a gender by its job.
    """
    return _fraction("bias", concept) < BIAS_SHARE


def template_held_out(template: str) -> bool:
    """Whether a caption template is kept for testing paraphrases."""
    return _fraction("template", template) < PAIR_SHARE
