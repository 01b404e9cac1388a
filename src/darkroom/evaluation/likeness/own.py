"""How well a model draws what a folder of pictures holds: whether a caption gives its kind of thing, how near to the
real pictures the drawn ones are, and whether they are copies of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darkroom.contracts.errors import BadInput
from darkroom.contracts.prompt import escaped
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
from darkroom.evaluation.prompts import spread
from darkroom.judge.judge import Judge
from darkroom.latent.codec import AutoencoderCodec
from darkroom.model import Model

REAL = 1000  # real pictures that drawn ones are compared with, at most
FEWEST = 20  # real pictures, and drawn ones: fewer have no distances
COPIED = 200  # real pictures from which on copies can be told from likenesses
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
    near: float | None  # share of the drawn ones nearer than 1, of a model that copies nothing NEAR; None: of too few

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
    done. Raises BadInput where there are fewer than FEWEST real or drawn pictures, or fewer drawn ones than kinds.
    """
    check_count(count)
    if len(real.ids) < FEWEST:
        raise BadInput(f"a folder of {len(real.ids)} pictures", "has too few to compare", f"take {FEWEST} or more")
    assert isinstance(model.codec, AutoencoderCodec)
    kinds = _kinds(real.captions)
    if count < len(kinds):
        raise BadInput(f"--count {count}", f"leaves out some of the {len(kinds)} kinds", f"take {len(kinds)} or more")
    said = kinds or spread(list(dict.fromkeys(real.captions)), count)
    captions = [said[i % len(said)] for i in range(count)]
    requests = [
        Request.checked({**settings, "prompt": {"text": escaped(text)}, "seed": i // len(said)})
        for i, text in enumerate(captions)
    ]
    spaces = feature_spaces(judge.detector, model.codec)
    whole = _looked(spaces[JUDGED], real, looking)
    return beside(_drawn(model, requests, drawing), captions, real, spaces, whole)


def check_count(count: int) -> None:
    """Raises BadInput where so few drawn pictures have no distances."""
    if count < FEWEST:
        raise BadInput(f"--count {count}", "draws too few to compare", f"take {FEWEST} or more")


def beside(
    pictures: list[np.ndarray],
    captions: list[str],
    real: Imported,
    spaces: Mapping[str, Callable[[Tensor], Features]],
    seen: Features | None = None,
) -> Likeness:
    """Pictures drawn for captions, compared with a folder's in feature spaces; JUDGED is one of them.

    ``seen`` are the folder's features in that one; None: they are made here.
    """
    kinds = _kinds(real.captions)
    made = torch.stack([pixels_of(rgb, real.pixels.shape[-1]) for rgb in pictures])
    base, others = _halves(real.captions, kinds, len(pictures))
    own, whole = spaces[JUDGED](made), _looked(spaces[JUDGED], real) if seen is None else seen
    compared = {}
    for name, features in spaces.items():
        if name == JUDGED:  # which were made already
            drawn_ones, near, far = own, whole[base], whole[others]
        else:
            drawn_ones, near, far = (features(x) for x in (made, _pixels(real, base), _pixels(real, others)))
        compared[name] = Compared(distances(near, drawn_ones[: len(others)]), distances(near, far))
    scale = spread_of(whole)
    away, nearest = _nearest(own / scale, whole / scale)
    among, _ = _nearest(whole / scale, whole / scale, other_than_itself=True)
    distance = away / among.quantile(NEAR).clamp_min(1e-6)
    return Likeness(
        pictures,
        captions,
        _named(whole, real.captions, own, captions, kinds) if kinds else {},
        compared,
        nearest.tolist(),
        distance.tolist(),
        float((distance < 1).float().mean()) if len(real.ids) >= COPIED else None,
    )


def _nearest(points: Features, among: Features, *, other_than_itself: bool = False) -> tuple[Tensor, Tensor]:
    """How far the nearest of others is to each point, and which it is; a few rows at once, for there may be many."""
    found = []
    for start in range(0, len(points), LOT):
        away = apart(points[start : start + LOT], among)
        if other_than_itself:
            rows = torch.arange(len(away))
            away[rows, start + rows] = torch.inf
        found.append(away.min(1))
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def _kinds(captions: Sequence[str]) -> list[str]:
    """Captions that many pictures have; none where there are fewer than two, or too many."""
    found = sorted(text for text, number in Counter(captions).items() if number >= OF_A_KIND)
    return found if 2 <= len(found) <= KINDS else []


def _halves(captions: Sequence[str], kinds: Sequence[str], most: int) -> tuple[list[int], list[int]]:
    """Two lots of the pictures, none in both, from all over the listing: of each kind as many as of every other, or
    just of all of them where there are no kinds. The first has REAL at most, the second ``most``."""
    places = [[i for i, text in enumerate(captions) if text == kind] for kind in kinds] or [list(range(len(captions)))]
    each = min(len(place) for place in places) // 2
    lots = []
    for first, limit in ((0, REAL), (1, most)):
        of_each = min(each, max(1, limit // len(places)))
        lots.append([i for place in places for i in spread(spread(place, 2 * each)[first::2], of_each)])
    return lots[0], lots[1]


def _drawn(model: Model, requests: Sequence[Request], report: Report) -> list[np.ndarray]:
    pictures: list[np.ndarray] = []
    report(0, len(requests))
    for start in range(0, len(requests), AT_ONCE):
        pictures += [image.pixels for image in drawn(model, requests[start : start + AT_ONCE])]
        report(len(pictures), len(requests))
    return pictures


def _pixels(real: Imported, rows: Sequence[int]) -> Tensor:
    return real.pixels[list(rows)].float() / 255


def _looked(features: Callable[[Tensor], Features], real: Imported, report: Report = lambda done, of: None) -> Features:
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
