"""The networks and tokenizers of a checkpoint, made from their settings and filled from files that were checked.

Nothing is fetched: the libraries are told to stay offline before they are imported, weights are read by us, and only
tokenizers are read by them, from a folder.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from darkroom.contracts.errors import BadFile, BadInput, shown
from darkroom.synthesis.external.family import Part

TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")
FETCH = "fetch the checkpoint again, or take another one"
# What old files call the autoencoder's attention, and what it is called now.
_RENAMED = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
_SPARE = ("position_ids", "logit_scale", "num_batches_tracked")  # ends of names that no network needs


def library(name: str) -> Any:
    """One of the libraries that networks come from. Raises BadInput where it is not installed."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        rule = f"needs {name}, which is not installed"
        raise BadInput("a public checkpoint", rule, "pip install 'darkroom-studio[public]'") from error


def empty_network(part: Part, config: Mapping[str, Any]) -> Any:
    """A network of a part's settings without memory for its weights. Raises BadFile for settings it cannot be made of.

    The class is one that the part lists, never one that the settings name beside it.
    """
    said = config.get("_class_name") or next(iter(config.get("architectures") or part.classes))
    if said not in part.classes:
        rule = f"is not one of {', '.join(part.classes)}"
        raise BadFile(f"the network class {shown(str(said))}", rule, "take a checkpoint of a known family")
    source = library(part.library)
    cls = getattr(source, said)
    try:
        with torch.device("meta"):
            if part.config:
                kept = {key: value for key, value in config.items() if key not in ("architectures", "auto_map")}
                return cls(getattr(source, part.config)(**kept)).eval()
            return cls.from_config({key: value for key, value in config.items() if key != "auto_map"}).eval()
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise BadFile(f"the settings of {said}", f"make no network ({_brief(error)})", FETCH) from error


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def names_in(network: Any, files: Sequence[str]) -> dict[str, str]:
    """For each tensor of a network its name among those of its files; tensors that are not there are left out."""
    there = {_todays(name): name for name in files}
    plain = {name.removeprefix("text_model."): name for name in files}
    own = network.state_dict()
    found = {name: there.get(name) or plain.get(name) for name in own}
    shared = found.get("shared.weight")  # one table under two names, of which files hold one
    if found.get("encoder.embed_tokens.weight", "") is None and shared is not None:
        found["encoder.embed_tokens.weight"] = shared
    return {name: at for name, at in found.items() if at is not None}


def _todays(name: str) -> str:
    if "attentions" in name:
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
    return name


def check_shapes(network: Any, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raises BadFile for tensors that a network lacks, has in another shape, or does not know, by their names.

    ``shapes`` are those of its files; ``where`` names these.
    """
    names = names_in(network, list(shapes))
    for name, tensor in network.state_dict().items():
        if name not in names:
            raise BadFile(where, f"lacks the tensor {shown(name)}, which its settings ask for", FETCH)
        found = shapes[names[name]]
        if not _same(found, tuple(tensor.shape)):
            rule = f"holds {shown(name)} of shape {found}, and its settings ask for {tuple(tensor.shape)}"
            raise BadFile(where, rule, FETCH)
    over = sorted(set(shapes) - set(names.values()))
    over = [name for name in over if not name.endswith(_SPARE)]
    if over:
        rule = f"holds {shown(over[0])}, which its settings know nothing of"
        raise BadFile(where, rule + (f", and {len(over) - 1} more" if over[1:] else ""), FETCH)


def _same(found: tuple[int, ...], asked: tuple[int, ...]) -> bool:
    """Equal shapes; a matrix may be written as a 1x1 convolution of the same numbers."""
    return found == asked or (found[len(asked) :] == (1, 1) and found[: len(asked)] == asked)


def fill(network: Any, files: Sequence[Path], dtype: torch.dtype) -> Any:
    """Puts the weights of files into a network of :func:`empty_network`, in a number format. Raises BadFile."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()
                tensors.update({name: file.get_tensor(name) for name in names})
        except (OSError, SafetensorError) as error:
            raise BadFile(f"{path}", f"is not a sound safetensors file ({_brief(error)})", FETCH) from error
    found = names_in(network, list(tensors))
    own = network.state_dict()
    missing = [name for name in own if name not in found]
    if missing:
        raise BadFile(f"{files[0].parent}", f"lacks the tensor {shown(missing[0])}", FETCH)
    state = {name: tensors[at].view(own[name].shape).to(dtype) for name, at in found.items()}
    network.load_state_dict(state, assign=True)
    _place_counters(network)
    return network.requires_grad_(False)


def _place_counters(network: nn.Module) -> None:
    """Gives memory to what is in no file: the numbers of places, 0, 1, 2 ..."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if not buffer.is_meta:
                continue
            if name != "position_ids":
                raise BadFile(f"{type(module).__name__}.{name}", "stands in no file", "take another checkpoint")
            setattr(module, name, torch.arange(buffer.shape[-1]).expand(buffer.shape))


def tokenizer(folder: Path, kind: str) -> Any:
    """The tokenizer of a folder; ``kind`` is its class, which must be one of TOKENIZERS. Raises BadFile."""
    if kind not in TOKENIZERS:
        rule = f"is not one of {', '.join(TOKENIZERS)}"
        raise BadFile(f"the tokenizer class {shown(kind)}", rule, "take a checkpoint of a known family")
    source = library("transformers")
    try:
        return getattr(source, kind).from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises whatever its parts do
        raise BadFile(f"{folder}", f"holds no tokenizer that can be read ({_brief(error)})", FETCH) from error
