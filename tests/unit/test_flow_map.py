"""A denoiser as a flow map: what it begins as, its derivative, what its training reaches, and what it is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import sprite_table

from darkroom.contracts.errors import BadInput
from darkroom.contracts.request import Request
from darkroom.data.loader import Scenes
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.model import Model, assembled
from darkroom.nn import autoencoder, text
from darkroom.nn.dit import FASTEST, Denoiser, sized
from darkroom.nn.embed import sinusoids
from darkroom.picture.image import Image
from darkroom.protocols import Call
from darkroom.synthesis.diffusion import DiffusionSynthesizer
from darkroom.training.objectives.flowmap import (
    GUIDANCE,
    FlowMapObjective,
    FlowMapObjectiveConfig,
    FlowMapTraining,
    Said,
    acting,
    adaptive,
    derived,
)
from darkroom.training.objectives.latents import Teaching
from darkroom.wording.tokenizer import Tokenizer
from tests.tiny import tiny_model

PLAIN = replace(sized("nano", 4), depth=3)
MAP = replace(PLAIN, flow_map=GUIDANCE)


def randomised(network: nn.Module, seed: int = 1) -> nn.Module:
    """Random values for what starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return network


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def asked(network: Denoiser, x: Tensor, *times: Tensor) -> Tensor:
    vectors, mask = drawn(len(x), 5, 32, seed=3), torch.ones(len(x), 5, dtype=torch.bool)
    condition = network.condition(times[0], vectors[:, 0], *times[1:])
    velocity: Tensor = network(x, condition, network.text_keys(vectors), mask)[0]
    return velocity


# --- the network -------------------------------------------------------------------------------------------------


def made_of(plain: Denoiser) -> Denoiser:
    made = Denoiser(MAP)
    fresh = {name: tensor for name, tensor in made.state_dict().items() if name.startswith("guidance.")}
    made.load_state_dict({**plain.state_dict(), **fresh})
    return made


def test_a_flow_map_begins_as_the_denoiser_it_is_made_of() -> None:
    torch.manual_seed(0)
    plain = Denoiser(PLAIN)
    randomised(plain)
    made, x, t = made_of(plain), drawn(3, 4, 8, 8), torch.tensor([0.2, 0.7, 1.0])
    fast = sinusoids(torch.zeros(1), 128)[0] - sinusoids(torch.zeros(1), 128, fastest=FASTEST)[0] != 0
    with torch.no_grad():  # a denoiser that does not listen to fast waves either
        plain.time.layers[0].weight[:, : len(fast)][:, fast.nonzero().flatten()] = 0
        plain.time.layers[0].weight[:, 64:][:, fast[:64]] = 0
    for guidance in (1.0, 4.0):  # it is told the guidance, and has learnt nothing of it yet
        same = asked(made, x, t, t, torch.full((3,), guidance))
        torch.testing.assert_close(same, asked(plain, x, t), rtol=1e-5, atol=1e-6)
    elsewhere = asked(made, x, t, t / 2, torch.full((3,), 1.0))
    assert (elsewhere - same).abs().amax((1, 2, 3)).min() > 1e-3


def test_only_the_last_third_is_told_where_the_step_goes() -> None:
    network = Denoiser(MAP)
    randomised(network)
    vectors, mask = drawn(1, 5, 32), torch.ones(1, 5, dtype=torch.bool)

    def tokens_after(block: int, toward: float) -> Tensor:
        condition = network.condition(torch.tensor([0.8]), vectors[:, 0], torch.tensor([toward]), torch.tensor([2.0]))
        tapped = network(drawn(1, 4, 8, 8), condition, network.text_keys(vectors), mask, tap=block)[1]
        assert tapped is not None
        return tapped

    assert [torch.equal(tokens_after(i, 0.1), tokens_after(i, 0.6)) for i in range(3)] == [True, True, False]
    assert MAP.turn == 2 and sized("mini").turn == 5


