"""SPSA: it measures around the iterate, never differentiates, keeps its budget, and every mutant is caught."""

from __future__ import annotations

import importlib
import math
from functools import partial

import pytest
import torch
from attack_cases import (
    Affine,
    Alone,
    accept,
    case,
    few,
    images,
    keeps_to_itself,
    mutant,
    network,
    seeds,
    two_classes,
    worst_in_ball,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import LADDER, correct, margin, pairwise
from mmc.attacks.spsa import UPDATES, spsa

#: The module, whatever the package calls by its name.
module = importlib.import_module("mmc.attacks.spsa")


@few
@given(seed=seeds, epsilon=st.floats(0, 0.6), name=st.sampled_from(list(LADDER)), update=st.sampled_from(UPDATES))
def test_every_image_stays_in_the_ball_and_in_the_box(seed: int, epsilon: float, name: str, update: str) -> None:
    model, x, y = case(seed)
    options = {"objective": LADDER[name], "update": update, "samples": 8, "learning_rate": 0.3}
    x_adv = spsa(model, x, y, epsilon=epsilon, **options)
    assert (x_adv - x).abs().max() <= epsilon + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1


@pytest.mark.parametrize("update", UPDATES)
def test_two_affine_classes_are_solved_exactly(update: str) -> None:
    accept(partial(_solved, spsa, update), signs=True)


def _solved(attack, update: str, model, x, y, epsilon: float) -> torch.Tensor:
    return attack(model, x, y, epsilon=epsilon, iterations=10, learning_rate=0.05, update=update)


def few_samples_do(attack) -> None:
    """Slopes that are alike within squares of two by two pixels: four directions tell all of them."""
    model, x, y = two_classes(1, 60, signs=True)
    squares = model.weight[1].view(4, 4)[::2, ::2].repeat_interleave(2, 0).repeat_interleave(2, 1)
    model.weight = torch.stack([-squares.flatten(), squares.flatten()])
    middle = (x.flatten(1) @ model.weight[1]).median()
    model.bias = torch.stack([middle, -middle])
    y = model(x).argmax(1)
    found = attack(model, x, y, epsilon=0.05, samples=4, tile=2, iterations=4, learning_rate=0.02)
    truth = correct(model, worst_in_ball(model, x, y, 0.05), y)
    assert 0 < truth.sum() < len(x) and correct(model, found, y).equal(truth)


def test_tiles_save_samples_where_slopes_are_smooth() -> None:
    few_samples_do(spsa)


def test_tiles_that_are_forgotten_are_noticed() -> None:
    with pytest.raises(AssertionError):
        few_samples_do(mutant(module, "some, tile)", "some, 1)").spsa)


def all_slopes_add_up(attack) -> None:
    """Four orthogonal directions an iteration: after four, their sum is the gradient, and the corner is the truth."""
    model, x, y = two_classes(1, 60, signs=True)
    found = attack(model, x, y, epsilon=0.05, samples=4, iterations=4, update="corner", active_set=False)
    right = correct(model, x, y)
    stands = right & correct(model, found, y)
    assert stands.equal(right & correct(model, worst_in_ball(model, x, y, 0.05), y)) and stands.any()
    torch.testing.assert_close(found[stands], worst_in_ball(model, x, y, 0.05)[stands])


def test_the_corner_is_that_of_all_slopes_so_far() -> None:
    all_slopes_add_up(spsa)


@pytest.mark.parametrize(
    "change",
    [
        ("first = first + slope", "first = slope"),
        ("epsilon * first.sign()", "-epsilon * first.sign()"),
        ("x[live] + epsilon * first", "moved + 0.1 * epsilon * first"),
    ],
)
def test_a_corner_of_less_is_noticed(change: tuple[str, str]) -> None:
    with pytest.raises(AssertionError):
        all_slopes_add_up(mutant(module, *change).spsa)


def test_the_corner_and_one_side_get_more_from_few_queries() -> None:
    """Beside Adam with the printed step, at the same queries, with many more pixels than these: higher margins."""
    ways = {"samples": 4}, {"samples": 4, "update": "corner"}, {"samples": 8, "update": "corner", "two_sided": False}
    slope = torch.randn(256, generator=torch.Generator().manual_seed(0))
    model = Affine(torch.stack([-slope, slope]), torch.zeros(2)).eval()
    x = 0.3 + 0.4 * images(0, 40, (1, 16, 16))  # the box is far
    y = model(x).argmax(1)
    options = {"epsilon": 0.05, "iterations": 6, "learning_rate": 0.016, "active_set": False}
    ends = [spsa(model, x, y, **options, **way) for way in ways]
    adam, corner, one_sided = (float((margin(model, end, y) - margin(model, x, y)).mean()) for end in ends)
    assert one_sided > 1.2 * corner > 1.2**2 * adam > 0


class Recorder(nn.Module):
    """A model that keeps what it was shown, and refuses to be differentiated."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not x.requires_grad
        self.seen.append(x.detach().clone())
        return self.model(x)


@few
@given(seed=seeds)
def test_pairs_lie_around_the_iterate(seed: int) -> None:
    """Around x at first; later around a point in ball and box. A public library asks at 2 x + delta instead."""
    model, x, y = case(seed, count=1)
    recorder = Recorder(model).eval()
    spsa(recorder, x, y, epsilon=0.05, samples=16, iterations=3, delta=0.01, active_set=False)
    middles = []
    for shown in recorder.seen:
        if len(shown) == 1:  # a verdict, not a measurement
            continue
        plus, minus = shown.view(2, 16, -1)
        torch.testing.assert_close((plus - minus).abs(), torch.full_like(plus, 0.02), atol=1e-6, rtol=0)
        middle = (plus + minus) / 2
        torch.testing.assert_close(middle, middle[:1].expand_as(middle), atol=1e-6, rtol=0)
        middles.append(middle[0])
    assert len(middles) == 3
    torch.testing.assert_close(middles[0], x.flatten(), atol=1e-6, rtol=0)
    for middle in middles[1:]:
        assert (middle - x.flatten()).abs().max() <= 0.05 + 1e-6
        assert middle.min() >= -1e-6 and middle.max() <= 1 + 1e-6
        assert not torch.allclose(middle, x.flatten(), atol=1e-4)


@pytest.mark.parametrize("two_sided", [True, False])
def test_the_slope_is_unbiased(two_sided: bool) -> None:
    """On an affine objective the mean over many directions is the gradient, up to its standard error."""
    model, x, y = two_classes(4, 6)
    streams, gradient = [f"stream {index}" for index in range(6)], _gradient(model, y)
    options = {"delta": 0.01, "budget": 1024, "tile": 1, "two_sided": two_sided}
    slope = module._slope(model, x, [y], margin, streams, range(4096), **options)
    error = (slope.flatten(1) - gradient).abs().max()
    assert error < 5 * gradient.norm(dim=1).max() / 64


def _gradient(model, y) -> torch.Tensor:
    return torch.stack([2 * (1 - 2.0 * label) * model.weight[1] for label in y])


def one_side_is_measured_against_the_mean(slope) -> None:
    """A few directions a time, the mean of many such slopes is the gradient, however high the objective itself is."""
    model, x, y = two_classes(4, 6)
    model.bias = model.bias + torch.tensor([0.0, 30.0])
    streams, gradient = [f"stream {index}" for index in range(6)], _gradient(model, y)
    options = {"delta": 0.1, "budget": 2, "tile": 1, "two_sided": False}
    found = [slope(model, x, [y], margin, streams, range(3 * k, 3 * k + 3), **options) for k in range(1500)]
    error = (torch.stack(found).mean(0).flatten(1) - gradient).abs().max()
    assert error < 5 * gradient.norm(dim=1).max() / 4500**0.5


def test_one_side_is_measured_against_the_mean() -> None:
    one_side_is_measured_against_the_mean(module._slope)


@pytest.mark.parametrize(
    "change",
    [
        ("level / len(numbers) * drawn", "0 * drawn"),
        ("(len(numbers) - 1)", "len(numbers)"),
        ("level += rise.sum(1)", "level = rise.sum(1)"),
        ("drawn += signs", "drawn = signs"),
    ],
)
def test_a_wrong_mean_is_noticed(change: tuple[str, str]) -> None:
    with pytest.raises(AssertionError):
        one_side_is_measured_against_the_mean(mutant(module, *change)._slope)


@few
@given(seed=seeds, budget=st.sampled_from([2, 7, 40, 64, 1000]))
def test_the_budget_is_kept_and_changes_nothing(seed: int, budget: int) -> None:
    model, x, y = case(seed, count=4)
    recorder = Recorder(Alone(model)).eval()
    options = {"epsilon": 0.1, "samples": 20, "iterations": 2, "seed": seed}
    found = spsa(recorder, x, y, budget=budget, **options)
    assert max(len(shown) for shown in recorder.seen) <= max(budget, len(x))
    # Sums in another order: the sign of a slope near zero may turn, nothing else.
    assert (found - spsa(Alone(model).eval(), x, y, **options)).abs().gt(1e-4).float().mean() < 0.05


@few
@given(seed=seeds)
def test_seeds_repeat_and_matter(seed: int) -> None:
    model, x, y = case(seed)
    options = {"epsilon": 0.1, "samples": 8, "iterations": 3, "active_set": False}
    first, again, other = (spsa(model, x, y, seed=number, **options) for number in (seed, seed, seed + 1))
    assert first.equal(again) and not first.equal(other)


@few
@given(seed=seeds)
def test_no_example_depends_on_its_company(seed: int) -> None:
    model, x, y = case(seed, count=8)
    for active in (True, False):
        attack = partial(spsa, epsilon=0.1, samples=8, iterations=4, seed=seed, active_set=active)
        keeps_to_itself(attack, Alone(model).eval(), x, y)


@few
@given(seed=seeds)
def test_climbing_on_changes_no_verdict(seed: int) -> None:
    model, x, y = case(seed)
    on, off = (
        spsa(Alone(model).eval(), x, y, epsilon=0.1, samples=16, iterations=5, active_set=active)
        for active in (True, False)
    )
    assert correct(model, on, y).equal(correct(model, off, y))


def test_more_room_and_more_iterations_fell_more() -> None:
    model, x, y = two_classes(6, 60, signs=True)
    options = {"learning_rate": 0.05, "samples": 64}
    room = [correct(model, spsa(model, x, y, epsilon=e, **options), y).sum() for e in (0.0, 0.05, 0.2)]
    assert room[0] == len(x) and room[0] > room[1] > room[2]
    few_steps, many = (correct(model, spsa(model, x, y, epsilon=0.1, iterations=n, samples=32), y) for n in (2, 8))
    assert not (many & ~few_steps).any()


def test_a_target_is_climbed_and_a_wrong_image_is_left_alone() -> None:
    model, x, y = two_classes(2, 20)
    options = {"epsilon": 0.1, "samples": 8}
    found = spsa(model, x, y, objective=pairwise, targets=1 - y, **options)
    assert found.equal(spsa(model, x, y, **options))
    assert spsa(model, x, 1 - y, **options).equal(x)
    assert spsa(model, x[:0], y[:0], **options).shape == (0, 1, 4, 4)


MUTANTS = {
    "down instead of up": ("learning_rate * (first", "-learning_rate * (first"),
    "slope upside down": ("rise, signs)", "-rise, signs)"),
    "no step": ("learning_rate * (first", "0 * (first"),
    "no ball": ("x[live], epsilon,", "x[live], 1.0,"),
    "no box": ('project(goal, x[live], epsilon, "linf")', "goal"),
    "nothing returned": ("result[live[kept]] = moved[kept]", "pass"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str) -> None:
    changed = mutant(module, *MUTANTS[name])
    with pytest.raises((AssertionError, ValueError)):
        accept(partial(_solved, changed.spsa, "adam"), signs=True)


@pytest.mark.parametrize(
    "change",
    [
        ("x[:, None] + delta * signs, x[:, None] - delta", "2 * x[:, None] + delta * signs, 2 * x[:, None] - delta"),
        ("x[:, None] - delta * signs", "x[:, None] - 0 * signs"),
        ("moved[part],", "x[live[part]],"),
    ],
)
def test_measuring_elsewhere_is_caught(change: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "spsa", mutant(module, *change).spsa)
    with pytest.raises(AssertionError):
        test_pairs_lie_around_the_iterate.hypothesis.inner_test(seed=3)


def test_an_attack_that_does_nothing_is_caught() -> None:
    with pytest.raises(AssertionError):
        accept(lambda model, x, y, epsilon: x.clone(), signs=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "must be at least 1 and budget 2, not 0, 128 and 512"),
        ({"samples": 0}, "must be at least 1"),
        ({"samples": 1, "two_sided": False}, "samples must be at least 2 where slopes are one-sided, not 1"),
        ({"budget": 1}, "budget 2"),
        ({"tile": 0}, "tile must be at least 1, not 0"),
        ({"delta": 0.0}, "delta and learning_rate must be > 0"),
        ({"learning_rate": math.nan}, "delta and learning_rate must be > 0"),
        ({"update": "rmsprop"}, "update must be one of adam, sign, corner, not 'rmsprop'"),
        ({"epsilon": -0.1}, "epsilon must be >= 0"),
        ({"model": network(0).train()}, "training mode"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict, message: str) -> None:
    model, x, y = case(0)
    arguments = {"model": model, "epsilon": 0.1} | change
    with pytest.raises(ValueError, match=message):
        spsa(arguments.pop("model"), x, y, **arguments)
