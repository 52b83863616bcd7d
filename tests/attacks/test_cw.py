"""Carlini and Wagner: the exact distance on affine models, whatever the logits' sign, and every mutant caught."""

from __future__ import annotations

import importlib
import math
from functools import partial

import pytest
import sympy as sp
import torch
from attack_cases import Affine, Alone, case, exact_distances, images, keeps_to_itself, mesa, mutant, seeds, two_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import correct, penalty
from mmc.attacks.cw import carlini_wagner, distances
from mmc.attacks.penalty import ROUNDING
from mmc.theory.attacks import penalty_threshold

#: The module, whatever the package calls by its name.
module = importlib.import_module("mmc.attacks.cw")

two = settings(max_examples=2, deadline=None)
#: A third of the work of the defaults, which is enough for sixteen pixels.
quick = partial(carlini_wagner, search_steps=3, iterations=150, learning_rate=0.02, look_every=25)
#: As printed: one constant to begin with, and a margin over whichever class leads.
printed = partial(quick, search_steps=6, iterations=200, first_constant=0.1)


def classes(seed: int, count: int = 20, scale: float = 10.0, shift: float = 0.0) -> tuple[Affine, torch.Tensor, ...]:
    """Five affine classes, and images with the labels that they give them."""
    weight = scale * torch.randn(5, 16, generator=torch.Generator().manual_seed(seed))
    model = Affine(weight, shift - weight.sum(1) / 2).eval()
    x = images(seed, count)
    return model, x, model(x).argmax(1)


def nearly_exact(attack, model: Affine, x: torch.Tensor, y: torch.Tensor, tolerance: float = 0.02) -> None:
    """Every example falls, in the box, none below the exact distance, and all of them within the tolerance.

    What fools must lead by more than rounding: beside logits of a thousand that is a stretch of its own.
    """
    found, _ = found_and_exact(attack, model, x, y)
    lead = 1.1 * ROUNDING * model(x).abs().max().item()
    assert (found < exact_distances(model, x, y, lead=lead) * (1 + tolerance) + 1e-4).all()


