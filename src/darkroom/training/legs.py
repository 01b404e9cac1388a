"""The legs of the default model's training: what each one trains, and on what.

A leg lives in a run folder. The next leg starts from its hand-over (``handover.py``) and warms its optimiser anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from darkroom.contracts.errors import BadInput, shown, unknown
from darkroom.contracts.files import publish
from darkroom.data.ahead import Ahead
from darkroom.data.imported import ImportedPictures, holds_pictures, imported
from darkroom.data.loader import Scenes, joined
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.layout import draw_scene
from darkroom.data.scenes.spec import FULL, ComposerConfig, scene_seed
from darkroom.data.stock import built
from darkroom.data.stock.built import Built
from darkroom.judge.judge import WORDS as JUDGE_WORDS
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.detector import DetectorConfig
from darkroom.nn.dit import sized
from darkroom.nn.matching import reader_config
from darkroom.nn.text import TextConfig
from darkroom.threads import cores
from darkroom.training.handover import (
    fingerprint,
    has_weights,
    leg_of,
    load_into,
    network_of,
    opened_autoencoder,
    sources_of,
    weights_of,
)
from darkroom.training.limits import RUNS, within
from darkroom.training.loop import CONFIG, TrainConfig, Trainer
from darkroom.training.objective import Objective
from darkroom.training.objectives import diffusion, judge
from darkroom.training.objectives.autoencoder import AutoencoderObjective, AutoencoderObjectiveConfig
from darkroom.training.objectives.diffusion import DiffusionObjective, DiffusionObjectiveConfig, DiffusionTraining
from darkroom.training.objectives.judge import JudgedScenes, JudgeObjective, JudgeObjectiveConfig, JudgeTraining
from darkroom.training.objectives.text import WORDS, TextObjective, TextObjectiveConfig, TextTraining
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import Concept, core

KNOWN_THEN = DiffusionObjectiveConfig.concepts
SHORT, LONG = 28, 48  # tokens captions are padded to: of plain scenes, and of all that the composer can do


@dataclass(frozen=True)
class Place:
    """Where a leg reads and writes: built data, run folder, device."""

    data: Path
    out: Path
    device: torch.device
    workers: int = 0  # processes that compose scenes ahead; 0: this one composes them, on its device

    def __post_init__(self) -> None:
        within("workers", self.workers, 0, 4 * cores())

    @property
    def composes_on(self) -> torch.device:
        """Where scenes are painted."""
        return self.device if self.workers == 0 else torch.device("cpu")


def device_named(name: str | None) -> torch.device:
    """The device to train on; None takes a GPU where there is one."""
    gpus = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    name = name or ("cuda" if gpus else "cpu")
    if name == "cuda" and not gpus:
        raise BadInput("device 'cuda'", "is not there: PyTorch finds no GPU", "give --device cpu")
    if name not in ("cpu", *gpus):
        raise BadInput(f"device {shown(name)}", f"is none of {', '.join(('cpu', *(gpus or ['cuda'])))}", "name one")
    return torch.device(name)


def place_named(data: Path, out: Path, device: str | None, workers: int | None) -> Place:
    """A place; ``workers`` None is none beside a CPU, and all cores but two beside a GPU."""
    found = device_named(device)
    if workers is None:
        workers = max(0, cores() - 2) if found.type == "cuda" else 0
    return Place(data, out, found, workers)


def autoencoder_leg(
    place: Place, config: TrainConfig, settings: AutoencoderObjectiveConfig, start: Path | None, *, force: bool = False
) -> Trainer:
    """A trainer of the autoencoder on scenes of every style and on photos, or on a folder's own pictures.

    ``start`` None begins from zero.
    """
    if holds_pictures(place.data):
        own = ImportedPictures(imported(place.data), config.seed)
        held_out = own(0, 64).composed.pixels.to(place.device)  # for its statistics: few pictures are all there is

        def pictures(first: int, count: int) -> Tensor:
            return own(first, count).composed.pixels.to(place.device)

    else:
        data = _data(place)
        scenes = data.everything(kinds={**FULL.kinds, "photo": 0.2})
        composer = data.composer()
        held_out = Scenes(composer, scenes, config.seed, stream="held-out")(0, 256).composed.pixels

        def pictures(first: int, count: int) -> Tensor:
            source = Scenes(composer, scenes, config.seed, stream="autoencoder")
            return composer.render(source.specs(first, count)).pixels

    torch.manual_seed(config.seed)
    module = Autoencoder(settings.network).to(place.device)
    objective = AutoencoderObjective(module, settings, pictures, held_out)
    return _started(objective, config, place, start, "autoencoder", "", force)


def text_leg(
    place: Place, config: TrainConfig, start: Path | None, *, network: TextConfig | None = None, force: bool = False
) -> Trainer:
    """A trainer of the text encoder on captions of the core vocabulary; trains the tokenizer where there is none.

    ``network`` None is the default model's; its vocabulary is the tokenizer's in any case.
    """
    data = _data(place)
    if start is not None:
        network_of(start, "text", TextConfig)  # before its tokenizer is asked for
    scenes = data.everything(colour_share=0.3)
    tokenizer = _tokenizer(place.out / WORDS, scenes, start and start / WORDS, "text")
    network = replace(network or TextConfig(), vocabulary=_rounded(tokenizer))
    torch.manual_seed(config.seed)
    settings = TextObjectiveConfig(network=network, length=LONG)
    source = Scenes(data.composer(64), scenes, config.seed, stream="text")
    objective = TextObjective(TextTraining(network).to(place.device), settings, source, tokenizer)
    return _started(objective, config, place, start, "text", "encoder.", force)


def diffusion_leg(
    place: Place,
    config: TrainConfig,
    *,
    autoencoder: Path,
    text: Path | None,
    start: Path | None,
    size: str,
    scenes: ComposerConfig,
    run: int,
    compiled: bool,
    force: bool = False,
) -> Trainer:
    """A trainer of the denoiser, its text encoder with it. ``run`` numbers the scenes: a new leg takes a new number.

    ``text`` None takes the text encoder of ``start``, which was trained with that denoiser. Where the data are a
    folder's own pictures, they stand for the scenes.
    """
    within("run", run, 0, RUNS - 1)
    text = text or start
    if text is None:
        raise BadInput("a denoiser from zero", "has no text encoder to learn with", "give --text, or --from for both")
    text_config = network_of(text, "text", TextConfig)
    tokenizer = Tokenizer.from_json((text / WORDS).read_text(encoding="utf-8"))
    pictures: diffusion.Pictures
    if holds_pictures(place.data):
        pictures, length, oracle = ImportedPictures(imported(place.data), run), LONG, 0.0  # nobody says what is where
    else:
        data = _data(place).restricted(scenes)
        scenes = replace(scenes, stock=data.stock)  # a drawing the data lacks must not end the run hours later
        pictures = Scenes(data.composer(), scenes, run)
        length, oracle = (SHORT if scenes.place_share == 0 else LONG), DiffusionObjectiveConfig.oracle
    teaching = diffusion.Teaching(pictures, tokenizer, length, getattr(torch, config.dtype))
    pinned = place.device.type == "cuda"
    ahead = Ahead(teaching, joined, place.workers, pinned=pinned) if place.workers else None

    codec = opened_autoencoder(autoencoder)
    network = replace(sized(size, codec.config.channels), text_width=text_config.width)
    torch.manual_seed(config.seed)
    concepts = _concepts(place.out)
    module = DiffusionTraining(network, text_config, concepts)
    origin = {"autoencoder": fingerprint(codec.state_dict()), "text": load_into(module.text, text, "text")}
    if start is not None:
        origin["denoiser"] = load_into(module.denoiser, start, "denoiser")
        if has_weights(start, "oracle") and leg_of(start)["config"].get("concepts", KNOWN_THEN) == concepts:
            load_into(module.oracle, start, "oracle")  # one of fewer concepts is learnt anew
    settings = DiffusionObjectiveConfig(network, text_config, length, concepts=concepts, oracle=oracle)
    objective = DiffusionObjective(
        module.to(place.device),
        settings,
        teaching,
        codec.to(place.device, getattr(torch, config.dtype)),
        total=config.samples,
        compiled=compiled,
        ahead=ahead,
    )
    sources = sources_of(place.data, text, start)
    return Trainer(objective, config, place.out, force=force, origin=origin, sources=sources)


def judge_leg(
    place: Place,
    config: TrainConfig,
    start: Path | None,
    *,
    network: DetectorConfig | None = None,
    reader: TextConfig | None = None,
    words: Path | None = None,
    without: str | None = None,
    run: int = 0,
    compiled: bool = True,
    force: bool = False,
) -> Trainer:
    """A trainer of the judge's networks, on their own stream of scenes.

    ``network`` and ``reader`` None are the default judge's. ``start`` is a hand-over of such a leg, or a packed judge;
    ``without`` a style it shall never see. ``words`` is a tokenizer to take where ``start`` brings none; None learns
    one. ``run`` numbers the scenes.
    """
    within("run", run, 0, RUNS - 1)
    data = _data(place)
    styles = data.everything().styles
    if without is not None and without not in styles:
        raise unknown("style", without, styles)
    kept = {style: share for style, share in styles.items() if style != without}
    scenes = data.everything(kinds=judge.KINDS, every_drawing=True, styles=kept, colour_share=judge.COLOUR_SHARE)
    data = data.restricted(scenes)
    scenes = replace(scenes, stock=data.stock)  # a medium is made of drawings there are
    tokenizer = _tokenizer(place.out / JUDGE_WORDS, scenes, start / JUDGE_WORDS if start else words, "judge")
    reader = replace(reader or reader_config(0), vocabulary=_rounded(tokenizer))
    settings = JudgeObjectiveConfig(reader, network or judge.detector_config())
    source = JudgedScenes(Scenes(data.composer(), scenes, run, stream="judge"), settings)
    teaching = judge.Teaching(source, tokenizer, getattr(torch, config.dtype))
    pinned = place.device.type == "cuda"
    ahead = Ahead(teaching, judge.joined_teaching, place.workers, pinned=pinned) if place.workers else None
    torch.manual_seed(config.seed)
    module = JudgeTraining(settings.network, settings.reader).to(place.device)
    objective = JudgeObjective(module, settings, teaching, compiled=compiled, ahead=ahead)
    return _started(objective, config, place, start, "judge", "", force)


def _concepts(out: Path) -> int:
    """How many concepts a run's oracle head tells apart: as many as when it began, however many were added since."""
    try:
        found: int = json.loads((out / CONFIG).read_text())["objective"].get("concepts", KNOWN_THEN)
    except (OSError, ValueError, KeyError):  # a new run, or a damaged one, which the trainer refuses
        return len(core())
    return found


