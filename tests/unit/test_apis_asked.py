"""What calls of two other APIs come to as requests of ours, and what is said of the rest. No server runs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkroom.contracts.request import MAX_SEED, Request
from darkroom.picture.read import read as read_picture
from darkroom.server.keeping.folders import Folders
from darkroom.server.routes.a1111 import asked as a1111
from darkroom.server.routes.a1111 import requested
from darkroom.server.routes.a1111.names import SAMPLERS, SCHEDULERS, model_named, model_titles, sampling
from darkroom.server.routes.openai import asked as openai
from darkroom.server.routes.openai.edits import mask_of
from darkroom.server.settings import Settings
from darkroom.server.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(Settings(Folders(tmp_path)))


def generated(studio: Studio, **fields: Any) -> tuple[list[Request], list[str]]:
    """The requests of a call to /v1/images/generations, and its notes."""
    asked = openai.read({"prompt": "a fox", **fields})
    notes = openai.notes_on({"prompt": "a fox", **fields}, asked, edit=False)
    return openai.requests_of(asked, notes, studio, {}), notes


def drawn(studio: Studio, **fields: Any) -> tuple[list[Request], list[str]]:
    """The requests of a call to txt2img, or img2img where there are init_images; and its notes."""
    fields = {"prompt": "a fox", **fields}
    asked = a1111.read(fields)
    notes = a1111.notes_on(fields, asked)
    return requested.requests_of(asked, notes, studio, "default", starts="init_images" in fields), notes


def in_base64(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def square(side: int = 32, value: int = 90) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


# ---- OpenAI's


def test_openai_nothing_said_is_nothing_asked(studio: Studio) -> None:
    [request], notes = generated(studio)
    assert request == Request(prompt="a fox") and notes == []


@pytest.mark.parametrize(
    ("quality", "steps", "best_of"),
    [
        *(("low", 6, 1), ("medium", None, 1), ("auto", None, 1), ("standard", None, 1)),
        *(("high", 24, 1), ("hd", 24, 1), ("xhigh", 24, 2), ("max", 24, 4)),
    ],
)
def test_openai_quality(studio: Studio, quality: str, steps: int | None, best_of: int) -> None:
    [request], _ = generated(studio, quality=quality)
    assert (request.steps, request.best_of) == (steps, best_of)
    [request], _ = generated(studio, quality=quality, steps=5)
    assert request.steps == 5


def test_openai_fields(studio: Studio) -> None:
    requests, notes = generated(
        studio, n=3, seed=7, size="128x192", negative_prompt="blur", guidance_scale=2.5, sampler="heun", style="flat"
    )
    assert [one.seed for one in requests] == [7, 8, 9] and notes == []
    first = requests[0]
    assert (first.width, first.height, first.guidance, first.sampler, first.style) == (128, 192, 2.5, "heun", "flat")
    assert first.prompt.negative == "blur"
    assert [one.seed for one in generated(studio, n=2, seed=MAX_SEED)[0]] == [MAX_SEED, 0]
    [vivid], [natural] = generated(studio, style="vivid")[0], generated(studio, style="natural")[0]
    assert vivid.refine != () and natural.refine == ()
    [own] = generated(studio, darkroom={"tile": "both", "upscale": 1})[0]
    assert (own.tile, own.upscale) == ("both", 1)


def test_openai_notes(studio: Studio) -> None:
    _, notes = generated(
        studio, model="gpt-image-1", moderation="low", user="u1", n=1, output_compression=50, frame_count=9,
        partial_images=1, input_fidelity="high",
    )  # fmt: skip
    named = ["model gpt-image-1", "moderation", "user", "output_compression", "frame_count", "partial_images"]
    assert all(any(name in note for note in notes) for name in [*named, "input_fidelity"]), notes
    assert len(notes) == 7
    assert generated(studio, moderation="auto", user=None)[1] == []


def test_openai_forms_are_as_json() -> None:
    form = {"prompt": "7", "n": "2", "stream": "true", "seed": "7", "size": "auto", "darkroom": '{"tile": "both"}'}
    told = openai.from_form(form)
    assert told == {"prompt": "7", "n": 2, "stream": True, "seed": 7, "size": "auto", "darkroom": {"tile": "both"}}


def test_openai_masks_are_where_a_picture_is_transparent() -> None:
    pixels = np.zeros((2, 1, 4), np.uint8)
    pixels[1, 0, 3] = 255
    mask = mask_of(pixels)
    assert mask is not None and mask.tolist() == [[[255] * 3], [[0] * 3]]
    assert mask_of(square()) is None


# ---- A1111's


def test_a1111_samplers_both_ways() -> None:
    for ours, theirs in SAMPLERS.items():
        assert sampling(theirs, None, None) == {"sampler": ours}
        assert sampling(ours, None, None) == {"sampler": ours}
        for spacing, label in SCHEDULERS.items():
            assert sampling(theirs, label, None) == {"sampler": ours, "spacing": spacing}
    assert sampling("DPM++ 2M Karras", "Automatic", None) == {"sampler": "dpmpp-2m", "spacing": "karras"}
    assert sampling("k_euler_a", "normal", None) == {"sampler": "euler-a", "spacing": "even"}
    assert sampling(None, None, None) == sampling("", "automatic", None) == {}
    assert sampling("flow-map", None, ["flow-map"]) == {"sampler": "flow-map"}


def test_a1111_models_by_any_of_their_names() -> None:
    title = model_titles()["default"]
    digest = title[-11:-1]
    for text in ("default", title, title.lower(), "default.safetensors", f"default.safetensors [{digest}]", digest):
        assert model_named(text) == "default"


def test_a1111_fields(studio: Studio) -> None:
    requests, notes = drawn(
        studio, seed=7, batch_size=2, n_iter=2, steps=9, cfg_scale=4, width=256, height=192, tiling=True,
        negative_prompt="blur", sampler_name="Euler a", scheduler="Karras", styles=["flat"],
    )  # fmt: skip
    assert [one.seed for one in requests] == [7, 8, 9, 10] and notes == []
    first = requests[0]
    assert (first.steps, first.guidance, first.width, first.height, first.tile) == (9, 4, 256, 192, "both")
    assert (first.sampler, first.spacing, first.style, first.prompt.negative) == ("euler-a", "karras", "flat", "blur")
    assert drawn(studio, seed=-1)[0][0].seed is None
    [kept], _ = drawn(studio, infotext="a dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 3, Size: 512x512")
    assert (kept.prompt.text, kept.steps, kept.sampler, kept.width) == ("a fox", 20, "euler-a", 512)


def test_a1111_variations_count_the_other_seed(studio: Studio) -> None:
    requests, _ = drawn(studio, seed=7, subseed=20, subseed_strength=0.3, batch_size=2)
    assert [(one.seed, one.variation_seed, one.variation) for one in requests] == [(7, 20, 0.3), (7, 21, 0.3)]
    assert drawn(studio, seed=7, subseed=20)[0][0].variation is None


def test_a1111_hires(studio: Studio) -> None:
    [request], notes = drawn(
        studio, width=256, height=128, enable_hr=True, hr_scale=2, denoising_strength=0.4, hr_upscaler="Latent"
    )
    assert (request.width, request.height, request.hires) == (512, 256, 0.4)
    assert notes == ["hr_upscaler changes nothing: the model's own upscaler enlarges"]
    [request], _ = drawn(studio, width=256, height=128, enable_hr=True, hr_resize_x=512)
    assert (request.width, request.height, request.hires) == (512, 256, None)
    [plain], notes = drawn(studio, width=256, height=128, enable_hr=False, hr_upscaler="Latent", denoising_strength=0.4)
    assert (plain.width, plain.hires, notes) == (256, None, [])


def test_a1111_names_what_changes_nothing(studio: Studio) -> None:
    [request], notes = drawn(
        studio, width=520, height=256, restore_faces=True, eta=0.5, s_noise=1, script_name="x/y/z plot", brand_new=1,
        override_settings={"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "default"}, styles=["noir", "None"],
        alwayson_scripts={"ADetailer": {"args": [True]}, "animatediff": {"args": [False]}},
        prompt="a fox <lora:nowhere:0.8> <hypernet:x:1>",
    )  # fmt: skip
    assert request.width == 512 and request.prompt.text == "a fox"
    named = ["restore_faces", "eta", "script_name", "brand_new", "CLIP_stop_at_last_layers", "'noir'", "'ADetailer'"]
    named += ["<lora:nowhere>", "<hypernet:x:1>", "width 520 is drawn as 512"]
    assert all(any(name in note for note in notes) for name in named), notes
    assert len(notes) == len(named)


def test_a1111_prompts_name_loras(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    for name in ("ink.safetensors", "wash.v2.safetensors"):
        (tmp_path / "adapters" / name).write_bytes(b"")
    [request], notes = drawn(studio, prompt="a {red} fox <lora:ink:0.8><lora:wash.v2>", negative_prompt="<lora:ink:-1>")
    assert notes == [] and request.prompt.text == r"a \{red\} fox" and request.prompt.negative == ""
    assert [(one.file, one.scale) for one in request.lora or ()] == [
        ("ink.safetensors", 0.8),
        ("wash.v2.safetensors", 1.0),
        ("ink.safetensors", -1.0),
    ]


def test_a1111_controls(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "canny.safetensors").write_bytes(b"")
    unit = {"model": "canny [1234]", "image": in_base64(square()), "weight": 0.7, "guidance_end": 0.5, "module": "None"}
    off, empty = {**unit, "enabled": False}, {**unit, "model": "None"}
    [request], notes = drawn(studio, alwayson_scripts={"controlnet": {"args": [unit, off, empty]}})
    [control] = request.control or ()
    assert (control.network, control.scale, control.start, control.end) == ("canny.safetensors", 0.7, 0, 0.5)
    assert (tmp_path / "inputs" / control.map).is_file() and notes == []


def test_a1111_masks(studio: Studio, tmp_path: Path) -> None:
    mask = square(value=0)
    mask[:8] = 255
    fields = {"init_images": [in_base64(square())], "mask": in_base64(mask), "denoising_strength": 0.6}
    [request], notes = drawn(studio, **fields, mask_blur=2, inpainting_fill=1)
    assert (request.strength, request.mask_blur, notes) == (0.6, 2, [])
    assert (read_picture(tmp_path / "inputs" / (request.mask or "")) == mask).all()
    [request], notes = drawn(studio, **fields, inpainting_mask_invert=1, inpainting_fill=0, inpaint_full_res=True)
    assert request.strength == 1.0 and len(notes) == 2
    assert (read_picture(tmp_path / "inputs" / (request.mask or "")) == 255 - mask).all()
    [request], _ = drawn(studio, init_images=[in_base64(square())])
    assert (request.strength, request.mask) == (0.75, None)


@pytest.mark.parametrize(("mode", "size"), [(0, (128, 64)), (1, (32, 32)), (2, (128, 64)), (3, (128, 64))])
def test_a1111_resize_modes(studio: Studio, tmp_path: Path, mode: int, size: tuple[int, int]) -> None:
    pixels = square()
    pixels[:, :16] = 200
    [request], _ = drawn(studio, init_images=[in_base64(pixels)], width=128, height=64, resize_mode=mode)
    found = read_picture(tmp_path / "inputs" / (request.init_image or ""))
    assert found.shape[1::-1] == size and (request.width, request.height) == (128, 64)
    if mode == 2:  # the whole picture, 64 wide, with its edges carried on
        assert abs(int(found[32, 50, 0]) - 200) < 3 and abs(int(found[32, 80, 0]) - 90) < 3
