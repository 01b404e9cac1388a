"""The networks: shapes, gradients, and what must not matter (padding, absent hints, tiles, batch size)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import sprite_table

from darkroom.data.loader import Scenes
from darkroom.data.scenes.compose import Composer
from darkroom.data.scenes.spec import ComposerConfig
from darkroom.nn import autoencoder, text
from darkroom.nn.attention import SwiGLU, attend, hidden_width, product, split_heads
from darkroom.nn.autoencoder import FACTOR, Autoencoder, AutoencoderConfig
from darkroom.nn.config import read_config
from darkroom.nn.dit import Denoiser, DenoiserConfig, patches, sized, unpatched
from darkroom.nn.embed import centred_positions, rotary_table, rotate, sinusoids
from darkroom.nn.norm import RMSNorm
from darkroom.nn.text import TextEncoder, pooled
from darkroom.training.objectives.diffusion import DiffusionTraining
from darkroom.training.objectives.text import TextObjective, TextObjectiveConfig, TextTraining
from darkroom.wording.tokenizer import Tokenizer

NANO = sized("nano", 4)


def every_layer_counts(module: nn.Module) -> nn.Module:
    """Random values for what starts at zero: a zero layer would hide what comes before it."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return module


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def words(rows: int, length: int, real: Iterable[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, spellings and mask of random captions with so many real tokens each."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 512, (rows, length), generator=generator)
    characters = torch.randint(1, 257, (rows, length, 12), generator=generator)
    return ids, characters, torch.arange(length) < torch.tensor(list(real))[:, None]


# --- parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("real", [None, [5, 9, 1]])
def test_attention_is_torchs(real: list[int] | None) -> None:
    q, k, v = drawn(3, 2, 7, 16), drawn(3, 2, 9, 16, seed=1), drawn(3, 2, 9, 16, seed=2)
    mask = None if real is None else torch.arange(9) < torch.tensor(real)[:, None]
    expected = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, None, None, :])
    found = attend(q, k, v, mask)
    assert found.shape == (3, 7, 32)
    assert (found - expected.transpose(1, 2).flatten(2)).abs().max() < 1e-5


def test_heads_are_cut_and_joined_alike() -> None:
    x = drawn(2, 5, 12)
    assert torch.equal(split_heads(x, 4).transpose(1, 2).flatten(2), x)
    assert torch.equal(split_heads(x, 4)[:, 1, :, 0], x[:, :, 4])


def test_swiglu_is_its_equation() -> None:
    layer, x = SwiGLU(8, 16), drawn(2, 3, 8)
    gate, up = (x @ half.T for half in layer.into.weight.chunk(2))
    assert torch.allclose(layer(x), (F.silu(gate) * up) @ layer.down.weight.T, atol=1e-6)
    assert [hidden_width(w) for w in (288, 384, 448)] == [768, 1024, 1216]


def test_rms_norm_is_torchs_and_squares_in_fp32() -> None:
    norm, x = RMSNorm(32), drawn(4, 32) * 3
    with torch.no_grad():
        norm.gain.copy_(drawn(32, seed=3))
    assert torch.allclose(norm(x), F.rms_norm(x, (32,), norm.gain, 1e-6), atol=1e-6)
    rough = (x * 100).bfloat16()  # squares summed in bf16 would be off by per cents
    assert torch.equal(RMSNorm(32).bfloat16()(rough), F.rms_norm(rough.float(), (32,), eps=1e-6).bfloat16())


@pytest.mark.parametrize(("height", "width", "side"), [(4, 4, 2), (6, 10, 2), (3, 5, 1), (9, 6, 3)])
def test_patches_are_cut_in_reading_order_and_put_back(height: int, width: int, side: int) -> None:
    x = drawn(2, 3, height * side, width * side)
    tokens = patches(x, side)
    assert tokens.shape == (2, height * width, 3 * side * side)
    second_row = x[0, :, side : 2 * side, :side]  # the token below the first one
    assert torch.equal(tokens[0, width].view(3, side, side), second_row)
    assert torch.equal(unpatched(tokens, side, height, width), x)