def test_waves_faster_than_the_bound_are_not_heard() -> None:
    t = torch.linspace(0, 1, 5)
    slow, every = sinusoids(t, 128, fastest=FASTEST), sinusoids(t, 128)
    heard = slow.abs().amax(0) > 0
    assert torch.equal(slow[:, heard], every[:, heard])
    assert heard[:64].sum() == heard[64:].sum() + 0 and 30 < heard[:64].sum() < 64
    grown = sinusoids(t + 1e-4, 128, fastest=FASTEST) - slow
    assert grown.abs().max() < 1.1e-4 * FASTEST


def test_the_forward_derivative_is_the_difference_quotient() -> None:
    torch.manual_seed(0)
    network = Denoiser(MAP)
    randomised(network).double()
    x, v = drawn(4, 4, 8, 8).double(), drawn(4, 4, 8, 8, seed=5).double()
    t, r = torch.tensor([0.3, 0.6, 0.9, 1.0]).double(), torch.tensor([0.0, 0.5, 0.1, 0.75]).double()

    def u(x: Tensor, t: Tensor) -> Tensor:
        vectors, mask = drawn(4, 5, 32, seed=3).double(), torch.ones(4, 5, dtype=torch.bool)
        condition = network.condition(t, vectors[:, 0], r, torch.full((4,), 2.0).double())
        velocity: Tensor = network(x, condition, network.text_keys(vectors), mask)[0]
        return velocity

    target = derived(u, x, t, r, v)
    h = 2e-3  # norms and waves are taken in fp32, so a smaller one only measures their rounding
    with torch.no_grad():
        change = (u(x + h * v, t + h) - u(x - h * v, t - h)) / (2 * h)
    quotient = v - (t - r).view(4, 1, 1, 1) * change
    assert (target - v).abs().mean() > 0.02  # there is something to get wrong
    assert (target - quotient).abs().mean() < 0.02 * (target - v).abs().mean()


# --- training ----------------------------------------------------------------------------------------------------


def objective() -> FlowMapObjective:
    table = sprite_table(("3d", "flat"))
    scenes = Scenes(Composer(table), ComposerConfig(styles={"3d": 0.5, "flat": 0.5}, stock=table.stock))
    tokenizer = Tokenizer.train(scenes(0, 8).captions * 3, 512)
    torch.manual_seed(0)
    teacher, module = Denoiser(PLAIN), FlowMapTraining(MAP)
    randomised(teacher)
    module.denoiser.load_state_dict(made_of(teacher).state_dict())
    settings = FlowMapObjectiveConfig(network=MAP, text=text.nano(), length=28)
    codec, words = autoencoder.Autoencoder(autoencoder.nano()), text.TextEncoder(text.nano())
    return FlowMapObjective(module, settings, Teaching(scenes, tokenizer, 28), codec, teacher, words)


def test_every_parameter_learns_and_the_teacher_does_not() -> None:
    taught = objective()
    before = {name: tensor.clone() for name, tensor in taught.teacher.state_dict().items()}
    adam = torch.optim.Adam(taught.module.parameters(), lr=1e-3)
    still = {name for name, _ in taught.module.named_parameters()}
    for step in range(3):
        adam.zero_grad()
        loss, metrics = taught.loss(8 * step, 8, torch.Generator().manual_seed(step))
        loss.backward()
        for name, parameter in taught.module.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name
            if parameter.grad is not None and parameter.grad.any():
                still.discard(name)
        adam.step()
    # The first block has no earlier values to mix in, and hints are not given.
    assert still == {"denoiser.blocks.0.value_mix", "denoiser.hints.weight"}
    assert metrics["instant"][1] == 2 and metrics["map"][1] == 6
    assert all(torch.equal(tensor, before[name]) for name, tensor in taught.teacher.state_dict().items())


