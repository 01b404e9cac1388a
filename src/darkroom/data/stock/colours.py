"""The word for a drawing's own colour, where one word says it: a lemon is yellow, a parrot is not."""

from __future__ import annotations

import numpy as np

from darkroom.wording.vocabulary import COLOURS

SHARE = 0.65  # of the visible pixels that one word must fit
_HUES = (  # where, in degrees, a word takes over from the one before
    (0, "red"),
    (16, "orange"),
    (40, "yellow"),
    (68, "green"),
    (172, "blue"),
    (255, "purple"),
    (295, "pink"),
    (345, "red"),
)
_WORDS = tuple(COLOURS)


def colour_word(rgba: np.ndarray) -> str | None:
    """The colour word that fits most of a drawing, (H, W, 4) uint8; None where no word fits enough of it."""
    visible = rgba[rgba[..., 3] > 150][:, :3].astype(np.float32) / 255
    if not len(visible):
        return None
    shares = np.bincount(_words(visible), minlength=len(_WORDS) + 1) / len(visible)
    best = int(shares[: len(_WORDS)].argmax())
    return _WORDS[best] if shares[best] >= SHARE else None


def _words(rgb: np.ndarray) -> np.ndarray:
    """The number of the colour word for each pixel, (n, 3) in [0, 1]: by hue, and by lightness where there is little.

    Beyond the last word where none fits: skin and eggs. The bounds were read off by eye, on the drawings of the core
    vocabulary.
    """
    value, low = rgb.max(1), rgb.min(1)
    chroma = value - low
    saturation = chroma / np.maximum(value, 1e-6)
    hue = _hue(rgb, value, np.maximum(chroma, 1e-6))
    starts = np.array([start for start, _ in _HUES])
    found = np.array([_WORDS.index(word) for _, word in _HUES])[np.searchsorted(starts, hue, side="right") - 1]
    reddish, warm = (hue < 16) | (hue >= 335), (hue >= 12) & (hue < 45)
    pale, dull = (saturation < 0.62) & (value > 0.8), (value < 0.68) | (saturation < 0.62) & (value < 0.9)
    found[warm & dull] = _WORDS.index("brown")
    found[((hue < 45) | (hue >= 345)) & (value < 0.4)] = _WORDS.index("brown")
    found[warm & (saturation < 0.5) & (value >= 0.9)] = len(_WORDS)
    found[reddish & pale] = _WORDS.index("pink")
    grey = (saturation < 0.16) | (chroma < 0.07) | (value < 0.5) & (chroma < 0.16)
    found[grey] = _WORDS.index("grey")
    found[grey & (value > 0.86)] = _WORDS.index("white")
    found[grey & (value < 0.36) | (value < 0.2)] = _WORDS.index("black")
    return found


def _hue(rgb: np.ndarray, value: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Degrees in [0, 360)."""
    red, green, blue = rgb.T
    turn = np.where(
        value == red,
        ((green - blue) / chroma) % 6,
        np.where(value == green, (blue - red) / chroma + 2, (red - green) / chroma + 4),
    )
    return (turn * 60) % 360
