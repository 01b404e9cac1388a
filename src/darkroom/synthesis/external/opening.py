"""A model folder of a public checkpoint, opened: every file checked against its card, every network filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.checkpoints.store import digest
from darkroom.contracts.card import Card
from darkroom.contracts.contract import Dtypes, Format
from darkroom.contracts.errors import BadFile, BadInput, reason
from darkroom.nn.public.shelf import Shelf
from darkroom.synthesis.external import FAMILIES
from darkroom.synthesis.external.family import PIPELINE, Assembled, Configs, Family, Opened
from darkroom.synthesis.external.naming import Source
from darkroom.synthesis.external.networks import empty_network, kept, tokenizer

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


def opened(folder: Path, card: Card, dtypes: Dtypes, shelf: Shelf | None = None) -> Public:
    """A checkpoint that was imported, whose networks are on a shelf; None: all of them in memory, always.

    Raises BadFile for one that is no longer what was imported.
    """
    family, shelf = FAMILIES[card.family], shelf or Shelf()
    check_sound(folder, card)
    networks = {}
    for name, part in family.parts.items():
        if name not in card.configs and name in family.spare:
            continue
        if name not in card.configs:
            raise BadFile(f"{folder}", f"has a card without the settings of {name}", AGAIN)
        network = empty_network(part, card.configs[name])
        networks[name] = filled(folder, card, name, network, dtypes.of(name), shelf)
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


def check_sound(folder: Path, card: Card) -> None:
    """Raises BadFile for files that are not those of a card."""
    for entry in card.files.values():
        try:
            sound = digest(folder / entry.path) == entry.sha256
        except OSError as error:
            raise BadFile(f"{folder / entry.path}", f"cannot be read ({reason(error)})", AGAIN) from error
        if not sound:
            raise BadFile(f"{folder / entry.path}", "is damaged: its sha256 is not the card's", AGAIN)


def files_of(folder: Path, card: Card, part: str) -> list[Path]:
    """The files of a part's weights that are its alone; none: they are in the checkpoint's one file."""
    return [folder / entry.path for entry in card.files.values() if _is_weight(entry.path, part)]


def filled(folder: Path, card: Card, part: str, network: Any, dtype: Format, shelf: Shelf | None = None) -> Any:
    """A part's network, empty before, with its weights in a number format, on a shelf. Raises BadFile."""
    own, shelf = files_of(folder, card, part), shelf or Shelf()
    if own or not _in_one_file(card.configs):
        return kept(network, own, dtype, shelf)
    sources = file_sources(FAMILIES[card.family], card.configs, part, network)
    return kept(network, [folder / CHECKPOINT], dtype, shelf, sources)


def file_sources(family: Family, configs: Configs, part: str, network: Any) -> dict[str, Source]:
    """Where in a checkpoint's one file each tensor of a part's network stands."""
    assert family.single is not None
    place = family.single.sources(configs, part)
    return {name: place(name) for name in network.state_dict()}


def _in_one_file(configs: Configs) -> bool:
    return configs.get(PIPELINE, {}).get("layout") == "single"


def _is_weight(path: str, part: str) -> bool:
    return path.startswith(f"{part}/") and path.endswith(".safetensors")
