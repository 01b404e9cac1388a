"""How well a model draws what a folder of pictures holds: whether a caption gives its kind of thing, how near to the
real pictures the drawn ones are, and whether they are copies of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.prompt import Prompt, escaped
from darkroom.contracts.request import Request
from darkroom.data.imported import Imported
from darkroom.evaluation.accuracy import AT_ONCE, drawn
from darkroom.evaluation.likeness.distances import (
    JUDGED,
    Compared,
    Features,
    apart,
    distances,
    feature_spaces,
    pixels_of,
    spread_of,
)
from darkroom.evaluation.likeness.naming import fitted, named_unseen
from darkroom.judge.judge import Judge
from darkroom.latent.codec import AutoencoderCodec
from darkroom.model import Model

REAL = 1000  # real pictures that drawn ones are compared with, at most
FEWEST = 20  # real pictures, and drawn ones: fewer have no distances
OF_A_KIND = 10  # pictures that make a caption a kind
KINDS = 100  # captions up to which they can be: where there are more, each picture has its own
NEAR = 0.01  # share of the real pictures that have another one as near as that
LOT = 64  # real pictures looked at together
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Named:
    """Shares of pictures whose kind is told right by a rule that knows real ones."""

    drawn: float
    real: float  # of real ones that the rule was not fitted to
    drawn_number: int
    real_number: int


@dataclass(frozen=True)
class Likeness:
    """Drawn pictures beside the real ones of a folder."""

    pictures: list[np.ndarray]  # (h, w, 3) uint8, as they were drawn
    captions: list[str]
    kinds: Mapping[str, Named]  # by caption; empty where captions are no kinds
    spaces: Mapping[str, Compared]
    nearest: list[int]  # the folder's picture that is nearest to each drawn one
    distance: list[float]  # how far that is, in units of what NEAR of the real ones are from another
    near: float  # share of the drawn ones nearer than 1; of a model that copies nothing about NEAR

    @property
    def named(self) -> Named | None:
        """Of all kinds together, each counting the same."""
        if not self.kinds:
            return None
        rows = list(self.kinds.values())
        shares = (sum(row.drawn for row in rows) / len(rows), sum(row.real for row in rows) / len(rows))
        return Named(*shares, sum(row.drawn_number for row in rows), sum(row.real_number for row in rows))


def likeness(
    model: Model,
    judge: Judge,
    real: Imported,
    count: int,
    settings: Mapping[str, Any],
    drawing: Report = lambda done, of: None,
    looking: Report = lambda done, of: None,
) -> Likeness:
    """Draws ``count`` pictures of a folder's captions, as many of each, and compares them with the folder's.

    ``settings`` are fields of the requests; ``drawing`` and ``looking`` are told how many pictures of how many are
    done. Raises BadInput where there are fewer than FEWEST real or drawn pictures.
    """
    for what, number in (("the folder's", len(real.ids)), ("--count", count)):
        if number < FEWEST:
            raise BadInput(f"{what} {number} pictures", "are too few to compare", f"take {FEWEST} or more")
    assert isinstance(model.codec, AutoencoderCodec)
    kinds = _kinds(real.captions)
    if count < len(kinds):
        raise BadInput(f"--count {count}", f"leaves out some of the {len(kinds)} kinds", f"take {len(kinds)} or more")
    said = kinds or list(dict.fromkeys(real.captions))
    captions = [said[i % len(said)] for i in range(count)]
    seeds = [i // len(said) for i in range(count)]
    pictures = _drawn(model, captions, seeds, settings, drawing)
    return beside(pictures, captions, real, feature_spaces(judge.detector, model.codec), looking)


def beside(
    pictures: list[np.ndarray],
    captions: list[str],
    real: Imported,
    spaces: Mapping[str, Callable[[Tensor], Features]],
    looking: Report = lambda done, of: None,
) -> Likeness:
    """Pictures drawn for captions, compared with a folder's in feature spaces; JUDGED is one of them."""
    kinds = _kinds(real.captions)
    made = torch.stack([pixels_of(rgb, real.pixels.shape[-1]) for rgb in pictures])
    base, others = _halves(real.captions, kinds)
    others = others[: len(pictures)]
    compared = {}
    for name, features in spaces.items():
        drawn_ones, near, far = (features(x) for x in (made[: len(others)], _pixels(real, base), _pixels(real, others)))
        compared[name] = Compared(distances(near, drawn_ones), distances(near, far))
    own, whole = spaces[JUDGED](made), _looked(spaces[JUDGED], real, looking)
    scale = spread_of(whole)
    away = apart(own / scale, whole / scale)
    usual = apart(whole / scale, whole / scale).fill_diagonal_(torch.inf).min(1).values.quantile(NEAR)
    distance = away.min(1).values / usual.clamp_min(1e-6)
    return Likeness(
        pictures,
        captions,
        _named(whole, real.captions, own, captions, kinds) if kinds else {},
        compared,
        away.argmin(1).tolist(),
        distance.tolist(),
        float((distance < 1).float().mean()),
    )


