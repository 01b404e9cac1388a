"""What a public checkpoint needs in memory, told from its card and its files' headers before any of it is read.

Weights are counted to the byte, in the number format they will have. What a network needs besides while it works is a
formula whose factors were measured (docs/decisions/0017): so many bytes for each cell, pixel or token that it is asked
about at once, and each of its channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from darkroom.checkpoints.header import read_header
from darkroom.contracts.card import Card
from darkroom.contracts.contract import DENOISER, TEXT, VAE, Dtypes, role_of
from darkroom.contracts.errors import BadFile, DarkroomError
from darkroom.contracts.recipe import tile_for
from darkroom.machine.memory import free_memory

BYTES = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2, "int8": 2}  # of a number that is not packed
FEWEST = 16  # weights of an output channel that are packed in int8, as nn/public/int8.py has it
SINGLE = {
    "model.diffusion_model.": DENOISER,
    "first_stage_model.": VAE,
    "cond_stage_model.": TEXT,
    "conditioner.": TEXT,
}
SMALL_TILE = 256  # pixels a side of the autoencoder's tiles, where memory is short
ROWS = 2  # of a pass: what is wanted, and what is not
TOKENS = 512  # the most that a text encoder reads at once

# Numbers that are in memory at once, for each channel of the first layer: of a pixel as the autoencoder decodes it, of
# a cell as a UNet sees it, of a patch as a transformer does; and for each channel of a token, beside every layer's.
OF_PIXEL, OF_CELL, OF_PATCH, OF_TOKEN = 9.0, 48.0, 25.0, 16.0
# Besides, for each number of the largest layer: its weights as kernels want them; and of packed ones, in fp32 and bf16.
ARRANGED, UNPACKED = 2.5, 2.0 + 1.0
BASE = 200_000_000  # bytes of the libraries that networks come from


class NoRoom(DarkroomError):
    """What is asked for does not fit into memory; nothing was read."""

    code = "no_room"


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a checkpoint is to be opened, and the size of what is to be drawn with it.

    ``vae_tile`` None: the tile that a picture of this size has by itself.
    """

    dtypes: Dtypes
    offload: bool
    width: int
    height: int
    vae_tile: int | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of the networks of one kind: their weights, and what they need besides while they work."""

    weights: int
    working: int


def estimated(folder: Path, card: Card, keeping: Keeping) -> dict[str, Need]:
    """What text encoders, denoiser and autoencoder of a checkpoint need. Raises BadFile for damaged files and cards."""
    weights, largest = dict.fromkeys((TEXT, DENOISER, VAE), 0), dict.fromkeys((TEXT, DENOISER, VAE), 0.0)
    for role, name, shape in _tensors(folder, card):
        dtype, count, multiplies = getattr(keeping.dtypes, role), math.prod(shape), _multiplies(role, name, shape)
        packed = dtype == "int8" and multiplies
        weights[role] += count + 4 * shape[0] if packed else BYTES[dtype] * count
        if multiplies:
            largest[role] = max(largest[role], (ARRANGED + (UNPACKED if packed else 0)) * count)
    try:
        working = {
            TEXT: max(_text(config) for part, config in card.configs.items() if part.startswith("text_encoder")),
            DENOISER: _denoiser(card.configs["unet" if "unet" in card.configs else "transformer"], keeping),
            VAE: _vae(card.configs["vae"], keeping),
        }
    except (KeyError, TypeError, ValueError) as error:
        rule = f"has a card without the settings of its networks ({error})"
        raise BadFile(f"{folder}", rule, "remove the model and import it again") from error
    return {
        role: Need(weights[role], int(BYTES[getattr(keeping.dtypes, role)] * (working[role] + largest[role])))
        for role in weights
    }


def needed(needs: Mapping[str, Need], *, offload: bool) -> int:
    """Bytes that are needed at once; ``offload``: of the network that needs most."""
    if offload:
        return BASE + max(need.weights + need.working for need in needs.values())
    return BASE + sum(need.weights for need in needs.values()) + max(need.working for need in needs.values())


def check_fits(folder: Path, card: Card, keeping: Keeping, free: int | None = None) -> None:
    """Raises NoRoom, with the setting that would fit, for what needs more memory than there is.

    ``free`` bytes; None: as many as the system says, and where it does not, everything fits.
    """
    free = free_memory() if free is None else free
    if free is None:
        return
    asks = needed(estimated(folder, card, keeping), offload=keeping.offload)
    if asks <= free:
        return
    size = f"{keeping.width}x{keeping.height}"
    rule = f"needs about {gigabytes(asks)} at {size}, and {gigabytes(free)} are free"
    least = asks
    for flags, other in _others(keeping):
        asks = needed(estimated(folder, card, other), offload=other.offload)
        if asks <= free:
            raise NoRoom(card.name, rule, f"try {flags}, which needs {gigabytes(asks)}")
        least = min(least, asks)
    fix = f"draw smaller (--size), or with a smaller model: with all that saves memory it needs {gigabytes(least)}"
    raise NoRoom(card.name, rule, fix)


def needs_in_words(folder: Path, card: Card, keeping: Keeping, free: int | None = None) -> list[str]:
    """What a checkpoint needs, a line for each kind of network, and one for all of it.

    ``free`` is how many bytes are; None: nothing is said of it.
    """
    needs = estimated(folder, card, keeping)
    size = f"{keeping.width}x{keeping.height}"
    lines = [
        f"{role}: {gigabytes(need.weights)} in {getattr(keeping.dtypes, role)}, {gigabytes(need.working)} at work"
        for role, need in needs.items()
    ]
    at_once = gigabytes(needed(needs, offload=keeping.offload))
    there = "" if free is None else f"; {gigabytes(free)} are free"
    more = "" if keeping.offload else f", {gigabytes(needed(needs, offload=True))} with --offload"
    return [*lines, f"all: about {at_once} at {size}{more}{there}"]


def gigabytes(count: int) -> str:
    """Bytes as people read them, "14.2 GB"."""
    return f"{count / 1e9:.1f} GB"


def _others(keeping: Keeping) -> Iterator[tuple[str, Keeping]]:
    """Other ways to open and draw, with the flags that ask for them; those that change least of a picture first."""
    packed = keeping.dtypes.model_copy(update={TEXT: "int8", DENOISER: "int8"})  # the autoencoder is small
    ways: list[tuple[str, dict[str, Any]]] = [
        ("--offload", {"offload": True}),
        (f"--vae-tile {SMALL_TILE}", {"vae_tile": SMALL_TILE}),
        (f"--dtype {packed}", {"dtypes": packed}),
    ]
    offload, tile, dtype = ways
    for some in ([offload], [tile], [offload, tile], [dtype], [dtype, tile], [dtype, offload], [dtype, offload, tile]):
        yield " ".join(flag for flag, _ in some), replace(keeping, **{k: v for _, way in some for k, v in way.items()})


def _tensors(folder: Path, card: Card) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Every tensor of a checkpoint: what it is part of, its name, its shape."""
    for entry in card.files.values():
        if not entry.path.endswith(".safetensors"):
            continue
        part, _, inside = entry.path.partition("/")
        for name, tensor in read_header(folder / entry.path).entries.items():
            role = role_of(part) if inside else next((SINGLE[at] for at in SINGLE if name.startswith(at)), None)
            if role is not None:
                yield role, name, tensor.shape


