"""A model folder of a public checkpoint, opened: every file checked against its card, every network filled."""

from __future__ import annotations

from pathlib import Path

import torch

from darkroom.checkpoints.store import digest
from darkroom.contracts.card import Card
from darkroom.contracts.errors import BadFile, BadInput, reason
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import Assembled, Opened
from darkroom.synthesis.external.networks import empty_network, fill, tokenizer

AGAIN = "remove the model and import it again"


def opened(folder: Path, card: Card, dtype: torch.dtype) -> Assembled:
    """The parts of a checkpoint that was imported. Raises BadFile for one that is no longer what was imported."""
    family = FAMILIES[card.family]
    for entry in card.files.values():
        try:
            whole = digest(folder / entry.path) == entry.sha256
        except OSError as error:
            raise BadFile(f"{folder / entry.path}", f"cannot be read ({reason(error)})", AGAIN) from error
        if not whole:
            raise BadFile(f"{folder / entry.path}", "is damaged: its sha256 is not the card's", AGAIN)
    networks = {}
    for name, part in family.parts.items():
        if name not in card.configs and name in family.spare:
            continue
        if name not in card.configs:
            raise BadFile(f"{folder}", f"has a card without the settings of {name}", AGAIN)
        files = [folder / entry.path for entry in card.files.values() if _is_weight(entry.path, name)]
        networks[name] = fill(empty_network(part, card.configs[name]), files, dtype)
    words = {}
    for name in family.tokenizers:
        if name not in card.configs and name in family.spare:
            continue
        kind = str(card.configs.get(name, {}).get("tokenizer_class", ""))
        words[name] = tokenizer(folder / name, kind)
    try:
        return family.assembled(Opened(networks, words, card.configs))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadFile(f"{folder}", f"cannot be put together ({error})", AGAIN) from error


def _is_weight(path: str, part: str) -> bool:
    return path.startswith(f"{part}/") and path.endswith(".safetensors")
