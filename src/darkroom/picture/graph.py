"""Settings out of a ComfyUI graph: what its first sampler was told, followed back along the links.

A graph maps a node's id to ``{"class_type": ..., "inputs": {...}}``; an input is a value, or a link ``[id, output]`` to
a node that gives it. Usual nodes are understood by the names of their inputs, of whichever pack they are; what is not
found is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from darkroom.picture.infotext import Infotext

_MOST = 1000  # nodes behind a sampler that are looked at
_MOST_SAMPLERS = 100
_SEEDS = ("seed", "noise_seed")
_TEXTS = ("text", "text_g", "text_l", "t5xxl", "clip_l", "prompt", "string", "value")
_CONDITIONINGS = (
    "conditioning",
    "conditioning_1",
    "conditioning_2",
    "conditioning_to",
    "conditioning_from",
    "positive",
)
_MODELS = ("ckpt_name", "unet_name", "model_name")

_Inputs = dict[str, Any]
_Nodes = Mapping[str, _Inputs]


def parse_graph(text: str) -> Infotext | None:
    """What a graph says in A1111's words, its texts as prompts of ours; None: it is none, or holds no sampler."""
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(graph, dict) or not all(isinstance(node, dict) for node in graph.values()):
        return None
    nodes = {str(name): _inputs(node) for name, node in graph.items()}
    begun = islice((node for node in nodes.values() if "latent_image" in node), _MOST_SAMPLERS)
    samplers = [node for node in begun if _value(nodes, node, "steps") is not None and _seed(nodes, node)]
    if not samplers:
        return None
    first = min(samplers, key=lambda node: _size(nodes, node) is None)  # the one that begins with an empty latent
    positive, negative = (_said(nodes, first, side) for side in ("positive", "negative"))
    told = {
        "Steps": _value(nodes, first, "steps"),
        "Sampler": _value(nodes, first, "sampler_name"),
        "Schedule type": _value(nodes, first, "scheduler"),
        "CFG scale": _value(nodes, first, "cfg"),
        "Seed": _seed(nodes, first),
        "Size": _size(nodes, first),
        "Model": next((name for key in _MODELS if (name := _value(nodes, first, key)) is not None), None),
        "Denoising strength": _value(nodes, first, "denoise"),
        "Adapters": ", ".join(str(node["lora_name"]) for node in _behind(nodes, first) if "lora_name" in node),
    }
    settings = {key: str(value) for key, value in told.items() if value not in (None, "")}
    if settings.get("Denoising strength") in ("1", "1.0"):  # from noise alone
        del settings["Denoising strength"]
    return Infotext(positive, negative, {**settings, "Version": "ComfyUI"})


def _inputs(node: Mapping[str, Any]) -> _Inputs:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _linked(nodes: _Nodes, value: Any) -> _Inputs | None:
    """The node that a link leads to; None: the value is no link to any."""
    return nodes.get(str(value[0])) if isinstance(value, list) and len(value) == 2 else None


def _behind(nodes: _Nodes, node: _Inputs, led_by: Callable[[_Inputs], Iterable[str]] = tuple) -> Iterator[_Inputs]:
    """A node and those behind it, nearest first, each once; ``led_by`` names the inputs that are followed."""
    waiting, seen = [node], {id(node)}
    for now in waiting:  # grows while it is read
        yield now
        for name in led_by(now):
            behind = _linked(nodes, now.get(name))
            if behind is not None and id(behind) not in seen and len(seen) < _MOST:
                seen.add(id(behind))
                waiting.append(behind)


def _value(nodes: _Nodes, node: _Inputs, name: str) -> Any:
    """An input of a node or of the nearest behind it that has one; a link to a node with one value gives that."""
    for found in _behind(nodes, node):
        value = found.get(name)
        if (source := _linked(nodes, value)) is not None:
            values = [one for one in source.values() if isinstance(one, str | int | float)]
            value = values[0] if len(values) == 1 else None
        if isinstance(value, str | int | float):
            return value
    return None


def _seed(nodes: _Nodes, node: _Inputs) -> str | None:
    found = [seed for name in _SEEDS if (seed := _value(nodes, node, name)) is not None]
    return str(found[0]) if found else None


def _size(nodes: _Nodes, node: _Inputs) -> str | None:
    """Of the empty latent that a sampler begins with."""
    latent = _linked(nodes, node.get("latent_image"))
    if latent is None:
        return None
    width, height = latent.get("width"), latent.get("height")
    return f"{width}x{height}" if isinstance(width, int) and isinstance(height, int) else None


def _said(nodes: _Nodes, sampler: _Inputs, side: str) -> str:
    """The texts behind one side of a sampler, or of its guider, as chunks."""
    for node in _behind(nodes, sampler):
        start = _linked(nodes, node.get(side))
        if start is None and side == "positive" and "negative" not in node:
            start = _linked(nodes, node.get("conditioning"))  # a guider that has one side only
        if start is not None:
            texts = list(dict.fromkeys(text for text in _texts(nodes, start, side) if text.strip()))
            return " BREAK ".join(map(_plain, texts))
    return ""


def _texts(nodes: _Nodes, node: _Inputs, side: str) -> Iterator[str]:
    """The texts behind a conditioning; a node that passes both sides on is followed on this one."""
    for now in _behind(nodes, node, lambda now: [side] if side in now else [*_TEXTS, *_CONDITIONINGS]):
        yield from (text for name in _TEXTS if isinstance(text := now.get(name), str))


def _plain(text: str) -> str:
    """A text in which only round brackets weigh: what else would say something to us is escaped."""
    for letter in "[]{}|":
        text = text.replace(letter, "\\" + letter)
    return text.replace("BREAK", "\\BREAK")
