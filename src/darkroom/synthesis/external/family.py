"""What a family of public checkpoints is: the parts a folder of it holds, what its card says, how it is put together.

A family is one file of this room and one row of its table. Class names are looked up here and nowhere else: what no
family lists is not opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from darkroom.contracts.errors import BadFile
from darkroom.latent.kl import KlCodec
from darkroom.nn.public.branches import Branches
from darkroom.prompt.public import PublicEncoder, Reader
from darkroom.protocols import Level, Network
from darkroom.synthesis.external.public import PublicSynthesizer
from darkroom.synthesis.external.single import Shapes, SingleFile
from darkroom.synthesis.noise import LinearBetaVP, WithoutSignal
from darkroom.synthesis.prediction import PredictionKind

# What the JSON files of a checkpoint's parts say, by part; what its index says besides is there under PIPELINE.
Configs = Mapping[str, Mapping[str, Any]]
PIPELINE = "pipeline"


@dataclass(frozen=True, slots=True)
class Part:
    """One network of a checkpoint: the library it is from, and the classes that may stand there."""

    library: str
    classes: tuple[str, ...]
    config: str = ""  # the class of its settings, where that is another one


@dataclass(frozen=True, slots=True)
class ControlKind:
    """What a family's ControlNets are.

    ``settings`` of one in a file that says none, from its denoiser's and the shapes of its tensors; ``named`` is how a
    file may have a tensor besides by today's name, after one of ``prefixes``; None: it may not. ``asks`` is what shapes
    some of its tensors must have, of its denoiser, the shapes they have, and the pixels a side of a cell; None: there
    must be none. ``others`` are settings of kinds that are not here, and why.
    """

    part: Part
    settings: Callable[[Mapping[str, Any], Shapes], dict[str, Any]]
    asks: Callable[[Any, Shapes, int], dict[str, tuple[int, ...] | None]]
    others: Mapping[str, str]
    named: Callable[[str, Mapping[str, Any]], str] | None = None
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts of one checkpoint."""

    networks: Mapping[str, Any]
    tokenizers: Mapping[str, Any]
    configs: Configs


@dataclass(frozen=True, slots=True)
class Assembled:
    """The three parts of a model."""

    encoder: PublicEncoder
    codec: KlCodec
    synthesizer: PublicSynthesizer

    @property
    def evaluators(self) -> dict[str, Network]:
        """Who answers the calls of its text encoders and its denoiser, by the calls' names of them."""
        readers: dict[str, Network] = {reader.NETWORK: self.encoder for reader in self.encoder.readers}
        return {**readers, self.synthesizer.NETWORK: self.synthesizer}

    def called(self, role: str) -> Assembled:
        """The same parts, whose calls are set apart from those of another checkpoint."""
        return Assembled(self.encoder.called(role), self.codec, self.synthesizer.called(role))

    def at_hand(self, network: Any) -> dict[str, Branches]:
        """Where the branches of a network's adapters are kept, by the adapters' hashes."""
        [found] = (one.wearing.at_hand for one in self._asked if one.network is network)
        return found

    def having(self, adapter: str) -> list[str]:
        """The networks that have branches of an adapter, by a call's name of them."""
        return [one.NETWORK for one in self._asked if adapter in one.wearing.at_hand]

    @property
    def _asked(self) -> list[PublicSynthesizer | Reader]:
        return [self.synthesizer, *self.encoder.readers]


@dataclass(frozen=True, slots=True)
class Family:
    """One family.

    ``pipelines`` are the classes a diffusers folder of it may name. ``tokenizers`` are its folders of words.
    ``optional`` are parts that are left aside where a folder has them, ``spare`` those that may be missing. ``suits``
    says whether settings are of this family and not of one that has the same classes. ``template`` gives the card's
    defaults, ``assembled`` the model. ``single`` is how its files are where one holds all; None: not known. ``control``
    is what its ControlNets are; None: there are none here.
    """

    name: str
    title: str
    pipelines: tuple[str, ...]
    denoiser: str
    parts: Mapping[str, Part]
    tokenizers: tuple[str, ...]
    suits: Callable[[Configs], bool]
    template: Callable[[Configs], dict[str, Any]]
    assembled: Callable[[Opened], Assembled]
    optional: tuple[str, ...] = ("safety_checker", "feature_extractor", "image_encoder")
    spare: tuple[str, ...] = ()
    single: SingleFile | None = None
    control: ControlKind | None = None


CLIP = Part("transformers", ("CLIPTextModel", "CLIPTextModelWithProjection"), "CLIPTextConfig")
T5 = Part("transformers", ("T5EncoderModel",), "T5Config")
KL = Part("diffusers", ("AutoencoderKL",))
UNET = Part("diffusers", ("UNet2DConditionModel",))

