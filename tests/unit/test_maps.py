"""Control maps of any picture: they are those that scenes have, where pixels show them."""

from __future__ import annotations

import json
import re
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from program import ran

from darkroom.contracts.errors import BadInput
from darkroom.control.maps import MADE, _tones, foreground, map_of
from darkroom.data.scenes.conditions import OF_PIXELS, concept_colour, seen_map
from darkroom.picture.read import read
from darkroom.wording.vocabulary import concept_of


def nothing(pixels: torch.Tensor) -> list[tuple[str, tuple[float, float, float, float]]]:
    return []


@pytest.fixture
def disc() -> np.ndarray:
    """A red disc with a dark rim and a hole of the ground's colour, on a ground that gets darker downwards."""
    y, x = np.mgrid[:128, :128]
    ground = np.stack([200 - y // 3] * 3, -1).astype(np.uint8)
    away = np.hypot(x - 70, y - 60)
    ground[away < 40] = (30, 30, 30)
    ground[away < 36] = (210, 40, 40)
    ground[away < 8] = (180, 180, 180)
    return ground


@pytest.mark.parametrize("kind", OF_PIXELS)
def test_a_map_of_pixels_is_the_map_of_a_scene(kind: str, disc: np.ndarray) -> None:
    pixels = torch.from_numpy(disc).permute(2, 0, 1).float() / 255
    wanted = (seen_map(kind, pixels) * 255).round().byte().permute(1, 2, 0).numpy()
    assert (map_of(kind, disc, 128, nothing) == wanted).all() and wanted.any()


@pytest.mark.parametrize(("shape", "size"), [((300, 200), (85, 128)), ((64, 256), (128, 32)), ((90, 90), (128, 128))])
def test_maps_have_the_picture_s_shape(shape: tuple[int, int], size: tuple[int, int]) -> None:
    noisy = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    for kind in OF_PIXELS:
        assert map_of(kind, noisy, 128, nothing).shape == (size[1], size[0], 3)


def test_a_silhouette_is_what_does_not_hang_together_with_the_border(disc: np.ndarray) -> None:
    found = foreground(torch.from_numpy(disc).permute(2, 0, 1).float() / 255)
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    away = torch.hypot(x - 70.0, y - 60.0)
    assert found[away < 38].all() and not found[away > 44].any()  # with its hole: that is no border's ground


def test_a_silhouette_of_what_is_transparent_is_its_alpha(disc: np.ndarray) -> None:
    alpha = np.zeros((128, 128, 1), np.uint8)
    alpha[20:50, 30:90] = 255
    found = map_of("silhouette", np.concatenate([disc, alpha], -1), 128, nothing)
    assert (found[..., 0] == alpha[..., 0]).all()


@pytest.mark.parametrize("kind", OF_PIXELS)
def test_what_cannot_be_seen_through_transparency_is_on_no_map(kind: str, disc: np.ndarray) -> None:
    alpha = np.zeros((128, 128, 1), np.uint8)
    alpha[30:90, 30:90] = 255
    noisy = np.random.default_rng(0).integers(0, 255, disc.shape, dtype=np.uint8)
    hidden, plain = (np.where(alpha > 0, disc, under) for under in (noisy, np.uint8(255)))
    found = map_of(kind, np.concatenate([hidden, alpha], -1), 128, nothing)
    assert (found == map_of(kind, plain, 128, nothing)).all()


def test_a_large_silhouette_takes_little_memory() -> None:
    """Every colour of a border with every other would be 3 GB here."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(_tones(torch.full((3, 4 * 4096), 0.5))) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KB


def test_a_layout_is_boxes_of_what_is_seen(disc: np.ndarray) -> None:
    def seeing(pixels: torch.Tensor) -> list[tuple[str, tuple[float, float, float, float]]]:
        assert pixels.shape == (3, 128, 128)
        return [("cat", (0.0, 0.5, 0.5, 1.2)), ("fox", (0.25, 0.5, 0.75, 0.75))]

    found = map_of("layout", disc, 128, seeing)
    cat, fox = (tuple(round(c) for c in concept_colour(concept_of(word).index)) for word in ("cat", "fox"))  # type: ignore[union-attr]
    assert abs(found[120, 10].astype(int) - cat).max() <= 1 and abs(found[80, 60].astype(int) - fox).max() <= 1
    assert not found[:60].any() and not found[:, 100:].any()


def test_what_is_not_to_be_seen_is_refused(disc: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"a pose map is not to be seen in a picture; edges, scribble, .* draw one"):
        map_of("pose", disc, 128, nothing)
    with pytest.raises(BadInput, match="did you mean 'edges'"):
        map_of("edgse", disc, 128, nothing)
    plain = np.full((64, 64, 3), 90, np.uint8)
    for kind in set(MADE) - {"palette"}:
        with pytest.raises(BadInput, match=f"a {kind} map shows nothing of this picture"):
            map_of(kind, plain, 128, nothing)


def test_from_the_command_line(
    disc: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(disc).save("disc.png")
    assert ran("control-map", "edges", "disc.png") == 0 and ran("control-map", "edges", "disc.png") == 0
    assert capfd.readouterr().out.split() == ["disc-edges.png", "disc-edges-2.png"]
    assert (read(Path("disc-edges.png")) == map_of("edges", disc, 128, nothing)).all()
    assert ran("control-map", "layout", "disc.png", "--size", "96", "--out", "maps.jpg") != 0
    assert "names no PNG" in capfd.readouterr().err
    assert ran("control-map", "palette", "disc.png", "--size", "5000") != 0
    assert re.search(r"--size 5000 is not from 16 to 4096", capfd.readouterr().err)
    assert ran("control-map", "palette", "nowhere.png") != 0 and "nowhere.png" in capfd.readouterr().err
    assert ran("control-map", "palette", "disc.png", "--out", "p.png", "--size", "64") == 0
    assert read(Path("p.png")).shape == (64, 64, 3)
    assert json.dumps(capfd.readouterr().out.strip()) == '"p.png"'
