"""Pictures in tiles: they cover all of it, count one in all, and what comes out is nearly what comes out at once."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.generate import run
from darkroom.latent.codec import AutoencoderCodec
from darkroom.latent.tiles import OVERLAP, TiledCodec, ramps, spans
from darkroom.model import Model, load
from tests.guides import ROOT


@given(side=st.integers(1, 400), tile=st.integers(4, 128))
def test_tiles_cover_a_side_evenly_and_count_one_in_all(side: int, tile: int) -> None:
    found = spans(side, tile)
    assert found[0][0] == 0 and found[-1][1] == side
    assert {end - begin for begin, end in found} == {min(side, tile)}
    for (_, end), (begin, _) in pairwise(found):
        assert end - begin >= int(tile * OVERLAP)
    whole = torch.zeros(side)
    for (begin, end), counts in zip(found, ramps(found), strict=True):
        assert (counts >= 0).all()
        whole[begin:end] += counts
    torch.testing.assert_close(whole, torch.ones(side))


@cache
def model() -> Model:
    """The model in the package: its autoencoder was trained, and norms of one that was not say nothing of seams."""
    return load()


@cache
def photo() -> torch.Tensor:
    pixels = np.asarray(Image.open(ROOT / "docs" / "pictures" / "lighthouse.jpg").convert("RGB").resize((384, 320)))
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize(("tile", "within", "worst"), [(256, 0.1, 10), (192, 0.2, 15)])
def test_a_picture_in_tiles_is_nearly_that_at_once(tile: int, within: float, worst: float) -> None:
    """Measured: .04 and .1 of 255 in the mean, 4 and 6 at worst."""
    codec = model().codec
    assert isinstance(codec, AutoencoderCodec)
    tiled = TiledCodec(codec, tile)
    latent = run(codec.encode(photo()), model().evaluate)
    whole = run(codec.decode(latent), model().evaluate)
    found = run(tiled.decode(latent), model().evaluate)
    apart = 255 * (found - whole).abs()
    assert 0 < apart.mean() < within and apart.max() < worst
    again = run(tiled.encode(photo()), model().evaluate)
    assert (again - latent).abs().mean() < 0.005 * latent.std()


def test_what_is_no_larger_than_a_tile_is_asked_as_one() -> None:
    codec = model().codec
    assert isinstance(codec, AutoencoderCodec)
    small = photo()[:, :128, :128].contiguous()
    tiled = TiledCodec(codec, 128)
    latent = run(codec.encode(small), model().evaluate)
    assert torch.equal(run(tiled.encode(small), model().evaluate), latent)
    assert torch.equal(run(tiled.decode(latent), model().evaluate), run(codec.decode(latent), model().evaluate))
    assert tiled.shape(384, 320) == codec.shape(384, 320)


def test_a_start_picture_is_found_again_at_its_place() -> None:
    """Tiles that were laid down elsewhere, or the wrong way round, would not be a picture."""
    codec = model().codec
    assert isinstance(codec, AutoencoderCodec)
    tiled = TiledCodec(codec, 192)
    again = run(tiled.decode(run(tiled.encode(photo()), model().evaluate)), model().evaluate)
    assert (again - photo()).abs().mean() < 6 / 255  # 4.4 at once