def test_rows_learn_what_is_left_of_a_step() -> None:
    taught = objective()
    taught.settings = replace(taught.settings, counts=(4,))
    t, r, guidance = taught._steps(4000, torch.Generator().manual_seed(0))
    assert (r[:1000] == t[:1000]).all() and t.min() > 0 and t.max() == 1
    t, r = t[1000:], r[1000:]
    assert set(r.tolist()) == {0, 0.25, 0.5, 0.75} and (r < t).all() and (t <= r + 0.25).all()
    assert 0.45 < (t == r + 0.25).float().mean() < 0.55
    assert 0.15 < (guidance == 1).float().mean() < 0.25
    assert guidance.min() == 1 and 5.9 < guidance.max() <= 6
    taught.settings = replace(taught.settings, counts=(1, 2))
    t, r, _ = taught._steps(4000, torch.Generator().manual_seed(0))
    assert set(r[1000:].tolist()) == {0, 0.5}


def test_where_no_step_is_taken_the_guided_velocity_is_the_target() -> None:
    taught = objective()
    x, t = drawn(3, 4, 16, 16), torch.tensor([0.05, 0.5, 0.99])
    words, mask = drawn(3, 28, 32), torch.ones(3, 28, dtype=torch.bool)

    def said(guidance: float) -> Said:
        return Said(torch.full((3,), guidance), words, words[:, 0], mask)

    plain, strong, stronger = (taught._velocity(x, t, said(guidance)) for guidance in (1.0, 2.0, 3.0))
    condition = taught.teacher.condition(t, words[:, 0])
    told = taught.teacher(x, condition, taught.teacher.text_keys(words), mask)[0]
    torch.testing.assert_close(plain, told, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stronger - strong, strong - plain, rtol=1e-3, atol=1e-5)  # a line through both
    assert [bool((strong[i] - plain[i]).abs().max() > 1e-3) for i in range(3)] == [False, True, False]
    assert acting(torch.tensor([3.0, 3.0]), torch.tensor([0.05, 0.5])).tolist() == [1.0, 3.0]
    taught.settings = replace(taught.settings, instant_share=1.0)
    assert torch.equal(taught._target(x, t, t, strong, said(2.0)), strong)


def test_both_ways_to_a_target_can_be_asked_for() -> None:
    """On a network that is the denoiser still, both leave the first rows alone and differ in the others."""
    taught = objective()
    x, t, r = drawn(4, 4, 16, 16), torch.tensor([0.5, 0.5, 0.8, 0.8]), torch.tensor([0.5, 0.4, 0.7, 0.1])
    words, mask = drawn(4, 28, 32), torch.ones(4, 28, dtype=torch.bool)
    said = Said(torch.full((4,), 2.0), words, words[:, 0], mask)
    v = taught._velocity(x, t, said)
    by_solver = taught._target(x, t, r, v, said)
    taught.settings = replace(taught.settings, solves=0)
    by_identity = taught._target(x, t, r, v, said)
    for target in (by_solver, by_identity):
        assert torch.equal(target[0], v[0]) and target.isfinite().all()
        assert (target - v)[1:].abs().amax((1, 2, 3)).min() > 1e-3
    assert (by_solver - by_identity)[1:].abs().amax((1, 2, 3)).min() > 1e-4


def test_errors_are_weighed_by_their_size() -> None:
    error = torch.tensor([1e-4, 1.0, 100.0], requires_grad=True)
    adaptive(error, 0.01, 0.5).sum().backward()
    torch.testing.assert_close(error.grad, (error.detach() + 0.01) ** -0.5)


# --- drawing -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def model(plain: Model) -> Model:
    """The tiny model with a flow map of random weights."""
    synthesizer = plain.synthesizer
    assert isinstance(synthesizer, DiffusionSynthesizer)
    torch.manual_seed(3)
    denoiser = Denoiser(replace(synthesizer.network.config, flow_map=GUIDANCE))
    randomised(denoiser)
    card = plain.card.model_copy(
        update={"defaults": plain.card.defaults.model_copy(update={"sampler": "flow-map", "steps": 2})}
    )
    parts = (plain.encoder.tokenizer, plain.encoder.network, plain.codec.network)  # type: ignore[attr-defined]
    return assembled(card, *parts, denoiser.to(plain.dtype))  # type: ignore[arg-type]


