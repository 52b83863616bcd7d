"""Every attack before the oracle: none may report less robustness than there is; the strong ones find all of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from oracle_acceptance import check_fixed_radius, check_minimum_distance, instances, piecewise_instances

from mmc.attacks import (
    apgd,
    apgd_all_targets,
    carlini_wagner,
    cross_entropy,
    fgsm,
    margin,
    mim,
    pgd,
    random_search,
    spsa,
)

LINF: dict[str, Callable] = {
    "FGSM": partial(fgsm, objective=margin),
    "PGD, cross-entropy": partial(pgd, objective=cross_entropy, steps=20),
    "PGD, margin": partial(pgd, objective=margin, steps=20),
    "APGD, margin": partial(apgd, steps=20),
    "MIM, margin": partial(mim, objective=margin, steps=20),
    "SPSA": partial(spsa, iterations=3, samples=32),
    "random search": partial(random_search, draws=20),
}


@pytest.mark.parametrize("name", LINF)
def test_no_attack_reports_less_robustness_than_there_is(name: str) -> None:
    for instance in [*instances(4), *piecewise_instances(2)]:
        reported, exact = check_fixed_radius(LINF[name], instance)
        assert reported >= exact - 1e-9


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_all_targets_with_the_pairwise_margin_find_the_truth(norm: str) -> None:
    """The one attack that must be exact: every logit difference of these models is affine."""
    for instance in instances(12, norm=norm):
        reported, exact = check_fixed_radius(partial(apgd_all_targets, steps=50, norm=norm), instance, norm)
        assert reported == pytest.approx(exact, abs=0.026), instance  # one image of forty


def test_carlini_wagner_is_never_below_the_exact_distance_and_near_it() -> None:
    """At half the default budget: every image of every affine instance within two percent."""
    attack = partial(carlini_wagner, search_steps=3, iterations=200)
    for instance in instances(3, norm="l2", images=24):
        assert check_minimum_distance(attack, instance).max() <= 1.02


def test_the_ladder_is_ordered_on_the_oracle() -> None:
    """Averaged over instances: cross-entropy is the weakest judge, then the margin, then every pairwise margin."""
    found: dict[str, list[float]] = {"cross-entropy": [], "margin": [], "pairwise": [], "exact": []}
    for instance in instances(12, seed=1):
        for name, attack in (
            ("cross-entropy", LINF["PGD, cross-entropy"]),
            ("margin", LINF["PGD, margin"]),
            ("pairwise", partial(apgd_all_targets, steps=50)),
        ):
            reported, exact = check_fixed_radius(attack, instance)
            found[name].append(reported)
        found["exact"].append(exact)
    mean = {name: sum(values) / len(values) for name, values in found.items()}
    assert mean["cross-entropy"] >= mean["margin"] >= mean["pairwise"] >= mean["exact"] - 1e-9
    assert mean["cross-entropy"] > mean["pairwise"] + 0.02
