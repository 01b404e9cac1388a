"""The networks and tokenizers of a checkpoint, made from their settings and filled from files that were checked.

Nothing is fetched: the libraries are told to stay offline before they are imported, weights are read by us, and only
tokenizers are read by them, from a folder.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from darkroom.contracts.contract import Dtypes, Format
from darkroom.contracts.contract import dtypes as parsed
from darkroom.contracts.errors import BadFile, BadInput, shown
from darkroom.machine.heap import give_back
from darkroom.nn.public.int8 import SCALE, in_int8
from darkroom.nn.public.quick import packed, quickened
from darkroom.nn.public.shelf import Shelf
from darkroom.nn.storage import rows_packed
from darkroom.synthesis.external.family import Part
from darkroom.synthesis.external.naming import Source, by_own_names, same_shape

TOKENIZERS = (
    *("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast"),
    *("Qwen2Tokenizer", "Qwen2TokenizerFast"),
)
MOST_ENTRIES = 1000  # of a list in a part's settings
FETCH = "fetch the checkpoint again, or take another one"
COMPUTES = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
COMPUTES["int8"] = torch.bfloat16  # what it multiplies by
_SPARE = ("position_ids", "logit_scale", "num_batches_tracked")  # ends of names that no network needs


def dtypes_of(dtype: torch.dtype | Dtypes | str | None) -> Dtypes:
    """Number formats as a contract has them; None: bf16. Raises BadInput for what is none."""
    if isinstance(dtype, torch.dtype):
        dtype = next(kept for kept, computes in COMPUTES.items() if computes == dtype)
    return dtype if isinstance(dtype, Dtypes) else Dtypes.checked(dict(parsed(dtype or "bf16")))


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
    said = class_named(part, config)
    if said not in part.classes:
        rule = f"is not one of {', '.join(part.classes)}"
        raise BadFile(f"the network class {shown(said)}", rule, "take a checkpoint of a known family")
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


def class_named(part: Part, config: Mapping[str, Any]) -> str:
    """The class that settings name; where they name none, the first that may stand there."""
    return str(config.get("_class_name") or next(iter(config.get("architectures") or part.classes)))


def check_size(config: Mapping[str, Any], tensors: int, where: str) -> None:
    """Raises BadFile for settings that ask for more layers than a part's files have tensors, before any is made."""
    for name, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        whole = [number for number in numbers if isinstance(number, int)]
        if "layers" in name and any(number > tensors for number in whole):
            rule = f"asks for {name} {max(whole)}, and its files hold {tensors} tensors"
            raise BadFile(where, rule, FETCH)
        if len(numbers) > MOST_ENTRIES:
            raise BadFile(where, f"lists {len(numbers)} values for {name}", FETCH)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def check_shapes(
    network: Any,
    sources: Mapping[str, Source],
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
    whose: str = "its settings",
    fix: str = FETCH,
) -> None:
    """Raises BadFile, with its name, for a tensor of a network that its files lack or have in another shape.

    ``sources`` say where each stands, ``shapes`` are those of the files; ``where`` names these, ``whose`` the settings
    that the network is made of.
    """
    for name, tensor in network.state_dict().items():
        source = sources.get(name)
        if source is None or source.name not in shapes:
            raise BadFile(where, f"lacks the tensor {shown(name)}, which {whose} ask for", fix)
        found = source.shape(shapes[source.name])
        if not same_shape(found, tuple(tensor.shape)):
            rule = f"holds {shown(source.name)} of shape {found}, and {whose} ask for {tuple(tensor.shape)}"
            raise BadFile(where, rule, fix)


def check_used(
    names: Iterable[str],
    sources: Mapping[str, Source],
    where: str,
    whose: str = "its settings",
    fix: str = FETCH,
) -> None:
    """Raises BadFile for tensors of files that the network does not know, by the first one's name."""
    used = {source.name for source in sources.values()}
    over = sorted(name for name in names if name not in used and not name.endswith(_SPARE))
    if over:
        rule = f"holds {shown(over[0])}, which {whose} know nothing of"
        raise BadFile(where, rule + (f", and {len(over) - 1} more" if over[1:] else ""), fix)


def kept(
    network: Any, files: Sequence[Path], dtype: Format, shelf: Shelf, sources: Mapping[str, Source] | None = None
) -> Any:
    """A network of :func:`empty_network` on a shelf, which gives it the weights of files when it has to have them.

    ``sources`` say where each tensor stands; None: under its own name. Raises BadFile where they cannot be read.
    """
    if sources is None:
        sources = by_own_names(network, [name for path in files for name in _names(path)])
    if dtype == "int8":
        in_int8(network)
    quickened(network)
    stamps = _stamps(files)

    def filled() -> None:
        if _stamps(files) != stamps:  # it is read again, maybe days later
            raise BadFile(f"{files[0].parent}", "was changed since the model was opened", "open the model again")
        fill(network, files, COMPUTES[dtype], sources)

    return shelf.put(network.requires_grad_(False), filled)


def _stamps(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Bytes and time of the last change of files; none of those that are gone."""
    return [(path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()]


def _names(path: Path) -> list[str]:
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{path.parent}", f"holds no sound weights ({_brief(error)})", FETCH) from error


def fill(network: Any, files: Sequence[Path], dtype: torch.dtype, sources: Mapping[str, Source]) -> None:
    """Puts the weights of files into a network of :func:`empty_network`, in a number format; what is int8 in it is
    packed. Files are mapped, and read where they are used: weights that have this format in a file stay there.

    ``sources`` say where each tensor stands. Raises BadFile.
    """
    places = {name: path for path in files for name in _names(path)}
    own = network.state_dict()
    state: dict[str, Tensor] = {}
    shared: dict[Source, Tensor] = {}  # a table that stands under two names is there once
    try:
        opened: dict[Path, Any] = {path: safe_open(path, "pt") for path in files}
        for name, tensor in own.items():
            if name in state or (name not in sources and name.endswith(f".{SCALE}")):
                continue  # scales come with the weights they belong to
            source = sources[name]
            if source in shared and tensor.dtype != torch.int8 and shared[source].shape == tensor.shape:
                state[name] = shared[source]
                continue
            taken = source.taken(opened[places[source.name]].get_tensor(source.name)).view(tensor.shape)
            if tensor.dtype == torch.int8:
                taken, state[f"{name.rpartition('.')[0]}.{SCALE}"] = rows_packed(taken)
            else:
                taken = taken.to(dtype)
            state[name] = taken.to(memory_format=torch.channels_last) if taken.ndim == 4 else taken
            shared[source] = state[name]
    except KeyError as error:
        raise BadFile(f"{files[0].parent}", f"lacks the tensor {error.args[0]}", FETCH) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BadFile(f"{files[0].parent}", f"holds no sound weights ({_brief(error)})", FETCH) from error
    network.load_state_dict(state, assign=True)
    del state, shared
    _place_counters(packed(network))
    give_back()  # weights as they lay before


def _place_counters(network: nn.Module) -> None:
    """Gives memory to what is in no file and follows from settings: the numbers of places, 0, 1, 2 ...; frequencies."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if not buffer.is_meta:
                continue
            if name.endswith("inv_freq") and hasattr(module, "config"):
                setattr(module, name, getattr(type(module)(module.config), name))
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