def _kinds(captions: Sequence[str]) -> list[str]:
    """Captions that many pictures have; none where there are fewer than two, or too many."""
    found = sorted(text for text, number in Counter(captions).items() if number >= OF_A_KIND)
    return found if 2 <= len(found) <= KINDS else []


def _halves(captions: Sequence[str], kinds: Sequence[str]) -> tuple[list[int], list[int]]:
    """Two lots of the pictures (of these kinds, where there are any) with no picture in both, as many of each caption
    as can be: those that there are few of first."""
    place = {text: i for i, text in enumerate(kinds or dict.fromkeys(captions))}
    rank: dict[str, int] = defaultdict(int)
    lots: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for i, text in enumerate(captions):
        if text in place:
            lots[(rank[text] + place[text]) % 2].append((rank[text], i))
            rank[text] += 1
    one, other = ([i for _, i in sorted(lot)][:REAL] for lot in lots)
    return one, other


def _drawn(
    model: Model, captions: Sequence[str], seeds: Sequence[int], settings: Mapping[str, Any], report: Report
) -> list[np.ndarray]:
    pictures: list[np.ndarray] = []
    report(0, len(captions))
    for start in range(0, len(captions), AT_ONCE):
        lot = zip(captions[start : start + AT_ONCE], seeds[start : start + AT_ONCE], strict=True)
        asked = [{**settings, "prompt": Prompt(text=escaped(text)), "seed": seed} for text, seed in lot]
        pictures += [image.pixels for image in drawn(model, [Request.checked(one) for one in asked])]
        report(len(pictures), len(captions))
    return pictures


def _pixels(real: Imported, rows: Sequence[int]) -> Tensor:
    return real.pixels[list(rows)].float() / 255


def _looked(features: Callable[[Tensor], Features], real: Imported, report: Report) -> Features:
    found = []
    for start in range(0, len(real.ids), LOT):
        found.append(features(_pixels(real, range(start, min(start + LOT, len(real.ids))))))
        report(start + len(found[-1]), len(real.ids))
    return torch.cat(found)


def _named(
    seen: Features, captions: Sequence[str], own: Features, asked: Sequence[str], kinds: Sequence[str]
) -> dict[str, Named]:
    """How often each kind is told, of real pictures and of drawn ones."""
    number = {text: i for i, text in enumerate(kinds)}
    known = [i for i, text in enumerate(captions) if text in number]
    features, truth = seen[known], torch.tensor([number[captions[i]] for i in known])
    wanted = torch.tensor([number[text] for text in asked])
    real = named_unseen(features, truth, len(kinds)) == truth
    made = fitted(features, truth, len(kinds))(own) == wanted
    return {
        text: Named(
            float(made[wanted == i].float().mean()),
            float(real[truth == i].float().mean()),
            int((wanted == i).sum()),
            int((truth == i).sum()),
        )
        for i, text in enumerate(kinds)
    }
