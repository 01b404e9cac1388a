"""Checkpoints whose denoiser is a transformer, in one file: Stable Diffusion 3 and 3.5, FLUX.1.

Such a file holds the transformer, under ``model.diffusion_model.`` or without a prefix. What else may be in it (text
encoders, an autoencoder) is left aside: those of a folder of the same family are lent. In the file queries, keys and
values stand in one tensor, and the last modulation has its shift before its scale, which diffusers has after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from darkroom.contracts.errors import BadFile, BadInput
from darkroom.synthesis.external.naming import Source
from darkroom.synthesis.external.single.unets import PREFIX, UNET, Shapes, count

PREFIXES = (UNET, "")
PIPELINE = "pipeline"  # where configs have what an index says besides its parts
HEAD = 64  # the width of a head of Stable Diffusion 3's; FLUX.1's has norms that show it
THIRDS = ("q", "k", "v")  # in the order in which they stand


@dataclass(frozen=True, slots=True)
class Alone:
    """How a family's files are, which hold the transformer and lack all else.

    ``marks`` begin names that only this family's files have, after a prefix; ``made`` gives the transformer's settings
    from the shapes of its tensors, ``scheduler`` those of the scheduler from the transformer's; ``named`` says where
    the file has a tensor, without a prefix, by its name in the network and the network's settings.
    """

    marks: tuple[str, ...]
    made: Callable[[Shapes], dict[str, Any]]
    scheduler: Callable[[Mapping[str, Any]], dict[str, Any]]
    named: Callable[[str, Mapping[str, Any]], Source]

    def is_of(self, names: Iterable[str]) -> bool:
        """Whether a file with such names is one of the family's."""
        known = list(names)
        return all(any(name.startswith(tuple(p + mark for p in PREFIXES)) for name in known) for mark in self.marks)

    def holds(self, part: str) -> bool:
        """Whether such a file holds a part."""
        return part == "transformer"

    def settings(self, shapes: Shapes, prediction: str | None) -> dict[str, dict[str, Any]]:
        """The settings of the transformer and of its scheduler, and the prefix that its names have.

        Raises BadFile where the tensors are no such network, BadInput where it is said what it predicts.
        """
        if prediction is not None:
            rule = "is for files of Stable Diffusion 1.x, 2.x and XL, and this one predicts a flow"
            raise BadInput("--prediction", rule, "leave it out")
        prefix = next(p for p in PREFIXES if any(name.startswith(p + self.marks[0]) for name in shapes))
        own = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        try:
            made = self.made(own)
        except (KeyError, IndexError, ValueError) as error:
            rule = f"lacks tensors that its transformer is made of ({error})"
            raise BadFile("the checkpoint", rule, "fetch the file again, or take another one") from error
        return {"transformer": made, "scheduler": self.scheduler(made), PIPELINE: {PREFIX: prefix}}

    def sources(self, configs: Mapping[str, Mapping[str, Any]], part: str) -> Callable[[str], Source]:
        """Where in the file each tensor of a part's network stands, by its name in the network."""
        prefix = str(configs[PIPELINE][PREFIX])

        def place(name: str) -> Source:
            found = self.named(name, configs[part])
            return replace(found, name=prefix + found.name)

        return place


def flow(**more: Any) -> dict[str, Any]:
    """The settings of a rectified flow's scheduler."""
    return {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, **more}


def _within(name: str, table: Mapping[str, str]) -> str | None:
    """A name whose beginning stands in a table, with what the table has for it; None: it stands in none."""
    for ours, theirs in table.items():
        if name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return None


# --- Stable Diffusion 3 and 3.5 ---------------------------------------------------------------------------------------

_SD3_ENDS = {
    **{"pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder", "proj_out": "final_layer.linear"},
    **{f"time_text_embed.timestep_embedder.linear_{n}": f"t_embedder.mlp.{2 * n - 2}" for n in (1, 2)},
    **{f"time_text_embed.text_embedder.linear_{n}": f"y_embedder.mlp.{2 * n - 2}" for n in (1, 2)},
}
_SD3_BLOCK = {
    **{"norm1_context.linear": "context_block.adaLN_modulation.1", "norm1.linear": "x_block.adaLN_modulation.1"},
    **{"attn.to_out.0": "x_block.attn.proj", "attn.to_add_out": "context_block.attn.proj"},
    **{"attn2.to_out.0": "x_block.attn2.proj"},
    **{f"attn.norm_{n}": f"x_block.attn.ln_{n}" for n in "qk"},
    **{f"attn.norm_added_{n}": f"context_block.attn.ln_{n}" for n in "qk"},
    **{f"attn2.norm_{n}": f"x_block.attn2.ln_{n}" for n in "qk"},
    **{"ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2"},
    **{"ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2"},
}


def sd3_settings(shapes: Shapes) -> dict[str, Any]:
    """The settings of Stable Diffusion 3's transformer."""
    _, channels, _, patch = shapes["x_embedder.proj.weight"]
    width, joint = shapes["context_embedder.weight"]
    layers = count(shapes, r"joint_blocks\.(\d+)\.")
    return {
        "sample_size": 128,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0] // patch**2,
        "num_layers": layers,
        "attention_head_dim": HEAD,
        "num_attention_heads": width // HEAD,
        "joint_attention_dim": joint,
        "caption_projection_dim": width,
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": round(shapes["pos_embed"][1] ** 0.5),
        "dual_attention_layers": [n for n in range(layers) if f"joint_blocks.{n}.x_block.attn2.qkv.weight" in shapes],
        "qk_norm": "rms_norm" if "joint_blocks.0.x_block.attn.ln_q.weight" in shapes else None,
    }


