"""The image tower: small, asked by what is kept, and every part of it learns."""

from __future__ import annotations

import torch

from darkroom.nn.beside.tower import SEEN, ImageTower, TowerConfig, nano


def test_it_is_small_enough_to_ship() -> None:
    assert sum(parameter.numel() for parameter in ImageTower().parameters()) <= 1_500_000


def test_it_makes_a_few_vectors_of_the_texts_width_and_others_for_each_thing_kept() -> None:
    torch.manual_seed(0)
    tower, pixels = ImageTower(nano()), torch.rand(2, 3, SEEN, SEEN)
    subject, style = (tower(pixels, torch.full((2,), keep)) for keep in (0, 1))
    assert subject.shape == (2, 2, 32) and not torch.allclose(subject, style)
    assert torch.allclose(tower(pixels, torch.tensor([0, 1]))[1], style[1], atol=1e-5)
    assert not torch.allclose(subject[0], subject[1])


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    tower = ImageTower(TowerConfig(32, tokens=2, widths=(8, 8, 16), width=32, head=16))
    tower(torch.rand(2, 3, SEEN, SEEN), torch.tensor([0, 1])).square().sum().backward()
    for name, parameter in tower.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