def pixels(model: Model, calls: list[Call] | None = None, **asked: object) -> np.ndarray:
    def evaluate(some: list[Call]) -> list[Tensor]:
        if calls is not None:
            calls.extend(call for call in some if call.network == model.synthesizer.NETWORK)
        return model.evaluate(some)

    request = Request(**{"prompt": "a red fox", "seed": 3, **asked})  # type: ignore[arg-type]
    return run(picture(model.resolve(request), model), evaluate).pixels  # type: ignore[arg-type]


def test_a_picture_takes_one_evaluation_a_step_that_names_its_end(model: Model) -> None:
    calls: list[Call] = []
    first = pixels(model, calls, guidance=4.0)
    assert [(c.inputs["t"], c.inputs["toward"], c.inputs["guidance"]) for c in calls] == [(1, 0.5, 4), (0.5, 0, 4)]
    assert not np.array_equal(first, pixels(model, guidance=2.0))
    calls.clear()
    pixels(model, calls, sampler="euler")  # for one level alone
    assert [(c.inputs["t"], c.inputs["toward"]) for c in calls] == [(1, 1), (0.5, 0.5)]


def test_a_negative_prompt_counts_and_none_costs_nothing(model: Model) -> None:
    calls: list[Call] = []
    bare = pixels(model)
    away = pixels(model, calls, prompt={"text": "a red fox", "negative": "snow"})
    assert not np.array_equal(bare, away)
    assert [c.inputs["guidance"] for c in calls] == [3, 1, 1] * 2  # what is wanted, nothing, what is not
    blank = pixels(model, prompt={"text": "a red fox", "negative": "  "})
    assert np.array_equal(bare, blank)
    plain = pixels(model, guidance=1.0)
    assert np.array_equal(plain, pixels(model, guidance=1.0, prompt={"text": "a red fox", "negative": "snow"}))


def test_alone_and_together_are_the_same_pixels(model: Model) -> None:
    words = ("a red fox", "two blue cats in the snow", "a green tree")
    requests = [
        Request(prompt={"text": said, "negative": no}, seed=i, steps=steps, guidance=guidance, sampler=sampler)
        for i, (said, no, steps, guidance, sampler) in enumerate(
            [
                (words[0], "", 2, 3.0, "flow-map"),
                (words[1], "snow", 3, 1.5, "flow-map"),
                (words[2], "", 4, 6.0, "flow-map"),
                (words[0], "a tree", 2, 4.0, "heun"),
                (words[1], "", 1, 1.0, "flow-map"),
            ]
        )
    ]
    recipes = [model.resolve(request) for request in requests]
    alone = [run(picture(recipe, model), model.evaluate).pixels for recipe in recipes]
    for order in (range(5), reversed(range(5))):
        chosen = list(order)
        tasks = (picture(recipes[i], model) for i in chosen)
        for outcome in Engine[Image](model.evaluate).run(tasks):
            assert outcome.result is not None, outcome.error
            assert np.array_equal(outcome.result.pixels, alone[chosen[outcome.index]])


def test_what_a_model_cannot_be_drawn_with_is_refused(model: Model, plain: Model) -> None:
    with pytest.raises(BadInput, match=r"guidance 7 is not from 1 to 6, which is all this flow map was taught"):
        model.resolve(Request(prompt="a fox", guidance=7.0))
    with pytest.raises(BadInput, match=r"sampler flow-map takes steps that only a flow map can, .*; take dpmpp-2m"):
        plain.resolve(Request(prompt="a fox", sampler="flow-map"))
    assert plain.resolve(Request(prompt="a fox", guidance=7.0)).guidance == 7