def sd3_source(name: str, settings: Mapping[str, Any]) -> Source:
    """Where a file of Stable Diffusion 3 has a tensor of its transformer."""
    if name == "pos_embed.pos_embed":
        return Source("pos_embed")
    if name.startswith("norm_out.linear."):
        return Source(name.replace("norm_out.linear", "final_layer.adaLN_modulation.1"), swapped=True)
    match = re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", name)
    if match is None:
        return Source(_within(name, _SD3_ENDS) or name)
    at, rest = f"joint_blocks.{match[1]}.", match[2]
    if of_three := re.fullmatch(r"(attn2?)\.(to|add)_([qkv])(_proj)?\.(weight|bias)", rest):
        block = "context_block" if of_three[2] == "add" else "x_block"
        return Source(f"{at}{block}.{of_three[1]}.qkv.{of_three[5]}", third=THIRDS.index(of_three[3]))
    last = int(match[1]) == settings["num_layers"] - 1  # whose context is not gone on with: a last modulation, too
    return Source(at + (_within(rest, _SD3_BLOCK) or rest), swapped=last and rest.startswith("norm1_context"))


SD3_FILE = Alone(("joint_blocks.0.",), sd3_settings, lambda made: flow(shift=3.0), sd3_source)


# --- FLUX.1 -----------------------------------------------------------------------------------------------------------

_FLUX_ENDS = {
    **{"x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear"},
    **{
        f"time_text_embed.{ours}.linear_{n}": f"{theirs}.{layer}"
        for ours, theirs in (
            ("timestep_embedder", "time_in"),
            ("text_embedder", "vector_in"),
            ("guidance_embedder", "guidance_in"),
        )
        for n, layer in ((1, "in_layer"), (2, "out_layer"))
    },
}
_FLUX_DOUBLE = {
    **{"norm1_context.linear": "txt_mod.lin", "norm1.linear": "img_mod.lin"},
    **{"attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj"},
    **{"ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2"},
    **{"ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2"},
}
_FLUX_NORMS = {
    **{"attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm"},
    **{"attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm"},
}
_FLUX_SINGLE = {"norm.linear": "modulation.lin", "proj_out": "linear2"}
_FLUX_SINGLE_NORMS = {"attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm"}


def flux_settings(shapes: Shapes) -> dict[str, Any]:
    """The settings of FLUX.1's transformer."""
    width, channels = shapes["img_in.weight"]
    head = shapes["double_blocks.0.img_attn.norm.query_norm.scale"][0]
    side = 7 * head // 16  # of a head's numbers those that turn with the place down, and across; the others with time
    return {
        "patch_size": 1,
        "in_channels": channels,
        "num_layers": count(shapes, r"double_blocks\.(\d+)\."),
        "num_single_layers": count(shapes, r"single_blocks\.(\d+)\."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
        "axes_dims_rope": [head - 2 * side, side, side],
    }


def flux_scheduler(made: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of FLUX.1's scheduler: those of the dev kind move with the picture's size."""
    if not made["guidance_embeds"]:
        return flow(shift=1.0)
    moving = {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}
    return flow(shift=3.0, use_dynamic_shifting=True, **moving)


def flux_source(name: str, settings: Mapping[str, Any]) -> Source:
    """Where a file of FLUX.1 has a tensor of its transformer."""
    if name.startswith("norm_out.linear."):
        return Source(name.replace("norm_out.linear", "final_layer.adaLN_modulation.1"), swapped=True)
    match = re.fullmatch(r"(single_)?transformer_blocks\.(\d+)\.(.+)", name)
    if match is None:
        return Source(_within(name, _FLUX_ENDS) or name)
    single, rest = match[1] is not None, match[3]
    at = f"{'single' if single else 'double'}_blocks.{match[2]}."
    norm = _within(rest, _FLUX_SINGLE_NORMS if single else _FLUX_NORMS)
    if norm is not None:
        return Source(at + norm.replace(".weight", ".scale"))
    of_three = re.fullmatch(r"attn\.(to|add)_([qkv])(_proj)?\.(weight|bias)", rest)
    if not single:
        if of_three is None:
            return Source(at + (_within(rest, _FLUX_DOUBLE) or rest))
        half = "txt_attn" if of_three[1] == "add" else "img_attn"
        return Source(f"{at}{half}.qkv.{of_three[4]}", third=THIRDS.index(of_three[2]))
    width = settings["attention_head_dim"] * settings["num_attention_heads"]
    if of_three is not None:
        first = THIRDS.index(of_three[2]) * width
        return Source(f"{at}linear1.{of_three[4]}", rows=(first, first + width))
    if rest.startswith("proj_mlp."):
        return Source(at + rest.replace("proj_mlp", "linear1"), rows=(3 * width, 7 * width))  # four times as wide
    return Source(at + (_within(rest, _FLUX_SINGLE) or rest))


FLUX_FILE = Alone(("double_blocks.0.img_attn", "single_blocks.0."), flux_settings, flux_scheduler, flux_source)