_PREDICTIONS: dict[str, PredictionKind] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
_SAMPLERS = {
    **{"EulerDiscreteScheduler": "euler", "DDIMScheduler": "ddim", "DPMSolverMultistepScheduler": "dpmpp-2m"},
    **{"EulerAncestralDiscreteScheduler": "euler-a", "HeunDiscreteScheduler": "heun", "LMSDiscreteScheduler": "lms"},
    **{"UniPCMultistepScheduler": "unipc", "LCMScheduler": "lcm", "KDPM2DiscreteScheduler": "dpm2"},
    "FlowMatchEulerDiscreteScheduler": "euler",
}
_LEADING = ("DDIMScheduler", "PNDMScheduler", "LCMScheduler")  # where nothing is said; the others have linspace
_SPACINGS = {"leading": "leading", "linspace": "linspace", "trailing": "even"}


def prediction(configs: Configs) -> PredictionKind:
    """What the denoiser answers, as its scheduler's settings say. Raises BadFile for what is not known here."""
    said = configs["scheduler"].get("prediction_type", "epsilon")
    if said not in _PREDICTIONS:
        raise BadFile(
            f"the prediction type {said!r}", "is not one of " + ", ".join(_PREDICTIONS), "take another checkpoint"
        )
    return _PREDICTIONS[said]


def beta_schedule(configs: Configs) -> LinearBetaVP | WithoutSignal:
    """The table of betas that a checkpoint was trained on. Raises BadFile for one that is not known here, and for a
    network that predicts the noise where noise is all there is."""
    said = configs["scheduler"]
    kind = said.get("beta_schedule", "linear")
    if kind not in ("scaled_linear", "linear") or said.get("trained_betas"):
        named = "trained_betas" if said.get("trained_betas") else f"beta_schedule {kind!r}"
        raise BadFile(f"the scheduler's {named}", "is a table of noise that is not known here", "take another one")
    first, last, steps = (
        said.get("beta_start", 0.0001),
        said.get("beta_end", 0.02),
        said.get("num_train_timesteps", 1000),
    )
    try:
        table = LinearBetaVP(first, last, steps, scaled=kind == "scaled_linear")
    except (TypeError, ValueError) as error:
        raise BadFile("the scheduler's table of noise", f"cannot be ({error})", "take another checkpoint") from error
    if not said.get("rescale_betas_zero_snr"):
        return table
    if prediction(configs) == "eps":
        rule = "leaves nothing but noise to begin with, of which a network that predicts the noise says nothing"
        raise BadFile("the scheduler's rescale_betas_zero_snr", rule, "take another checkpoint")
    return WithoutSignal(table)


def table_time(schedule: LinearBetaVP | WithoutSignal) -> Callable[[Level], float]:
    """A level's place in a table of betas, as a network trained on it counts time."""
    return lambda level: schedule.timestep(level.t)


def sampling(configs: Configs, steps: int, guidance: float) -> dict[str, Any]:
    """Steps, sampler and spacing as a checkpoint's scheduler has them; guidance acts all the way, as its pipeline's.

    A scheduler that is not here (such as PNDM's) gives way to dpmpp-2m. Raises BadFile for a table of noise, or a kind
    of answer, that is not known here.
    """
    prediction(configs)
    beta_schedule(configs)
    said = configs["scheduler"]
    unsaid = "leading" if said.get("_class_name") in _LEADING else "linspace"
    spacing = _SPACINGS.get(said.get("timestep_spacing", unsaid), "even")
    if said.get("use_karras_sigmas"):
        spacing = "karras"
    sampler = _SAMPLERS.get(str(said.get("_class_name")), "dpmpp-2m")
    told = {"steps": steps, "sampler": sampler, "guidance": guidance, "spacing": spacing}
    return {**told, "guidance_interval": (0.0, 1.0)}


def side(configs: Configs, denoiser: str, factor: int = 8) -> int:
    """Pixels a side of the pictures that a denoiser was trained on, within what can be drawn."""
    said = configs[denoiser].get("sample_size")
    cells = said if isinstance(said, int) else 64
    return min(max(64, cells * factor // 16 * 16), 2048)


def codec_of(opened: Opened) -> KlCodec:
    """The autoencoder of a checkpoint."""
    return codec_with(opened.networks["vae"], opened.configs["vae"])


def codec_with(network: Any, said: Mapping[str, Any], role: str = "") -> KlCodec:
    """An autoencoder with the scale and shift that its settings name; ``role`` sets its calls apart from another's."""
    scale, shift = said.get("scaling_factor", 0.18215), said.get("shift_factor") or 0.0
    return KlCodec(network, float(scale), float(shift), role)
