"""The toy: free features obey the closed forms, centers move by their rule, and runs are judged as documented."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc import toy

NAMES = ("SCE", "Center", "MMLDA", "MMC")


def line_run(distances: list[float]) -> toy.Run:
    """One feature per class, centers at -1 and 1, each feature at the given distance outwards from its center."""
    away = torch.tensor(distances, dtype=torch.float64)
    features = torch.stack([torch.stack([-1 - away, 0 * away], 1), torch.stack([1 + away, 0 * away], 1)], 1)
    centers = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64).expand(len(away), 2, 2)
    return toy.Run(features, centers, torch.tensor([0, 1]))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=12), st.floats(0, 5))
@settings(max_examples=30, deadline=None)
def test_first_is_the_first_step_of_a_lasting_success(distances, goal):
    run = line_run(distances)
    torch.testing.assert_close(run.distance, torch.tensor(distances, dtype=torch.float64))
    expected = next((k for k in range(len(distances)) if all(d <= goal for d in run.distance[k:].tolist())), None)
    assert run.first(distance=goal) == expected


def test_a_feature_nearer_to_another_center_is_an_error_and_so_is_a_tie():
    run = line_run([-0.5, -1.0, -1.5])
    assert run.accuracy.tolist() == [1, 0, 0]
    assert run.first(accuracy=0.5) is None


def test_coinciding_centers_decide_nothing():
    run = toy.Run(torch.randn(1, 4, 2), torch.zeros(1, 2, 2), torch.tensor([0, 0, 1, 1]))
    assert run.accuracy.tolist() == [0]
    assert run.distance.tolist() == [math.inf]


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_free_features_under_mmc_shrink_by_the_same_factor_each_step(rate):
    z, y = toy.cloud(5, 7)
    run = toy.free_run(toy.make_loss("MMC", 5), z, y, steps=10, rate=rate)
    target = run.centers[0][y]
    for step, features in enumerate(run.features):
        torch.testing.assert_close(features - target, (1 - rate) ** step * (z - target))


def test_free_features_under_softmax_follow_the_flow_as_steps_get_small():
    from mmc.theory import flow
    from mmc.theory.numeric import numeric

    loss = toy.make_loss("MMLDA", 3, norm=2.0)
    y = torch.arange(3)
    run = toy.free_run(loss, torch.zeros(3, 2, dtype=torch.float64), y, steps=1000, rate=0.001)
    slope = float(numeric(flow.simplex_slope)(2.0, 3))
    margin = float(numeric(flow.softmax_margin)(1.0, slope, 3))
    logits = loss.logits(run.features[-1])
    torch.testing.assert_close(logits[0, 0] - logits[0, 1], torch.tensor(margin).double(), rtol=2e-3, atol=0)


def test_moving_centers_follow_their_own_rule():
    z, y = toy.cloud(3, 4)
    run = toy.free_run(toy.make_loss("Center", 3, weight=0.5, rate=0.5), z, y, steps=6)
    for before, after, features in zip(run.centers, run.centers[1:], run.features, strict=False):
        for label in range(3):
            pull = (before[label] - features[y == label]).sum(0) / (1 + 4)
            torch.testing.assert_close(after[label], before[label] - 0.5 * pull)


@pytest.mark.parametrize("name", NAMES)
def test_runs_repeat_exactly_and_leave_their_start_alone(name):
    z, y = toy.cloud(4, 5)
    start = z.clone()
    first, second = (toy.free_run(toy.make_loss(name, 4), z, y, steps=5) for _ in range(2))
    assert torch.equal(first.features, second.features) and torch.equal(z, start)
    assert first.features.shape == (6, 20, 2) and first.centers.shape == (6, 4, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_learns_the_spiral_better_than_it_started(name):
    x, y = toy.spiral(3, 20)
    network = toy.small_network()
    before = [parameter.clone() for parameter in network.parameters()]
    loss = toy.make_loss(name, 3)
    run = toy.network_run(loss, network, x, y, steps=60, rate=0.05)
    assert run.accuracy[-1] > run.accuracy[0]
    # The run ends with one more step than it has entries, so the network has moved on.
    assert not all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_network_takes_the_steps_of_torchs_own_optimizer():
    x, y = toy.spiral(3, 10)
    network, twin = toy.small_network(), toy.small_network()
    loss, twin_loss = toy.make_loss("SCE", 3), toy.make_loss("SCE", 3)
    toy.network_run(loss, network, x, y, steps=9, rate=0.1, momentum=0.8)
    optimizer = torch.optim.SGD([*twin.parameters(), *twin_loss.parameters()], lr=0.1, momentum=0.8)
    for _ in range(10):
        optimizer.zero_grad()
        twin_loss(twin(x), y).mean().backward()
        optimizer.step()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("draw", [toy.cloud, toy.spiral])
def test_scenes_are_balanced_and_seeded(draw):
    z, y = draw(5, 8, seed=3)
    assert y.bincount().tolist() == [8] * 5 and z.shape == (40, 2)
    assert torch.equal(z, draw(5, 8, seed=3)[0]) and not torch.equal(z, draw(5, 8, seed=4)[0])


def test_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    toy.make_loss("SCE", 3)
    toy.small_network()
    toy.spiral(3, 4)
    assert torch.equal(torch.rand(1), expected)