def _multiplies(role: str, name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is the weights of a linear layer or a convolution, which are packed in int8."""
    table = role == TEXT and ("embed" in name or "shared" in name)  # of tokens, or of their places
    return name.endswith("weight") and len(shape) in (2, 4) and math.prod(shape[1:]) >= FEWEST and not table


# --- what a network needs besides its weights -------------------------------------------------------------------------


def _text(config: Mapping[str, Any]) -> float:
    wide = config.get("hidden_size") or config.get("d_model") or 0
    layers = config.get("num_hidden_layers") or config.get("num_layers") or 0
    return TOKENS * wide * (OF_TOKEN + layers)


def _denoiser(config: Mapping[str, Any], keeping: Keeping) -> float:
    cells = keeping.width * keeping.height / 64
    if channels := config.get("block_out_channels"):
        return ROWS * cells * channels[0] * OF_CELL
    wide = config.get("dim") or config["num_attention_heads"] * config["attention_head_dim"]
    rows = 1 if config.get("guidance_embeds") else ROWS  # it guides itself
    return rows * (cells / 4 + TOKENS) * wide * OF_PATCH


def _vae(config: Mapping[str, Any], keeping: Keeping) -> float:
    tile = keeping.vae_tile or tile_for(keeping.width, keeping.height) or max(keeping.width, keeping.height)
    pixels = min(tile, keeping.width) * min(tile, keeping.height)
    return pixels * config["block_out_channels"][0] * OF_PIXEL
