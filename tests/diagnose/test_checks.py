"""Each check can be raised and can be quiet: what is sound is called so, and what is broken is caught by its checks."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch
from diagnose_cases import EXACT, SMALL, case, forgetful, no_op, report, strayed, subject, timid
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import correct, margin, pgd
from mmc.attacks.balls import project
from mmc.diagnose import (
    BROKEN,
    accuracy_against_budget,
    accuracy_against_epsilon,
    autoattack_flags,
    binarisation_test,
    broken_models,
    controls,
    flags,
    incomplete_optimisation,
    oracle,
    order_of_strength,
    silent_success,
    transfer_failure,
    unavailable_gradients,
    unconstrained_failure,
    undefended_twin,
    unstable_predictions,
    zero_gradients,
)
from mmc.diagnose.binarisation import readout
from mmc.diagnose.finding import numbers
from mmc.oracle import Oracle, random_oracle

#: Left out, or luck of the random starts, where a broken model is told from a sound one.
OPEN = {"accuracy against budget", "AutoAttack and its flags"}
NO_WAY = {"accuracy against epsilon", "order of strength", "transfer failure", "unconstrained failure"}
BLIND = {"zero gradients", "unavailable gradients"}


def raised(found) -> set[str]:
    return {finding.name for finding in found.raised}


@pytest.mark.parametrize("attack", [None, EXACT], ids=["usual", "exact"])
def test_on_the_oracle_everything_is_sound_and_the_worst_case_is_the_truth(attack) -> None:
    found = report(attack=attack)
    assert raised(found) == set() and found.sound
    assert [f.name for f in found.findings if f.verdict == "not applicable"] == ["AutoAttack and its flags"]
    truth = case()[0].robust_accuracy(case()[1])
    assert found.accuracy["worst case"] == found.accuracy["reported"] == truth == 0.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quantised logits", NO_WAY | BLIND),
        ("saturated logits", NO_WAY | BLIND | {"binarisation test", "closed-form oracle"}),
        ("detached image", NO_WAY | BLIND | {"binarisation test"}),
        ("rippled image", NO_WAY | {"unstable predictions", "binarisation test"}),
    ],
)
def test_a_broken_model_looks_robust_and_raises_exactly_the_checks_it_should(name: str, expected: set[str]) -> None:
    found = report(BROKEN[name](case()[0].model))
    assert found.accuracy["reported"] > 0.9  # what would have been published
    assert found.accuracy["worst case"] <= 0.55 and not found.sound
    assert raised(found) - OPEN == expected


def test_a_noisy_model_is_caught_by_what_asks_twice() -> None:
    torch.manual_seed(0)
    noisy = subject(BROKEN["noisy image"](case()[0].model))
    assert unstable_predictions(noisy).verdict == "failed" and zero_gradients(noisy).verdict == "sound"


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (no_op, set()),
        (forgetful, {"silent success"}),
        (timid, {"incomplete optimisation", "accuracy against budget"}),
    ],
    ids=["no-op", "forgetful", "timid"],
)
def test_a_broken_attack_on_a_sound_model_is_caught_by_many_checks(attack, expected: set[str]) -> None:
    always = {"accuracy against epsilon", "order of strength", "unconstrained failure", "undefended twin"}
    found = report(attack=attack)
    assert raised(found) - (OPEN - expected) == always | {"binarisation test", "closed-form oracle"} | expected
    assert found.accuracy["worst case"] == 0.5 < found.accuracy["reported"]


def test_an_attack_that_leaves_its_ball_is_refused() -> None:
    with pytest.raises(ValueError, match="from its original, epsilon is"):
        report(attack=strayed)


class Unhinged(nn.Module):
    """No features and no loss to be seen, only logits."""

    def __init__(self, model: nn.Module, spare: bool = False) -> None:
        super().__init__()
        self.model = model
        if spare:
            self.features = model.features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


@pytest.mark.parametrize("spare", [False, True], ids=["logits alone", "features without a loss"])
def test_any_model_that_gives_logits_can_be_diagnosed(spare: bool) -> None:
    found = report(Unhinged(case()[0].model, spare).eval(), twin=None)
    assert found.sound and found.accuracy["worst case"] == 0.5
    assert (found["binarisation test"].verdict == "not applicable") == (not spare)
    assert found["transfer failure"].verdict == found["undefended twin"].verdict == "not applicable"


# 1, 2, 3


def test_zero_gradients_are_counted_per_objective_and_judged_by_the_one_that_is_climbed() -> None:
    saturated = BROKEN["saturated logits"](case()[0].model)
    blind, seeing = (zero_gradients(subject(saturated, attack)) for attack in (None, EXACT))
    assert blind.evidence["shares"]["cross-entropy"] == seeing.evidence["shares"]["cross-entropy"] > 0.9
    assert blind.evidence["shares"]["margin"] == 0
    assert (blind.verdict, blind.evidence["objective"]) == ("failed", "cross-entropy")
    assert (seeing.verdict, seeing.evidence["objective"]) == ("sound", "pairwise margin")
    assert len(numbers(blind.evidence["without gradient"])) == 40 * blind.evidence["shares"]["cross-entropy"]
    assert zero_gradients(subject(saturated, no_op)).verdict == "warning"  # what it climbs is not known


class Masked(Unhinged):
    """Does not look at the first row of an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = torch.ones_like(x)
        seen[:, :, 0] = 0
        return self.model(x * seen)


