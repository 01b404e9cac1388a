"""How pictures are drawn in bulk while a model is tuned: whole batches, step by step, each step a Gaussian's.

A step from level (alpha, sigma) to (alpha', sigma') keeps a part of the noise that the network sees in x and draws the
rest anew (arXiv:2010.02502 eq. 12), which makes of a rectified flow a policy with likelihoods (arXiv:2305.13301 section
4.3; arXiv:2505.05470 eq. 9 does so by an SDE, whose noise has no bound at t = 1):

    x' = alpha' x0 + kept eps + fresh z,    x0 = x - sigma v,    eps = x + alpha v

so its mean is a number times x and a number times the velocity v. With eta = 0 nothing is drawn anew, and the step is
Euler's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.dit import Denoiser
from darkroom.nn.text import TextEncoder, pooled
from darkroom.prompt.encoders import tokenised
from darkroom.synthesis.noise import RectifiedFlow
from darkroom.synthesis.samplers.stochastic import exchanged
from darkroom.synthesis.spacing import spaced
from darkroom.training.objectives.flowmap import acting
from darkroom.training.objectives.lora import freeze, put_beside
from darkroom.wording.tokenizer import Tokenizer

AT_ONCE = 16  # pictures decoded together


class Said(NamedTuple):
    """Sentences as a denoiser is told them, a row each."""

    words: Float[Tensor, "b n text"]
    vector: Float[Tensor, "b text"]
    mask: Bool[Tensor, "b n"]

    def rows(self, at: Tensor | Sequence[int]) -> Said:
        """Some of the rows, as often as they are named."""
        return Said(*(part[at] for part in self))

    def then(self, other: Said) -> Said:
        """These rows, and others after them."""
        return Said(*(torch.cat(parts) for parts in zip(self, other, strict=True)))


Ask = Callable[[Tensor, Tensor, Said], Tensor]  # the velocity, fp32, of x at times t given what is said


def velocity(denoiser: Denoiser, x: Tensor, t: Float[Tensor, " b"], said: Said) -> Float[Tensor, "b c h w"]:
    """What a denoiser answers, fp32."""
    dtype = denoiser.out.weight.dtype
    words = said.words.to(dtype)
    condition = denoiser.condition(t, said.vector.to(dtype))
    out, _ = denoiser(x.to(dtype), condition, denoiser.text_keys(words), said.mask)
    return out.float()


class Tuned(nn.Module):
    """The denoiser as it is, with branches beside its layers: all that is learned."""

    def __init__(self, denoiser: Denoiser, rank: int) -> None:
        super().__init__()
        freeze(denoiser)
        self.denoiser = denoiser
        put_beside(denoiser, rank)

    def forward(self, x: Tensor, t: Tensor, words: Tensor, vector: Tensor, mask: Tensor) -> Tensor:
        """Velocity (B, C, H, W), fp32."""
        return velocity(self.denoiser, x, t, Said(words, vector, mask))


def guided(ask: Ask, x: Tensor, t: Float[Tensor, " b"], said: Said, nothing: Said, guidance: float) -> Tensor:
    """The velocity with classifier-free guidance (arXiv:2207.12598 eq. 6) at the times at which it acts; ``nothing`` is
    one row. Everything is asked in one pass."""
    scale = acting(torch.full_like(t, guidance), t)
    inside = (scale != 1).nonzero()[:, 0]
    if not len(inside):
        return ask(x, t, said)
    unsaid = nothing.rows(torch.zeros_like(inside))
    both = ask(torch.cat([x, x[inside]]), torch.cat([t, t[inside]]), said.then(unsaid))
    plus, minus = both[: len(x)], both[len(x) :]
    led = minus + scale[inside, None, None, None] * (plus[inside] - minus)
    return plus.index_copy(0, inside, led)


class Steps:
    """The steps of a picture: where each begins (``times``), and the numbers of its Gaussian.

    ``of_x`` and ``of_v`` make its mean of x and of the velocity, ``fresh`` is its deviation; of the last it is 0.
    """

    def __init__(self, count: int, shift: float, eta: float) -> None:
        levels = spaced(RectifiedFlow(), count, shift)
        numbers = []
        for now, after in pairwise(levels):
            kept, fresh = exchanged(now, after, eta)
            numbers.append((now.t, after.alpha + kept, kept * now.alpha - after.alpha * now.sigma, fresh))
        self.times, self.of_x, self.of_v, self.fresh = torch.tensor(numbers).T.contiguous()
        self.count = count

    def mean(self, step: int | Int[Tensor, " b"], x: Tensor, v: Tensor) -> Tensor:
        """Where a step goes on average, for a step of all rows or one of each."""
        a, b = (torch.as_tensor(numbers[step]).view(-1, 1, 1, 1).to(x) for numbers in (self.of_x, self.of_v))
        return a * x + b * v


@dataclass(frozen=True)
class Artist:
    """What pictures are drawn with besides the denoiser, which changes."""

    tokenizer: Tokenizer
    length: int  # tokens a sentence is padded to
    text: TextEncoder
    autoencoder: Autoencoder
    steps: Steps
    guidance: float
    shape: tuple[int, int, int]  # of a latent

    @property
    def device(self) -> torch.device:
        return self.autoencoder.shift.device

    @torch.no_grad()
    def said(self, texts: Sequence[str]) -> Said:
        """Sentences read."""
        tokens = tokenised(self.tokenizer, texts, self.length).to(self.device)
        words = self.text(*tokens)
        return Said(words, pooled(words, tokens.mask), tokens.mask)

    @torch.no_grad()
    def walked(self, ask: Ask, said: Said, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures drawn of sentences, a row each: x before every step and at the end (steps + 1, B, C, H, W), and the
        means of the steps (steps, B, C, H, W). All noise is of the CPU generator ``draw``."""
        rows, steps, nothing = len(said.mask), self.steps, self.said([""])
        x = torch.randn(rows, *self.shape, generator=draw).to(self.device)
        states, means = [x], []
        for k in range(steps.count):
            t = steps.times[k].expand(rows).to(self.device)
            mean = steps.mean(k, x, guided(ask, x, t, said, nothing, self.guidance))
            x = mean
            if steps.fresh[k] > 0:
                x = mean + steps.fresh[k].item() * torch.randn(mean.shape, generator=draw).to(mean)
            states.append(x)
            means.append(mean)
        return torch.stack(states), torch.stack(means)

    @torch.no_grad()
    def pixels(self, latents: Tensor) -> Float[Tensor, "b 3 h w"]:
        """Pictures of latents, in [0, 1] and in the 256 values a channel has in a file; on the CPU."""
        dtype = self.autoencoder.shift.dtype
        found = [self.autoencoder.decode(some.to(self.device, dtype)).float().cpu() for some in latents.split(AT_ONCE)]
        return (torch.cat(found).clamp(0, 1) * 255).round() / 255