def found_and_exact(attack, model: Affine, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x_adv = attack(model, x, y)
    assert x_adv.min() >= 0 and x_adv.max() <= 1 and x_adv.dtype == x.dtype
    found, truth = distances(model, x, y, x_adv).double(), exact_distances(model, x, y)
    assert found.isfinite().all() and (found > truth * (1 - 1e-4) - 1e-6).all()
    return found, truth


@two
@given(seed=seeds)
def test_affine_models_are_solved_to_two_percent(seed: int) -> None:
    nearly_exact(quick, *classes(seed))
    nearly_exact(quick, *two_classes(seed, 20))


@two
@given(seed=seeds)
def test_the_printed_search_is_as_near_before_one_plane_and_may_settle_elsewhere_before_several(seed: int) -> None:
    for made, share in ((two_classes(seed, 20), 1.0), (classes(seed), 0.7)):
        found, truth = found_and_exact(printed, *made)
        assert (found / truth).median() < 1.02 and (found < truth * 1.2 + 0.005).float().mean() >= share


def test_a_class_that_leads_on_the_way_does_not_mislead() -> None:
    """At x the second class leads the third; the third is nearer, and the printed search does not turn to it."""
    weight = torch.zeros(3, 16)
    weight[1, 0], weight[2, 1:5] = 1.0, 1.0
    model, x = Affine(weight, torch.tensor([0.0, -0.8, -2.35])).eval(), torch.full((1, 1, 4, 4), 0.5)
    y = model(x).argmax(1)
    assert y.item() == 0 and model(x)[0, 1] > model(x)[0, 2]
    truth = exact_distances(model, x, y)
    assert truth.item() == pytest.approx(0.175)
    assert distances(model, x, y, printed(model, x, y)).item() == pytest.approx(0.3, rel=0.02)
    assert distances(model, x, y, quick(model, x, y)).item() == pytest.approx(0.175, rel=0.02)
    # One class is tried, the nearest by first order, which is not the one that leads.
    assert distances(model, x, y, quick(model, x, y, rivals=1)).item() == pytest.approx(0.175, rel=0.02)


@two
@given(seed=seeds, power=st.integers(-6, 6))
def test_a_fitted_search_does_not_feel_the_scale_of_the_logits(seed: int, power: int) -> None:
    """Powers of four move no digit: every image is the same to the bit."""
    model, x, y = classes(seed, 6, scale=1.0)
    larger = Affine(4.0**power * model.weight, 4.0**power * model.bias).eval()
    assert quick(larger, x, y).equal(quick(model, x, y))


def test_the_defaults_are_closer_still() -> None:
    nearly_exact(carlini_wagner, *classes(0, 8), tolerance=0.005)


@two
@given(seed=seeds)
def test_neither_sign_nor_scale_of_the_logits_matters(seed: int) -> None:
    """Logits that are all negative are where a public library gives the clean image back."""
    model, x, y = classes(seed, 12, shift=-1000.0)
    assert (model(x) < 0).all()
    nearly_exact(quick, model, x, y)
    nearly_exact(quick, *classes(seed, 12, scale=0.1))


@two
@given(seed=seeds)
def test_a_network_on_centers_falls_though_all_its_logits_are_negative(seed: int) -> None:
    model, x, y = case(seed)
    assert (model(x) < 0).all()
    x_adv = quick(model, x, y)
    found = distances(model, x, y, x_adv)
    # A random network may keep one class over the whole box, in part.
    assert found.isfinite().float().mean() >= 0.5
    assert (~correct(model, x_adv, y)).equal(found.isfinite())
    assert x_adv[found.isinf()].equal(x[found.isinf()])


def test_black_and_white_pixels_can_move() -> None:
    """At 0 and 1 the inverse tanh is infinite: the attack starts beside them, and still finds the way."""
    weight = torch.randn(3, 64, generator=torch.Generator().manual_seed(5))
    model, x = Affine(weight, torch.zeros(3)).eval(), images(5, 20, (1, 8, 8)).round()
    y = model(x).argmax(1)
    nearly_exact(quick, model, x, y)


@two
@given(seed=seeds)
def test_a_target_is_reached_and_nothing_else(seed: int) -> None:
    model, x, y = classes(seed, 12)
    targets = (y + 1 + torch.arange(len(y)) % 4) % 5
    x_adv = quick(model, x, y, targets=targets)
    reached = distances(model, x, y, x_adv).isfinite()
    assert reached.float().mean() > 0.5  # the box may keep a class from ever winning
    assert model(x_adv)[reached].argmax(1).equal(targets[reached])
    bound = exact_distances(model, x, y, targets)
    assert (distances(model, x, y, x_adv)[reached].double() > bound[reached] * (1 - 1e-4)).all()
    two, x, y = two_classes(seed, 20)
    found = distances(two, x, y, quick(two, x, y, targets=1 - y)).double()
    assert (found / exact_distances(two, x, y)).median() < 1.02


def test_confidence_asks_for_a_lead() -> None:
    model, x, y = two_classes(3, 20)
    x_adv = quick(model, x, y, confidence=1.0)
    fell = distances(model, x, y, x_adv).isfinite()
    leads = model(x_adv).gather(1, 1 - y[:, None]) - model(x_adv).gather(1, y[:, None])
    assert fell.float().mean() > 0.8 and (leads[fell] >= 1.0).all()
    ratios = (distances(model, x, y, x_adv).double() / exact_distances(model, x, y, lead=1.0))[fell]
    assert ratios.min() > 1 - 1e-4 and ratios.median() < 1.02


@two
@given(seed=seeds, confidence=st.sampled_from([0.0, 1.0]))
def test_a_fitted_search_begins_at_a_multiple_of_the_threshold_and_with_the_nearest_class(
    seed: int, confidence: float
) -> None:
    """The threshold is the theory's; the order is that of the distances without the box."""
    model, x, y = classes(seed, 5)
    tries = module._fitted(model, x, y, None, confidence, 9, 0)
    assert len(tries) == 4 and all(begun.image.equal(x) and begun.distance is None for begun in tries)
    away = []
    for aim, constant, *_ in tries:
        gap = model(x).gather(1, y[:, None])[:, 0] - model(x).gather(1, aim[:, None])[:, 0] + confidence
        normal = (model.weight[y] - model.weight[aim]).double()
        for i, length in enumerate(constant.tolist()):
            threshold = penalty_threshold(sp.Float(gap[i].item()), sp.Matrix(normal[i].tolist()))
            assert length == pytest.approx(module.ABOVE * float(threshold), rel=1e-4)
        away.append(gap / normal.norm(dim=1))
    assert torch.stack(away).diff(dim=0).min() >= 0 and all((begun.aim != y).all() for begun in tries)
    targets = (y + 1) % 5
    [only] = module._fitted(model, x, y, targets, confidence, 9, 0)
    assert only.aim.equal(targets)
    at = torch.stack([begun.aim for begun in tries]) == targets
    torch.testing.assert_close(torch.stack([begun.constant for begun in tries]).T[at.T], only.constant)


@two
@given(seed=seeds)
def test_from_the_boundary_it_begins_at_the_walks_that_were_shortest_and_at_the_threshold_there(seed: int) -> None:
    model, x, y = classes(seed, 6)
    tries = module._fitted(model, x, y, None, 0.0, 2, 25)
    assert len(tries) == 4
    every = module._fitted(model, x, y, None, 0.0, 4, 25)[4:]
    distances_met = torch.stack([begun.distance for begun in every])
    assert distances_met.diff(dim=0).min() >= 0 and torch.stack([b.distance for b in tries[2:]]).equal(
        distances_met[:2]
    )
    for begun in every:
        normal = (model.weight[y] - model.weight[begun.aim]).double()
        gap = begun.distance.double() * normal.norm(dim=1)
        for i in begun.distance.isfinite().nonzero().flatten().tolist():
            threshold = penalty_threshold(sp.Float(gap[i].item()), sp.Matrix(normal[i].tolist()))
            assert begun.constant[i].item() == pytest.approx(float(threshold), rel=1e-3)


def test_a_plane_that_misleads_sends_the_search_far_and_the_walk_does_not() -> None:
    model, x, y, truth = mesa()
    with_walk, without = (distances(model, x, y, quick(model, x, y, steps=n)) for n in (25, 0))
    assert (with_walk / truth).max() < 1.02 and (with_walk / truth).min() > 0.99
    assert (without / truth).median() > 1.05


class Constant(nn.Module):
    """Always class 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0.0]) + 0 * x.flatten(1)[:, :2]


def test_what_cannot_fall_and_what_has_fallen_come_back_as_they_were() -> None:
    x = images(0)
    model, y = Constant().eval(), torch.tensor([0, 1] * 6)
    x_adv = quick(model, x, y)
    assert x_adv.equal(x)
    assert distances(model, x, y, x_adv).tolist() == [math.inf, 0.0] * 6
    assert quick(model, x[:0], y[:0]).shape == (0, 1, 4, 4)


@two
@given(seed=seeds)
def test_no_example_depends_on_its_company(seed: int) -> None:
    model, x, y = case(seed, count=8)
    keeps_to_itself(partial(quick, iterations=40, search_steps=3), Alone(model).eval(), x, y)


class Recorder(nn.Module):
    """A model that keeps every image it was shown, and what it said."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen, self.said = model, [], []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.model(x)
        self.seen.append(x.detach().clone())
        self.said.append(logits.detach())
        return logits


def nearest_of_all_seen(attack, seed: int) -> None:
    model, x, y = classes(seed, 1)
    recorder = Recorder(model).eval()
    x_adv = attack(recorder, x, y, learning_rate=0.2)
    logits = torch.cat(recorder.said)
    own = logits[:, y[0]]
    lead = logits.scatter(1, y.expand(len(logits))[:, None], -torch.inf).amax(1) - own
    # What leads by no more than rounding may be told otherwise next time: the attack does not count it either.
    fooled = torch.cat(recorder.seen)[lead > penalty.ROUNDING * logits.abs().amax(1)]
    assert (fooled - x).flatten(1).norm(dim=1).min() > (x_adv - x).norm() * (1 - 1e-5)


@two
@given(seed=seeds)
def test_the_nearest_image_of_all_that_the_model_was_shown_is_returned(seed: int) -> None:
    nearest_of_all_seen(quick, seed)
    nearest_of_all_seen(printed, seed)


def changed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "descend", mutant(penalty, old, new).descend)