def test_pixels_that_do_not_matter_are_no_missing_gradient() -> None:
    masked = Masked(case()[0].model).eval()
    here = subject(masked)
    shares = zero_gradients(here).evidence["shares"]
    assert shares["cross-entropy"] == shares["margin"] == 0
    assert unavailable_gradients(here).evidence["stuck"] == ""


@settings(max_examples=2)
@given(seed=st.integers(0, 50), loss=st.sampled_from(["MMC", "SCE"]))
def test_accuracy_against_epsilon_is_the_exact_curve_for_the_exact_attack(seed: int, loss: str) -> None:
    here = subject(attack=EXACT, seed=seed, loss=loss)
    found = accuracy_against_epsilon(here)
    curve = [(float(radius), share) for radius, share in found.evidence["accuracy"].items()]
    assert found.verdict == "sound" and curve[-1] == (1.0, 0.0)
    assert [share for _, share in curve] == sorted((share for _, share in curve), reverse=True)
    for radius, share in curve[1:-2]:
        assert share == pytest.approx(case(seed, loss)[0].robust_accuracy(radius), abs=0.026)


def test_what_stands_where_all_images_can_be_grey_is_held_against_chance() -> None:
    """An attack that wins in the whole box and nowhere else leaves more than one class at the radius of grey."""
    oracle_, _ = case()

    def only_in_the_box(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float) -> torch.Tensor:
        return EXACT(model, x, y, epsilon=1.0) if epsilon >= 1 else x.clone()

    assert accuracy_against_epsilon(subject(attack=only_in_the_box)).verdict == "failed"
    assert unconstrained_failure(subject(attack=only_in_the_box)).verdict == "sound"

    def fewer_in_more(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float) -> torch.Tensor:
        return x.clone() if 0.04 < epsilon < 0.1 else EXACT(model, x, y, epsilon=epsilon)

    found = accuracy_against_epsilon(subject(attack=fewer_in_more))
    assert found.verdict == "warning" and found.evidence["stand though felled at a smaller radius"] > 5
    single = subject()
    single.x, single.y = oracle_.x[oracle_.y == 0], oracle_.y[oracle_.y == 0]
    assert accuracy_against_epsilon(single).verdict == "not applicable"


def test_a_budget_that_is_too_small_shows_and_one_that_is_enough_does_not() -> None:
    few, many = (partial(pgd, objective=margin, steps=steps, step_size=1e-3) for steps in (3, 60))
    small, enough = (accuracy_against_budget(subject(attack=attack)) for attack in (few, many))
    assert small.verdict == "failed" and enough.verdict == "sound"
    assert set(small.evidence["accuracy"]) == {
        "as it is", "twice the steps", "3 restarts", "steps of epsilon/2", "steps of epsilon/8", "steps of epsilon/32"
    }  # fmt: skip
    assert numbers(small.evidence["felled besides"]["steps of epsilon/8"])
    assert accuracy_against_budget(subject(attack=no_op)).verdict == "not applicable"


# 4


def test_the_order_of_strength_names_the_examples_that_speak_against_it() -> None:
    oracle_, epsilon = case()
    here = subject(attack=no_op)
    found = order_of_strength(here, oracle_.model)
    crossed = numbers(found.evidence["felled by the weaker only"]["transfer before evaluated"])
    assert found.verdict == "failed" and len(crossed) == 20
    assert not any("before adaptive" in pair for pair in found.evidence["felled by the weaker only"])
    assert here.worst.equal(oracle_.robust(epsilon))
    assert numbers(found.evidence["stand in the worst case"]) == here.worst.nonzero().flatten().tolist()
    stand = {name: set(numbers(text)) for name, text in found.evidence["stand"].items()}
    assert set(crossed) == stand["evaluated"] - stand["transfer"] and len(stand["adaptive"]) > 0
    assert {name: len(kept) / 40 for name, kept in stand.items()} == pytest.approx(
        {name: found.evidence["accuracy"][name] for name in stand}, abs=1e-6
    )


