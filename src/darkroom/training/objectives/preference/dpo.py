"""Direct preference optimisation of a rectified flow on pairs of pictures.

The loss is that of Diffusion-DPO (arXiv:2311.12908 eq. 14) with velocities for noises (arXiv:2501.13918, Flow-DPO, with
a constant beta): of a pair noised alike, the better picture's velocity is to be predicted better than the start model
did, and the worse one's worse,

    L = - log sigmoid( - beta / 2 ((e_w - e_w0) - (e_l - e_l0)) )

with e the mean square error of a row's velocity (a mean, so that beta is that of a sum over a latent's elements times
their number), w and l for the better and the worse picture, 0 for the start model. It is log 2 where nothing has been
learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from darkroom.data.imported import shuffled
from darkroom.training.compiled import compiled
from darkroom.training.objectives.diffusion import DiffusionObjectiveConfig, drawn_times
from darkroom.training.objectives.latents import noised, summed
from darkroom.training.objectives.preference.pairs import Pairs
from darkroom.training.objectives.preference.tuning import Tuning

TIMES = DiffusionObjectiveConfig()  # pairs are noised as pictures are in training


class PairTuning(Tuning):
    """See the module's first lines. A sample is a pair; each comes once in a round."""

    def __init__(self, *rest: Any, pairs: Pairs, compiled: bool = False, **more: Any) -> None:
        """``pairs`` are what it learns from; ``compiled`` compiles the network at its first step, where the machine
        can."""
        super().__init__(*rest, **more)
        self.pairs = pairs
        self._forward: Callable[..., Any] | None = None if compiled else self.module

    def config(self) -> dict[str, Any]:
        return {**super().config(), "pairs": len(self.pairs.texts)}

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        rows = [self._row(sample) for sample in range(first, first + count)]
        device = self.artist.device
        said = self.artist.said([self.pairs.texts[row] for row in rows])
        t = drawn_times(TIMES, count, generator).to(device)
        noise = torch.randn(count, *self.artist.shape, generator=generator).to(device)
        x0 = torch.cat([part[rows] for part in (self.pairs.better, self.pairs.worse)]).to(device)
        both, t, noise = said.then(said), t.repeat(2), noise.repeat(2, 1, 1, 1)  # a pair is noised alike
        x = noised(x0, noise, t).to(self.module.denoiser.out.weight.dtype)
        if self._forward is None:
            self._forward = compiled(self.module, x, t, *both)
        now, before = self._forward(x, t, *both), self.before(x, t, both)
        error, error0 = ((v - (noise - x0)).square().mean((1, 2, 3)) for v in (now, before))
        better, worse = (error - error0).chunk(2)
        margin = preferring(better, worse, self.settings.beta)
        metrics = {
            "loss": summed(-F.logsigmoid(margin)),
            "preferred": summed((margin > 0).float()),
            "better's error": summed(better),
            "worse's error": summed(worse),
            "drift": self.drifted(now, before),
        }
        return -F.logsigmoid(margin).mean(), metrics

    def _row(self, sample: int) -> int:
        turn, place = divmod(sample, len(self.pairs.texts))
        return shuffled(len(self.pairs.texts), f"pairs/{turn}")[place]


def preferring(better: Float[Tensor, " b"], worse: Float[Tensor, " b"], beta: float) -> Float[Tensor, " b"]:
    """By how much (a logit) the model prefers the better picture of each pair more than the start model does, from how
    much larger the errors on both have become."""
    return -beta / 2 * (better - worse)
