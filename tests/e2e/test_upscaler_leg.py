"""A toy run of the upscaler's leg, from built data to a model that draws larger pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.cards import read_card
from darkroom.contracts.errors import BadInput
from darkroom.data.halved import area
from darkroom.data.scenes.spec import FULL, Photo
from darkroom.data.stock import tables
from darkroom.data.stock.built import DRAWINGS, PHOTOS
from darkroom.data.stock.drawings import LARGE_TABLE, SpriteTable
from darkroom.data.stock.pack import PackError
from darkroom.door import open_model
from darkroom.nn.upscaler import BranchedUpscaler, Upscaler, bicubic, nano
from darkroom.training.handover import HANDOVER, hand_over, leg_of
from darkroom.training.legs.place import Place
from darkroom.training.legs.upscaler import upscaler_leg
from darkroom.training.loop import TrainConfig, Trainer
from darkroom.training.objectives.upscaler import UpscalerObjective, UpscalerObjectiveConfig, charbonnier, psnr
from darkroom.training.packing import pack
from tests.tiny import saved, tiny_model
from tests.toys import same_bits, sprite_table

STEPS, BATCH = 4, 3
SETTINGS = UpscalerObjectiveConfig(network=nano(), crop=32)
WORDS = ("cat", "dog", "car", "apple", "banana", "house", "tree", "star", "woman", "lion", "top hat", "crown")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings of a dozen things in every style, two of the styles at 256 px as well, and photos of noise."""
    folder = tmp_path_factory.mktemp("data")
    small = sprite_table(tuple(FULL.styles), words=WORDS)
    tables.save(small.sprites, small.pixels, folder, DRAWINGS)
    both = [s for s in small.sprites if s.style in ("3d", "cartoon")]
    pixels = small.pixels[[s.row for s in both]].repeat_interleave(2, 2).repeat_interleave(2, 3)
    large = SpriteTable(tuple(replace(s, row=i, box=(28, 28, 228, 228)) for i, s in enumerate(both)), pixels)
    tables.save(large.sprites, large.pixels, folder, LARGE_TABLE)
    shots = torch.randint(0, 256, (5, 3, 128, 128), generator=torch.Generator().manual_seed(0)).byte()
    tables.save([Photo(i, f"p{i}", (f"photo {i}",), f"clothing/{i}") for i in range(5)], shots, folder, PHOTOS)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without an upscaler, whose autoencoder the pictures go through."""
    return saved(tiny_model(with_upscaler=False), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def leg(data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trainer]:
    out = tmp_path_factory.mktemp("runs")

    def made(name: str, start: Path | None = None, settings: UpscalerObjectiveConfig = SETTINGS) -> Trainer:
        config = TrainConfig(STEPS * BATCH, BATCH, log_steps=2)
        place = Place(data, out / name, torch.device("cpu"))
        return upscaler_leg(place, config, settings, autoencoder=model, start=start)

    return made


@pytest.fixture(scope="module")
def run(leg: Callable[..., Trainer]) -> Trainer:
    trainer = leg("first")
    trainer.run(lambda report: None, pytest.fail)
    assert trainer.step == STEPS and trainer.skipped == 0
    hand_over(trainer)
    return trainer


def test_what_is_handed_over_is_folded(run: Trainer) -> None:
    folder = run.folder / HANDOVER
    assert {path.name for path in folder.iterdir()} == {"upscaler.safetensors", "branches.safetensors", "leg.json"}
    averaged = BranchedUpscaler(nano())
    averaged.load_state_dict(run.ema.average)
    folded, wanted = load_file(folder / "upscaler.safetensors"), averaged.folded().state_dict()
    assert folded.keys() == wanted.keys() == Upscaler(nano()).state_dict().keys()
    for name, tensor in folded.items():  # folded of branches that are bf16, and bf16 again
        torch.testing.assert_close(
            tensor.float(), wanted[name], rtol=2**-6, atol=2**-6 * float(wanted[name].abs().max())
        )
    assert leg_of(folder)["networks"]["upscaler"] == asdict(nano())
    assert set(leg_of(folder)["origin"]) == {"autoencoder"}
    preview = run.folder / "previews" / f"{STEPS * BATCH:09d}.png"
    assert preview.stat().st_size > 10_000


def test_a_leg_goes_on_from_a_hand_over(run: Trainer, leg: Callable[..., Trainer]) -> None:
    folder = run.folder / HANDOVER
    again = leg("second", folder)
    branches = load_file(folder / "branches.safetensors")
    assert again.step == 0 and len(branches) == len(again.masters.masters)
    assert all(torch.equal(again.masters.masters[f"layers.{name}"], t.float()) for name, t in branches.items())
    with pytest.raises(BadInput, match="holds an upscaler of another size"):
        leg("third", folder, replace(SETTINGS, network=replace(nano(), width=16)))


def test_a_run_that_was_stopped_ends_in_the_same_bits(run: Trainer, leg: Callable[..., Trainer]) -> None:
    half = leg("half")
    for _ in range(2):
        half.advance()
    half.folder.mkdir(parents=True, exist_ok=True)
    half.save()
    rest = leg("half")
    assert rest.resume(pytest.fail) and rest.step == 2
    while rest.step < STEPS:
        rest.advance()
    assert same_bits(rest.masters.masters, run.masters.masters) and same_bits(rest.ema.average, run.ema.average)


def test_pairs_show_the_same_place_and_half_of_them_went_through_the_autoencoder(run: Trainer) -> None:
    objective = run.objective
    assert isinstance(objective, UpscalerObjective)
    objective.autoencoder, kept = _Same(), objective.autoencoder  # type: ignore[assignment]
    try:
        small, target, decoded = objective.pairs(0, 24, torch.Generator().manual_seed(1))
    finally:
        objective.autoencoder = kept
    assert small.shape == (48, 3, 16, 16) and target.shape == (48, 3, 32, 32)
    assert 8 < int(decoded.sum()) < 36
    # Through an autoencoder that changes nothing the small picture is the large one's mean.
    torch.testing.assert_close(small[decoded], area(target[decoded]), rtol=0, atol=1e-6)
    apart = (small - area(target)).abs().mean((1, 2, 3))
    assert apart.max() < 0.2 and apart[~decoded].max() > 1e-3  # noise, blur and blocks, in the right place


class _Same(torch.nn.Module):
    """An autoencoder whose latents are the pixels, in double precision; noise on them is taken for granted."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        self.pixels = pixels
        return pixels

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return self.pixels


