"""How many calls share a pass: as many as find room in memory, by what passes took."""

from __future__ import annotations

import numpy as np
import pytest

from darkroom.contracts.request import Request
from darkroom.engine import Engine
from darkroom.generate import picture
from darkroom.machine.passes import KINDS, SHARE, Passes
from darkroom.picture.image import Image
from darkroom.protocols import Call
from tests.tiny import tiny_model

MB = 2**20


def test_what_a_row_takes_is_measured() -> None:
    """By what was really used, and given back since; and as many find room as that says."""
    free = [3_000 * MB]
    passes = Passes(lambda: free[0])
    assert passes.most("large") == 1  # nobody knows: one is tried
    with passes.measured("large", 1):
        np.ones(30 * MB, dtype=np.uint8)
    most = passes.most("large")
    assert most is not None and most == pytest.approx(SHARE * 100, rel=0.1)
    with passes.measured("large", 1):  # it is known by now
        np.ones(120 * MB, dtype=np.uint8)
    assert passes.most("large") == most
    with passes.measured("large", 2):
        np.ones(120 * MB, dtype=np.uint8)
    assert passes.most("large") == pytest.approx(SHARE * 50, rel=0.1)
    free[0] = 0
    passes._asked = float("-inf")  # a tenth of a second later
    assert passes.most("large") == 1


def test_what_fails_is_not_known_and_few_kinds_are() -> None:
    passes = Passes(lambda: 100 * MB)
    with pytest.raises(MemoryError), passes.measured("failed", 8):
        raise MemoryError
    assert passes.most("failed") == 1
    for kind in range(KINDS + 10):
        passes._kinds[kind] = 8, 1.0
    with passes.measured("newest", 1):
        pass
    assert len(passes._kinds) == KINDS and passes.most("newest") is not None


def test_where_the_system_does_not_tell_all_of_a_slot_is_taken() -> None:
    assert Passes(lambda: None).most("anything") is None


@pytest.mark.parametrize("free", [0, 2**60, None])
def test_an_engine_keeps_within_what_is_free(free: int | None) -> None:
    """One by one where there is nothing, up to a slot's worth where there is plenty; the pixels are the same."""
    model, sizes = tiny_model(), dict[str, list[int]]()

    def evaluate(calls: list[Call]) -> list[object]:
        sizes.setdefault(calls[0].network, []).append(len(calls))
        return model.evaluate(calls)

    recipes = [
        model.resolve(Request.checked({"prompt": "a red fox", "seed": seed, "steps": 2, "guidance": 1}))
        for seed in range(8)
    ]
    plain = Engine[Image](model.evaluate).ended(picture(recipe, model) for recipe in recipes)
    engine = Engine[Image](evaluate, passes=Passes(lambda: free))  # type: ignore[arg-type]
    bounded = engine.ended(picture(recipe, model) for recipe in recipes)
    for one, other in zip(plain, bounded, strict=True):
        assert isinstance(one, Image) and isinstance(other, Image) and np.array_equal(one.pixels, other.pixels)
    if free is None:
        assert sizes["denoiser"] == [8, 8]
    elif free:
        assert sizes["denoiser"][0] == 1 and max(sizes["denoiser"]) > 1
    else:
        assert {size for some in sizes.values() for size in some} == {1}