def test_one_example_that_a_blinder_attack_fells_is_a_warning() -> None:
    here = subject(attack=EXACT)
    run = here.attacked()
    shown = run.standing.clone()
    shown[(~run.standing).nonzero().flatten()[0]] = True  # as if the attack had missed one
    here._runs = {key: dataclasses.replace(run, standing=shown) for key in here._runs}
    assert order_of_strength(here, case()[0].model).verdict == "warning"


def test_noise_and_queries_are_run_on_what_withstands() -> None:
    here = subject()
    assert order_of_strength(here).evidence["run on the first that withstand"] == SMALL.few
    assert here.withstanding(5).equal(here.attacked().standing.nonzero().flatten()[:5])


# 5


def test_unavailable_gradients_count_what_is_stuck_and_not_what_fell() -> None:
    detached = BROKEN["detached image"](case()[0].model)
    assert unavailable_gradients(subject(detached)).verdict == "failed"
    assert unavailable_gradients(subject()).verdict == "sound"
    felled = unavailable_gradients(subject(detached, partial(_from_home, case()[0].model)))
    assert len(numbers(felled.evidence["stuck"])) == felled.evidence["withstand"] == 20


def _from_home(home: nn.Module, model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float) -> torch.Tensor:
    return EXACT(home, x, y, epsilon=epsilon)


def test_silent_success_needs_an_image_that_was_met_and_not_returned() -> None:
    assert silent_success(subject(attack=forgetful)).verdict == "failed"
    assert silent_success(subject(attack=no_op)).verdict == "sound"
    assert silent_success(subject()).verdict == "sound"


def test_what_a_forgetful_attack_met_counts_in_the_worst_case() -> None:
    here = subject(attack=forgetful)
    here.attacked()
    assert here.attacked().standing.all() and here.worst.float().mean() == 0.5


def test_incomplete_optimisation_sees_a_climb_that_was_broken_off() -> None:
    assert incomplete_optimisation(subject(attack=timid)).verdict == "failed"
    assert incomplete_optimisation(subject()).verdict == "sound"


def test_unstable_predictions_hold_the_gradient_to_its_promise() -> None:
    plain = unstable_predictions(subject())
    rippled = unstable_predictions(subject(BROKEN["rippled image"](case()[0].model)))
    quantised = unstable_predictions(subject(BROKEN["quantised logits"](case()[0].model)))
    assert plain.evidence["kept of the promised rise"] == pytest.approx(1, abs=1e-2)  # affine
    assert rippled.evidence["kept of the promised rise"] < 0.1 and rippled.evidence["answers that differ"] == 0
    assert quantised.evidence["kept of the promised rise"] is None
    assert (plain.verdict, rippled.verdict, quantised.verdict) == ("sound", "failed", "sound")


class TwoFaced(nn.Module):
    """Shows features and a head that are not what it decides by."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.loss = model, model.loss

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.features(1 - x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def misled(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float, steps: int = 20) -> torch.Tensor:
    """Climbs what features and head say, and never asks how the model decides."""
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_()
        logits = model.loss.logits(model.features(moved))
        own = logits.gather(1, y[:, None])[:, 0]
        lead = logits.scatter(1, y[:, None], -torch.inf).amax(1) - own
        (gradient,) = torch.autograd.grad(lead.sum(), moved)
        moved = project(moved.detach() + 2.5 * epsilon / steps * gradient.sign(), x, epsilon, "linf")
    model.features(moved)
    return moved


def test_an_attack_that_looks_at_another_function_than_is_judged_is_told() -> None:
    found = transfer_failure(subject(TwoFaced(case()[0].model).eval(), misled))
    assert found.verdict == "failed" and numbers(found.evidence["fooled as seen, right as judged"])
    assert transfer_failure(subject()).verdict == "sound"


# 6


@settings(max_examples=8)
@given(place=st.integers(0, 39), gap=st.floats(0.1, 200), seed=st.integers(0, 100))
def test_in_the_binarised_model_an_image_that_fools_exists_and_the_gap_is_the_one_asked_for(
    place: int, gap: float, seed: int
) -> None:
    oracle_, epsilon = case()
    image = oracle_.x[place]
    two = readout(oracle_.model, image, epsilon, gap, 199, seed)
    logits = two(image[None])[0]
    assert (logits[0] - logits[1]).item() == pytest.approx(gap, rel=1e-3)
    assert two.features(image[None])[0].item() == pytest.approx(two.loss.centers[0].item(), rel=1e-3)
    label = torch.zeros(1, dtype=torch.long)
    x_adv = EXACT(two, image[None], label, epsilon=epsilon)
    assert not correct(two, x_adv, label).any()
    draws = torch.rand(50, *image.shape, generator=torch.Generator().manual_seed(seed))
    inside = (image + 0.9 * epsilon * (2 * draws - 1)).clamp(0, 1)
    assert correct(two, inside, label.expand(50)).float().mean() > 0.9


def test_a_good_attack_passes_the_binarisation_test_and_a_bad_one_does_not() -> None:
    good, bad = (binarisation_test(subject(attack=attack)) for attack in (EXACT, no_op))
    assert good.verdict == "sound" and good.evidence["score"] == 1 and good.evidence["made"] == 5
    assert bad.verdict == "failed" and bad.evidence["score"] == 0 and len(numbers(bad.evidence["missed"])) == 5


class Flat(Unhinged):
    """Features that say nothing."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 3)


