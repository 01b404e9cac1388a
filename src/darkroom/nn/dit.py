"""The latent denoiser: a transformer over latent patches that also attends to the sentence.

Image queries attend to [image keys, text keys]; the text itself is not updated, so its keys and values are computed
once a prompt (:meth:`Denoiser.text_keys`) and reused at every step. The block is PRX's, with adaLN-single
(arXiv:2310.00426, section 2.3), QK-normalisation, value residual (arXiv:2410.17897) and register tokens
(arXiv:2309.16588).

A flow map answers the mean velocity of a step instead: its last third of blocks is told the time the step goes to in
place of the time it comes from (decoupled MeanFlow, arXiv:2510.24474, section 3.1), which takes no parameters of its
own. Where both times are the same it is the denoiser it was made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from darkroom.nn.attention import SwiGLU, attend, hidden_width, split_heads
from darkroom.nn.embed import TimeEmbedding, centred_positions, rotary_table, rotate
from darkroom.nn.norm import RMSNorm

FASTEST = 100.0  # radians per unit of time that a flow map hears: see the log of 2026-11-21


@dataclass(frozen=True)
class DenoiserConfig:
    """Shapes of the network; hints are KEEP mask (1), masked latent and control map (latent channels each)."""

    channels: int = 8
    width: int = 384
    depth: int = 7
    head: int = 64
    patch: int = 2
    text_width: int = 288
    registers: int = 4
    flow_map: tuple[float, float] | None = (
        None  # lowest and highest guidance a flow map is told; None: a plain denoiser
    )

    @property
    def hint_channels(self) -> int:
        """Channels of the spare input: KEEP mask, masked latent, control map."""
        return 1 + 2 * self.channels

    @property
    def turn(self) -> int:
        """The first block that is told where a step goes, of a flow map."""
        return self.depth - max(1, round(self.depth / 3))


def sized(size: str, channels: int = 8) -> DenoiserConfig:
    """The one dial: "nano" for tests, "mini" for two CPU cores, "base" for a GPU."""
    presets = {
        "nano": DenoiserConfig(channels, width=64, depth=2, head=32, text_width=32),
        "mini": DenoiserConfig(channels, width=384, depth=7),
        "base": DenoiserConfig(channels, width=448, depth=12),
    }
    if size not in presets:
        raise ValueError(f"size {size!r} is not one of {', '.join(presets)}")
    return presets[size]


class Block(nn.Module):
    """Attention over picture and text, then SwiGLU, both modulated by the time vector."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        width = config.width
        self.head = config.head
        self.norm_attention, self.norm_feed, self.norm_text = RMSNorm(width), RMSNorm(width), RMSNorm(config.text_width)
        self.norm_q, self.norm_k = RMSNorm(config.head), RMSNorm(config.head)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.text_kv = nn.Linear(config.text_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed = SwiGLU(width, hidden_width(width))
        # Per-block offsets of the shared modulation: shift, scale, gate for attention and for the feed-forward part.
        self.modulation = nn.Parameter(torch.zeros(6, width))
        self.value_mix = nn.Parameter(torch.zeros(()))  # 0: own values only at the start

    def text_keys(self, text: Float[Tensor, "b m text"]) -> Float[Tensor, "b 2 m width"]:
        """Normalised keys and values of the text for this block."""
        k, v = self.text_kv(self.norm_text(text)).chunk(2, -1)
        k = self.norm_k(k.unflatten(-1, (-1, self.head))).flatten(-2)
        return torch.stack([k, v], 1)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        shared: Float[Tensor, "b 6 d"],
        keys: Float[Tensor, "b 2 m d"],
        mask: Bool[Tensor, "b n_plus_m"] | Float[Tensor, "b n_plus_m"],
        place: tuple[Tensor, Tensor],
        first_values: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The new x and this block's picture values (the first block's are mixed into later ones)."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (shared + self.modulation)[:, :, None].unbind(1)
        h = self.norm_attention(x) * (1 + scale_a) + shift_a
        q, k, v = (split_heads(part, self.head) for part in self.qkv(h).chunk(3, -1))  # (B, heads, N, head)
        q, k = rotate(self.norm_q(q), *place), rotate(self.norm_k(k), *place)
        if first_values is not None:
            v = v + self.value_mix * (first_values - v)
        text_k, text_v = (split_heads(part, self.head) for part in keys.unbind(1))  # (B, heads, M, head)
        joined = attend(q, torch.cat([k, text_k], 2), torch.cat([v, text_v], 2), mask)  # (B, N, D)
        x = x + gate_a * self.out(joined)
        h = self.norm_feed(x) * (1 + scale_f) + shift_f
        return x + gate_f * self.feed(h), v


class Blocks(nn.ModuleList):
    """A list of blocks, for the type checker: nn.ModuleList does not say what it holds."""

    def __iter__(self) -> Iterator[Block]:
        return super().__iter__()  # type: ignore[return-value]


