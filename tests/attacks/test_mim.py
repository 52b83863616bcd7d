"""MIM: the L1 rule worked out by hand, the affine case solved exactly, and every mutant caught."""

from __future__ import annotations

import importlib
import itertools
import math
from functools import partial

import pytest
import torch
from attack_cases import Alone, accept, case, few, images, keeps_to_itself, mutant, network, seeds, two_classes
from hypothesis import given
from hypothesis import strategies as st

from mmc.attacks import LADDER, correct, cross_entropy, input_gradient, margin, pairwise
from mmc.attacks.mim import mim, share

#: The module, whatever the package calls by its name.
module = importlib.import_module("mmc.attacks.mim")


@few
@given(seed=seeds, epsilon=st.floats(0, 0.6), name=st.sampled_from(list(LADDER)), steps=st.integers(1, 6))
def test_every_image_stays_in_the_ball_and_in_the_box(seed: int, epsilon: float, name: str, steps: int) -> None:
    model, x, y = case(seed)
    x_adv = mim(model, x, y, objective=LADDER[name], epsilon=epsilon, steps=steps, step_size=0.3)
    assert (x_adv - x).abs().max() <= epsilon + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1


def test_two_affine_classes_are_solved_exactly() -> None:
    for size in (None, 0.2):
        accept(lambda model, x, y, epsilon, size=size: mim(model, x, y, epsilon=epsilon, step_size=size))


@few
@given(seed=seeds)
def test_it_is_the_rule_of_the_paper_step_by_step(seed: int) -> None:
    """Against a loop over single examples, in which nothing leaves early."""
    model, x, y = case(seed, "SCE")
    x_adv = mim(model, x, y, objective=cross_entropy, epsilon=0.02, steps=4, decay=0.7, active_set=False)
    for image, label, found in zip(x, y, x_adv, strict=True):
        moved, total, last = image[None], torch.zeros(1, *image.shape), None
        for _ in range(4):
            gradient = input_gradient(cross_entropy, model, moved, label[None])
            total = 0.7 * total + gradient / gradient.abs().sum()
            moved = torch.minimum(torch.maximum(moved + 0.005 * total.sign(), image - 0.02), image + 0.02).clamp(0, 1)
            last = moved if last is None or correct(model, last, label[None]) else last
            last = moved if not correct(model, moved, label[None]) else last
        torch.testing.assert_close(found, last[0], atol=1e-6, rtol=0)


def test_a_gradient_counts_by_its_share() -> None:
    """Gradients (3, 1) and then (-20, 20): by shares (1/4, 3/4), by signs (0, 2), as they are (-17, 21)."""
    slopes = torch.tensor([[3.0, 1.0], [-20.0, 20.0]])
    model, x = two_classes(0)[0], torch.full((1, 1, 4, 4), 0.5)
    y = model(x).argmax(1)

    def objective(model, x, y):
        # The second gradient holds once the first pixel has moved.
        moved = (x.flatten(1)[:, 0] != 0.5).long()
        return (x.flatten(1)[:, :2] * slopes[moved]).sum(1) + 0 * model(x).sum(1)

    x_adv = mim(model, x, y, objective=objective, epsilon=1e-3, steps=2, active_set=False)
    torch.testing.assert_close((x_adv - x).flatten(), torch.tensor([1e-3, 1e-3] + 14 * [0.0]), atol=1e-6, rtol=0)


@few
@given(seed=seeds)
def test_shares_sum_to_one_however_small_the_gradient(seed: int) -> None:
    gradient = (images(seed) - 0.5) * 10.0 ** torch.linspace(-36, 30, 12)[:, None, None, None]
    sums = share(gradient).flatten(1).abs().sum(1)
    torch.testing.assert_close(sums, torch.ones(12))
    assert (share(torch.zeros(2, 1, 4, 4)) == 0).all()


@few
@given(seed=seeds)
def test_climbing_on_changes_no_verdict(seed: int) -> None:
    model, x, y = case(seed)
    on, off = (mim(model, x, y, epsilon=0.1, active_set=active) for active in (True, False))
    assert correct(model, on, y).equal(correct(model, off, y))


@few
@given(seed=seeds)
def test_no_example_depends_on_its_company(seed: int) -> None:
    model, x, y = case(seed)
    for active in (True, False):
        keeps_to_itself(partial(mim, epsilon=0.1, active_set=active), Alone(model).eval(), x, y)


@few
@given(seed=seeds)
def test_more_room_fells_more(seed: int) -> None:
    model, x, y = two_classes(seed)
    standing = [correct(model, mim(model, x, y, epsilon=epsilon), y) for epsilon in (0.0, 0.02, 0.1, 1.0)]
    assert standing[0].all() and not standing[3].any()
    assert all(not (more & ~less).any() for less, more in itertools.pairwise(standing))


def test_a_target_is_climbed_and_a_wrong_image_is_left_alone() -> None:
    model, x, y = two_classes(2, 40)
    found = mim(model, x, y, epsilon=0.1, objective=pairwise, targets=1 - y)
    assert found.equal(mim(model, x, y, epsilon=0.1, objective=margin))
    assert mim(model, x, 1 - y, epsilon=0.1).equal(x)
    assert mim(model, x[:0], y[:0], epsilon=0.1).shape == (0, 1, 4, 4)


MUTANTS = {
    "down instead of up": ("size * sums.sign()", "-size * sums.sign()"),
    "no step": ("size * sums.sign()", "0 * sums.sign()"),
    "no ball": ("x[live], epsilon,", "x[live], 1.0,"),
    "no box": ("project(moved + size * sums.sign(), x[live], epsilon, 'linf')", "(moved + size * sums.sign())"),
    "nothing returned": ("result[live[last]] = moved[last]", "pass"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str) -> None:
    old, new = (piece.replace("'", '"') for piece in MUTANTS[name])
    changed = mutant(module, old, new)
    with pytest.raises((AssertionError, ValueError)):
        for size in (None, 0.2):
            accept(lambda model, x, y, epsilon, size=size: changed.mim(model, x, y, epsilon=epsilon, step_size=size))


@pytest.mark.parametrize("new", ["gradient.sign()", "gradient", "share(gradient) * 0 + gradient.sign()"])
def test_other_sums_than_of_shares_are_caught(new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "mim", mutant(module, "share(gradient)\n", f"{new}\n").mim)
    with pytest.raises(AssertionError):
        test_a_gradient_counts_by_its_share()


def test_an_attack_that_does_nothing_is_caught() -> None:
    with pytest.raises(AssertionError):
        accept(lambda model, x, y, epsilon: x.clone())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"step_size": -1.0}, "step_size and decay must be >= 0"),
        ({"decay": math.nan}, "step_size and decay must be >= 0"),
        ({"epsilon": -0.1}, "epsilon must be >= 0"),
        ({"targets": torch.full((12,), 4)}, "targets must be from 0 to 3"),
        ({"model": network(0).train()}, "training mode"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict, message: str) -> None:
    model, x, y = case(0)
    arguments = {"model": model, "epsilon": 0.1} | change
    with pytest.raises(ValueError, match=message):
        mim(arguments.pop("model"), x, y, **arguments)
