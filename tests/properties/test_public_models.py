"""Public checkpoints behind our own controls: the same pixels in any company, every control that applies at work."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.importing import import_model
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.prompt.public import PublicEncoder
from darkroom.protocols import Conditioning
from darkroom.synthesis.samplers import FLOW_MAP, SAMPLERS
from darkroom.wording.syntax import Sentence, wordings
from tests.public import flux, needs_public, saved, stable_diffusion, stable_diffusion_3, stable_diffusion_xl, z_image

pytestmark = needs_public
MAKERS = {
    "sd1": stable_diffusion,
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "flux": flux,
    "z-image": z_image,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """One of each family, as a user opens it."""
    root = tmp_path_factory.mktemp("public")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_MODELS", str(root / "store"))
        for name, maker in MAKERS.items():
            import_model(saved(maker(), root / name))
        schnell = import_model(saved(flux(dev=False), root / "schnell")).card
        assert schnell.defaults.guidance == 1.0 and schnell.defaults.steps == 4
        return {name: load(name) for name in (*MAKERS, "schnell")}


def pixels(model: Model, inputs: Inputs | None = None, **asked: Any) -> np.ndarray:
    request = Request.checked({"prompt": "a red fox", "seed": 1, "steps": 2, "width": 64, "height": 64, **asked})
    recipe = model.resolve(request, inputs)
    return run(picture(recipe, model, inputs=inputs), model.evaluate).pixels


def mixed(model: Model, count: int) -> list[Request]:
    """Requests that differ in what can differ with a model."""
    random, flow = Random(2), model.synthesizer.kind == "flow"  # type: ignore[attr-defined]
    samplers = [name for name in SAMPLERS if name != FLOW_MAP]
    methods = [None, "projected", *(["zero-star"] if flow else [])]
    return [
        Request(
            prompt={
                "text": random.choice(["a red fox", "two blue cats", "snow"]),
                "negative": random.choice(["", "x"]),
            },
            seed=random.randrange(1000),
            steps=random.randint(1, 5),
            sampler=random.choice(samplers),
            guidance=random.choice([1.0, 4.0]),
            guidance_method=random.choice(methods),
            spacing=random.choice([None, "karras", "even"]),
            width=random.choice([64, 96]),
            height=64,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "z-image"])
def test_alone_is_in_company_bit_for_bit(family: str, models: dict[str, Model]) -> None:
    model = models[family]
    recipes = [model.resolve(request) for request in mixed(model, 8)]
    alone = [run(picture(recipe, model), model.evaluate).pixels for recipe in recipes]
    for outcome in Engine[Image](model.evaluate).run(picture(recipe, model) for recipe in recipes):
        assert outcome.result is not None, outcome.error
        assert np.array_equal(outcome.result.pixels, alone[outcome.index])


@pytest.mark.parametrize("family", [*MAKERS, "schnell"])
def test_words_seeds_and_sizes_count(family: str, models: dict[str, Model]) -> None:
    model = models[family]
    plain = pixels(model)
    assert np.array_equal(plain, pixels(model)) and plain.shape == (64, 64, 3)
    assert not np.array_equal(plain, pixels(model, prompt="a blue cat"))
    assert not np.array_equal(plain, pixels(model, seed=2))
    assert pixels(model, width=96).shape == (64, 96, 3)


CONTROLS: dict[str, dict[str, Any]] = {
    "negative": {"prompt": {"text": "a red fox", "negative": "snow"}},
    "guidance": {"guidance": 2.0},
    "rescale": {"guidance_rescale": 0.7},
    "interval": {"guidance_interval": (0.2, 0.5)},
    "threshold": {"guidance_threshold": 0.5},
    "method": {"guidance_method": "projected"},
    "shift": {"shift": 2.0},
    "spacing": {"spacing": "karras"},
    "sampler": {"sampler": "heun"},
    "fresh noise": {"sampler": "euler-a"},
    "regions": {"regions": ["left half: a cat"]},
    "toward": {"toward": "a dog:0.5"},
    "swap": {"swap": "fox->cat:0.8"},
    "tile": {"tile": "both"},
    "variation": {"variation": 0.3, "variation_seed": 9},
    "switch": {"prompt": "a [red:blue:0.5] fox"},
    "refine": {"refine": "contrast=1.3"},
}


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("family", ["sd1", "sd3"])
def test_every_control_changes_the_picture(control: str, family: str, models: dict[str, Model]) -> None:
    model = models[family]
    strong = {"guidance": 30.0} if control == "threshold" else {}  # so that there is something to cut
    assert not np.array_equal(pixels(model, **strong), pixels(model, **strong | CONTROLS[control]))


@pytest.mark.parametrize("family", [*MAKERS])
def test_a_picture_can_begin_with_another(family: str, models: dict[str, Model], tmp_path: Path) -> None:
    model, inputs = models[family], Inputs()
    start = np.zeros((64, 64, 3), np.uint8)
    start[16:48, 16:48] = (200, 30, 30)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    Pillow.fromarray(start).save(tmp_path / "start.png")
    Pillow.fromarray(mask).save(tmp_path / "mask.png")
    begun = {"init_image": str(tmp_path / "start.png"), "width": None, "height": None}
    half = pixels(model, inputs, **begun, mask=str(tmp_path / "mask.png"), mask_blur=0)
    assert np.array_equal(half[:, :32], start[:, :32]) and not np.array_equal(half[:, 32:], start[:, 32:])
    assert not np.array_equal(pixels(model, inputs, **begun, strength=0.5), pixels(model))


def test_guidance_of_one_is_plain(models: dict[str, Model]) -> None:
    plain = pixels(models["sd1"], guidance=1.0)
    negative = {"prompt": {"text": "a red fox", "negative": "snow"}}
    assert np.array_equal(plain, pixels(models["sd1"], guidance=1.0, **negative))


# --- how prompts are read ---------------------------------------------------------------------------------------------


def read(model: Model, text: str) -> Conditioning:
    [wording] = wordings(text, 1)
    return run(model.encoder.encode(wording.chunks), model.evaluate)


def test_long_prompts_are_read_in_parts(models: dict[str, Model]) -> None:
    encoder = models["sd1"].encoder
    text = ", ".join(f"a red fox number {n}" for n in ["one", "two", "three", "four", "five", "six"])
    assert encoder.length(text) > encoder.limit == 77
    parts, left = encoder.parts([Sentence(text)])
    assert len(parts) == 2 and not left and all(encoder.length(part.text) <= 77 for part in parts)
    said = read(models["sd1"], text)
    first, second = (read(models["sd1"], part.text) for part in parts)
    assert torch.equal(said.tokens, torch.cat([first.tokens, second.tokens]))
    assert pixels(models["sd1"], prompt=text).shape == (64, 64, 3)


def test_a_weight_moves_a_word_away_from_the_empty_sentence(models: dict[str, Model]) -> None:
    model = models["sd1"]
    plain, heavy, empty = (read(model, text).tokens for text in ("a red fox", "a (red:1.5) fox", ""))
    assert isinstance(model.encoder, PublicEncoder)
    starts = model.encoder.readers[0].starts("a red fox")
    word = torch.tensor([2 <= place < 5 for place in starts])
    assert word.sum() == 3  # letters are words of the tiny tokenizer
    torch.testing.assert_close(heavy[word], (empty + 1.5 * (plain - empty))[word])
    assert torch.equal(heavy[~word], plain[~word]) and not torch.allclose(heavy[word], plain[word])
    assert torch.equal(read(model, "a (red:1.0) fox").tokens, plain)


@pytest.mark.parametrize(
    ("family", "asked", "said"),
    [
        ("flux", {"prompt": "a fox, " * 100}, r"the prompt's \d+ tokens are more than the 512 that this model reads"),
        ("sd3", {"prompt": "a fox, " * 60}, r"the prompt's \d+ tokens are more than the 256 that this model reads"),
        (
            "z-image",
            {"prompt": "a fox, " * 100},
            r"the prompt's \d+ tokens are more than the 512 that this model reads",
        ),
        ("flux", {"prompt": "a (red:1.2) fox"}, "a weight in 'a red fox' has no meaning to this model"),
        ("flux", {"prompt": "a fox BREAK a cat"}, "a prompt of 2 chunks is read as one by this model"),
        ("flux", {"prompt": {"text": "a fox", "negative": "snow"}}, "a negative prompt has no meaning to this model"),
        ("flux", {"guidance_rescale": 0.5}, "is within the network"),
        ("schnell", {"guidance": 4.0}, "guidance 4 has no meaning to this model"),
        ("sdxl", {"guidance_method": "zero-star"}, "is a rule for rectified flows, and this model predicts eps"),
        ("sd3", {"sampler": "flow-map"}, "takes steps that only a flow map can"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(
    family: str, asked: dict[str, Any], said: str, models: dict[str, Model]
) -> None:
    with pytest.raises(BadInput, match=said):
        pixels(models[family], **asked)


def test_a_text_is_read_once_for_many_pictures(models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, asked = models["sdxl"].encoder, []
    pixels(models["sdxl"])  # so that the empty sentence is known
    assert isinstance(encoder, PublicEncoder)
    for reader in encoder.readers:
        forward = reader.network.forward
        monkeypatch.setattr(
            reader.network, "forward", lambda *a, forward=forward, **k: (asked.append(1), forward(*a, **k))[1]
        )
    first = pixels(models["sdxl"], prompt="a sentence that nobody said before")
    assert len(asked) == 2, "one text, two readers"
    assert np.array_equal(first, pixels(models["sdxl"], prompt="a sentence that nobody said before"))
    pixels(models["sdxl"], prompt="a sentence that nobody said before", seed=9)
    assert len(asked) == 2