def test_the_loss_falls_when_the_picture_gets_nearer(run: Trainer) -> None:
    target = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    errors = [charbonnier(share * torch.ones(4)) for share in (0.0, 0.01, 0.1, 0.2)]
    assert errors[0] == 0 and errors[1] < errors[2] < errors[3]
    assert float(errors[3] - errors[2]) == pytest.approx(0.1, rel=0.02)  # far away it is the absolute error
    assert psnr(target + 0.1, target).tolist() == pytest.approx([20, 20], abs=1e-3)
    assert psnr(target, target).tolist() == [60, 60]


def test_an_upscaler_learns_what_bicubic_does_not_know() -> None:
    """Checks of one pixel, averaged away in the small picture but for their phase: bicubic stays grey there."""
    torch.manual_seed(0)
    target = torch.rand(8, 3, 16, 16).round()
    target = torch.where(torch.rand(8, 1, 16, 16) < 0.5, target, 1 - target).repeat_interleave(2, 2)[:, :, :16]
    small, network = area(target), BranchedUpscaler(nano())
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        charbonnier(network(small) - target).backward()
        optimiser.step()
    with torch.no_grad():
        gain = psnr(network(small), target) - psnr(bicubic(small), target)
    assert gain.min() > 0.3


def test_a_folder_built_before_says_what_to_do(data: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for path in data.glob("sprites.*"):
        (tmp_path / "old" / path.name).symlink_to(path)
    place = Place(tmp_path / "old", tmp_path / "run", torch.device("cpu"))
    with pytest.raises(PackError, match="holds no drawings at 256 px"):
        upscaler_leg(place, TrainConfig(4, 2), SETTINGS, autoencoder=model, start=None)


def test_it_is_packed_into_a_model_that_draws_larger(run: Trainer, model: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    configs = read_card(model).configs
    for part in ("text", "denoiser"):
        save_file(load_file(model / f"{part}.safetensors"), base / f"{part}.safetensors")
    (base / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    told = {"name": "diffusion", "samples": 1, "config": {"composer": {"pictures": "own", "words": ["fox"]}}}
    (base / "leg.json").write_text(json.dumps({**told, "networks": {p: configs[p] for p in ("text", "denoiser")}}))
    upscaler = run.folder / HANDOVER
    plain, with_one = (
        pack(model, base, tmp_path / name, name, None, upscaler=given)
        for name, given in (("plain", None), ("with-one", upscaler))
    )
    card = read_card(with_one)
    assert set(card.files) - set(read_card(plain).files) == {"upscaler"}
    assert card.defaults.upscale == 2 and card.defaults.drawn == (128, 128)
    assert read_card(plain).defaults.upscale == 1 and [one.what for one in card.training][-1] == "upscaler"
    for name, size in (("plain", 64), ("with-one", 128)):
        opened = open_model(str(tmp_path / name))
        if name == "plain":
            with pytest.raises(BadInput, match="the model has no upscaler"):
                opened.generate("a fox", upscale=2)
        image = opened.generate("a fox", seed=1, steps=1, width=size, height=size, upscale=size // 64)
        assert image.pixels.shape == (size, size, 3)
    again = pack(model, base, tmp_path / "again", "again", with_one / "card.json", upscaler=upscaler)
    assert read_card(again).training == card.training  # and the leg is not told twice
    bare = pack(model, base, tmp_path / "bare", "bare", with_one / "card.json")
    assert read_card(bare).defaults == read_card(plain).defaults  # what it cannot enlarge it does not promise
    with pytest.raises(BadInput, match="holds no upscaler"):
        pack(model, base, tmp_path / "none", "none", None, upscaler=base)
