"""Control maps made of any picture, without a download: what its edges, colours, shapes and things are.

They are what controls learned on scenes are given (``data.scenes.conditions``), made of pixels alone. How near things
are, and how somebody stands, is not to be seen so: such maps are drawn, or come from a scene.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from darkroom.contracts.errors import BadInput, unknown
from darkroom.control.canvas import flat
from darkroom.data.scenes.conditions import CONTROLS, OF_PIXELS, concept_colour, seen_map
from darkroom.wording.vocabulary import concept_of

MADE = (*OF_PIXELS, "silhouette", "layout")
LIKE, SMOOTH = 0.10, 5  # how near colours are alike, of their range; and over how many pixels a side they are taken
COMPARED = 1024  # colours of a border, each with each
Box = tuple[float, float, float, float]
# What is in a picture, (3, height, width) in [0, 1]: words with boxes, fractions of its sides, the farthest first.
Seeing = Callable[[Tensor], list[tuple[str, Box]]]


def map_of(kind: str, pixels: np.ndarray, longer: int, seeing: Seeing) -> np.ndarray:
    """The map of a picture, made so many pixels at its longer side: (height, width, 3) uint8.

    ``pixels`` are (height, width, 3 or 4) uint8, white where they are transparent; ``seeing`` is asked for layouts.
    Raises BadInput for a kind that is not to be seen in a picture, and for a picture that has nothing of it.
    """
    if kind not in CONTROLS:
        raise unknown("kind of map", kind, CONTROLS)
    if kind not in MADE:
        rule = f"is not to be seen in a picture; {', '.join(MADE)} are"
        raise BadInput(f"a {kind} map", rule, "draw one, or take one that another program makes")
    opaque = _sized(flat(pixels, ground=255), longer)
    if kind in OF_PIXELS:
        found = seen_map(kind, opaque)
    elif kind == "silhouette":
        cut_out = pixels.shape[2] > 3
        found = (_sized(pixels, longer)[3] if cut_out else foreground(opaque).float()).expand(3, -1, -1)
    else:
        found = _boxes(seeing(opaque), *opaque.shape[1:])
    if not found.any():
        raise BadInput(f"a {kind} map", "shows nothing of this picture", "take one with something plain to see in it")
    return (found * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def foreground(pixels: Float[Tensor, "3 h w"]) -> Bool[Tensor, "h w"]:
    """What does not hang together with the picture's border in colours like those there: the things on its ground.

    From the border inwards a pixel is ground where its colour, and that of a neighbour that is ground, are alike.
    """
    soft = F.avg_pool2d(F.pad(pixels[None], (SMOOTH // 2,) * 4, mode="replicate"), SMOOTH, 1)[0]
    border = torch.cat([soft[:, 0], soft[:, -1], soft[:, :, 0], soft[:, :, -1]], 1)
    near = torch.stack([(soft - tone[:, None, None]).abs().amax(0) < LIKE for tone in _tones(border)]).any(0)
    ground = torch.zeros_like(near)
    ground[0], ground[-1], ground[:, 0], ground[:, -1] = near[0], near[-1], near[:, 0], near[:, -1]
    while True:
        grown = (F.max_pool2d(ground.float()[None, None], 3, 1, 1)[0, 0] > 0) & near
        if torch.equal(grown, ground):
            return ~ground
        ground = grown


def _tones(colours: Float[Tensor, "3 n"]) -> list[Tensor]:
    """A few colours that most of these are like, the most usual first."""
    some = colours[:, :: -(-colours.shape[1] // COMPARED)]
    left, found = some, list[Tensor]()
    while left.shape[1] > 0.1 * some.shape[1] and len(found) < 4:
        distances = (left[:, :, None] - left[:, None, :]).abs().amax(0)
        most = (distances < LIKE).sum(1).argmax()
        found.append(left[:, most])
        left = left[:, distances[most] >= LIKE]
    return found


def _boxes(things: list[tuple[str, Box]], height: int, width: int) -> Float[Tensor, "3 h w"]:
    """A filled box for each thing, coloured by what it is."""
    found = torch.zeros(3, height, width)
    for word, (x0, y0, x1, y1) in things:
        concept = concept_of(word)
        assert concept is not None  # of the vocabulary that things are seen in
        columns = slice(max(0, round(x0 * width)), max(0, round(x1 * width)))
        lines = slice(max(0, round(y0 * height)), max(0, round(y1 * height)))
        found[:, lines, columns] = torch.tensor(concept_colour(concept.index))[:, None, None] / 255
    return found


def _sized(pixels: np.ndarray, longer: int) -> Float[Tensor, "c h w"]:
    """Pixels in [0, 1], so many at the longer side."""
    high, wide = pixels.shape[:2]
    scale = longer / max(high, wide)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return torch.from_numpy(small.copy()).permute(2, 0, 1).float() / 255
