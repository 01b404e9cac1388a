"""The one dial: what follows from a size."""

from __future__ import annotations

import pytest
import torch

from darkroom.cli.run import app
from darkroom.contracts.errors import BadInput
from darkroom.nn.dit import Denoiser, DenoiserConfig
from darkroom.training.legs.sizes import SIZES, size_named


def weights(config: DenoiserConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Denoiser(config).parameters())


def test_larger_sizes_are_larger_and_learn_in_larger_portions_and_smaller_steps() -> None:
    sizes = [size_named(name) for name in ("nano", "mini", "base")]
    assert len(SIZES) == 3
    counted = [weights(size.denoiser) for size in sizes]
    assert counted == sorted(counted) and counted[0] < 1e6 < counted[1] < 20e6 < counted[2] < 40e6
    batches, rates = [size.batch(64, None) for size in sizes], [size.rate(1e-3, None) for size in sizes]
    assert batches == [16, 64, 256] and rates[1] == 1e-3 and rates == sorted(rates, reverse=True)
    assert size_named("base").batch(64, 100) == 100 and size_named("base").rate(1e-3, 0.5) == 0.5
    assert size_named("nano").batch(2, None) == 1  # never none


def test_the_parts_of_a_size_fit_together() -> None:
    for name in SIZES:
        size = size_named(name)
        assert size.denoiser.channels == size.autoencoder.channels
        assert size.denoiser.text_width == size.text.width


def test_a_size_there_is_not() -> None:
    with pytest.raises(BadInput, match="unknown size 'mimi'; did you mean 'mini'"):
        size_named("mimi")


@pytest.mark.parametrize("verb", ["autoencoder", "text", "diffusion --autoencoder a", "judge", "upscaler"])
def test_every_leg_has_the_dial(verb: str) -> None:
    _, bound, _ = app.parse_args(f"train {verb} --size nano", exit_on_error=False, print_error=False)
    assert bound.arguments["size"] == "nano"
