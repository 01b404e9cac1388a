"""Networks that take part beside a checkpoint's own: ControlNets, and another autoencoder in place of the one it has.

Each lies in a folder with its settings, as diffusers saves it, or in one safetensors file, by today's names or by those
it was trained under. Such a file says nothing of its settings: they are those of the checkpoint's own network, and what
does not fit them is refused by the tensor that says so. Everything is checked as what is imported is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.checkpoints.folder import CONFIG, read_part
from darkroom.checkpoints.header import check_finite, read_header, shapes_of
from darkroom.checkpoints.store import digest
from darkroom.contracts.errors import BadFile, BadInput, reason, shown
from darkroom.latent.kl import KlCodec
from darkroom.nn.public.quick import packed
from darkroom.synthesis.external.family import KL, ControlKind, Family, codec_with
from darkroom.synthesis.external.naming import Source, by_own_names
from darkroom.synthesis.external.networks import check_shapes, check_size, check_used, empty_network, kept
from darkroom.synthesis.external.opening import Public
from darkroom.synthesis.external.single import Shapes, vae_name

Name = Callable[[str, Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is read: what people call it, its classes, the settings of one that says none, and how such a file may name
    its tensors: a prefix and the rest; None: by today's names alone."""

    what: str
    family: Family
    settings: Callable[[Shapes], Mapping[str, Any]]
    named: Name | None
    prefixes: tuple[str, ...]


def read_control(path: Path, public: Public) -> Any:
    """A ControlNet for a checkpoint, kept as its denoiser is.

    Raises DarkroomError for one that is damaged, or of another family.
    """
    family, control = public.family, public.family.control
    if control is None:
        rule = f"cannot be drawn with by {family.title}: its ControlNets are not known here"
        raise BadInput(f"the ControlNet {shown(path.name)}", rule, "leave it out, or take a model that has them")
    denoiser = public.opened.configs[family.denoiser]
    kind = _Kind(
        "ControlNet", family, lambda shapes: control.settings(denoiser, shapes), control.named, control.prefixes
    )
    network, _ = _read(path, kind, control.part, public, lambda network: _check_fits(network, path, public, control))
    return packed(network)


def _check_fits(network: Any, path: Path, public: Public, control: ControlKind) -> None:
    """Raises BadInput for a ControlNet of another kind; with the tensor, for one that does not fit its denoiser."""
    for name, rule in control.others.items():
        if network.config.get(name):
            fix = "take one that reads lines, depths or limbs"
            raise BadInput(f"the ControlNet {shown(path.name)}", f"has {name}, {rule}", fix)
    its = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    asks = control.asks(public.opened.networks[public.family.denoiser], its, public.parts.codec.factor)
    for name, shape in asks.items():
        if its.get(name) != shape:
            found, asked = (f"of shape {one}" if one else "nowhere" for one in (its.get(name), shape))
            rule = f"has {shown(name)} {found}, and {public.title} asks for it {asked}"
            raise BadInput(f"the ControlNet {shown(path.name)}", rule, "take one that was made for this family")


def read_vae(path: Path, public: Public, role: str) -> KlCodec:
    """An autoencoder for a checkpoint, in place of its own; ``role`` sets its calls apart.

    One in a file has the scale and shift of the checkpoint's own. Raises DarkroomError for one that is damaged, or
    makes other latents.
    """

    def named(name: str, config: Mapping[str, Any]) -> str:
        return vae_name(name, len(config["block_out_channels"]))

    own = public.opened.configs["vae"]
    kind = _Kind("autoencoder", public.family, lambda shapes: own, named, ("first_stage_model.", ""))
    network, config = _read(path, kind, KL, public, lambda net: None)
    codec, mine = codec_with(network, config, role), public.parts.codec
    if (codec.channels, codec.factor) != (mine.channels, mine.factor):
        theirs, ours = (f"{one.channels} channels, {one.factor} times smaller" for one in (codec, mine))
        rule = f"makes latents of {theirs}, and this model's are of {ours}"
        raise BadInput(f"the autoencoder {shown(path.name)}", rule, "take one that was made for this family")
    return codec


def _read(
    path: Path, kind: _Kind, part: Any, public: Public, suits: Callable[[Any], None]
) -> tuple[Any, Mapping[str, Any]]:
    """A network on the checkpoint's shelf, and its settings; ``suits`` is asked before its weights are read."""
    what = f"the {kind.what} {shown(path.name)}"
    whose, fix = "its settings", f"take another {kind.what}"
    config: Mapping[str, Any] | None
    if path.is_dir():
        config, files = read_part(path)
        if config.get("_class_name", part.classes[0]) not in part.classes:
            rule = f"is a {shown(str(config['_class_name']))}, and {kind.family.title} takes {', '.join(part.classes)}"
            raise BadInput(what, rule, f"take a {kind.what} that was made for this family")
    elif path.suffix.lower() == ".safetensors" and path.is_file():
        config, files = None, (path,)
        whose, fix = f"the settings of {kind.family.title}", f"take a {kind.what} that was made for this family"
    else:
        rule = "is no safetensors file" if path.exists() else "is not there"
        raise BadInput(what, rule, f"give a safetensors file, or the folder of a {kind.what}")
    headers = [read_header(file) for file in files]
    shapes, where = shapes_of(headers), f"{path}"
    if config is None:
        config = {**kind.settings(shapes), "_class_name": part.classes[0]}
    check_size(config, len(shapes), where)
    network = empty_network(part, config)
    sources = _sources(network, shapes, kind, config)
    check_shapes(network, sources, shapes, where, whose, fix)
    check_used(shapes, sources, where, whose, fix)
    suits(network)
    for header in headers:
        check_finite(header)
    dtype = public.dtypes.vae if part is KL else public.dtypes.denoiser
    return kept(network, files, dtype, public.shelf, sources), config


def _sources(network: Any, shapes: Shapes, kind: _Kind, config: Mapping[str, Any]) -> dict[str, Source]:
    """Where each tensor of a network stands, by whichever spelling finds most of them."""
    spelt = [by_own_names(network, list(shapes))]
    if kind.named is not None:
        try:
            trained = {name: kind.named(name, config) for name in network.state_dict()}
        except (KeyError, IndexError) as error:
            raise BadFile("the settings", f"lack {error.args[0]}", f"take another {kind.what}") from error
        spelt += [{name: Source(prefix + at) for name, at in trained.items()} for prefix in kind.prefixes]
    return max(spelt, key=lambda sources: sum(source.name in shapes for source in sources.values()))


def hash_of(path: Path) -> str:
    """The sha256 of a file; of a folder, that over the hashes of its settings and weights, sorted, one to a line.

    Raises BadInput for what is not there, BadFile for what cannot be read, and for a folder of something else.
    """
    if not path.exists():
        raise BadInput(f"{path}", "is not there", "give a safetensors file, or a folder")
    try:
        if path.is_dir():
            _, weights = read_part(path)
            hashes = sorted(digest(file) for file in (path / CONFIG, *weights))
            return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        return digest(path)
    except OSError as error:
        raise BadFile(f"{path}", f"cannot be read ({reason(error)})", "give a file that can be") from error