def test_rotary_turns_by_distance_alone() -> None:
    """Moving query and key together changes no score; moving one does; lengths stay."""
    q, k = drawn(1, 64), drawn(1, 64, seed=1)

    def score(a: tuple[float, float], b: tuple[float, float]) -> float:
        cos, sin = rotary_table(torch.tensor([a, b]).float(), 64)
        return float((rotate(q, cos[:1], sin[:1]) * rotate(k, cos[1:], sin[1:])).sum())

    assert score((0, 0), (2, -3)) == pytest.approx(score((5, 1), (7, -2)), abs=1e-4)
    assert abs(score((0, 0), (2, -3)) - score((0, 0), (2, 3))) > 1e-2
    assert abs(score((0, 0), (2, 0)) - score((0, 0), (0, 2))) > 1e-2
    cos, sin = rotary_table(torch.tensor([[3.0, -4.0]]), 64)
    assert rotate(q, cos, sin).norm() == pytest.approx(q.norm().item(), rel=1e-5)
    assert torch.equal(rotate(q, *rotary_table(torch.zeros(1, 2), 64)), q)


def test_places_are_counted_from_the_middle() -> None:
    assert centred_positions(2, 3).tolist() == [[-0.5, -1], [-0.5, 0], [-0.5, 1], [0.5, -1], [0.5, 0], [0.5, 1]]


def test_times_are_told_apart() -> None:
    t = torch.linspace(0, 1, 101)
    table = sinusoids(t, 128)
    assert table.shape == (101, 128) and table.abs().max() <= 1
    assert torch.cdist(table, table).fill_diagonal_(9).min() > 0.5


# --- shapes ------------------------------------------------------------------------------------------------------


def denoised(
    network: Denoiser, x: Tensor, t: Tensor, vectors: Tensor, mask: Tensor, hints: Tensor | None = None
) -> Tensor:
    condition = network.condition(t, pooled(vectors, mask))
    return network(x, condition, network.text_keys(vectors), mask, hints)[0]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 24), (2, 2)])
@pytest.mark.parametrize("length", [1, 16, 48])
def test_a_denoiser_takes_any_size(height: int, width: int, length: int) -> None:
    network, x = Denoiser(NANO), drawn(2, 4, height, width)
    vectors, mask = drawn(2, length, 32), torch.ones(2, length, dtype=torch.bool)
    assert network.text_keys(vectors).shape == (2, NANO.depth, 2, length, NANO.width)
    assert denoised(network, x, torch.tensor([0.1, 1.0]), vectors, mask).shape == x.shape
    tapped = network(x, network.condition(torch.rand(2), vectors[:, 0]), network.text_keys(vectors), mask, tap=1)[1]
    assert tapped is not None and tapped.shape == (2, height * width // 4, NANO.width)


def test_an_untrained_denoiser_says_nothing() -> None:
    """adaLN-zero: the velocity is zero, so the first loss is the target's variance."""
    vectors, mask = drawn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool)
    assert not denoised(Denoiser(NANO), drawn(2, 4, 8, 8), torch.rand(2), vectors, mask).any()


def test_the_one_dial() -> None:
    assert sized("mini").width == 384 and sized("nano", 16).channels == 16
    with pytest.raises(ValueError, match="size 'huge' is not one of nano, mini, base"):
        sized("huge")
    assert read_config(DenoiserConfig, {"width": 64, "depth": 2}) == DenoiserConfig(width=64, depth=2)
    with pytest.raises(ValueError, match="no setting 'widht'; did you mean 'width'"):
        read_config(DenoiserConfig, {"widht": 64})
    assert DenoiserConfig(channels=8).hint_channels == 17


def test_time_and_sentence_are_added_before_the_modulation() -> None:
    """The sum is written with one bias, for the compiler's sake; it is the sum of the two layers all the same."""
    network = every_layer_counts(Denoiser(NANO))
    assert isinstance(network, Denoiser)
    t, sentence = torch.rand(3), drawn(3, 32)
    c = F.silu(network.time(t) + network.pooled(sentence))
    blocks, final = network.condition(t, sentence)
    assert torch.allclose(blocks, network.modulation(c).unflatten(-1, (6, -1)), atol=1e-6)
    assert torch.allclose(final, network.final_modulation(c).unflatten(-1, (2, -1)), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (8, 40)])
