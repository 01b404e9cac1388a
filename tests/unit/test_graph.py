"""What ComfyUI graphs and other programs' texts amount to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from darkroom.contracts.errors import BadInput
from darkroom.picture.graph import parse_graph
from darkroom.picture.infotext import Infotext, parse_infotext


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def usual(**sampler: Any) -> dict[str, Any]:
    told = {"seed": 9, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return {
        "3": node(
            "KSampler", **told | sampler, model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=256, batch_size=1),
        "6": node("CLIPTextEncode", text="a red (fox:1.2) [at] {noon}", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="x"),
    }


def read(graph: Any) -> Infotext:
    found = parse_graph(json.dumps(graph))
    assert found is not None
    return found


def test_the_usual_graph() -> None:
    found = read(usual())
    request = found.request()
    assert request.prompt.text == r"a red (fox:1.2) \[at\] \{noon\}" and request.prompt.negative == "blurry"
    assert (request.seed, request.steps, request.guidance) == (9, 20, 8.0)
    assert (request.width, request.height) == (512, 256)
    assert (request.sampler, request.spacing) == ("euler", "even")
    assert found.left_out() == {"Model": "a.safetensors"}


def test_adapters_and_a_start_picture_are_left_out_and_said() -> None:
    graph = usual(denoise=0.6)
    graph["3"]["inputs"]["model"] = ["10", 0]
    graph["10"] = node("LoraLoader", lora_name="ink.safetensors", model=["4", 0], clip=["4", 1])
    left = read(graph).left_out()
    assert left == {"Model": "a.safetensors", "Denoising strength": "0.6", "Adapters": "ink.safetensors"}


def test_values_that_come_from_nodes_of_their_own() -> None:
    graph = usual(seed=["10", 0])
    graph["10"] = node("PrimitiveInt", value=77)
    graph["6"]["inputs"]["text"] = ["11", 0]
    graph["11"] = node("StringConstant", string="a cat")
    request = read(graph).request()
    assert (request.seed, request.prompt.text) == (77, "a cat")


def test_conditionings_that_are_combined_are_chunks() -> None:
    graph = usual()
    graph["3"]["inputs"]["positive"] = ["10", 0]
    graph["10"] = node("ConditioningConcat", conditioning_to=["6", 0], conditioning_from=["11", 0])
    graph["11"] = node("CLIPTextEncode", text="a BREAK in the snow", clip=["4", 1])
    text = read(graph).request().prompt.text
    assert set(text.split(" BREAK ")) == {r"a red (fox:1.2) \[at\] \{noon\}", r"a \BREAK in the snow"}


def test_a_node_that_passes_both_sides_on_is_followed_on_one() -> None:
    graph = usual()
    both = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=1.0)
    graph["10"] = both
    graph["3"]["inputs"] |= {"positive": ["10", 0], "negative": ["10", 1]}
    prompt = read(graph).request().prompt
    assert prompt.text.startswith("a red") and prompt.negative == "blurry"


def test_a_sampler_of_parts() -> None:
    graph = {
        "1": node(
            "SamplerCustomAdvanced",
            noise=["2", 0],
            guider=["3", 0],
            sampler=["4", 0],
            sigmas=["5", 0],
            latent_image=["6", 0],
        ),
        "2": node("RandomNoise", noise_seed=5),
        "3": node("BasicGuider", model=["7", 0], conditioning=["8", 0]),
        "4": node("KSamplerSelect", sampler_name="dpmpp_2m_sde_gpu"),
        "5": node("BasicScheduler", scheduler="karras", steps=8, denoise=1, model=["7", 0]),
        "6": node("EmptySD3LatentImage", width=64, height=128),
        "7": node("UNETLoader", unet_name="b.safetensors"),
        "8": node("FluxGuidance", guidance=3.5, conditioning=["9", 0]),
        "9": node("CLIPTextEncode", text="an owl", clip=["7", 0]),
    }
    request = read(graph).request()
    assert (request.prompt.text, request.prompt.negative, request.seed, request.steps) == ("an owl", "", 5, 8)
    assert (request.sampler, request.spacing, request.width, request.height) == ("dpmpp-2m-sde", "karras", 64, 128)


def test_of_two_samplers_the_one_that_begins_with_nothing() -> None:
    graph = usual()
    second = node("KSampler", **graph["3"]["inputs"] | {"steps": 4, "latent_image": ["20", 0]})
    assert read({"1": second, **graph, "20": node("LatentUpscale", samples=["3", 0])}).settings["Steps"] == "20"


NO_NODES = ["", "{", "[]", "7", '"a prompt"', "{}", '{"3": 5}', "[" * 100_000]
NO_SAMPLERS = ['{"3": {"class_type": "KSampler"}}', '{"3": {"inputs": {"steps": 5}}}', '{"3": {"inputs": [1, 2]}}']


@pytest.mark.parametrize("text", [*NO_NODES, *NO_SAMPLERS])
def test_what_is_no_graph_has_no_settings(text: str) -> None:
    assert parse_graph(text) is None


def test_links_in_a_circle_end() -> None:
    graph = usual()
    graph["6"]["inputs"]["text"] = ["6", 0]
    graph["5"]["inputs"]["width"] = ["5", 0]
    found = read(graph)
    assert found.prompt == "" and "Size" not in found.settings
    with pytest.raises(BadInput, match="prompt"):
        found.request()


@pytest.mark.parametrize(
    ("sampler", "schedule", "ours"),
    [
        ("Euler a", "Automatic", ("euler-a", "even")),
        ("DPM++ 2M Karras", "", ("dpmpp-2m", "karras")),
        ("DPM++ 2M", "Karras", ("dpmpp-2m", "karras")),
        ("DPM++ 3M SDE Exponential", "", ("dpmpp-3m-sde", "exponential")),
        ("DPM++ 2S a", "SGM Uniform", ("dpmpp-2s-a", "even")),
        ("dpmpp_2s_ancestral", "beta", ("dpmpp-2s-a", "beta")),
        ("k_dpm_2", "simple", ("dpm2", "even")),
        ("uni_pc_bh2", "ddim_uniform", ("unipc", "even")),
        ("DDIM", "", ("ddim", None)),
        ("PLMS", "Align Your Steps", (None, None)),
    ],
)
def test_names_of_other_programs(sampler: str, schedule: str, ours: tuple[str | None, str | None]) -> None:
    settings = {"Sampler": sampler, "Schedule type": schedule, "Steps": "4"}
    found = Infotext("a fox", "", {key: value for key, value in settings.items() if value})
    request = found.request()
    assert (request.sampler, request.spacing) == ours
    left = {"Sampler": sampler} if ours[0] is None else {}
    assert found.left_out() == left | ({"Schedule type": schedule} if ours[1] is None and schedule else {})


def test_another_programs_adapters_are_no_words() -> None:
    found = parse_infotext("a fox <lora:ink:0.7> {x}\nSteps: 4, Sampler: Euler, CFG scale: 2, Clip skip: 2")
    assert found.request().prompt.text == r"a fox  \{x\}"
    assert found.left_out() == {"Clip skip": "2", "Adapters": "<lora:ink:0.7>"}
