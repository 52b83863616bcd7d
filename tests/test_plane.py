"""The plane: scenes are images, networks are kept on the way, and distances are those of geometry."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc import plane
from mmc.losses import LOSSES


class Affine(nn.Module):
    """Logits W x + c of the two pixels."""

    def __init__(self, weights: torch.Tensor, biases: torch.Tensor) -> None:
        super().__init__()
        self.weights, self.biases = weights, biases

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.weights.T + self.biases


def points(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *plane.SHAPE, generator=generator, dtype=torch.float64)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_distances_are_those_of_half_planes(seed: int, classes: int) -> None:
    """Up to a mesh, and never too small. The boundary may be nearer outside of the square, so only its part counts."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, 2, generator=generator, dtype=torch.float64)
    model = Affine(weights, -weights @ torch.tensor([0.5, 0.5], dtype=torch.float64))
    x, side = points(20, seed), 101
    y = model(x).argmax(1)
    found = plane.distances(model, x, y, side)
    logits = model(x)
    for place, label, scores, distance in zip(x.flatten(1), y, logits, found, strict=True):
        normals = weights[label] - weights
        gaps = scores[label] - scores
        exact, inside = math.inf, False
        for k in range(classes):
            if k != label:
                away = float(gaps[k] / normals[k].norm())
                if away < exact:
                    foot = place - gaps[k] * normals[k] / normals[k].square().sum()
                    exact, inside = away, bool(((foot > 0.02) & (foot < 0.98)).all())
        assert distance >= exact - 1e-9
        if inside:
            assert distance <= exact + 1.5 / (side - 1)


def test_a_wrong_point_has_distance_zero_and_one_without_foes_infinity() -> None:
    exact = {"dtype": torch.float64}
    upright = Affine(torch.tensor([[1.0, 0.0], [0.0, 0.0]], **exact), torch.tensor([-0.5, 0.0], **exact))
    x, y = torch.tensor([[0.8, 0.3], [0.3, 0.3]], **exact).reshape(-1, *plane.SHAPE), torch.tensor([0, 0])
    right, wrong = plane.distances(upright, x, y).tolist()
    assert (right, wrong) == (pytest.approx(0.3, abs=1e-9), 0)
    sure = Affine(torch.zeros(2, 2, **exact), torch.tensor([1.0, 0.0], **exact))
    assert plane.distances(sure, x, y).isinf().all()


def test_grid_covers_the_square_row_by_row() -> None:
    places = plane.grid(3).flatten(1)
    assert places.tolist() == [[u, v] for v in (0, 0.5, 1) for u in (0, 0.5, 1)]


@pytest.mark.parametrize(
    "scene", [lambda seed: plane.moons(30, seed=seed), lambda seed: plane.long_tail((30, 10, 2), seed=seed)]
)
def test_scenes_are_images_that_follow_from_their_seed(scene) -> None:
    (x, y), (again, _), (other, _) = scene(0), scene(0), scene(1)
    assert x.shape == (len(y), 1, 1, 2) and x.dtype == torch.float64
    assert x.min() >= 0 and x.max() <= 1
    assert x.equal(again) and not x.equal(other)


def test_moons_interleave_and_the_tail_is_as_long_as_asked() -> None:
    x, y = plane.moons(40, noise=0.0)
    upper, lower = x.flatten(1)[y == 0], x.flatten(1)[y == 1]
    radius = (upper - (upper[0] + upper[-1]) / 2 * torch.tensor([1.0, 1.0])).norm(dim=1)
    assert radius.max() - radius.min() < 0.02
    torch.testing.assert_close(upper, 1 - lower)  # one moon is the other turned about the middle of the square
    assert lower[:, 0].min() < upper[:, 0].max() and torch.cdist(upper, lower).min() > 0.1
    x, y = plane.long_tail((50, 7, 3), spread=0.0)
    assert y.bincount().tolist() == [50, 7, 3]
    corners = x.flatten(1)[[0, 50, 57]]
    torch.testing.assert_close(torch.pdist(corners), torch.full((3,), 0.3 * math.sqrt(3)).double())


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "GCE"])  # it needs three classes
def test_every_loss_can_be_followed_and_falls(loss: str) -> None:
    x, y = plane.moons(15)
    kept = plane.follow(loss, x, y, (0, 40), rate=0.005, width=8)
    assert list(kept) == [0, 40] and not any(model.training for model in kept.values())
    with torch.no_grad():
        first, last = (model.loss(model.features(x), y).mean() for model in kept.values())
    assert last < first


def test_a_run_is_gradient_descent_with_momentum_from_its_seed() -> None:
    x, y = plane.moons(10)
    kept = plane.follow("SCE", x, y, (0, 1, 2), rate=0.03, momentum=0.5, width=4, seed=3)
    again = plane.follow("SCE", x, y, (2,), rate=0.03, momentum=0.5, width=4, seed=3)[2]
    other = plane.follow("SCE", x, y, (2,), rate=0.03, momentum=0.5, width=4, seed=4)[2]
    states = [dict(model.named_parameters()) for model in (*kept.values(), again, other)]

    def slope(model: nn.Module) -> dict[str, torch.Tensor]:
        value = nn.functional.cross_entropy(model(x), y)
        return dict(zip(states[0], torch.autograd.grad(value, list(model.parameters())), strict=True))

    first, second = slope(kept[0]), slope(kept[1])
    for name in states[0]:
        torch.testing.assert_close(states[1][name], states[0][name] - 0.03 * first[name])
        velocity = 0.5 * first[name] + second[name]
        torch.testing.assert_close(states[2][name], states[1][name] - 0.03 * velocity)
        assert states[3][name].equal(states[2][name])
    assert not all(states[4][name].equal(states[2][name]) for name in states[0])
