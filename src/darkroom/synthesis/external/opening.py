"""A model folder of a public checkpoint, opened: every file checked against its card, every network filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.checkpoints.store import digest
from darkroom.contracts.card import Card
from darkroom.contracts.contract import Dtypes
from darkroom.contracts.errors import BadFile, BadInput, reason
from darkroom.nn.public.shelf import Shelf
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import PIPELINE, Assembled, Configs, Family, Opened
from darkroom.synthesis.external.naming import Source
from darkroom.synthesis.external.networks import empty_network, kept, tokenizer
from darkroom.synthesis.external.single import sources_of

CHECKPOINT = "checkpoint.safetensors"  # of one that is in one file
AGAIN = "remove the model and import it again"


@dataclass(frozen=True)
class Public:
    """A checkpoint that is open: its networks by part, the model they are together, and how their weights are kept."""

    family: Family
    opened: Opened
    parts: Assembled
    dtypes: Dtypes
    shelf: Shelf

    @property
    def title(self) -> str:
        """What the family is called."""
        return self.family.title


def opened(folder: Path, card: Card, dtypes: Dtypes, *, offload: bool = False) -> Public:
    """A checkpoint that was imported. Raises BadFile for one that is no longer what was imported.

    ``offload``: weights are in memory while their network is at work.
    """
    family, shelf = FAMILIES[card.family], Shelf(offload)
    for entry in card.files.values():
        try:
            sound = digest(folder / entry.path) == entry.sha256
        except OSError as error:
            raise BadFile(f"{folder / entry.path}", f"cannot be read ({reason(error)})", AGAIN) from error
        if not sound:
            raise BadFile(f"{folder / entry.path}", "is damaged: its sha256 is not the card's", AGAIN)
    whole = [folder / CHECKPOINT] if _in_one_file(card.configs) else None
    networks = {}
    for name, part in family.parts.items():
        if name not in card.configs and name in family.spare:
            continue
        if name not in card.configs:
            raise BadFile(f"{folder}", f"has a card without the settings of {name}", AGAIN)
        network = empty_network(part, card.configs[name])
        files = whole or [folder / entry.path for entry in card.files.values() if _is_weight(entry.path, name)]
        sources = None if whole is None else file_sources(family, card.configs, name, network)
        networks[name] = kept(network, files, dtypes.of(name), shelf, sources)
    words = {}
    for name in family.tokenizers:
        if name not in card.configs and name in family.spare:
            continue
        kind = str(card.configs.get(name, {}).get("tokenizer_class", ""))
        words[name] = tokenizer(folder / name, kind)
    try:
        parts = Opened(networks, words, card.configs)
        return Public(family, parts, family.assembled(parts), dtypes, shelf)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadFile(f"{folder}", f"cannot be put together ({error})", AGAIN) from error


def file_sources(family: Family, configs: Configs, part: str, network: Any) -> dict[str, Source]:
    """Where in a checkpoint's one file each tensor of a part's network stands."""
    assert family.single is not None
    place = sources_of(family.single, configs, part)
    return {name: place(name) for name in network.state_dict()}


def _in_one_file(configs: Configs) -> bool:
    return configs.get(PIPELINE, {}).get("layout") == "single"


def _is_weight(path: str, part: str) -> bool:
    return path.startswith(f"{part}/") and path.endswith(".safetensors")
