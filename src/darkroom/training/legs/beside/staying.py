"""What legs beside a model share: the model, which stays as it is, and what a file of theirs says of itself."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from darkroom.cards import read_card
from darkroom.contracts.errors import BadInput
from darkroom.nn.autoencoder import Autoencoder
from darkroom.nn.dit import DenoiserConfig
from darkroom.nn.text import TextConfig
from darkroom.training.handover import HANDOVER, fingerprint, leg_of, load_into, network_of, opened_autoencoder
from darkroom.training.objectives.diffusion import DiffusionObjectiveConfig, DiffusionTraining


@dataclass(frozen=True, slots=True)
class Staying:
    """The networks of a model folder, with the fingerprints of their weights."""

    module: DiffusionTraining
    codec: Autoencoder
    origin: dict[str, str]

    def settings(self, length: int) -> DiffusionObjectiveConfig:
        """Those of an objective beside it, on captions of so many tokens; the oracle head has no part in it."""
        return DiffusionObjectiveConfig(self.module.denoiser.config, self.module.text.config, length, oracle=0.0)


def staying(model: Path) -> Staying:
    """Opens a model folder to learn beside it. Raises BadInput for a flow map."""
    network, text = network_of(model, "denoiser", DenoiserConfig), network_of(model, "text", TextConfig)
    if network.flow_map is not None:
        raise BadInput(f"{model}", "is a flow map, which this training would undo", "give the denoiser it was made of")
    module, codec = DiffusionTraining(network, text), opened_autoencoder(model)
    origin = {"autoencoder": fingerprint(codec.state_dict())}
    origin |= {part: load_into(getattr(module, part), model, part) for part in ("text", "denoiser")}
    return Staying(module, codec, origin)


def about(out: Path, model: Path, does: str = "") -> dict[str, str]:
    """What a file of the run ``out`` says of itself: when it was made, for which model, and under which licences."""
    card = read_card(model)
    told = {
        "date": datetime.date.today().isoformat(),
        "resolution": "{}x{}".format(*card.defaults.drawn),
        "description": f"{does}for the model {card.name} {card.model_hash[:12]}",
    }
    licences = sorted({source["licence"] for source in leg_of(out / HANDOVER)["sources"]})
    return told | ({"license": " and ".join(licences)} if licences else {})
