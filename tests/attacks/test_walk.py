"""The walk to the boundary: exact before a plane, in the box, just beyond, and each example by itself."""

from __future__ import annotations

import importlib

import pytest
import torch
from attack_cases import Affine, case, mesa, mutant, seeds
from hypothesis import given, settings

from mmc.attacks.penalty import to_target, toward_rival
from mmc.attacks.walk import FIRST, GROWTH, walk

#: The module, whatever the package calls by its name.
module = importlib.import_module("mmc.attacks.walk")
few = settings(max_examples=5, deadline=None)
OPTIONS = {"leads": toward_rival, "confidence": 0.0, "steps": 25}


def inner(seed: int, count: int = 12) -> tuple[Affine, torch.Tensor, torch.Tensor]:
    """Two affine classes so close that the box is not met."""
    generator = torch.Generator().manual_seed(seed)
    model = Affine(torch.randn(2, 16, generator=generator), torch.zeros(2)).eval()
    x = 0.5 + 0.1 * (torch.rand(count, 1, 4, 4, generator=generator) - 0.5)
    model.bias[0] -= model(x)[:, 0].mean() - model(x)[:, 1].mean()
    return model, x, model(x).argmax(1)


def nearly_exact(attack, seed: int) -> None:
    """Before one plane, inside the box, the nearest image and the slope are known."""
    model, x, y = inner(seed)
    met = attack(model, x, y, 1 - y, **OPTIONS)
    gap = (model(x)[:, 0] - model(x)[:, 1]).abs()
    slope = (model.weight[0] - model.weight[1]).norm()
    torch.testing.assert_close(met.slope.float(), slope.expand(len(x)), rtol=1e-4, atol=0)
    assert (model(met.image).argmax(1) != y).all()
    truth = gap / slope
    assert (met.distance >= truth * (1 - 1e-3) - 1e-6).all() and (met.distance <= truth * 1.05 + 1e-4).all()


@few
@given(seed=seeds)
def test_before_one_plane_it_meets_the_nearest_image(seed: int) -> None:
    nearly_exact(walk, seed)


def in_the_box(attack) -> None:
    model, x, y = case(0, count=10)
    met = attack(model, x, y, (y + 1) % 3, **OPTIONS)
    assert met.image.min() >= 0 and met.image.max() <= 1


