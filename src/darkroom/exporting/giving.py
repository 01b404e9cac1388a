"""A model given away: written beside its place, named when all of it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkroom.cards import folder_of, read_card
from darkroom.checkpoints.store import appearing
from darkroom.contracts.card import OWN, Card
from darkroom.contracts.errors import BadFile, BadInput, shown, unknown
from darkroom.contracts.steering import Lora
from darkroom.exporting.own import write_own
from darkroom.exporting.public import write_public
from darkroom.exporting.writing import DTYPES, Say
from darkroom.synthesis.external import FAMILIES


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that was written out, and how many bytes it takes."""

    folder: Path
    card: Card
    bytes: int


def export_model(
    name: str, out: Path, *, dtype: str | None = None, loras: Sequence[Lora] = (), say: Say = lambda _: None
) -> Exported:
    """Writes a model of the store as a diffusers-style folder: all of it, or nothing.

    Args:
        name: a model's name, or its folder.
        out: the folder to be; it may be there if it is empty.
        dtype: the number format of its weights, bf16, fp16 or fp32; None: as they are, of ours bf16.
        loras: what is to be in its weights, and how strongly.
        say: is told what goes on.

    Raises:
        BadInput: there is no such model or format, something is in the folder, or a LoRA is not for this model.
        BadFile: the model is damaged. CannotWrite: the folder could not be written; nothing of it is left.
    """
    if dtype is not None and dtype not in DTYPES:
        raise unknown("number format", dtype, DTYPES)
    folder = folder_of(name)
    card = read_card(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        rule = "is not an empty folder" if out.is_dir() else "is a file"
        raise BadInput(f"--out {shown(str(out))}", rule, "name one that is not there, and nothing is written over")
    if card.family != OWN and card.family not in FAMILIES:
        rule = f"names the family {shown(card.family)}, which this version does not know"
        raise BadFile(f"{folder}", rule, "take another model, or update darkroom")
    with appearing(out.absolute(), "choose another folder (--out)") as stage:
        (write_own if card.family == OWN else write_public)(folder, card, stage, dtype, loras, say)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Exported(out, card, size)
