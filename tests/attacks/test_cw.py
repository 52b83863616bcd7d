"""Carlini and Wagner: the exact distance on affine models, whatever the logits' sign, and every mutant caught."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from attack_cases import Affine, Alone, case, exact_distances, images, keeps_to_itself, mutant, seeds, two_classes
from hypothesis import given, settings
from torch import nn

from mmc.attacks import correct, cw
from mmc.attacks.cw import carlini_wagner, distances

two = settings(max_examples=2, deadline=None)
#: A tenth of the work of the defaults, which is enough for sixteen pixels.
quick = partial(carlini_wagner, search_steps=6, iterations=200, learning_rate=0.02, first_constant=0.1, look_every=25)


def classes(seed: int, count: int = 20, scale: float = 10.0, shift: float = 0.0) -> tuple[Affine, torch.Tensor, ...]:
    """Five affine classes, and images with the labels that they give them."""
    weight = scale * torch.randn(5, 16, generator=torch.Generator().manual_seed(seed))
    model = Affine(weight, shift - weight.sum(1) / 2).eval()
    x = images(seed, count)
    return model, x, model(x).argmax(1)


def nearly_exact(attack, model: Affine, x: torch.Tensor, y: torch.Tensor, tolerance: float = 0.02) -> None:
    """Every example falls, in the box, none below the exact distance, and half of them within the tolerance."""
    x_adv = attack(model, x, y)
    assert x_adv.min() >= 0 and x_adv.max() <= 1 and x_adv.dtype == x.dtype
    found, truth = distances(model, x, y, x_adv).double(), exact_distances(model, x, y)
    assert found.isfinite().all() and (found > truth * (1 - 1e-4) - 1e-6).all()
    # An image that lies on the boundary already has any ratio.
    assert (found / truth).median() < 1 + tolerance
    # With several classes some descents end at another class than the nearest: a local minimum, of any such attack.
    near = found < truth * (1 + 10 * tolerance) + 0.005
    assert near.float().mean() >= (1.0 if len(model.bias) == 2 else 0.7)


@two
@given(seed=seeds)
def test_affine_models_are_solved_to_two_percent(seed: int) -> None:
    nearly_exact(quick, *classes(seed))
    nearly_exact(quick, *two_classes(seed, 20))


def test_the_defaults_of_the_paper_are_closer_still() -> None:
    nearly_exact(carlini_wagner, *two_classes(0, 8), tolerance=0.005)


@two
@given(seed=seeds)
def test_neither_sign_nor_scale_of_the_logits_matters(seed: int) -> None:
    """Logits that are all negative are where a public library gives the clean image back."""
    model, x, y = classes(seed, 12, shift=-1000.0)
    assert (model(x) < 0).all()
    nearly_exact(quick, model, x, y)
    nearly_exact(partial(quick, search_steps=9), *classes(seed, 12, scale=0.1))


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
    nearly_exact(partial(quick, iterations=400), model, x, y)


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
    """A model that keeps every image it was shown."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen = model, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.detach().clone())
        return self.model(x)


def nearest_of_all_seen(attack, seed: int) -> None:
    model, x, y = classes(seed, 1)
    recorder = Recorder(model).eval()
    x_adv = attack(recorder, x, y, learning_rate=0.2)
    seen = torch.cat(recorder.seen)
    fooled = seen[~correct(model, seen, y.expand(len(seen)))]
    assert (fooled - x).flatten(1).norm(dim=1).min() > (x_adv - x).norm() * (1 - 1e-5)


@two
@given(seed=seeds)
def test_the_nearest_image_of_all_that_the_model_was_shown_is_returned(seed: int) -> None:
    nearest_of_all_seen(quick, seed)


def test_returning_the_last_image_is_caught() -> None:
    changed = mutant(cw, "fools & (short < closest)", "fools")
    with pytest.raises(AssertionError):
        nearest_of_all_seen(partial(changed.carlini_wagner, **quick.keywords), 0)


def test_more_search_is_never_worse() -> None:
    model, x, y = classes(7, 12)
    less, more = (distances(model, x, y, quick(model, x, y, search_steps=steps)) for steps in (2, 6))
    assert (more <= less).all()


MUTANTS = {
    "margin upside down": ("sign * (others", "-sign * (others"),
    "margin by multiplication": (
        "logits.scatter(1, watched[:, None], -torch.inf)",
        "(logits * (1 - torch.nn.functional.one_hot(watched, logits.shape[1])))",
    ),
    "away from where it should go": ("w = w - size", "w = w + size"),
    "no step": ("w = w - size", "w = w - 0 * size"),
    "no clamp": ("free.clamp(0, 1)", "free.clone()"),
    "the constant never grows": ("10 * low", "low"),
    "no distance": ("(2 * (free - x) - push)", "(-push)"),
    "nothing returned": ("result[attacked[holds]] = ", "_ = "),
}


def difficult() -> tuple[Affine, torch.Tensor, torch.Tensor]:
    """Logits that are all negative; white and black pixels beside others."""
    model, x, _ = classes(2, 16, shift=-1000.0)
    x = ((x - 0.5) * 3 + 0.5).clamp(0, 1)
    return model, x, model(x).argmax(1)


def test_the_attack_passes_where_its_mutants_must_not() -> None:
    nearly_exact(partial(quick, first_constant=0.01), *difficult())


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name: str) -> None:
    changed = mutant(cw, *MUTANTS[name])
    with pytest.raises((AssertionError, ValueError)):
        nearly_exact(partial(changed.carlini_wagner, **(quick.keywords | {"first_constant": 0.01})), *difficult())


def test_an_attack_that_does_nothing_is_caught() -> None:
    with pytest.raises(AssertionError):
        nearly_exact(lambda model, x, y: x.clone(), *classes(2, 16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search_steps": 0}, "must be at least 1, not 0, 200 and 25"),
        ({"iterations": 0}, "must be at least 1"),
        ({"look_every": 0}, "must be at least 1"),
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
