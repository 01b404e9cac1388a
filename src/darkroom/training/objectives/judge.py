"""Training the judge's networks on composed scenes, spoilt things among them.

The detector: middles are learned with the penalty-reduced focal loss of arXiv:1904.07850 (eq. 1); what is at them with
cross-entropy; boxes with the smooth L1 distance; letters with CTC (Graves et al., 2006). Beside it the matching of
pictures and sentences, with the pairwise sigmoid loss: each picture has its caption, the captions of the others, and
captions with one fact changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darkroom.data.ahead import Ahead, mapped
from darkroom.data.loader import Scenes
from darkroom.data.loader import joined as joined_tensors
from darkroom.data.scenes.captions import caption
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import Scene
from darkroom.judge.hues import can_be_turned, names_a_colour, turned, unasked
from darkroom.judge.judge import WORDS
from darkroom.judge.mistold import mistold
from darkroom.judge.sight import sized
from darkroom.judge.sizes import TAUGHT, from_afar
from darkroom.judge.spoilt import WAYS, spoilt, spoilt_with, worn
from darkroom.judge.truth import COLOUR_NAMES, IGNORED, WHOLE, Truth, joined, truth_of
from darkroom.nn.config import defaults_of
from darkroom.nn.detector import CELL, CELLS, SIDE, Detector, DetectorConfig, Seen
from darkroom.nn.matching import Matching
from darkroom.nn.text import TextConfig
from darkroom.prompt.encoders import TokenBatch, tokenised
from darkroom.training.compiled import compiled
from darkroom.training.objective import Objective, Parts
from darkroom.training.objectives.pairs import pair_loss
from darkroom.wording.tokenizer import Tokenizer
from darkroom.wording.vocabulary import core

LENGTH = 48  # tokens captions are padded to
KINDS = {
    "single": 0.25,
    "count": 0.15,
    "pair": 0.24,
    "depth": 0.18,
    "wearing": 0.1,
    "word": 0.05,
    "figure": 0.015,
    "photo": 0.015,
}
"""Kinds of scene the judge learns from: more counts and pairs than the generator, for it must tell them, and of pairs
more of which one hides a part of the other; no box rooms, for a box is a parcel to whoever asks for one. Pairs that no
model is trained on are held out of the judge's scenes, too."""
OF_THE_FRAME = ("camera",)  # facts of the whole that are how large things are: not to be told from nearer or farther
COLOUR_SHARE = 0.6  # of the things it sees painted: what is recoloured must still be known for what it is


def detector_config() -> DetectorConfig:
    """The judge's detector over the core vocabulary."""
    return DetectorConfig(len(core()), len(COLOUR_NAMES), whole={name: len(values) for name, values in WHOLE.items()})


class JudgeTraining(nn.Module):
    """The judge's two networks."""

    def __init__(self, detector: DetectorConfig, reader: TextConfig) -> None:
        super().__init__()
        self.detector = Detector(detector).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.matching = Matching(reader, detector.shared)


@dataclass(frozen=True)
class JudgeObjectiveConfig:
    """Weights of the losses, and how much is spoilt."""

    reader: TextConfig
    network: DetectorConfig = field(default_factory=detector_config)
    spoilt_share: float = 0.3  # of the scenes with drawings
    ways: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(WAYS, 1.0))
    """How often each way of spoiling is drawn, to the others; older runs drew all alike."""
    worn_share: float = 0.6  # of the scenes
    sides: Mapping[int, float] = field(default_factory=lambda: {SIDE: 1.0})
    """Shares of the sides that pictures are seen at, in pixels; a lot of samples is seen at one of them (as in
    arXiv:1612.08242, section 3). Older runs saw all at 128."""
    lot: int = 64  # samples, a step's or more
    span: tuple[int, int] = (0, 10_000)
    """Pixels a side that a thing has where it is learned (arXiv:1711.08189, section 5): what is smaller or larger is
    for a look at another side. Older runs learned all."""
    afar_share: float = 0.0  # of the scenes, seen from farther away than they are laid out; older runs saw none so
    hues_share: float = 0.0  # of the scenes whose captions allow it, in other hues or without any; older runs saw none
    concept: float = 1.0
    colour: float = 0.5
    box: float = 4.0
    covered: float = 0.3
    whole: float = 0.5
    letters: float = 0.1
    matching: float = 0.2


