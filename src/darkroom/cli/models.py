"""The verbs under ``darkroom models``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from darkroom.cli.given.values import Folder, Whole
from darkroom.contracts.card import IMAGE, UPSCALER
from darkroom.contracts.errors import BadFile, BadInput, shown
from darkroom.contracts.request import UPSCALES

models_app = App(name="models", help="The models at hand.")


@models_app.command(name="list")
def models_list(*, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the models at hand."""
    from darkroom.cards import damaged, known_models, read_card

    folders, cards = known_models(), {}
    for name, folder in folders.items():
        try:
            cards[name] = read_card(folder)
        except BadFile as error:  # the others are listed
            print(f"note: {error}", file=sys.stderr)
    if json_:
        told = {n: {**json.loads(c.to_json()), "damaged": damaged(folders[n], c)} for n, c in cards.items()}
        print(json.dumps(told))
        return
    for name, card in cards.items():
        size = sum(entry.bytes for entry in card.files.values()) / 1e6
        about = _state(damaged(folders[name], card)) or next(iter(card.description.splitlines()), "")
        print(f"{name}  {card.family}  {size:.1f} MB  {card.licence}  {about}")


@models_app.command(name="show")
def models_show(
    name: str = "default",
    *,
    dtype: str = "bf16",
    size: str | None = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Show a model's card: what it draws, its styles, defaults, limits, licence and training, and the memory it needs.

    Parameters
    ----------
    dtype
        Of a public checkpoint: how its weights would be kept, as generate takes it.
    size
        Of a public checkpoint: the size of what would be drawn. Without it the card's.
    json_
        Print one JSON object.
    """
    from darkroom.cards import damaged, folder_of, read_card

    folder = folder_of(name)
    card = read_card(folder)
    broken = damaged(folder, card)
    keeping = _keeping(card, dtype, size)
    if json_:
        from darkroom.checkpoints.estimate import estimated

        needs = {} if keeping is None or broken else estimated(folder, card, keeping)
        memory = {role: {"weights": need.weights, "working": need.working} for role, need in needs.items()}
        print(json.dumps({**json.loads(card.to_json()), "damaged": broken, "memory": memory}))
        return
    lines = card_lines(card)
    state = _state(broken)
    if keeping is not None and not broken:
        from darkroom.checkpoints.estimate import needs_in_words
        from darkroom.machine.memory import free_memory

        lines += [f"memory      {line}" for line in needs_in_words(folder, card, keeping, free_memory())]
    print("\n".join([lines[0], *([state] if state else []), *lines[1:]]))


def _keeping(card: Any, dtype: str, size: str | None) -> Any:
    """How a public checkpoint would be opened; None: it is a model of ours, which is small."""
    from darkroom.checkpoints.estimate import Keeping
    from darkroom.contracts.card import OWN
    from darkroom.contracts.contract import Dtypes, dtypes
    from darkroom.contracts.request import parse_size

    kept = Dtypes.checked(dict(dtypes(dtype)))
    width, height = card.defaults.drawn if size is None else parse_size(size)
    return None if card.family == OWN else Keeping(kept, False, width, height)


@models_app.command(name="import")
def models_import(
    path: Path,
    *,
    name: str | None = None,
    copy: bool = False,
    words: Folder | None = None,
    prediction: str | None = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Take a public checkpoint into the model store, checked; nothing is fetched and nothing in it is run.

    Examples:

        darkroom models import my-checkpoint
        darkroom models import painter.safetensors --words my-checkpoint --name painter

    Parameters
    ----------
    path
        The checkpoint: a folder with a model_index.json, as diffusers saves it, or one file: safetensors, or a pickle
        (.ckpt, .pt), which is converted in a process of its own and refused where it holds more than weights.
    name
        What to call it. Without it the name of the folder or file.
    copy
        Copy its files even where a second name for them would do; a file that is only named twice is gone when both
        names are.
    words
        Folder of a checkpoint of the same family, whose tokenizers are taken: a single file has none. Without it those
        of one in the store.
    prediction
        What a single file's denoiser predicts, eps or v, where the file does not say so.
    json_
        Print one JSON object.
    """
    from darkroom.importing import import_model  # imports torch

    def say(line: str) -> None:
        print(f"{'import':<12}{line}", file=sys.stderr)

    done = import_model(path, name, copy=copy, words=words, prediction=prediction, say=say)
    size = sum(entry.bytes for entry in done.card.files.values())
    if json_:
        told = {"name": done.card.name, "folder": str(done.folder), "family": done.card.family}
        print(json.dumps({**told, "bytes": size, "copied": done.copied, "model_hash": done.card.model_hash}))
        return
    how = f"{done.copied / 1e6:.1f} MB of them copied" if done.copied else "none of them copied"
    print(f"{'imported':<12}{done.card.name}, {done.card.family}, {size / 1e6:.1f} MB, {how}", file=sys.stderr)
    print(done.folder)


@models_app.command(name="export")
def models_export(
    name: str,
    *,
    out: Folder,
    dtype: str | None = None,
    lora: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Write a model as a folder that other programs read: a folder for each part, its settings, its weights.

    A public checkpoint becomes a folder that diffusers opens, also where it came as one file. One of ours is read by
    any program that knows safetensors, and by `darkroom models import`.

    Examples:

        darkroom models export default --out mine
        darkroom models export my-checkpoint --out bold-checkpoint --lora bold.safetensors:0.8 --dtype fp16

    Parameters
    ----------
    name
        The model, by its name or its folder.
    out
        The folder to write, which is not there yet, or is empty.
    dtype
        Number format of the weights: bf16, fp16 or fp32. Without it as they are; of our own models, which lie packed,
        bf16.
    lora
        An adapter that is to be within the weights, and how strongly: style.safetensors:0.8. May be given several
        times.
    json_
        Print one JSON object.
    """
    from darkroom.contracts.steering import Lora
    from darkroom.contracts.steering import lora as spelt
    from darkroom.exporting import export_model  # imports torch

    def say(line: str) -> None:
        print(f"{'export':<12}{line}", file=sys.stderr)

    loras = [Lora.checked(spelt(text)) for text in lora or ()]
    done = export_model(name, out, dtype=dtype, loras=loras, say=say)
    if json_:
        told = {"name": done.card.name, "folder": str(done.folder), "family": done.card.family, "bytes": done.bytes}
        print(json.dumps(told))
        return
    print(f"{'exported':<12}{done.card.name}, {done.card.family}, {done.bytes / 1e6:.1f} MB", file=sys.stderr)
    print(done.folder)


@models_app.command(name="remove")
def models_remove(name: str) -> None:
    """Take a model out of the store. The files it was imported from stay where they are.

    Parameters
    ----------
    name
        The model, by its name in the store.
    """
    from darkroom.checkpoints.store import remove

    print(remove(name))


def _state(files: list[str]) -> str:
    """What is said of a model some of whose files are not what its card says."""
    return f"DAMAGED: {', '.join(files)} missing or cut short; install the model again" if files else ""


def card_lines(card: Any) -> list[str]:
    """A card in plain words."""
    d = card.defaults
    lines = [card.name, card.description, ""]
    lines += [f"defaults    {d.width}x{d.height}, {d.steps} steps of {d.sampler}, guidance {d.guidance:g}"]
    factors = ", ".join(str(factor) for factor in UPSCALES)
    drawn = "drawn at {}x{}".format(*d.drawn)
    lines += [f"upscaling   {factors} times; by default {d.upscale}, {drawn}"] if UPSCALER in card.files else []
    lines += ["references  their subject or style (--image-prompt)"] if IMAGE in card.files else []
    lines += [f"styles      {', '.join(card.styles)}"] if card.styles else []
    lines += [f"licence     {card.licence}", f"hash        {card.model_hash}"]
    lines += [f"cannot      {limit}" for limit in card.limits]
    lines += [f"trained     {leg.date}  {leg.samples:,} samples  {leg.what}" for leg in card.training]
    thanks = {s.attribution for leg in card.training for s in leg.sources if s.attribution}
    lines += [f"thanks to   {line}" for line in sorted(thanks)]
    lines += [f"score       {name}: {value:g}" for name, value in card.scores.items()]
    lines += [f"draws       {', '.join(card.vocabulary)}"] if card.vocabulary else []
    return lines


@models_app.command(name="sheet")
def models_sheet(
    name: str = "default", *, out: Folder | None = None, steps: Whole | None = None, blind: bool = False
) -> None:
    """Draw the fixed sheet of 64 prompts, uncurated; --blind numbers the pictures instead of naming them.

    Parameters
    ----------
    out
        The file to write, over what is there. Without it pictures/sheet.png, or the next name that is free.
    """
    from darkroom.contracts.files import check_folder
    from darkroom.picture.write import FORMATS, sheet_path

    path = sheet_path("pictures") if out is None else out
    if path.is_dir() or path.suffix.lower().removeprefix(".") not in FORMATS:
        raise BadInput(f"--out {shown(str(path))}", "names no picture file", "end it in .png, .jpg or .webp")
    check_folder(path.parent)
    from darkroom.evaluation.sheet import draw_sheet  # imports torch
    from darkroom.model import load

    print(draw_sheet(load(name), path, captions=not blind, steps=steps))


@models_app.command(name="pack")
def models_pack(
    *,
    autoencoder: Path,
    base: Path,
    out: Path,
    name: str = "default",
    upscaler: Path | None = None,
    card: Path | None = None,
) -> None:
    """Put the hand-overs of training legs together into a model folder.

    Parameters
    ----------
    autoencoder
        Hand-over of the autoencoder's leg.
    base
        Hand-over of the diffusion leg: denoiser, text encoder and tokenizer.
    out
        The model folder to write.
    upscaler
        Hand-over of the upscaler's leg; without it the model draws at its own size only.
    card
        A card to take the words from (description, limits, licence, training); without it a plain one is written.
    """
    from darkroom.training.packing import pack

    print(pack(autoencoder, base, out, name, card, upscaler=upscaler))


@models_app.command(name="judge")
def models_judge(
    *, leg: Annotated[Path, Parameter(name="--from")], data: Path = Path("runs/data"), out: Path, count: int = 2000
) -> None:
    """Make a judge of a training leg's hand-over: its weights in int8, and how far it can be trusted.

    Parameters
    ----------
    leg
        Hand-over of a `darkroom train judge` run.
    data
        Built data, whose scenes it is measured on.
    out
        The folder to write.
    count
        Scenes it is measured on.
    """
    from darkroom.evaluation.command import pack_judge

    print(pack_judge(leg, data, out, count))
