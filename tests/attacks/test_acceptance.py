"""Every attack before the oracles: none may report less robustness than there is; the strong ones find all of it.

A run takes a sample of the random instances; `make oracles` takes them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from attack_registry import ATTACKS, MUTATED, each
from oracle_acceptance import (
    HEADS,
    Instance,
    check_fixed_radius,
    check_minimum_distance,
    head_instances,
    instances,
    on_a_slope,
    piecewise_instances,
    trained_instances,
)

from mmc.attacks import PRESETS, apgd_all_targets, carlini_wagner, cross_entropy, margin, nearest_by_radius, pgd
from mmc.attacks.balls import NORMS
from mmc.attacks.preset import num_classes
from mmc.losses import LOSSES

#: How many instances of each kind are all, and how many a sample.
KINDS = {head_instances: (160, 4), instances: (60, 2), trained_instances: (30, 1), piecewise_instances: (30, 1)}


@pytest.fixture
def oracles(request: pytest.FixtureRequest):
    """Instances with a radius in one norm: `oracles(norm)`, or some kinds alone, or the share of the sample alone."""
    everything = request.config.getoption("--all-oracles")

    def choose(norm: str = "linf", kinds=tuple(KINDS), times: int = 1) -> Iterator[Instance]:
        for kind in kinds:
            all_of_them, some = KINDS[kind]
            yield from kind(all_of_them if everything else some * times, norm=norm, images=12)

    return choose


AFFINE, BENT = (head_instances, instances), (trained_instances, piecewise_instances)


def test_every_head_but_one_is_an_oracle() -> None:
    assert set(HEADS) == set(LOSSES) - {"HE"}
    found = {type(instance.oracle.model.loss) for instance in head_instances(len(HEADS))}
    assert found == {LOSSES[name] for name in HEADS}


@each(lambda entry: entry.norm)
def test_no_attack_in_a_ball_reports_less_robustness_than_there_is(name: str, oracles) -> None:
    entry, left = ATTACKS[name], []
    for instance in oracles(entry.norm):
        reported, exact = check_fixed_radius(entry, instance, entry.norm)
        assert reported >= exact - 1e-9
        left.append(reported < 1)
    assert any(left), "and it does something"


@each(lambda entry: not entry.norm)
def test_no_attack_finds_an_image_nearer_than_the_nearest(name: str, oracles) -> None:
    """Whatever fools, of whatever threat, is no nearer than the exact distance, in both norms."""
    found = []
    for norm in NORMS:
        for instance in oracles(norm):
            found.append(check_minimum_distance(ATTACKS[name], instance, norm).isfinite())
    assert torch.cat(found).any()


SLOW = ("autoattack", "hop_skip_jump", "spsa", "random_search")


@pytest.mark.skipif(bool(MUTATED), reason="presets add settings to the attacks, and other tests look at those")
@pytest.mark.parametrize("slug", [slug for slug, preset in PRESETS.items() if preset.attack != "carlini_wagner"])
def test_no_preset_reports_less_robustness_than_there_is(slug: str, oracles, request) -> None:
    """At the instance's radius. In a sample, one instance that belongs to the preset alone."""
    preset, everything = PRESETS[slug], request.config.getoption("--all-oracles")
    kinds = (head_instances, trained_instances)
    chosen = list(oracles(preset.norm or "linf", kinds))[:: 16 if preset.attack in SLOW else 2]
    for number, instance in enumerate(chosen):
        if not everything and number != list(PRESETS).index(slug) % len(chosen):
            continue
        if preset.misfit(instance.oracle.model, num_classes(instance.oracle.model, instance.oracle.x)):
            continue
        if preset.norm and not preset.nearest:
            attack = preset.at(instance.epsilon)
            reported, exact = check_fixed_radius(lambda m, x, y, epsilon, a=attack: a(m, x, y), instance, preset.norm)
            assert reported >= exact - 1e-9
        else:
            for norm in NORMS:
                check_minimum_distance(preset, instance, norm)


@pytest.mark.parametrize("norm", NORMS)
def test_all_targets_with_the_pairwise_margin_find_the_truth(norm: str, oracles) -> None:
    """The one attack that must be exact: every logit difference of these models is affine."""
    for instance in oracles(norm, AFFINE, times=3):
        reported, exact = check_fixed_radius(partial(apgd_all_targets, steps=50, norm=norm), instance, norm)
        assert reported == pytest.approx(exact, abs=1e-9), instance


@pytest.mark.parametrize("norm", NORMS)
def test_all_targets_find_nearly_all_of_the_truth_of_networks(norm: str, oracles) -> None:
    attack, missed, count = partial(apgd_all_targets, steps=50, restarts=3, norm=norm), 0.0, 0
    for instance in oracles(norm, BENT, times=2):
        reported, exact = check_fixed_radius(attack, instance, norm)
        missed, count = missed + len(instance.oracle.y) * (reported - exact), count + len(instance.oracle.y)
    assert missed <= 0.04 * count + 1e-9


def test_carlini_wagner_finds_the_exact_distance(oracles) -> None:
    """Before planes every image of every instance within two percent; on networks half of the images of each."""
    for instance in oracles("l2", AFFINE, times=2):
        assert check_minimum_distance(carlini_wagner, instance).max() <= 1.02, instance
    ratios = [check_minimum_distance(carlini_wagner, one)[on_a_slope(one)] for one in oracles("l2", BENT)]
    assert all(ratio.median() <= 1.02 for ratio in ratios if len(ratio))
    assert (torch.cat(ratios) > 1.02).double().mean() <= 0.2


@pytest.mark.parametrize("norm", NORMS)
def test_auto_pgd_finds_the_exact_distance_by_bisection(norm: str, oracles) -> None:
    every_target = partial(nearest_by_radius, partial(apgd_all_targets, steps=10), norm=norm)

    def ratios(instance: Instance) -> torch.Tensor:
        # From a radius of the right size, for a dozen rounds only halve so far.
        return check_minimum_distance(partial(every_target, first_radius=instance.epsilon), instance, norm)

    for instance in oracles(norm, AFFINE):
        assert ratios(instance).median() <= 1.01, instance
    found = torch.cat([ratios(instance)[on_a_slope(instance, norm)] for instance in oracles(norm, BENT)])
    assert found.median() <= 1.01 and (found > 1.02).double().mean() <= 0.25


def test_the_ladder_is_ordered_on_the_oracle() -> None:
    """Averaged over instances: cross-entropy is the weakest judge, then the margin, then every pairwise margin."""
    found: dict[str, list[float]] = {"cross-entropy": [], "margin": [], "pairwise": [], "exact": []}
    for instance in instances(12, seed=1):
        for name, attack in (
            ("cross-entropy", partial(pgd, objective=cross_entropy, steps=20)),
            ("margin", partial(pgd, objective=margin, steps=20)),
            ("pairwise", partial(apgd_all_targets, steps=50)),
        ):
            reported, exact = check_fixed_radius(attack, instance)
            found[name].append(reported)
        found["exact"].append(exact)
    mean = {name: sum(values) / len(values) for name, values in found.items()}
    assert mean["cross-entropy"] >= mean["margin"] >= mean["pairwise"] >= mean["exact"] - 1e-9
    assert mean["cross-entropy"] > mean["pairwise"] + 0.02