def _data(place: Place) -> Built:
    if holds_pictures(place.data):
        rule = "holds pictures, and nobody says what is where in them"
        raise BadInput(f"{place.data}", rule, "train autoencoder and diffusion on it, a text encoder elsewhere")
    return built.load(place.data).to(place.composes_on)


def _tokenizer(path: Path, scenes: ComposerConfig, given: Path | None, stream: str) -> Tokenizer:
    """The run's tokenizer: read back, taken from elsewhere, or trained on captions and all words of concepts."""
    if not path.exists() and given is not None:
        publish(given.read_bytes(), path)
    if not path.exists():
        captions = (caption(draw_scene(scene_seed(stream, 0xFFFF, i), scenes)) for i in range(100_000))
        tokenizer = Tokenizer.train([*captions, *(name for concept in core() for name in _names(concept))], 4096)
        publish(tokenizer.to_json().encode(), path)
    return Tokenizer.from_json(path.read_text(encoding="utf-8"))


def _names(concept: Concept) -> tuple[str, ...]:
    return (concept.word, concept.plural, concept.drawing, *concept.synonyms)


def _rounded(tokenizer: Tokenizer) -> int:
    """Rows of the embedding: the tokenizer's, up to a multiple of 64."""
    return -(-len(tokenizer) // 64) * 64


def _started(
    objective: Objective, config: TrainConfig, place: Place, start: Path | None, part: str, prefix: str, force: bool
) -> Trainer:
    """A trainer from zero, or from a hand-over's weights; what stands under ``prefix`` must all be in them."""
    sources = sources_of(place.data, start)
    if start is None:
        return Trainer(objective, config, place.out, force=force, sources=sources)
    weights = weights_of(start, part)
    origin = {part: fingerprint(weights)}
    trainer = Trainer(objective, config, place.out, force=force, origin=origin, sources=sources)
    heads: Mapping[str, Tensor] = {k: v for k, v in trainer.masters.masters.items() if not k.startswith(prefix)}
    trainer.start_from({**heads, **{f"{prefix}{name}": weight for name, weight in weights.items()}})
    return trainer
