"""Learnt words (textual inversion) against diffusers' own pipelines: equal noise, equal pictures, step by step.

Tolerances are those of ``test_public_parity.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.public import needs_public, stable_diffusion, stable_diffusion_xl
from tests.side_by_side import FORMATS, WAYS, as_on_a_table

pytestmark = needs_public
slow = pytest.mark.slow
# In its own case, and no word a part of another: diffusers 0.42 puts one vector of several for others.
SAYS, UNWANTED = "A red sketchy fox, sketchy.QUICK", "blurry, sketchy"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", str(tmp_path / "store"))


def vectors(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["plain", "guided"])
@pytest.mark.parametrize("sampler", WAYS)
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_a_learnt_word_draws_as_in_the_pipeline(
    dtype: torch.dtype, within: float, sampler: str, guidance: float, tmp_path: Path
) -> None:
    pipeline, reference = (stable_diffusion().to(dtype) for _ in range(2))
    file = tmp_path / "sketchy.safetensors"
    save_file({"emb_params": vectors(3, 16, 1)}, file)
    reference.load_textual_inversion(str(file), token="sketchy", local_files_only=True)
    said = {"prompt": SAYS, "negative_prompt": UNWANTED, "guidance_scale": guidance}
    given: tuple[Any, ...] = (sampler, guidance, dtype, within, tmp_path, UNWANTED)
    as_on_a_table(pipeline, said, *given, prompt=SAYS, reference=reference, embedding=[str(file)])


def test_a_word_of_one_token_as_diffusers_saves_it(tmp_path: Path) -> None:
    pipeline, reference = (stable_diffusion().to(torch.float64) for _ in range(2))
    file = tmp_path / "learned_embeds.safetensors"
    save_file({"<fox-toy>": vectors(1, 16, 2)[0]}, file)
    reference.load_textual_inversion(str(file), local_files_only=True)
    says = "a photo of <fox-toy>, red"
    said = {"prompt": says, "negative_prompt": "", "guidance_scale": 5.0}
    given: tuple[Any, ...] = ("ddim", 5.0, torch.float64, 1e-6, tmp_path, "")
    as_on_a_table(pipeline, said, *given, prompt=says, reference=reference, embedding=[str(file)])


@pytest.mark.parametrize(("sampler", "guidance"), [("euler", 5.0), *(pytest.param(s, 1.0, marks=slow) for s in WAYS)])
@pytest.mark.parametrize(("dtype", "within"), FORMATS, ids=["fp64", "fp32"])
def test_a_word_for_both_encoders_of_the_larger_family_does_too(
    dtype: torch.dtype, within: float, sampler: str, guidance: float, tmp_path: Path
) -> None:
    pipeline, reference = (stable_diffusion_xl().to(dtype) for _ in range(2))
    file = tmp_path / "sketchy.safetensors"
    both = {"clip_l": vectors(2, 16, 1), "clip_g": vectors(2, 16, 2)}
    save_file(both, file)
    for name, n in (("clip_l", ""), ("clip_g", "_2")):
        parts = {part: getattr(reference, f"{part}{n}") for part in ("text_encoder", "tokenizer")}
        reference.load_textual_inversion(both[name], token="sketchy", **parts)
    said = {"prompt": SAYS, "negative_prompt": UNWANTED, "guidance_scale": guidance}
    given: tuple[Any, ...] = (sampler, guidance, dtype, within, tmp_path, UNWANTED)
    as_on_a_table(pipeline, said, *given, prompt=SAYS, reference=reference, embedding=[str(file)])


def test_two_words_draw_as_in_the_pipeline(tmp_path: Path) -> None:
    pipeline, reference = (stable_diffusion().to(torch.float64) for _ in range(2))
    files = [tmp_path / f"{name}.safetensors" for name in ("bold", "stern")]
    for n, file in enumerate(files):
        save_file({"emb_params": vectors(2 + n, 16, n)}, file)
        reference.load_textual_inversion(str(file), token=file.stem, local_files_only=True)
    says = "stern and bold, a stern fox, bold"
    said = {"prompt": says, "negative_prompt": "", "guidance_scale": 1.0}
    given: tuple[Any, ...] = ("euler", 1.0, torch.float64, 1e-6, tmp_path, "")
    as_on_a_table(pipeline, said, *given, prompt=says, reference=reference, embedding=[str(file) for file in files])
