"""Colour spaces: there and back, known colours, and what a screen cannot show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darkroom.refine import colour

COLOURS = np.concatenate(
    [
        np.random.default_rng(0).random((4000, 3)),
        np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 3), -1).reshape(-1, 3),
    ]
)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (colour.to_linear, colour.to_encoded),
        (colour.linear_to_xyz, colour.xyz_to_linear),
        (colour.xyz_to_oklab, colour.oklab_to_xyz),
    ],
)
def test_there_and_back(there: Callable[..., np.ndarray], back: Callable[..., np.ndarray]) -> None:
    assert np.abs(back(there(COLOURS)) - COLOURS).max() < 1e-12
    assert np.abs(there(back(COLOURS)) - COLOURS).max() < 1e-8


def test_the_whole_way_there_and_back() -> None:
    assert np.abs(colour.from_oklab(colour.to_oklab(COLOURS)) - COLOURS).max() < 1e-9
    steps = colour.xyz_to_oklab(colour.linear_to_xyz(colour.to_linear(COLOURS)))
    assert np.abs(steps - colour.to_oklab(COLOURS)).max() < 1e-12


def test_known_colours() -> None:
    assert colour.to_linear(np.array([0.5]))[0] == pytest.approx(0.21404114, abs=1e-8)
    assert colour.linear_to_xyz(np.ones(3)) == pytest.approx([0.950456, 1.0, 1.089058], abs=1e-6)
    assert colour.linear_to_xyz(np.array([1.0, 0, 0])) == pytest.approx([0.4124, 0.2126, 0.0193], abs=1e-4)
    # the pairs of Ottosson's page
    pairs = (([0.950, 1.0, 1.089], [1, 0, 0]), ([1, 0, 0], [0.450, 1.236, -0.019]))
    for xyz, oklab in (*pairs, ([0, 1, 0], [0.922, -0.671, 0.263]), ([0, 0, 1], [0.153, -1.415, -0.449])):
        assert colour.xyz_to_oklab(np.array(xyz, float)) == pytest.approx(oklab, abs=6e-4)


def test_a_colour_too_strong_for_a_screen_gives_up_colour_and_nothing_else() -> None:
    oklab = colour.to_oklab(COLOURS) * [1.0, 3.0, 3.0]
    found = colour.from_oklab(oklab)
    assert found.min() >= 0 and found.max() <= 1
    shown = colour.to_oklab(found)
    inside = (oklab[:, 0] > 0.05) & (oklab[:, 0] < 0.98)
    assert np.abs(shown[inside, 0] - oklab[inside, 0]).max() < 0.01
    strong = inside & (np.hypot(*shown[:, 1:].T) > 0.03)
    turned = np.angle((shown[strong, 1] + 1j * shown[strong, 2]) / (oklab[strong, 1] + 1j * oklab[strong, 2]))
    assert strong.sum() > 1000 and np.abs(turned).max() < 0.02
    edge = np.minimum(found, 1 - found).min(-1)
    beyond = np.abs(shown - oklab).max(-1) > 1e-6
    assert edge[beyond & inside].max() < 0.03  # as much colour as there is room for


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(1).random((37, 23, 3), np.float32)
    whole = colour.in_strips(colour.to_oklab, pixels)
    monkeypatch.setattr(colour, "STRIP", 50)
    assert np.array_equal(colour.in_strips(colour.to_oklab, pixels), whole) and whole.dtype == np.float32


def test_a_light_adapted_to_another_is_that_other() -> None:
    light, wanted = colour.xyz_of(*colour.planckian(2856)), colour.xyz_of(*colour.D65)
    assert colour.adaptation(light, wanted) @ light == pytest.approx(wanted)
    assert colour.adaptation(light, light) == pytest.approx(np.eye(3))
    there, back = colour.adaptation(light, wanted), colour.adaptation(wanted, light)
    assert there @ back == pytest.approx(np.eye(3))


def test_black_bodies_go_from_red_to_blue() -> None:
    assert colour.planckian(2856) == pytest.approx((0.4476, 0.4074), abs=1e-3)  # illuminant A
    x = [colour.planckian(kelvin)[0] for kelvin in range(1667, 25001, 50)]
    assert all(np.diff(x) < 0)
