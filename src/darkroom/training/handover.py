"""What a leg hands over, and how it is read: averaged weights in bf16 (which is also what ships) and ``leg.json``.

``leg.json`` says how the weights came to be, with fingerprints of those they began with and build on. Large networks
are split over several files, for machines that give back small files only.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from darkroom.cards import CARD, read_card
from darkroom.contracts.card import DataSource
from darkroom.contracts.errors import BadInput, CannotWrite, reason
from darkroom.contracts.ledger import read_ledger
from darkroom.data.stock.built import LEDGER
from darkroom.nn.autoencoder import Autoencoder, AutoencoderConfig
from darkroom.nn.config import read_config
from darkroom.nn.storage import unpacked
from darkroom.training.checkpoint import replace_folder
from darkroom.training.loop import Trainer, TrainingError

HANDOVER = "handover"
LEG = "leg.json"
TRAINED_BY = {"denoiser": "diffusion"}  # verbs that are not named for what they train
C = TypeVar("C")
LARGEST = 15 * 2**20  # bytes of the tensors in one file


def hand_over(trainer: Trainer, folder: Path | None = None) -> Path:
    """Writes the averaged weights and ``leg.json`` into a folder, all of it or none; None: the run's ``handover``."""
    folder = folder or trainer.folder / HANDOVER
    objective = trainer.objective
    parts = objective.parts()
    weights = trainer.finished()
    files = {name: text.encode() for name, text in parts.texts.items()}
    for part, prefix in parts.weights.items():
        tensors = {k.removeprefix(prefix): v.bfloat16() for k, v in weights.items() if k.startswith(prefix)}
        files.update(_shards(part, tensors))
    leg: dict[str, Any] = {"name": objective.name, "step": trainer.step, "samples": trainer.samples}
    leg["networks"] = {part: asdict(network) for part, network in parts.networks.items()}
    leg["config"] = objective.config()
    leg["origin"] = trainer.origin
    leg["date"] = datetime.date.today().isoformat()
    leg["sources"] = [source.model_dump() for source in trainer.sources]
    files[LEG] = json.dumps(leg, indent=1).encode()
    try:
        replace_folder(folder, files)
    except OSError as error:
        rule = f"could not be written ({reason(error)})"
        raise CannotWrite(f"{folder}", rule, "free some space; the same command writes it again") from error
    return folder


def leg_of(folder: Path) -> Mapping[str, Any]:
    """What ``leg.json`` of a hand-over says, or what a model folder's card says of networks and sources."""
    if (folder / CARD).exists():
        card = read_card(folder)
        sources = [source.model_dump() for leg in card.training for source in leg.sources]
        return {"networks": card.configs, "sources": sources}
    try:
        found: Mapping[str, Any] = json.loads((folder / LEG).read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{folder} is no hand-over of a leg ({error}); give a run's {HANDOVER} folder or a model's"
        ) from error
    return found


def network_of(folder: Path, part: str, kind: type[C]) -> C:
    """The settings of one network of a hand-over or a model folder. Raises BadInput where there is none such."""
    networks = leg_of(folder).get("networks", {})
    if part not in networks:
        fix = f"give the {HANDOVER} folder of a `darkroom train {TRAINED_BY.get(part, part)}` run"
        raise BadInput(f"{folder}", f"holds no {part} but {' and '.join(networks) or 'nothing'}", fix)
    return read_config(kind, networks[part])


def sources_of(data: Path, *before: Path | None) -> list[DataSource]:
    """Sources, licences and lines of thanks of a data folder and of hand-overs that a leg builds on, each once."""
    ledger = data / LEDGER
    rows = [row for row in read_ledger(ledger) if row.removed is None] if ledger.exists() else []
    found = {DataSource(name=row.source, licence=row.licence, attribution=row.attribution) for row in rows}
    for folder in before:
        if folder is not None and any((folder / name).exists() for name in (LEG, CARD)):  # not a packed judge
            found.update(DataSource(**told) for told in leg_of(folder).get("sources", ()))
    return sorted(found, key=lambda source: (source.name, source.licence, source.attribution))


def has_weights(folder: Path, part: str) -> bool:
    """Whether a hand-over or a model folder holds such weights."""
    return bool(_files(folder, part))


def weights_of(folder: Path, part: str) -> dict[str, Tensor]:
    """The weights of one network of a hand-over or a model folder, fp32."""
    paths = _files(folder, part)
    of = re.search(r"-of-(\d+)$", paths[0].stem) if paths else None
    if not paths or len(paths) != (int(of[1]) if of else 1):
        raise TrainingError(f"{folder} lacks files of the {part}; give a whole hand-over or model folder")
    try:
        tensors = {name: tensor for path in paths for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise TrainingError(f"the {part} in {folder} is damaged ({error}); take the folder anew") from error
    return unpacked(tensors)


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """sha256 of weights as they are in bf16: the same whether they come from a hand-over or out of a model folder."""
    digest = sha256()
    for name in sorted(weights):
        tensor = weights[name].bfloat16().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def opened_autoencoder(folder: Path) -> Autoencoder:
    """The autoencoder of a hand-over, fp32."""
    module = Autoencoder(network_of(folder, "autoencoder", AutoencoderConfig))
    load_into(module, folder, "autoencoder")
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_into(module: nn.Module, folder: Path, part: str) -> str:
    """Fills a network with the weights of a hand-over; returns their fingerprint. All names and shapes must fit."""
    weights = weights_of(folder, part)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"the {part} of {folder} is of another network ({reason})") from error
    return fingerprint(weights)


def _files(folder: Path, part: str) -> list[Path]:
    whole = folder / f"{part}.safetensors"
    return [whole] if whole.exists() else sorted(folder.glob(f"{part}-*-of-*.safetensors"))


def _shards(part: str, tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Files of at most LARGEST bytes of tensors each, or of one larger tensor."""
    groups: list[dict[str, Tensor]] = [{}]
    for name, tensor in tensors.items():
        if groups[-1] and sum(t.nbytes for t in groups[-1].values()) + tensor.nbytes > LARGEST:
            groups.append({})
        groups[-1][name] = tensor.cpu()
    if len(groups) == 1:
        return {f"{part}.safetensors": save(groups[0])}
    return {f"{part}-{i}-of-{len(groups)}.safetensors": save(group) for i, group in enumerate(groups, 1)}