def test_returning_the_last_image_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    changed("fools & (short < closest)", "fools", monkeypatch)
    with pytest.raises(AssertionError):
        nearest_of_all_seen(printed, 0)


def test_more_search_is_never_worse() -> None:
    model, x, y = classes(7, 12)
    less, more = (distances(model, x, y, quick(model, x, y, search_steps=steps)) for steps in (2, 6))
    assert (more <= less).all()


MUTANTS = {
    "away from where it should go": ("w = w - size", "w = w + size"),
    "no step": ("w = w - size", "w = w - 0 * size"),
    "no clamp": ("free.clamp(0, 1)", "free.clone()"),
    "no distance": ("(2 * (free - x) - push)", "(-push)"),
    "nothing kept": ("closer = fools &", "closer = ~fools &"),
}


def difficult() -> tuple[Affine, torch.Tensor, torch.Tensor]:
    """Logits that are all negative; white and black pixels beside others."""
    model, x, _ = classes(2, 16, shift=-1000.0)
    x = ((x - 0.5) * 3 + 0.5).clamp(0, 1)
    return model, x, model(x).argmax(1)


def test_the_attack_passes_where_its_mutants_must_not() -> None:
    nearly_exact(quick, *difficult())
    nearly_exact(partial(quick, steps=0), *difficult())


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(*MUTANTS[name], monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        nearly_exact(partial(quick, steps=0), *difficult())  # before planes a walk would hide what a descent does


def test_an_attack_that_does_nothing_is_caught() -> None:
    with pytest.raises(AssertionError):
        nearly_exact(lambda model, x, y: x.clone(), *classes(2, 16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search_steps": 0}, "at least 0, not 0, 150, 25, 2 and 25"),
        ({"iterations": 0}, "must be at least 1"),
        ({"look_every": 0}, "must be at least 1"),
        ({"rivals": 0}, "must be at least 1"),
        ({"steps": -1}, "steps at least 0, not 3, 150, 25, 2 and -1"),
        ({"learning_rate": 0.0}, r"learning_rate and first_constant must be > 0, not 0\.0"),
        ({"first_constant": math.nan}, "first_constant must be > 0"),
        ({"confidence": -1.0}, "confidence must be >= 0"),
        ({"targets": torch.zeros(12).long()}, "targets are the label itself"),
        ({"x": images(0) + 1}, r"images must lie in \[0, 1\]"),
        ({"model": two_classes(0)[0].train()}, "training mode"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict, message: str) -> None:
    model, x, y = two_classes(0, 12)
    arguments = {"model": model, "x": x, "y": y} | change
    with pytest.raises(ValueError, match=message):
        quick(arguments.pop("model"), arguments.pop("x"), arguments.pop("y"), **arguments)
