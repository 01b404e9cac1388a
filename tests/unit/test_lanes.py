"""Several passes under way at once: the same pixels, threads shared, and nobody's answer goes to somebody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture, run
from darkroom.machine.passes import Passes
from darkroom.model import Model, load
from darkroom.picture.image import Image
from darkroom.protocols import Call, Task
from tests.tiny import tiny_model


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """As on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@dataclass
class Watched:
    """A model whose passes are counted: how many were under way when each began, with how many threads and rows."""

    model: Model
    rest_s: float = 0.01  # that each takes longer, for another to begin meanwhile
    seen: list[tuple[int, int, int]] = field(default_factory=list)
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """As the model does."""
        with self.lock:
            self.under_way += 1
            self.seen.append((self.under_way, torch.get_num_threads(), len(calls)))
        try:
            time.sleep(self.rest_s)
            return self.model.evaluate(calls)
        finally:
            with self.lock:
                self.under_way -= 1

    @property
    def most(self) -> int:
        """Passes that were under way at once."""
        return max(at_once for at_once, _, _ in self.seen)


def requests(count: int) -> list[Request]:
    samplers = ("euler", "heun", "dpmpp-2m", "euler-a")
    return [
        Request.checked(
            {"prompt": f"{'two blue cats' if i % 3 else 'a red fox'} in the snow", "seed": i, "steps": 2 + i % 4}
            | {"sampler": samplers[i % 4], "guidance": 1 + i % 2, "width": 64, "height": 64, "upscale": 1}
        )
        for i in range(count)
    ]


def alone(model: Model, request: Request) -> np.ndarray:
    return run(picture(model.resolve(request), model), model.evaluate).pixels


@pytest.mark.parametrize("open_model", [tiny_model, load])
def test_the_pixels_are_those_of_each_alone(open_model) -> None:
    """Of a model in fp32 and of the one in the package, in bf16."""
    model = open_model()
    asked, watched = requests(12), Watched(model)
    ended = Engine[Image](watched.evaluate, lanes=2).ended(picture(model.resolve(one), model) for one in asked)
    assert watched.most == 2 and torch.get_num_threads() == 2
    assert {threads for at_once, threads, _ in watched.seen if at_once == 2} == {1}
    for image, one in zip(ended, asked, strict=True):
        assert isinstance(image, Image) and np.array_equal(image.pixels, alone(model, one))


def test_few_calls_have_all_cores() -> None:
    model = tiny_model()
    watched = Watched(model)
    [image] = Engine[Image](watched.evaluate, lanes=2).ended([picture(model.resolve(requests(2)[1]), model)])
    assert isinstance(image, Image) and {(at_once, threads) for at_once, threads, _ in watched.seen} == {(1, 2)}


def test_as_many_lanes_as_threads_at_most() -> None:
    torch.set_num_threads(1)
    model = tiny_model()
    watched = Watched(model)
    Engine[Image](watched.evaluate, lanes=2).ended(picture(model.resolve(one), model) for one in requests(12))
    assert watched.most == 1


def test_large_networks_have_all_cores() -> None:
    """They are large here where they decode: nothing else is under way then."""
    model = tiny_model()
    watched, decoding = Watched(model), []

    def evaluate(calls: Sequence[Call]) -> list[Tensor]:
        if calls[0].network == "decoder":
            decoding.append((watched.under_way, torch.get_num_threads()))
        return watched.evaluate(calls)

    engine = Engine[Image](evaluate, lanes=2, large=lambda call: call.network == "decoder")
    engine.ended(picture(model.resolve(one), model) for one in requests(12))
    assert watched.most == 2 and set(decoding) == {(0, 2)}


def test_what_is_measured_runs_by_itself() -> None:
    model, passes = tiny_model(), Passes(lambda: 2**40)
    watched, unknown = Watched(model), []

    def evaluate(calls: Sequence[Call]) -> list[Tensor]:
        if not passes.knows(calls[0].batch_key, len(calls)):
            unknown.append((watched.under_way, torch.get_num_threads()))
        return watched.evaluate(calls)

    engine = Engine[Image](evaluate, passes=passes, lanes=2)
    engine.ended(picture(model.resolve(one), model) for one in requests(16))
    assert watched.most == 2 and set(unknown) == {(0, 2)}


def test_one_that_fails_leaves_the_others_alone() -> None:
    model, asked = tiny_model(), requests(12)

    def evaluate(calls: Sequence[Call]) -> list[Tensor]:
        if len(calls) > 2 and calls[0].network == "denoiser":
            raise torch.OutOfMemoryError("out of memory")  # halves find room
        return model.evaluate(calls)

    def fails() -> Task[Image]:
        yield [Call("nowhere", {"x": torch.zeros(1)})]
        raise AssertionError("it had an answer")

    tasks = [*(picture(model.resolve(one), model) for one in asked), fails()]
    *ended, failed = Engine[Image](evaluate, lanes=2).ended(tasks)
    assert isinstance(failed, KeyError)
    for image, one in zip(ended, asked, strict=True):
        assert isinstance(image, Image) and np.array_equal(image.pixels, alone(model, one))


def test_one_that_is_dropped_while_it_is_asked_for_leaves_the_others_alone() -> None:
    model, asked = tiny_model(), requests(12)
    engine, found = Engine[Image](Watched(model).evaluate, lanes=2), {}
    for number, one in enumerate(asked):
        assert list(engine.begin(number, picture(model.resolve(one), model))) == []
    while len(engine):
        for outcome in engine.round():
            found[outcome.index] = outcome.result
        for number in (3, 8):
            engine.drop(number)
    assert found.keys() == set(range(12)) - {3, 8} and torch.get_num_threads() == 2
    for number, image in found.items():
        assert isinstance(image, Image) and np.array_equal(image.pixels, alone(model, asked[number]))


def test_whoever_wants_no_more_gets_the_threads_back() -> None:
    model = tiny_model()
    watched = Watched(model)
    ended = Engine[Image](watched.evaluate, lanes=2).run(picture(model.resolve(one), model) for one in requests(12))
    next(ended)
    ended.close()
    assert torch.get_num_threads() == 2 and watched.under_way == 0