class Denoiser(nn.Module):
    """Predicts the flow velocity (noise - x0) of a noised latent, or as a flow map its mean over a step."""

    def __init__(self, config: DenoiserConfig | None = None) -> None:
        super().__init__()
        self.config = config or DenoiserConfig()
        c = self.config
        cell = c.patch**2
        self.into = nn.Linear(c.channels * cell, c.width)
        self.hints = nn.Linear(c.hint_channels * cell, c.width, bias=False)
        self.registers = nn.Parameter(torch.randn(c.registers, c.width) * 0.02)
        self.time = TimeEmbedding(c.width, fastest=None if c.flow_map is None else FASTEST)
        if c.flow_map is not None:
            self.guidance = TimeEmbedding(c.width, scale=1.0, bias=False)  # as slow as guidance is coarse
        self.pooled = nn.Linear(c.text_width, c.width, bias=False)  # a second bias breaks Inductor on CPU
        self.modulation = nn.Linear(c.width, 6 * c.width)
        self.blocks = Blocks(Block(c) for _ in range(c.depth))
        self.norm = RMSNorm(c.width)
        self.final_modulation = nn.Linear(c.width, 2 * c.width)
        self.out = nn.Linear(c.width, c.channels * cell)
        self._start()

    def _start(self) -> None:
        """adaLN-zero: every block starts as the identity; no hint counts until it is trained."""
        for layer in (self.hints, self.modulation, self.final_modulation, self.out):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        for block in self.blocks:
            nn.init.normal_(block.text_kv.weight, std=0.02)
        if self.config.flow_map is not None:
            self.guidance.silence()

    def text_keys(self, text: Float[Tensor, "b m text"]) -> Float[Tensor, "b depth 2 m width"]:
        """Every block's keys and values of a text, computed once a prompt."""
        return torch.stack([block.text_keys(text) for block in self.blocks], 1)

    def condition(
        self,
        t: Float[Tensor, " b"],
        pooled: Float[Tensor, "b text"],
        toward: Float[Tensor, " b"] | None = None,
        guidance: Float[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b *ends 6 d"], Float[Tensor, "b 2 d"]]:
        """Modulation of the blocks and of the last layer. Called one row at a time when serving (bit-identity).

        A flow map's blocks have two rows of it, for where a step comes from and where it goes; ``toward`` and
        ``guidance`` are for flow maps, which are asked with both, and are None for others.
        """
        said = self.pooled(pooled)
        if self.config.flow_map is None:
            c = nn.functional.silu(self.time(t) + said)
            return self.modulation(c).unflatten(-1, (6, -1)), self.final_modulation(c).unflatten(-1, (2, -1))
        assert toward is not None and guidance is not None
        said = said + self.guidance(guidance)
        early, late = (nn.functional.silu(self.time(end) + said) for end in (t, toward))
        shared = self.modulation(torch.stack([early, late], 1)).unflatten(-1, (6, -1))  # (B, 2, 6, D)
        return shared, self.final_modulation(late).unflatten(-1, (2, -1))

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        condition: tuple[Tensor, Tensor],
        keys: Float[Tensor, "b depth 2 m width"],
        mask: Bool[Tensor, "b m"] | Float[Tensor, "b m"],
        hints: Float[Tensor, "b hints h w"] | None = None,
        seen: Float[Tensor, "b n width"] | None = None,
        tap: int | None = None,
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b n d"] | None]:
        """Velocity, and the picture tokens after block ``tap`` (None: none) for the oracle head.

        ``mask`` is of the text, as :func:`attend` has it. ``hints`` None is plain text-to-image and equals all-zero
        hints; ``seen`` is what controls add to its tokens.
        """
        c = self.config
        height, width = x.shape[-2] // c.patch, x.shape[-1] // c.patch
        tokens = self.into(patches(x, c.patch))  # (B, H W, D)
        if hints is not None:
            tokens = tokens + self.hints(patches(hints, c.patch))
        if seen is not None:
            tokens = tokens + seen
        registers = self.registers.expand(len(x), -1, -1)
        tokens = torch.cat([tokens, registers], 1)  # (B, N, D)
        place = rotary_places(height, width, c.registers, c.head, tokens.dtype, tokens.device)
        as_it_is = 0.0 if mask.is_floating_point() else 1.0
        mask = torch.cat([mask.new_full((len(x), tokens.shape[1]), as_it_is), mask], 1)  # (B, N + M)
        shared, final = condition
        early, late = (shared, shared) if c.flow_map is None else shared.unbind(1)
        first, tapped = None, None
        for i, (block, own) in enumerate(zip(self.blocks, keys.unbind(1), strict=True)):
            tokens, values = block(tokens, early if i < c.turn else late, own, mask, place, first)
            first = values if first is None else first
            if i == tap:
                tapped = tokens[:, : height * width]
        shift, scale = final[:, :, None].unbind(1)
        tokens = self.norm(tokens[:, : height * width]) * (1 + scale) + shift
        return unpatched(self.out(tokens), c.patch, height, width), tapped


def rotary_places(
    height: int, width: int, registers: int, head: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The rotary table, kept; :mod:`darkroom.training.compiled` tells the compiler that it is a constant."""
    return _kept_place(height, width, registers, head, dtype, device)


@lru_cache(maxsize=32)
def _kept_place(
    height: int, width: int, registers: int, head: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rotary table of picture tokens; registers stay unturned."""
    with torch.inference_mode(False), torch.no_grad():  # a table first made while serving must also do for training
        positions = centred_positions(height, width)
        positions = torch.cat([positions, positions.new_zeros(registers, 2)])
        cos, sin = rotary_table(positions, head)
        return cos.to(device, dtype), sin.to(device, dtype)


def patches(x: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b n c_side_side"]:
    """Cuts a latent into tokens of side x side cells, row by row."""
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // side, side, w // side, side)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // side) * (w // side), c * side * side)


def unpatched(tokens: Float[Tensor, "b n c_side_side"], side: int, height: int, width: int) -> Float[Tensor, "b c h w"]:
    """Puts tokens back into a latent; the inverse of :func:`patches`."""
    b = tokens.shape[0]
    x = tokens.reshape(b, height, width, -1, side, side)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(b, -1, height * side, width * side)