MUTANTS = {
    "the wrong way": ("moved = now +", "moved = now -"),
    "no step": ("moved = now +", "moved = now + 0 *"),
    "too short a step": ("BEYOND * short", "0.2 * BEYOND * short"),
    "no way back": ("torch.where(fools, middle, high)", "high"),
    "back too far": ("torch.where(fools, middle, high)", "middle"),
    "a slope of something else": (
        ".flatten(1).double().norm(dim=1)\n    return Met",
        ".flatten(1).double().sum(1)\n    return Met",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str) -> None:
    changed = mutant(module, *MUTANTS[name]).walk
    with pytest.raises(AssertionError):
        for seed in range(4):
            nearly_exact(changed, seed)
        found = [
            test_it_goes_back_until_the_label_just_wins,
            test_nothing_is_met_where_the_gradient_is_zero_or_the_steps_are_too_few,
        ]
        for check in found:
            check(changed)


def test_a_missing_clamp_is_caught() -> None:
    in_the_box(walk)
    with pytest.raises(AssertionError):
        in_the_box(mutant(module, "moved.clamp(0, 1)", "moved").walk)


@few
@given(seed=seeds)
def test_what_it_meets_fools_in_the_box_and_what_it_does_not_meet_is_the_image(seed: int) -> None:
    model, x, y = case(seed, count=10)
    for leads, aim in ((toward_rival, (y + 1) % 3), (to_target, (y + 1) % 3)):
        met = walk(model, x, y, aim, leads=leads, confidence=0.0, steps=25)
        assert met.image.min() >= 0 and met.image.max() <= 1
        there = met.distance.isfinite()
        assert met.image[~there].equal(x[~there])
        assert (model(met.image)[there].argmax(1) != y[there]).all()
        moved = (met.image - x).flatten(1).norm(dim=1)
        torch.testing.assert_close(moved[there], met.distance[there])
        if leads is to_target:
            assert model(met.image)[there].argmax(1).equal(aim[there])


def test_it_goes_back_until_the_label_just_wins(attack=walk) -> None:
    """The last step onto the cliff is long; the halvings take it back to a sixty-fourth of the way."""
    model, x, y, truth = mesa()
    met = attack(model, x, y, 1 - y, **OPTIONS)
    assert (met.distance / truth).min() > 0.99 and (met.distance / truth).max() < 1.03


def test_nothing_is_met_where_the_gradient_is_zero_or_the_steps_are_too_few(attack=walk) -> None:
    _, x, y = inner(0)
    level = Affine(torch.zeros(2, 16), torch.tensor([1.0, 0.0])).eval()
    label = torch.zeros_like(y)
    met = attack(level, x, label, 1 - label, **OPTIONS)
    assert met.distance.isinf().all() and met.image.equal(x) and (met.slope == 0).all()
    far = Affine(torch.stack([torch.zeros(16), torch.ones(16)]), torch.tensor([9.0, 0.0])).eval()
    start = torch.full_like(x, 0.5)
    assert far(start).argmax(1).eq(0).all()
    few_steps, enough = (attack(far, start, label, 1 - label, **OPTIONS | {"steps": n}) for n in (2, 25))
    assert few_steps.distance.isinf().all() and enough.distance.isfinite().all()
    assert enough.distance.max().item() == pytest.approx(0.25, rel=0.05)


@few
@given(seed=seeds)
def test_each_example_walks_by_itself(seed: int) -> None:
    model, x, y = case(seed, count=6)
    aim = (y + 1) % 3
    whole = walk(model, x, y, aim, **OPTIONS)
    for i in range(len(x)):
        alone = walk(model, x[i : i + 1], y[i : i + 1], aim[i : i + 1], **OPTIONS)
        torch.testing.assert_close(alone.image[0], whole.image[i], rtol=1e-3, atol=1e-4)


def test_steps_reach_across_the_box() -> None:
    """From one corner almost to the opposite one, and the steps would go on."""
    assert sum(FIRST * GROWTH**i for i in range(25)) > 20
    model = Affine(torch.stack([torch.zeros(16), torch.ones(16)]), torch.tensor([15.5, 0.0])).eval()
    x, y = torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.long)
    met = walk(model, x, y, 1 - y, **OPTIONS)
    assert met.distance.item() == pytest.approx(15.5 / 4, rel=0.03)


def at_the_walls(distance: float, size: float) -> tuple[Affine, torch.Tensor, torch.Tensor]:
    """A plane at this distance in the box, of an image whose pixels are at walls: half can only move away from them."""
    sign, wall = torch.tensor([1.0, -1.0, -1.0, 1.0]), torch.tensor([1.0, 0.0, 1.0, 0.0])  # two stay, two move
    weight, x = size * sign.repeat_interleave(4), wall.repeat_interleave(4).view(1, 1, 4, 4)
    gap = distance * weight[8:].norm() + weight @ x.flatten()
    model = Affine(torch.stack([torch.zeros(16), weight]), torch.stack([gap, torch.zeros(())])).eval()
    return model, x, torch.zeros(1, dtype=torch.long)


@pytest.mark.parametrize("size", [0.1, 3.0])
def test_the_plane_is_looked_for_among_the_pixels_that_can_move_and_the_first_step_is_short(size: float) -> None:
    one_step = OPTIONS | {"steps": 1}
    model, x, y = at_the_walls(0.9 * FIRST, size)
    met = walk(model, x, y, 1 - y, **one_step)
    assert met.distance.item() == pytest.approx(0.9 * FIRST, rel=0.03)
    assert (met.image - x).flatten()[:8].eq(0).all()
    model, x, y = at_the_walls(1.1 * FIRST, size)
    assert walk(model, x, y, 1 - y, **one_step).distance.isinf().all()
    assert walk(model, x, y, 1 - y, **OPTIONS).distance.item() == pytest.approx(1.1 * FIRST, rel=0.03)
