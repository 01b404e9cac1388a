"""docs/public-checkpoints.md, followed as a new user would, with checkpoints made here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from tests.program import ran
from tests.public import control_net, needs_public, saved, stable_diffusion_xl, stable_diffusion_xl_refiner
from tests.single_files import as_trained, in_one_file

pytestmark = needs_public
GUIDE = Path(__file__).parents[2] / "docs" / "public-checkpoints.md"


def commands() -> list[list[str]]:
    """The commands of the guide, in its order."""
    blocks = re.findall(r"^```\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("darkroom ")]
    return [shlex.split(line)[1:] for line in lines]


def test_every_command_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))
    pipeline = as_trained("sd1")
    saved(pipeline, tmp_path / "my-checkpoint")
    in_one_file(pipeline, "sd1", tmp_path / "painter.safetensors")
    saved(stable_diffusion_xl(), tmp_path / "my-xl")
    saved(stable_diffusion_xl_refiner(), tmp_path / "my-refiner")
    given = commands()
    assert len(given) == 20
    save_file(lora_of(pipeline), tmp_path / "bold.safetensors")
    control_net(pipeline).save_pretrained(tmp_path / "canny")
    save_file({"emb_params": torch.ones(2, 64)}, tmp_path / "inky.safetensors")
    other = as_trained("sd1").vae
    save_file({name: 0.9 * tensor for name, tensor in other.state_dict().items()}, tmp_path / "brighter.safetensors")
    edges = Pillow.new("L", (64, 64))
    edges.paste(255, (20, 20, 44, 22))
    edges.save(tmp_path / "edges.png")
    for command in given:
        small = ["--size", "64", "--steps", "2"] if command[0] == "generate" and "--steps" not in command else []
        small += ["--size", "64"] if command[0] == "generate" and not small else []
        assert ran(*command, *small) == 0, command
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 8


def lora_of(pipeline: Any) -> dict[str, torch.Tensor]:
    """A LoRA of one layer, as kohya's trainer writes it."""
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    out, into = pipeline.unet.get_submodule(layer).weight.shape
    spelt = f"lora_unet_{layer.replace('.', '_')}"
    halves = {"lora_down": torch.ones(2, into), "lora_up": torch.ones(out, 2)}
    return {f"{spelt}.alpha": torch.tensor(1.0), **{f"{spelt}.{half}.weight": t for half, t in halves.items()}}