class Lesson(NamedTuple):
    """Pictures with their wear, what should be seen in them, and what is said of them."""

    pixels: Tensor
    truth: Truth
    captions: list[str]
    fitting: Tensor  # (B,) bool; false where something was spoilt: the caption is no longer right
    mistold: list[str]  # captions with one fact changed, of those scenes that have one


def some_from_afar(scene: Scene, share: float) -> Scene:
    """A share of scenes from farther away, by their seeds; the others as they are."""
    random = Random(f"{scene.seed}/afar")
    return scene if random.random() >= share else from_afar(scene, TAUGHT, random) or scene


class JudgedScenes:
    """Lessons by sample number."""

    def __init__(self, scenes: Scenes, config: JudgeObjectiveConfig) -> None:
        self.scenes, self.settings = scenes, config

    def __call__(self, first: int, count: int) -> Lesson:
        """Samples first .. first + count - 1."""
        specs = [some_from_afar(spec, self.settings.afar_share) for spec in self.scenes.specs(first, count)]
        pixels, gone = seen_worn(specs, self.scenes.composer, self.settings)
        captions = [caption(spec) for spec in specs]
        other = in_other_hues(pixels, specs, captions, self.settings.hues_share)
        whole = [i for i, lost in enumerate(gone) if not lost]  # three, one spoilt, may be two
        wrong = [text for i in whole if i not in other and (text := mistold(specs[i])) is not None]
        fitting = torch.tensor([not lost for lost in gone])
        fitting[[i for i in other if names_a_colour(captions[i])]] = False
        side = self.side(first)
        truth = unasked(self.truth(specs, gone, side), other)
        return Lesson(sized(pixels, side), truth, captions, fitting, wrong)

    def truth(self, specs: Sequence[Scene], gone: Sequence[frozenset[int]], side: int) -> Truth:
        """What should be seen in scenes at a side."""
        least, most = self.settings.span
        return truth_of(specs, self.scenes.composer, gone, side // CELL, (least / side, most / side))

    def side(self, sample: int) -> int:
        """How large, in pixels a side, the lot that a sample belongs to is seen."""
        sides = self.settings.sides
        return Random(f"side/{sample // self.settings.lot}").choices(list(sides), list(sides.values()))[0]


def in_other_hues(pixels: Tensor, specs: Sequence[Scene], captions: Sequence[str], share: float) -> frozenset[int]:
    """Turns the hues of a share of the pictures, by their scenes' seeds; which they are."""
    found = set()
    for i, (spec, text) in enumerate(zip(specs, captions, strict=True)):
        random = Random(f"{spec.seed}/hues")
        if random.random() < share and can_be_turned(text):
            pixels[i] = turned(pixels[i], random)
            found.add(i)
    return frozenset(found)


def joined_lessons(lessons: Sequence[Lesson]) -> Lesson:
    """Lessons one after the other, as one."""
    return Lesson(
        torch.cat([lesson.pixels for lesson in lessons]),
        joined([lesson.truth for lesson in lessons]),
        [text for lesson in lessons for text in lesson.captions],
        torch.cat([lesson.fitting for lesson in lessons]),
        [text for lesson in lessons for text in lesson.mistold],
    )


class Taught(NamedTuple):
    """A lesson as a step takes it."""

    lesson: Lesson
    tokens: TokenBatch  # of the captions, then of the mistold


class Teaching:
    """Lessons with their sentences read, by sample number: what can be made ahead."""

    def __init__(self, source: JudgedScenes, tokenizer: Tokenizer, dtype: torch.dtype = torch.float32) -> None:
        """``dtype`` is that of the pictures: the network's own saves half the way to it."""
        self.source, self.tokenizer, self.dtype = source, tokenizer, dtype

    def __call__(self, first: int, count: int) -> Taught:
        """Samples first .. first + count - 1."""
        lesson = self.source(first, count)
        tokens = tokenised(self.tokenizer, [*lesson.captions, *lesson.mistold], LENGTH)
        return Taught(lesson._replace(pixels=lesson.pixels.to(self.dtype)), tokens)


def joined_teaching(parts: Sequence[Taught]) -> Taught:
    """Lessons with their sentences read, one after the other, as one."""
    counts = [len(part.lesson.captions) for part in parts]
    said = [TokenBatch(*(rows[:n] for rows in part.tokens)) for part, n in zip(parts, counts, strict=True)]
    mistold = [TokenBatch(*(rows[n:] for rows in part.tokens)) for part, n in zip(parts, counts, strict=True)]
    return Taught(joined_lessons([part.lesson for part in parts]), joined_tensors([*said, *mistold]))


class JudgeObjective(Objective):
    """See the module's first lines."""

    name = "judge"

    def __init__(
        self,
        module: JudgeTraining,
        config: JudgeObjectiveConfig,
        teaching: Teaching,
        *,
        compiled: bool = False,
        ahead: Ahead[Taught] | None = None,
    ) -> None:
        """``ahead`` makes the lessons of ``teaching`` in other processes; None: they are made when they are needed."""
        self.module: JudgeTraining = module
        self.settings, self.teaching, self.ahead = config, teaching, ahead
        self.compiled = compiled
        self._forward: dict[torch.Size, Callable[..., Any]] = {}  # by the pictures' shape

    def config(self) -> dict[str, Any]:
        told = {"tokenizer": self.teaching.tokenizer.sha256, "composer": self.teaching.source.scenes.settings()}
        return {**asdict(self.settings), **told}

    def defaults(self) -> dict[str, Any]:
        return {**defaults_of(self.settings), "composer": self.teaching.source.scenes.defaults()}

    def parts(self) -> Parts:
        networks = {"detector": self.settings.network, "reader": self.settings.reader}
        return Parts({"judge": ""}, networks, {WORDS: self.teaching.tokenizer.to_json()})

    def close(self) -> None:
        if self.ahead is not None:
            self.ahead.close()

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        detector = self.module.detector
        weight = detector.what.weight
        batch = (self.ahead or self.teaching)(first, count)
        lesson, tokens = mapped(lambda tensor: tensor.to(weight.device, non_blocking=True), batch)
        x = lesson.pixels.to(weight.dtype, memory_format=torch.channels_last)
        if x.shape not in self._forward:
            self._forward[x.shape] = compiled(detector, x) if self.compiled else detector
        seen = Seen(*self._forward[x.shape](x))
        losses, right = detection_losses(seen, detector.facts(seen.whole), lesson.truth)
        losses["matching"] = self._matching(seen.vector, lesson, tokens)
        settings = self.settings
        own = ("concept", "colour", "box", "covered", "letters", "matching")
        weights = {"heat": 1.0, **{name: getattr(settings, name) for name in own}}
        loss = sum(weights.get(name, settings.whole) * value for name, value in losses.items())
        assert isinstance(loss, Tensor)
        shown = {**losses, **right}
        return loss, {name: torch.stack([v.detach().float(), v.new_ones(()).float()]) for name, v in shown.items()}

    def _matching(self, vector: Tensor, lesson: Lesson, tokens: TokenBatch) -> Tensor:
        matching = self.module.matching
        logits = matching.fit(vector, matching(*tokens))
        return pair_loss(logits, [*lesson.captions, *lesson.mistold], lesson.captions, lesson.fitting)


def seen_worn(
    scenes: Sequence[Scene], composer: Composer, config: JudgeObjectiveConfig
) -> tuple[Tensor, list[frozenset[int]]]:
    """Pictures of scenes with wear, and some of their things spoilt; which of each scene's things are."""
    pixels = composer.render(list(scenes)).pixels
    gone = []
    for i, scene in enumerate(scenes):
        random = Random(f"{scene.seed}/wear")
        lost: frozenset[int] = frozenset()
        if scene.objects and random.random() < config.spoilt_share:
            which, way = (
                random.randrange(len(scene.objects)),
                random.choices(*zip(*config.ways.items(), strict=True))[0],
            )
            worse = spoilt(scene, composer, pixels[i], which, way, random)
            if worse is not None:
                pixels[i], lost = worse, spoilt_with(scene, composer, which, way)
        if random.random() < config.worn_share:
            pixels[i] = worn(pixels[i], random)
        gone.append(lost)
    return pixels, gone


def detection_losses(
    seen: Seen, facts: Mapping[str, Tensor], truth: Truth
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses by name, and shares of what was said right; words and the camera are read from pictures as they are."""
    heat = seen.heat.float()
    p = heat.sigmoid()
    hit = truth.heat >= 0.999
    weight = (1 - truth.heat) ** 4
    focal = -torch.where(hit, (1 - p).square() * F.logsigmoid(heat), weight * p.square() * F.logsigmoid(-heat))
    things = max(1, len(truth.at))
    around = max(1, len(truth.around))
    losses = {"heat": (focal * truth.known).sum() / things}
    picture, row, column = truth.around.T
    concept, colour, reach = (m[picture, :, row, column].float() for m in (seen.concept, seen.colour, seen.box))
    losses["concept"] = F.cross_entropy(concept, truth.concept[truth.whose], reduction="sum") / around
    losses["colour"] = (
        F.cross_entropy(colour, truth.colour[truth.whose], ignore_index=IGNORED, reduction="sum") / around
    )
    box = _reach_from(truth)
    within = (box > 0.005).all(1, keepdim=True)
    off = F.smooth_l1_loss(reach, box, beta=0.05, reduction="none") * within
    losses["box"] = off.sum() / (4 * within.sum().clamp_min(1))
    picture, row, column = truth.at.T
    told = truth.covered != IGNORED
    covered = seen.covered[picture, row, column].float()[told]
    losses["covered"] = F.binary_cross_entropy_with_logits(covered, truth.covered[told], reduction="sum") / things
    as_it_is = truth.heat.shape[-1] == CELLS
    if as_it_is:
        losses["letters"] = _reading(seen.letters.float(), truth.letters)
    named = seen.concept[picture, :, row, column].argmax(1)
    right = {"concept right": (named == truth.concept).float().sum() / things}
    for name, wanted in truth.whole.items():
        if (wanted != IGNORED).any() and (as_it_is or name not in OF_THE_FRAME):
            losses[name] = F.cross_entropy(facts[name].float(), wanted, ignore_index=IGNORED)
    return losses, right


def _reach_from(truth: Truth) -> Tensor:
    """Boxes as seen from every cell around a middle, (cells, 4): what moves the cell moves its sides the other way."""
    down, right = ((truth.around - truth.at[truth.whose])[:, 1:] / truth.heat.shape[-1]).T
    return truth.box[truth.whose] + torch.stack([right, down, -right, -down], 1)


def _reading(logits: Tensor, words: Sequence[str]) -> Tensor:
    """CTC over the columns; a picture without a word should read as none."""
    codes = [[ord(letter) - 64 for letter in word] for word in words]
    lengths = torch.tensor([len(code) for code in codes])
    flat = torch.tensor([c for code in codes for c in code], dtype=torch.long)
    log = logits.log_softmax(-1).transpose(0, 1)  # (columns, B, letters)
    columns = torch.full((len(words),), log.shape[0])
    return F.ctc_loss(log, flat.to(log.device), columns, lengths, blank=0, reduction="none", zero_infinity=True).mean()
