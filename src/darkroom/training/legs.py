"""The legs of the default model's training: what each one trains, on what, and what it hands over.

A leg lives in a run folder. Its hand-over is the averaged weights in bf16 (which is also what ships) with a
``leg.json`` that says how they came to be; the next leg starts from it and warms its optimiser anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from darkroom.contracts.errors import BadInput
from darkroom.data.ahead import Ahead
from darkroom.data.loader import Scenes, joined
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import FULL, ComposerConfig, scene_seed
from darkroom.data.stock import built
from darkroom.data.stock.built import Built
from darkroom.judge.judge import WORDS as JUDGE_WORDS
from darkroom.model import CARD, read_card
from darkroom.nn.autoencoder import Autoencoder, AutoencoderConfig
from darkroom.nn.config import read_config
from darkroom.nn.detector import DetectorConfig
from darkroom.nn.dit import sized
from darkroom.nn.matching import reader_config
from darkroom.nn.storage import unpacked
from darkroom.nn.text import TextConfig
from darkroom.training.checkpoint import replace_folder
from darkroom.training.loop import TrainConfig, Trainer, TrainingError
from darkroom.training.objectives.autoencoder import AutoencoderObjective, AutoencoderObjectiveConfig
from darkroom.training.objectives.diffusion import DiffusionObjective, DiffusionObjectiveConfig, DiffusionTraining
from darkroom.training.objectives.judge import (
    JudgedScenes,
    JudgeObjective,
    JudgeObjectiveConfig,
    JudgeTraining,
    detector_config,
    joined_lessons,
)
from darkroom.training.objectives.text import TextObjective, TextObjectiveConfig, TextTraining
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import Concept, core

HANDOVER = "handover"
WORDS = "tokenizer.json"
SHORT, LONG = 28, 48  # tokens captions are padded to: of plain scenes, and of all that the composer can do


JUDGED_KINDS = {
    "single": 0.30,
    "count": 0.2,
    "pair": 0.3,
    "wearing": 0.1,
    "word": 0.06,
    "figure": 0.02,
    "photo": 0.02,
}
"""Kinds of scene the judge learns from: more counts and pairs than the generator, for it must tell them; no box
rooms, for a box is a parcel to whoever asks for one. Pairs that no
model is trained on are held out of the judge's scenes, too."""
JUDGED_COLOURS = 0.4  # share of the things it sees painted: what is recoloured must still be known for what it is


@dataclass(frozen=True)
class Place:
    """Where a leg reads and writes: built data, run folder, device."""

    data: Path
    out: Path
    device: torch.device
    workers: int = 0  # processes that compose scenes ahead; 0: this one composes them, on its device

    @property
    def composes_on(self) -> torch.device:
        """Where scenes are painted."""
        return self.device if self.workers == 0 else torch.device("cpu")