def test_without_features_that_tell_there_is_no_binarisation_test() -> None:
    found = binarisation_test(subject(Flat(case()[0].model).eval()))
    assert found.verdict == "not applicable" and "no border point" in found.seen


# 7


def test_autoattack_fells_what_was_missed_and_its_flags_are_told() -> None:
    effort = dataclasses.replace(SMALL, few=4, autoattack=("apgd-ce",))
    missed = autoattack_flags(subject(attack=no_op, effort=effort))
    assert numbers(missed.evidence["felled"]) and missed.evidence["flags"] == [] and missed.verdict != "sound"
    assert autoattack_flags(subject(attack=EXACT, effort=effort)).verdict == "sound"
    blind = autoattack_flags(subject(BROKEN["saturated logits"](case()[0].model), EXACT, effort))
    assert blind.verdict == "warning" and "zero gradient" in blind.seen
    assert autoattack_flags(subject()).verdict == "not applicable"


@pytest.mark.parametrize(
    ("warning", "verdict"),
    [
        ("Square Attack has decreased the robust accuracy of 2.00%. See x", "failed"),
        ("it seems to be a randomized defense!", "failed"),
        ("it seems to be a dynamic defense!", "warning"),
    ],
)
def test_grave_flags_fail_and_others_warn(monkeypatch: pytest.MonkeyPatch, warning: str, verdict: str) -> None:
    effort = dataclasses.replace(SMALL, autoattack=("apgd-ce",))
    monkeypatch.setattr(flags, "autoattack_with_flags", lambda model, x, y, epsilon, **_: (x.clone(), (warning,)))
    found = autoattack_flags(subject(attack=EXACT, effort=effort))
    assert found.verdict == verdict and warning.split(" See ")[0] in found.evidence["flags"]
    monkeypatch.setattr(flags.importlib.util, "find_spec", lambda name: None)
    assert "not installed" in autoattack_flags(subject(effort=effort)).seen


# 8


def test_a_twin_must_fall_and_an_epsilon_at_which_it_does_not_tells_little() -> None:
    oracle_, _ = case()
    assert undefended_twin(subject(attack=EXACT), oracle_.model).verdict == "sound"
    assert undefended_twin(subject(attack=no_op), oracle_.model).verdict == "failed"
    tiny = subject(attack=EXACT)
    tiny.epsilon /= 20
    found = undefended_twin(tiny, oracle_.model)
    assert found.verdict == "warning" and "tells little" in found.seen


def test_the_control_fails_where_a_broken_model_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken_models(subject()).verdict == "sound"
    monkeypatch.setattr(controls, "CATCHING", (zero_gradients,))
    found = broken_models(subject())
    assert found.verdict == "failed" and "rippled image, noisy image" in found.seen


def test_the_oracle_knows_the_truth_for_logits_as_far_apart_as_the_models() -> None:
    blind = subject(BROKEN["saturated logits"](case()[0].model))
    assert oracle(blind).verdict == "failed" and oracle(blind).evidence["median gap of logits"] > 1000
    assert oracle(subject()).verdict == "sound" and oracle(subject(attack=EXACT)).evidence["missed"] == 0
    assert oracle(subject()).evidence["loss"] == "MMC" and oracle(subject(loss="SCE")).evidence["loss"] == "SCE"


class Tougher(Oracle):
    """An oracle that believes its images to lie three times as far from the boundary as they do."""

    def find(self, norm: str, slack: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        distance, nearest = super().find(norm, slack)
        return 3 * distance, nearest


def test_an_attack_that_reports_less_than_the_truth_allows_fails_before_the_oracle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tougher(*arguments, **options) -> Tougher:
        made = random_oracle(*arguments, **options)
        return Tougher(made.model, made.x, made.y)

    monkeypatch.setattr(controls, "random_oracle", tougher)
    found = oracle(subject(attack=EXACT))
    assert found.verdict == "failed" and "exactly robust" in found.seen
