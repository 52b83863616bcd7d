"""The nearest image by an attack of fixed radius, one for each example. Oracles judge it in test_acceptance.py."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from attack_cases import Alone, case, exact_distances, few, keeps_to_itself, seeds, two_classes
from hypothesis import given

from mmc.attacks import apgd, apgd_all_targets, correct, margin, nearest_by_radius
from mmc.attacks.balls import NORMS, lengths


@few
@given(seed=seeds)
def test_more_rounds_are_never_worse_and_the_first_radius_may_be_anything(seed: int) -> None:
    model, x, y = two_classes(seed, 12)
    truth = exact_distances(model, x, y)

    def found(**options: float) -> torch.Tensor:
        x_adv = nearest_by_radius(partial(apgd, steps=10), model, x, y, **options)
        assert x_adv.min() >= 0 and x_adv.max() <= 1
        return torch.where(correct(model, x_adv, y), math.inf, lengths(x_adv - x, "l2")).double()

    for first in (1e-3, 0.5, 100.0):
        less, more = (found(first_radius=first, rounds=rounds) for rounds in (6, 22))
        # A length in float32 is uncertain by the rounding of pixels, which counts where the distance is tiny.
        assert (more <= less).all() and (more >= truth * (1 - 1e-4) - 1e-6).all()
        assert (more <= truth * 1.001 + 1e-4).all()


@pytest.mark.parametrize("norm", NORMS)
@few
@given(seed=seeds)
def test_radii_of_its_own_are_as_if_each_example_were_alone(norm: str, seed: int) -> None:
    model, x, y = case(seed, count=6)
    model = Alone(model).eval()
    radii = torch.rand(6, generator=torch.Generator().manual_seed(seed)) * (0.2 if norm == "linf" else 1.0)
    for attack in (partial(apgd, objective=margin, steps=8, restarts=2), partial(apgd_all_targets, steps=5)):
        whole = attack(model, x, y, epsilon=radii, norm=norm)
        single = [attack(model, x[i : i + 1], y[i : i + 1], epsilon=radii[i : i + 1], norm=norm) for i in range(len(x))]
        assert whole.equal(torch.cat(single))
        assert (lengths(whole - x, norm) <= radii + 1e-6).all()
        one = attack(model, x, y, epsilon=0.125, norm=norm)
        assert one.equal(attack(model, x, y, epsilon=torch.full((6,), 0.125), norm=norm))


@few
@given(seed=seeds)
def test_no_example_depends_on_its_company(seed: int) -> None:
    model, x, y = case(seed, count=8)
    attack = partial(nearest_by_radius, partial(apgd, steps=5), rounds=4)
    keeps_to_itself(attack, Alone(model).eval(), x, y)


def test_what_cannot_fall_and_what_has_fallen_come_back_as_they_were() -> None:
    model, x, y = two_classes(0, 10)
    assert nearest_by_radius(apgd, model, x, 1 - y).equal(x)
    assert nearest_by_radius(apgd, model, x[:0], y[:0]).shape == (0, 1, 4, 4)
    assert nearest_by_radius(lambda model, x, y, epsilon, norm: x.clone(), model, x, y).equal(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "first_radius must be > 0 and rounds at least 1"),
        ({"first_radius": 0.0}, "first_radius must be > 0"),
        ({"first_radius": math.inf}, "first_radius must be > 0"),
        ({"first_radius": math.nan}, "epsilon must be >= 0"),
        ({"norm": "l1"}, "norm must be one of linf, l2"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict, message: str) -> None:
    model, x, y = two_classes(0, 4)
    with pytest.raises(ValueError, match=message):
        nearest_by_radius(apgd, model, x, y, **change)


def test_radii_of_another_shape_or_below_zero_are_refused() -> None:
    model, x, y = two_classes(0, 4)
    for radii, message in (
        (torch.ones(3), r"epsilon must be one number or have shape \(4,\), not \(3,\)"),
        (torch.tensor([0.1, -0.2, 0.1, 0.1]), r"epsilon must be >= 0.*not -0\.2"),
    ):
        with pytest.raises(ValueError, match=message):
            apgd(model, x, y, epsilon=radii)