def test_an_autoencoder_is_eight_times_smaller_a_side(height: int, width: int) -> None:
    for config in (autoencoder.nano(), AutoencoderConfig()):
        network, pixels = Autoencoder(config), torch.rand(2, 3, height, width)
        latent = network.encode(pixels)
        assert latent.shape == (2, config.channels, height // FACTOR, width // FACTOR)
        assert network.decode(latent).shape == pixels.shape
        assert network.encoder(pixels * 1e6).abs().max() <= config.clamp


def test_latents_are_standardised_on_the_way_out_and_back() -> None:
    network = Autoencoder(autoencoder.nano())
    raw = network.encoder(torch.rand(2, 3, 32, 32))
    network.shift.copy_(drawn(4))
    network.scale.copy_(drawn(4, seed=1).abs() + 0.5)
    latent = (raw - network.shift.view(4, 1, 1)) / network.scale.view(4, 1, 1)
    assert torch.allclose(network.decode(latent), network.decoder(raw), atol=1e-5)


# --- gradients ---------------------------------------------------------------------------------------------------


def never_moved(module: nn.Module, loss: Callable[[], Tensor], steps: int = 4) -> set[str]:
    """Names of parameters that get no gradient, or only zeros, in a few steps; what is not finite fails the test."""
    adam = torch.optim.Adam(module.parameters(), lr=1e-3)
    still = {name for name, _ in module.named_parameters()}
    for _ in range(steps):
        adam.zero_grad()
        loss().backward()
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                assert parameter.grad.isfinite().all(), name
                if parameter.grad.any():
                    still.discard(name)
        adam.step()
    return still


# The first block has no earlier values to mix in: its share exists so that all blocks are alike, and stays zero.
ALWAYS_STILL = "blocks.0.value_mix"


def test_every_parameter_of_diffusion_training_learns() -> None:
    torch.manual_seed(0)
    module = DiffusionTraining(NANO, text.nano())
    x, target, t = drawn(4, 4, 16, 16), drawn(4, 4, 16, 16, seed=1), torch.tensor([0.1, 0.4, 0.7, 1.0])
    caption = words(4, 16, [2, 7, 16, 9])
    concept = torch.randint(0, 300, (4 * 64,), generator=torch.Generator().manual_seed(2))

    def loss() -> Tensor:
        velocity, named, covered = module(x, t, *caption)
        return (velocity - target).square().mean() + F.cross_entropy(named.flatten(0, 1), concept) + covered.mean()

    # Hints are for later work: this leg gives none.
    assert never_moved(module, loss) == {f"denoiser.{ALWAYS_STILL}", "denoiser.hints.weight"}


def test_hints_learn_when_they_are_given() -> None:
    torch.manual_seed(0)
    network = Denoiser(NANO)
    x, target, hints = drawn(2, 4, 8, 8), drawn(2, 4, 8, 8, seed=1), drawn(2, 9, 8, 8, seed=2)
    vectors, mask = drawn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool)
    t = torch.tensor([0.3, 0.9])
    still = never_moved(network, lambda: (denoised(network, x, t, vectors, mask, hints) - target).square().mean())
    assert still == {ALWAYS_STILL}


def test_every_parameter_of_text_training_learns() -> None:
    table = sprite_table(("3d", "flat"))
    scenes = Scenes(Composer(table, 64), ComposerConfig(styles={"3d": 1.0, "flat": 1.0}, stock=table.stock))
    tokenizer = Tokenizer.train(scenes(0, 64).captions, 512)
    torch.manual_seed(0)
    module = TextTraining(text.nano())
    objective = TextObjective(module, TextObjectiveConfig(network=text.nano(), length=28), scenes, tokenizer)
    assert never_moved(module, lambda: objective.loss(0, 16, torch.Generator().manual_seed(0))[0]) == set()


def test_a_batch_with_nothing_masked_has_a_finite_loss() -> None:
    table = sprite_table(("3d",))
    scenes = Scenes(Composer(table, 64), ComposerConfig(styles={"3d": 1.0}, stock=table.stock))
    tokenizer = Tokenizer.train(scenes(0, 8).captions, 512)
    settings = TextObjectiveConfig(network=text.nano(), length=28, masked_share=0.0)
    loss, metrics = TextObjective(TextTraining(text.nano()), settings, scenes, tokenizer).loss(0, 4, torch.Generator())
    assert loss.isfinite() and metrics["masked"][0] == 0


def test_every_parameter_of_the_autoencoder_learns() -> None:
    torch.manual_seed(0)
    network, pixels = Autoencoder(autoencoder.nano()), torch.rand(4, 3, 32, 32)
    assert never_moved(network, lambda: (network.decode(network.encode(pixels)) - pixels).square().mean()) == set()


# --- what must not matter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_hints_are_zero_hints_bit_for_bit(dtype: torch.dtype) -> None:
    network = every_layer_counts(Denoiser(NANO)).to(dtype)
    assert isinstance(network, Denoiser)
    x, vectors = drawn(2, 4, 8, 8).to(dtype), drawn(2, 5, 32).to(dtype)
    mask, t, hints = torch.ones(2, 5, dtype=torch.bool), torch.rand(2), torch.zeros(2, 9, 8, 8, dtype=dtype)
    none = denoised(network, x, t, vectors, mask)
    assert none.any() and torch.equal(none, denoised(network, x, t, vectors, mask, hints))
    assert not torch.equal(none, denoised(network, x, t, vectors, mask, hints + 1))


