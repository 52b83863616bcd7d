"""The simple attacks: the first draw that fools or else the worst, angles that are angles, and every mutant caught."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from attack_cases import Alone, accept, case, few, images, keeps_to_itself, mutant, network, seeds, two_classes
from hypothesis import given
from hypothesis import strategies as st

from mmc.attacks import LADDER, correct, cross_entropy, input_gradient, margin, pairwise, simple
from mmc.attacks.simple import add_noise, fgsm, gaussian_noise, random_search, rotate, rotation, worst_rotation

DRAWING: dict[str, Callable] = {
    "gaussian_noise": partial(gaussian_noise, sigma=0.2),
    "random_search": partial(random_search, epsilon=0.15),
    "rotation": partial(rotation, degrees=60.0),
}


@few
@given(seed=seeds, epsilon=st.floats(0, 0.6), name=st.sampled_from(list(LADDER)))
def test_bounds_are_kept(seed: int, epsilon: float, name: str) -> None:
    model, x, y = case(seed)
    for x_adv in (
        fgsm(model, x, y, objective=LADDER[name], epsilon=epsilon),
        random_search(model, x, y, objective=LADDER[name], epsilon=epsilon, draws=5, seed=seed),
    ):
        assert (x_adv - x).abs().max() <= epsilon + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1
    for x_adv in (
        gaussian_noise(model, x, y, sigma=epsilon, draws=3, seed=seed),
        rotation(model, x, y, degrees=100 * epsilon, draws=3, seed=seed),
        worst_rotation(model, x, y, degrees=100 * epsilon, angles=5),
    ):
        assert x_adv.min() >= 0 and x_adv.max() <= 1 and x_adv.dtype == x.dtype and x_adv.shape == x.shape


def test_one_step_solves_two_affine_classes_exactly() -> None:
    accept(lambda model, x, y, epsilon: fgsm(model, x, y, epsilon=epsilon))


@few
@given(seed=seeds)
def test_one_step_is_one_step(seed: int) -> None:
    model, x, y = case(seed)
    expected = (x + 0.03 * input_gradient(cross_entropy, model, x, y).sign()).clamp(0, 1)
    torch.testing.assert_close(fgsm(model, x, y, objective=cross_entropy, epsilon=0.03), expected)


@pytest.mark.parametrize("name", DRAWING)
@few
@given(seed=seeds)
def test_the_first_draw_that_fools_or_else_the_worst(name: str, seed: int) -> None:
    """Against single draws, one at a time: more draws are the same ones and others, whatever the budget."""
    model, x, y = case(seed)
    model = Alone(model).eval()
    attack = partial(DRAWING[name], seed=seed)
    draws = 9
    candidates = _single_draws(name, x, seed, draws)
    verdicts = torch.stack([correct(model, tried, y) for tried in candidates])
    values = torch.stack([margin(model, tried, y).detach() for tried in candidates])
    for budget in (1, 5, 30, 1000):
        x_adv = attack(model, x, y, draws=draws, budget=budget)
        for index in range(len(x)):
            fooled = (~verdicts[:, index]).nonzero().flatten()
            best = int(fooled[0]) if len(fooled) else int(values[:, index].argmax())
            torch.testing.assert_close(x_adv[index], candidates[best][index], atol=1e-6, rtol=0)


def _single_draws(name: str, x: torch.Tensor, seed: int, draws: int) -> list[torch.Tensor]:
    """What the attack tries, by its building blocks."""
    found = []
    for draw in range(draws):
        if name == "gaussian_noise":
            found.append(add_noise(x, 0.2, seed=seed, draw=draw))
        elif name == "random_search":
            found.append((x + 0.15 * simple.chance(x, seed, "uniform", draw)).clamp(0, 1))
        else:
            found.append(rotate(x, 60 * simple.chance(x, seed, "angle", draw).flatten(1)[:, 0]))
    return found


@pytest.mark.parametrize("name", DRAWING)
@few
@given(seed=seeds)
def test_more_draws_fell_more_and_seeds_repeat(name: str, seed: int) -> None:
    model, x, y = case(seed)
    attack = partial(DRAWING[name], model, x, y, seed=seed)
    standing = [correct(model, attack(draws=draws), y) for draws in (1, 4, 16)]
    assert all(not (more & ~less).any() for less, more in itertools.pairwise(standing))
    assert attack(draws=3).equal(attack(draws=3))
    assert not attack().equal(DRAWING[name](model, x, y, seed=seed + 1))


@pytest.mark.parametrize("name", DRAWING)
@few
@given(seed=seeds)
def test_no_example_depends_on_its_company(name: str, seed: int) -> None:
    model, x, y = case(seed, count=8)
    keeps_to_itself(partial(DRAWING[name], draws=5, seed=seed), Alone(model).eval(), x, y)
    keeps_to_itself(partial(worst_rotation, angles=5), Alone(model).eval(), x, y)
    keeps_to_itself(partial(fgsm, epsilon=0.1), Alone(model).eval(), x, y)


def test_noise_has_its_sigma() -> None:
    x = torch.full((50, 1, 20, 20), 0.5) + 1e-3 * torch.arange(50)[:, None, None, None]  # no two images alike
    change = add_noise(x, 0.05, seed=1) - x
    assert change.std().item() == pytest.approx(0.05, rel=0.02) and abs(change.mean().item()) < 1e-3
    assert (change.abs() > 0.1).float().mean().item() == pytest.approx(0.0455, rel=0.1)
    assert not add_noise(x, 0.05, seed=1, draw=1).equal(add_noise(x, 0.05, seed=1))
    assert add_noise(x, 0.0).equal(x)


@few
@given(seed=seeds)
def test_angles_are_angles(seed: int) -> None:
    square, oblong = images(seed, 3, (2, 6, 6)), images(seed, 3, (2, 4, 8))
    torch.testing.assert_close(rotate(square, 0.0), square)
    for turns in (1, 2, 3):
        expected = square.rot90(turns, (2, 3))  # counterclockwise
        torch.testing.assert_close(rotate(square, 90.0 * turns), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(rotate(oblong, 180.0), oblong.flip(2, 3), atol=1e-5, rtol=0)
    each = torch.tensor([0.0, 90.0, 180.0])
    apart = torch.cat([rotate(image[None], angle.item()) for image, angle in zip(square, each, strict=True)])
    torch.testing.assert_close(rotate(square, each), apart)


def test_rotation_turns_shapes_not_grids() -> None:
    """A bar keeps its length in pixels when an oblong image turns, and zeros come in from outside."""
    x = torch.zeros(1, 1, 9, 21)
    x[0, 0, 4, 8:13] = 1.0
    turned = rotate(x, 90.0)
    assert turned[0, 0, 2:7, 10].allclose(torch.ones(5), atol=1e-5)
    assert turned.sum().item() == pytest.approx(5.0, abs=1e-4)
    corner = rotate(torch.ones(1, 1, 8, 8), 45.0)[0, 0]
    assert corner[0, 0] == 0 and corner[4, 4] == 1


@few
@given(seed=seeds)
def test_the_worst_rotation_is_the_worst_of_its_grid(seed: int) -> None:
    model, x, y = case(seed)
    x_adv = worst_rotation(model, x, y, degrees=90.0, angles=7)
    grid = [rotate(x, angle) for angle in (0.0, 30.0, -30.0, 60.0, -60.0, 90.0, -90.0)]
    standing = torch.stack([correct(model, turned, y) for turned in grid])
    assert correct(model, x_adv, y).equal(standing.all(0))
    assert all(any(torch.allclose(image, t[i], atol=1e-5) for t in grid) for i, image in enumerate(x_adv))
    fewer = correct(model, worst_rotation(model, x, y, degrees=90.0, angles=3), y)
    assert not (correct(model, x_adv, y) & ~fewer).any()


def test_a_target_is_climbed_and_a_wrong_image_is_left_alone() -> None:
    model, x, y = two_classes(2, 40)
    assert fgsm(model, x, y, epsilon=0.1, objective=pairwise, targets=1 - y).equal(fgsm(model, x, y, epsilon=0.1))
    for attack in (*DRAWING.values(), partial(fgsm, epsilon=0.1), worst_rotation):
        assert attack(model, x, 1 - y).equal(x)
        assert attack(model, x[:0], y[:0]).shape == (0, 1, 4, 4)


def accept_search(attack: Callable) -> None:
    """Blind search in the ball: it fells what is near the plane, nothing that cannot fall, and keeps to the ball."""
    model, x, y = two_classes(1, 60)
    x_adv = attack(model, x, y, epsilon=0.2, draws=200)
    assert (x_adv - x).abs().max() <= 0.2 + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1
    distance = margin(model, x, y).abs() / (2 * model.weight[1].norm())
    assert not correct(model, x_adv, y)[distance < 0.05].any() and (distance < 0.05).any()
    gain = margin(model, x_adv, y) - margin(model, x, y)
    assert (gain > 0).all()


PROJECTED = "return project(images + epsilon"
SEARCH_MUTANTS = {
    "no draw": ("epsilon * chance(", "0 * chance("),
    "no ball": (PROJECTED, "return (lambda moved, *_: moved.clamp(0, 1))(images + 2 * epsilon"),
    "no box": (PROJECTED, "return (lambda moved, *_: moved)(images + epsilon"),
    "the best, not the worst": ("torch.where(stands, values, torch.inf)", "torch.where(stands, -values, -torch.inf)"),
    "fools are dropped": ("(~stands).to(torch.int8)", "stands.to(torch.int8)"),
    "nothing returned": ("result[live[better]] = image[better]", "pass"),
}


@pytest.mark.parametrize("name", SEARCH_MUTANTS)
def test_mutants_of_the_search_are_caught(name: str) -> None:
    changed = mutant(simple, *SEARCH_MUTANTS[name])
    with pytest.raises((AssertionError, ValueError)):
        accept_search(changed.random_search)


def test_the_search_passes_where_its_mutants_must_not() -> None:
    accept_search(random_search)


STEP_MUTANTS = {
    "down instead of up": ("epsilon * gradient.sign()", "-epsilon * gradient.sign()"),
    "no step": ("epsilon * gradient.sign()", "0 * gradient.sign()"),
    "too far": ("epsilon * gradient.sign(), x[standing], epsilon", "0.2 * gradient.sign(), x[standing], 0.2"),
    "no box": ('project(x[standing] + epsilon * gradient.sign(), x[standing], epsilon, "linf")', "x[standing] + 0.05"),
}


@pytest.mark.parametrize("name", STEP_MUTANTS)
def test_mutants_of_the_step_are_caught(name: str) -> None:
    changed = mutant(simple, *STEP_MUTANTS[name])
    with pytest.raises((AssertionError, ValueError)):
        accept(lambda model, x, y, epsilon: changed.fgsm(model, x, y, epsilon=epsilon))


@pytest.mark.parametrize(
    "change",
    [
        ("-sine * (height / width)", "sine * (height / width)"),
        ("(height / width)", "(width / height)"),
        ("align_corners=False", "align_corners=True"),
        ("deg2rad()", "mul(3)"),
        ('padding_mode="zeros"', 'padding_mode="border"'),
    ],
)
def test_mutants_of_the_rotation_are_caught(change: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "rotate", mutant(simple, *change).rotate)
    with pytest.raises(AssertionError):
        test_angles_are_angles.hypothesis.inner_test(seed=0)
        test_rotation_turns_shapes_not_grids()


def test_attacks_that_do_nothing_are_caught() -> None:
    with pytest.raises(AssertionError):
        accept(lambda model, x, y, epsilon: x.clone())
    with pytest.raises(AssertionError):
        accept_search(lambda model, x, y, **options: x.clone())


@pytest.mark.parametrize(
    ("attack", "change", "message"),
    [
        (fgsm, {"epsilon": -0.1}, "epsilon must be >= 0"),
        (fgsm, {"epsilon": 0.1, "model": network(0).train()}, "training mode"),
        (random_search, {"epsilon": math.nan}, "epsilon must be >= 0"),
        (random_search, {"epsilon": 0.1, "draws": 0}, "must be at least 1, not 0 and 1024"),
        (random_search, {"epsilon": 0.1, "budget": 0}, "must be at least 1"),
        (gaussian_noise, {"sigma": -1.0}, "sigma must be >= 0"),
        (rotation, {"degrees": 200.0}, "degrees must be from 0 to 180"),
        (worst_rotation, {"degrees": -1.0}, "degrees must be from 0 to 180"),
        (worst_rotation, {"angles": 0}, "draws or angles"),
    ],
)
def test_bad_input_is_refused_by_name(attack: Callable, change: dict, message: str) -> None:
    model, x, y = case(0)
    arguments = {"model": model} | change
    with pytest.raises(ValueError, match=message):
        attack(arguments.pop("model"), x, y, **arguments)
