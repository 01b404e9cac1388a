"""Pretraining the text encoder on captions and their pictures.

Three tasks at once: tell the caption's own picture from the others of the batch (sigmoid loss, arXiv:2303.15343), fill
in masked tokens, and read off the facts the composer knows (concepts, colours, count, relation, style, ground ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from darkroom.data.loader import SceneBatch, Scenes
from darkroom.data.scenes.spec import CAMERAS, GROUNDS, LIGHTS, MEDIA, MOTIONS, PLACES, QUALITIES, RELATIONS, Scene
from darkroom.data.stock.pack import STYLES
from darkroom.nn.config import defaults_of
from darkroom.nn.text import TextConfig, TextEncoder, pooled
from darkroom.prompt.encoders import tokenised
from darkroom.training.objective import Objective, Parts
from darkroom.training.objectives.pairs import pair_loss
from darkroom.wording.tokenizer import MASK, Tokenizer
from darkroom.wording.vocabulary import COLOURS, core

WORDS = "tokenizer.json"
_COLOURS = list(COLOURS)
TOLD: dict[str, list[str | None]] = {
    "style": [*STYLES, *MEDIA, "photo"],
    "ground": [*GROUNDS, *PLACES],
    "light": [None, *LIGHTS],
    "camera": [None, *CAMERAS],
    "motion": [None, *MOTIONS],
    "quality": [None, *QUALITIES],
}
"""Facts a caption may leave out, and their values."""
FACT_SIZES = (len(core()), len(COLOURS), 7, len(RELATIONS) + 1, *(len(values) for values in TOLD.values()))


@dataclass(frozen=True)
class TextObjectiveConfig:
    """Weights of the tasks."""

    network: TextConfig = field(default_factory=TextConfig)
    length: int = 32  # tokens a caption is padded to
    masked_share: float = 0.15
    masked: float = 0.5
    matching: float = 1.0
    facts: float = 1.0


class ImageTower(nn.Module):
    """A small convolutional network from 64 x 64 pictures to the matching space; used in training only."""

    def __init__(self, out: int) -> None:
        super().__init__()
        widths = (48, 64, 96, 128, 160)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        before = 12
        for i, width in enumerate(widths):
            layers += [
                nn.Conv2d(before, width, 3, stride=1 if i == 0 else 2, padding=1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
            ]
            before = width
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(before * 4, out)

    def forward(self, pixels: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b out"]:
        return self.out(self.layers(pixels * 2 - 1).flatten(1))


class TextTraining(nn.Module):
    """The encoder with the heads its pretraining needs."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.encoder = TextEncoder(config)
        self.tower = ImageTower(config.width)
        self.facts = nn.Linear(config.width, sum(FACT_SIZES))
        with torch.no_grad():
            self.facts.bias[: len(core()) + len(_COLOURS)] = -4.0  # most concepts and colours are absent
        self.match = nn.Linear(config.width, config.width)
        self.temperature = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-10.0))


class TextObjective(Objective):
    """See the module's first lines."""

    name = "text"

    def __init__(self, module: TextTraining, config: TextObjectiveConfig, scenes: Scenes, tokenizer: Tokenizer) -> None:
        self.module: TextTraining = module
        self.settings, self.scenes, self.tokenizer = config, scenes, tokenizer

    def config(self) -> dict[str, Any]:
        return {**asdict(self.settings), "tokenizer": self.tokenizer.sha256, "composer": self.scenes.settings()}

    def defaults(self) -> dict[str, Any]:
        return {**defaults_of(self.settings), "composer": self.scenes.defaults()}

    def loss(self, first: int, count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        batch = self.scenes(first, count)
        device = batch.composed.pixels.device
        ids, characters, mask = tokenised(self.tokenizer, batch.captions, self.settings.length).to(device)
        hidden = (torch.rand(ids.shape, generator=generator).to(device) < self.settings.masked_share) & mask
        hidden[:, 0] = False
        half = hidden & (torch.arange(count, device=device) % 2 == 0)[:, None]  # every other caption is masked
        seen = torch.where(half, MASK, ids)
        spelled = torch.where(half[..., None], 0, characters)
        module = self.module
        tokens = module.encoder(seen, spelled, mask)  # (B, N, D)
        vector = pooled(tokens, mask)
        matching = self._matching(vector, batch)
        facts, right = self._facts(module.facts(vector).float(), batch, half.any(1))
        guess = (tokens[half] @ module.encoder.embed.weight.T).float()
        # A mean, but zero and not NaN where a small batch happens to have nothing masked.
        masked = F.cross_entropy(guess, ids[half], reduction="sum") / half.sum().clamp_min(1)
        loss = self.settings.matching * matching + self.settings.masked * masked + self.settings.facts * facts
        metrics = {"matching": matching, "masked": masked, "facts": facts, "facts right": right}
        return loss, {k: torch.stack([v.detach().float(), v.new_ones(()).float()]) for k, v in metrics.items()}

    def _matching(self, vector: Tensor, batch: SceneBatch) -> Tensor:
        pixels = F.interpolate(batch.composed.pixels, size=(64, 64), mode="area").to(vector.dtype)
        image = F.normalize(self.module.tower(pixels).float(), dim=-1)
        text = F.normalize(self.module.match(vector).float(), dim=-1)
        logits = self.module.temperature.float().exp() * image @ text.T + self.module.bias.float()
        return pair_loss(logits, batch.captions, batch.captions)

    def _facts(self, logits: Tensor, batch: SceneBatch, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the fact heads, and the share of unmasked captions whose first concept is read right."""
        concept, colour, count, relation, *told = logits.split(FACT_SIZES, -1)
        truth = [facts_of(scene) for scene in batch.scenes]
        device = logits.device
        concepts = torch.zeros_like(concept)
        colours = torch.zeros_like(colour)
        for i, fact in enumerate(truth):
            concepts[i, list(fact["concepts"])] = 1
            colours[i, [_COLOURS.index(c) for c in fact["colours"]]] = 1

        def column(name: str) -> Tensor:
            return torch.tensor([fact[name] for fact in truth], device=device)

        loss = F.binary_cross_entropy_with_logits(concept, concepts, reduction="none").sum(1).mean()
        loss = loss + F.binary_cross_entropy_with_logits(colour, colours, reduction="none").sum(1).mean()
        loss = loss + F.cross_entropy(count, column("count")) + F.cross_entropy(relation, column("relation"))
        for name, guess in zip(TOLD, told, strict=True):  # only where the caption says it
            said = torch.tensor([name in caption.facts for caption in batch.told], device=device)
            loss = loss + (F.cross_entropy(guess, column(name), reduction="none") * said).mean()
        best = concepts.gather(1, concept.argmax(1, keepdim=True))[:, 0]
        shown = concepts.any(1) & ~masked  # photos, mannequins and words show no concept
        return loss, (best * shown).sum() / shown.sum().clamp_min(1)

    def parts(self) -> Parts:
        """The encoder alone: the heads are of its training."""
        return Parts({"text": "encoder."}, {"text": self.settings.network}, {WORDS: self.tokenizer.to_json()})


def facts_of(scene: Scene) -> dict[str, Any]:
    """The facts of a scene as indices, for heads that read them off."""
    return {
        "concepts": {thing.concept for thing in scene.objects},
        "colours": {thing.colour for thing in scene.objects if thing.colour},
        "count": len(scene.objects),
        "relation": 0 if scene.relation is None else 1 + RELATIONS.index(scene.relation),
        **{name: words.index(getattr(scene, name)) for name, words in TOLD.items() if name != "ground"},
        "ground": TOLD["ground"].index(scene.ground.name),
    }
