"""Oracles for mmc.theory.reach: networks that are built and counted, and centers projected by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.stats import ortho_group
from torch import nn

from mmc.centers import simplex_centers
from mmc.models.resnet import resnet_v1, resnet_v2
from mmc.theory import reach

CLASSES = (2, 3, 10, 25)


def counted(network: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Layers on the main path, trained numbers, and multiply-adds of one image."""
    work = []

    def count(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        work.append(module.weight[0].numel() * output[0].numel())

    named = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for _, module in named:
        module.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(torch.zeros(1, *shape))
    depth = sum("shortcut" not in name for name, _ in named)
    return depth, sum(p.numel() for p in network.parameters()), sum(work)


@pytest.mark.parametrize(("blocks", "width", "channels", "side", "dim"), [(1, 4, 3, 8, 5), (3, 6, 1, 16, 7)])
def test_a_network_of_version_1_is_counted_right(blocks, width, channels, side, dim):
    depth = int(reach.v1_depth(blocks))
    network = resnet_v1(depth)((channels, side, side), dim, width=width)
    parameters = reach.v1_parameters(blocks, width, channels, dim)
    work = reach.v1_multiply_adds(*map(sp.Integer, (blocks, width, channels, side, dim)))
    assert counted(network, (channels, side, side)) == (depth, parameters, work)
    assert depth == 2 + 2 * 3 * blocks


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_a_network_of_version_2_is_counted_right(blocks):
    depth = int(reach.v2_depth(blocks))
    network = resnet_v2(depth)((1, 8, 8), 5, width=2)
    assert counted(network, (1, 8, 8))[0] == depth == 2 + 3 * 3 * blocks


def placed(num_classes: int, norm: float) -> np.ndarray:
    return simplex_centers(num_classes, num_classes + 2, norm, dtype=torch.float64).numpy()


def onehots(num_classes: int, norm: float) -> np.ndarray:
    rows = np.eye(num_classes) - 1 / num_classes
    return norm * rows / np.linalg.norm(rows[0])


def floors(points: np.ndarray) -> np.ndarray:
    """Half the squared distance of each point to the nonnegative orthant."""
    return np.square(points - np.maximum(points, 0)).sum(1) / 2


def shares(points: np.ndarray) -> np.ndarray:
    """The gap to the nearest rival at each point's projection, over the gap between two of the points at home."""
    nearest = np.maximum(points, 0)
    scores = nearest @ points.T
    own = np.diag(scores)
    others = np.where(np.eye(len(points), dtype=bool), -np.inf, scores)
    return (own - others.max(1)) / (np.square(points[0] - points[1]).sum() / 2)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_the_floors_are_distances_to_the_orthant(num_classes):
    found = floors(placed(num_classes, 3.0))
    formula = [float(reach.floor(num_classes, k, sp.Integer(3))) for k in range(1, num_classes + 1)]
    assert found == pytest.approx(formula, abs=1e-12)
    assert found.mean() == pytest.approx(float(reach.mean_floor(num_classes, sp.Integer(3))))


@pytest.mark.parametrize("num_classes", CLASSES)
def test_no_rotation_leaves_the_bounds_and_onehots_attain_them(num_classes):
    rng = np.random.default_rng(0)
    low, high = (float(bound(num_classes, sp.Integer(3))) for bound in (reach.best_floor, reach.worst_floor))
    turned = onehots(num_classes, 3.0)
    assert floors(turned).mean() == pytest.approx(low) and floors(-turned).mean() == pytest.approx(high)
    found = []
    for rotation in ortho_group.rvs(num_classes, size=400, random_state=rng):
        found.append(floors(turned @ rotation).mean())
    assert low - 1e-12 < min(found) and max(found) < high + 1e-12
    mean, spread = float(reach.turned_floor(sp.Integer(3))), np.std(found) / 20
    assert abs(np.mean(found) - mean) < 4 * spread


@pytest.mark.parametrize("num_classes", CLASSES)
def test_what_a_class_keeps_of_its_gap(num_classes):
    formula = [float(reach.kept_gap(sp.Integer(num_classes), sp.Integer(k))) for k in range(1, num_classes + 1)]
    assert shares(placed(num_classes, 2.0)) == pytest.approx(formula, abs=1e-12)
    assert shares(onehots(num_classes, 2.0)) == pytest.approx(float(reach.kept_gap_onehot(sp.Integer(num_classes))))