def device_named(name: str | None) -> torch.device:
    """The device to train on; None takes a GPU where there is one."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def place_named(data: Path, out: Path, device: str | None, workers: int | None) -> Place:
    """A place; ``workers`` None is none beside a CPU, and all cores but two beside a GPU."""
    found = device_named(device)
    if workers is None:
        workers = max(0, (os.cpu_count() or 1) - 2) if found.type == "cuda" else 0
    return Place(data, out, found, workers)


def autoencoder_leg(
    place: Place, config: TrainConfig, settings: AutoencoderObjectiveConfig, start: Path | None, *, force: bool = False
) -> Trainer:
    """A trainer of the autoencoder on scenes of every style and on photos; ``start`` None begins from zero."""
    data = _data(place)
    scenes = data.everything(kinds={**FULL.kinds, "photo": 0.2})
    composer = data.composer()
    held_out = Scenes(composer, scenes, config.seed, stream="held-out")(0, 256).composed.pixels

    def pictures(first: int, count: int) -> Tensor:
        return composer.render(Scenes(composer, scenes, config.seed, stream="autoencoder").specs(first, count)).pixels

    torch.manual_seed(config.seed)
    module = Autoencoder(settings.network).to(place.device)
    objective = AutoencoderObjective(module, settings, pictures, held_out)
    return _started(Trainer(objective, config, place.out, force=force), start, "autoencoder", "")


def text_leg(
    place: Place, config: TrainConfig, start: Path | None, *, network: TextConfig | None = None, force: bool = False
) -> Trainer:
    """A trainer of the text encoder on captions of the core vocabulary; trains the tokenizer where there is none.

    ``network`` None is the default model's; its vocabulary is the tokenizer's in any case.
    """
    data = _data(place)
    scenes = data.everything(colour_share=0.3)
    tokenizer = _tokenizer(place.out / WORDS, scenes, start and start / WORDS, "text")
    network = replace(network or TextConfig(), vocabulary=-(-len(tokenizer) // 64) * 64)
    torch.manual_seed(config.seed)
    settings = TextObjectiveConfig(network=network, length=LONG)
    source = Scenes(data.composer(64), scenes, config.seed, stream="text")
    objective = TextObjective(TextTraining(network).to(place.device), settings, source, tokenizer)
    return _started(Trainer(objective, config, place.out, force=force), start, "text", "encoder.")


def diffusion_leg(
    place: Place,
    config: TrainConfig,
    *,
    autoencoder: Path,
    text: Path,
    start: Path | None,
    size: str,
    scenes: ComposerConfig,
    run: int,
    compiled: bool,
    force: bool = False,
) -> Trainer:
    """A trainer of the denoiser, its text encoder with it. ``run`` numbers the scenes: a new leg takes a new number."""
    data = _data(place).restricted(scenes)
    scenes = replace(scenes, stock=data.stock)  # a drawing the data lacks must not end the run hours later
    source = Scenes(data.composer(), scenes, run)
    batches = Ahead(source, joined, place.workers) if place.workers else None
    codec = opened_autoencoder(autoencoder)
    tokenizer = Tokenizer.from_json((text / WORDS).read_text(encoding="utf-8"))
    text_config = read_config(TextConfig, leg_of(text)["networks"]["text"])
    network = replace(sized(size, codec.config.channels), text_width=text_config.width)
    torch.manual_seed(config.seed)
    module = DiffusionTraining(network, text_config)
    _load_into(module.text, text / "text.safetensors")
    if start is not None:
        _load_into(module.denoiser, start / "denoiser.safetensors")
        if (start / "oracle.safetensors").exists():
            _load_into(module.oracle, start / "oracle.safetensors")
    length = SHORT if scenes.place_share == 0 else LONG
    settings = DiffusionObjectiveConfig(network=network, text=text_config, length=length)
    objective = DiffusionObjective(
        module.to(place.device),
        settings,
        source,
        tokenizer,
        codec.to(place.device, getattr(torch, config.dtype)),
        total=config.samples,
        compiled=compiled,
        batches=batches,
    )
    return Trainer(objective, config, place.out, force=force)


def judge_leg(
    place: Place,
    config: TrainConfig,
    start: Path | None,
    *,
    network: DetectorConfig | None = None,
    reader: TextConfig | None = None,
    without: str | None = None,
    compiled: bool = True,
    force: bool = False,
) -> Trainer:
    """A trainer of the judge's networks, on their own stream of scenes; ``network`` and ``reader`` None are the default
    judge's. ``start`` is a hand-over of such a leg, or a packed judge; ``without`` a style it shall never see."""
    data = _data(place)
    styles = data.everything().styles
    if without is not None and without not in styles:
        raise BadInput(f"style {without!r}", f"is not one of {', '.join(styles)}", "name one to leave out")
    kept = {style: share for style, share in styles.items() if style != without}
    scenes = data.everything(kinds=JUDGED_KINDS, every_drawing=True, styles=kept, colour_share=JUDGED_COLOURS)
    data = data.restricted(scenes)
    scenes = replace(scenes, stock=data.stock)  # a medium is made of drawings there are
    tokenizer = _tokenizer(place.out / JUDGE_WORDS, scenes, start and start / JUDGE_WORDS, "judge")
    reader = replace(reader or reader_config(0), vocabulary=-(-len(tokenizer) // 64) * 64)
    torch.manual_seed(config.seed)
    settings = JudgeObjectiveConfig(reader, network or detector_config())
    source = JudgedScenes(Scenes(data.composer(), scenes, config.seed, stream="judge"), settings)
    batches = Ahead(source, joined_lessons, place.workers) if place.workers else None
    module = JudgeTraining(settings.network, settings.reader).to(place.device)
    objective = JudgeObjective(module, settings, source, tokenizer, compiled=compiled, batches=batches)
    return _started(Trainer(objective, config, place.out, force=force), start, "judge", "")


def hand_over(trainer: Trainer) -> Path:
    """Writes the averaged weights in bf16 and ``leg.json`` into the run folder's ``handover``: all of it or none."""
    objective = trainer.objective
    files: dict[str, bytes] = {}
    parts: dict[str, str]  # file -> prefix of its weights
    networks: dict[str, Any]
    if isinstance(objective, AutoencoderObjective):
        parts, networks = {"autoencoder": ""}, {"autoencoder": objective.settings.network}
    elif isinstance(objective, TextObjective):
        parts, networks = {"text": "encoder."}, {"text": objective.settings.network}
        files[WORDS] = objective.tokenizer.to_json().encode()
    elif isinstance(objective, DiffusionObjective):
        parts = {"denoiser": "denoiser.", "text": "text.", "oracle": "oracle."}
        networks = {"denoiser": objective.settings.network, "text": objective.settings.text}
        files[WORDS] = objective.tokenizer.to_json().encode()
    elif isinstance(objective, JudgeObjective):
        parts = {"judge": ""}
        networks = {"detector": objective.settings.network, "reader": objective.settings.reader}
        files[JUDGE_WORDS] = objective.tokenizer.to_json().encode()
    else:
        raise TrainingError(f"{objective.name} has no hand-over")
    weights = trainer.finished()
    for part, prefix in parts.items():
        tensors = {k.removeprefix(prefix): v.bfloat16() for k, v in weights.items() if k.startswith(prefix)}
        files[f"{part}.safetensors"] = save(tensors)
    leg: dict[str, Any] = {"name": objective.name, "step": trainer.step, "samples": trainer.samples}
    leg["networks"] = {part: asdict(network) for part, network in networks.items()}
    leg["config"] = objective.config()
    files["leg.json"] = json.dumps(leg, indent=1).encode()
    replace_folder(trainer.folder / HANDOVER, files)
    return trainer.folder / HANDOVER


def opened_autoencoder(folder: Path) -> Autoencoder:
    """The autoencoder of a hand-over, fp32."""
    module = Autoencoder(read_config(AutoencoderConfig, leg_of(folder)["networks"]["autoencoder"]))
    _load_into(module, folder / "autoencoder.safetensors")
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def leg_of(folder: Path) -> Mapping[str, Any]:
    """What ``leg.json`` of a hand-over says, or what a model folder's card says of its networks."""
    if (folder / CARD).exists():
        return {"networks": read_card(folder).configs}
    try:
        found: Mapping[str, Any] = json.loads((folder / "leg.json").read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{folder} is no hand-over of a leg ({error}); give a run's {HANDOVER} folder or a model's"
        ) from error
    return found


def _data(place: Place) -> Built:
    return built.load(place.data).to(place.composes_on)


def _tokenizer(path: Path, scenes: ComposerConfig, earlier: Path | None, stream: str) -> Tokenizer:
    """The run's tokenizer: read back, taken from the leg before, or trained on captions and all words of concepts."""
    for known in (path, earlier):
        if known is not None and known.exists():
            return Tokenizer.from_json(known.read_text(encoding="utf-8"))
    captions = (caption(draw_scene(scene_seed(stream, 0xFFFF, i), scenes)) for i in range(100_000))
    tokenizer = Tokenizer.train([*captions, *(name for concept in core() for name in _names(concept))], 4096)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".staged")  # half a vocabulary, left by a kill, would bar the run from starting again
    staged.write_text(tokenizer.to_json(), encoding="utf-8")
    os.replace(staged, path)
    return tokenizer


def _names(concept: Concept) -> tuple[str, ...]:
    return (concept.word, concept.plural, concept.drawing, *concept.synonyms)


def _load_into(module: nn.Module, path: Path) -> None:
    module.load_state_dict(unpacked(load_file(path)))


def _started(trainer: Trainer, start: Path | None, part: str, prefix: str) -> Trainer:
    if start is not None:
        weights = {f"{prefix}{k}": v for k, v in unpacked(load_file(start / f"{part}.safetensors")).items()}
        fresh = trainer.masters.masters
        trainer.start_from({**fresh, **weights})
    return trainer


def scene_sheet(data: Path, out: Path, count: int, seed: int) -> Path:
    """A sheet of random training scenes with their captions."""
    from darkroom.picture.sheet import contact_sheet
    from darkroom.picture.write import write

    found = built.load(data)
    batch = Scenes(found.composer(), found.everything(), seed, stream="preview")(0, count)
    pictures = [(p * 255).round().byte().permute(1, 2, 0).numpy() for p in batch.composed.pixels]
    return write(contact_sheet(pictures, batch.captions, columns=8), out)