# fp32: the same terms summed in rows of another length, a few units in the last place of values near one.
# bf16: 8 bits of mantissa; rounding after each of some ten layers, so a few times 2**-8 of the largest value.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 4 / 256)])
def test_padding_to_16_or_to_32_is_the_same_sentence(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    encoder, network = TextEncoder(text.nano()).to(dtype), every_layer_counts(Denoiser(NANO)).to(dtype)
    assert isinstance(network, Denoiser)
    ids, characters, mask = words(3, 32, [2, 9, 16])
    x, t = drawn(3, 4, 8, 8).to(dtype), torch.rand(3)
    found = []
    for length in (16, 32):
        vectors = encoder(ids[:, :length], characters[:, :length], mask[:, :length])
        velocity = denoised(network, x, t, vectors, mask[:, :length])
        found.append((pooled(vectors, mask[:, :length]), (vectors * mask[:, :length, None])[:, :16], velocity))
    for short, long in zip(*found, strict=True):
        assert (short - long).abs().max() <= tolerance * long.abs().max()


def test_what_stands_in_the_padding_is_never_seen() -> None:
    encoder, network = TextEncoder(text.nano()), every_layer_counts(Denoiser(NANO))
    assert isinstance(network, Denoiser)
    ids, characters, mask = words(2, 16, [3, 12])
    other_ids, other_characters, _ = words(2, 16, [3, 12], seed=9)
    x, t = drawn(2, 4, 8, 8), torch.rand(2)
    plain = encoder(ids, characters, mask)
    other = encoder(torch.where(mask, ids, other_ids), torch.where(mask[..., None], characters, other_characters), mask)
    assert torch.equal(plain[mask], other[mask]) and not torch.equal(plain, other)
    assert torch.equal(pooled(plain, mask), pooled(other, mask))
    assert torch.equal(denoised(network, x, t, plain, mask), denoised(network, x, t, other, mask))
    mask[0, 3] = True  # and what is real is seen
    assert not torch.equal(denoised(network, x, t, plain, mask), denoised(network, x, t, other, mask))


def test_the_decoder_can_be_tiled() -> None:
    """Inside its reach from a cut edge a tile has the pixels of the whole. fp32 convolutions of another size may add
    in another order: 1e-5."""
    config = autoencoder.nano()
    network = every_layer_counts(Autoencoder(config))
    assert isinstance(network, Autoencoder)
    far, mid, near = config.decoder_blocks
    reach = (1 + 2 * far) + (1 + 2 * mid) / 2 + (2 + 2 * near) / 4  # 3 x 3 convolutions at 1, 1/2 and 1/4 cell
    margin = int(-(-reach // 1))
    z = drawn(1, 4, 24, 24)
    whole, tile = network.decode(z), network.decode(z[:, :, 4:22, 2:20])
    same = (whole[:, :, 4 * FACTOR : 22 * FACTOR, 2 * FACTOR : 20 * FACTOR] - tile).abs().amax((0, 1))
    inside = margin * FACTOR
    assert same[inside:-inside, inside:-inside].max() < 1e-5
    assert same[:FACTOR].max() > 1e-3  # at the cut itself it is another picture, or this test would show nothing


def test_a_table_first_made_while_serving_serves_training() -> None:
    network = Denoiser(replace(NANO, head=16))  # a shape no other test has made a table for
    x, vectors, mask = drawn(1, 4, 6, 10), drawn(1, 5, 32), torch.ones(1, 5, dtype=torch.bool)
    with torch.inference_mode():
        denoised(network, x, torch.rand(1), vectors, mask)
    denoised(network, x, torch.rand(1), vectors, mask).sum().backward()
    assert network.out.bias.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("inner", "outer"), [(384, 1152), (384, 2048), (1024, 384), (768, 288), (1216, 448)])
def test_a_row_has_the_same_bits_in_any_company(inner: int, outer: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = (torch.randn(outer, inner, generator=draw) * inner**-0.5).to(dtype)
    before = torch.get_num_threads()
    try:
        for threads, tokens in ((1, 68), (2, 68), (2, 28)):
            torch.set_num_threads(threads)
            x = torch.randn(8, tokens, inner, generator=draw).to(dtype)
            with torch.no_grad():
                alone = torch.cat([product(row, weight) for row in x.split(1)])
                for rows in (2, 4, 8):
                    assert torch.equal(torch.cat([product(some, weight) for some in x.split(rows)]), alone)
    finally:
        torch.set_num_threads(before)
