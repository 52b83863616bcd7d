"""Attacks: the promise kept on every image, the linear case solved exactly, and bad input refused by name."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import (
    OBJECTIVES,
    WORST,
    applicable,
    correct,
    cross_entropy,
    input_gradient,
    margin,
    own_center,
    pgd,
    survivors,
    zero_gradient_share,
)
from mmc.attacks.checks import confirm
from mmc.losses import build
from mmc.models import Classifier, mlp

few = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 10_000)
SHAPE = (1, 4, 4)


def network(seed: int, loss: str = "MMC") -> Classifier:
    """A random network; its last layer is scaled so that features reach the centers."""
    torch.manual_seed(seed)
    model = Classifier(mlp(SHAPE, 6, width=32), build(loss, 4, 6)).eval()
    with torch.no_grad():
        model.backbone[-1].weight *= 40
    return model


def images(seed: int, count: int = 24) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def case(seed: int, loss: str = "MMC") -> tuple[Classifier, torch.Tensor, torch.Tensor]:
    """A network and images with the labels that it gives them, so that every example starts out correct."""
    model, x = network(seed, loss), images(seed)
    return model, x, model(x).argmax(1)


class Affine(nn.Module):
    """Two classes, logits affine in x: the worst image in the box and the ball is known in closed form."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x.flatten(1) @ self.weight + self.bias
        return torch.stack([-score, score], 1)


@few
@given(seed=seeds, epsilon=st.floats(0, 0.6), name=st.sampled_from(list(OBJECTIVES)), steps=st.integers(1, 6))
def test_every_image_stays_in_the_ball_and_in_the_box(seed: int, epsilon: float, name: str, steps: int) -> None:
    model, x, y = case(seed)
    x_adv = pgd(model, x, y, objective=OBJECTIVES[name], epsilon=epsilon, steps=steps, step_size=0.3, restarts=2)
    assert (x_adv - x).abs().max() <= epsilon + 1e-6
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    assert x_adv.dtype == x.dtype and x_adv.shape == x.shape and not x_adv.requires_grad


@few
@given(seed=seeds)
def test_the_affine_case_is_solved_exactly(seed: int) -> None:
    """Each pixel goes to its end of the ball, or of the box: the verdict of every objective is the true one."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(16, generator=generator)
    x = images(seed, 200)
    model = Affine(weight, -(x.flatten(1) @ weight).median()).eval()
    y = model(x).argmax(1)
    epsilon = 0.05
    sign = (1 - 2.0 * y)[:, None] * weight.sign()
    worst = (x.flatten(1) + epsilon * sign).clamp(0, 1).view_as(x)
    truth = correct(model, worst, y)
    assert 0 < truth.float().mean() < 1
    for objective in (cross_entropy, margin):
        x_adv = pgd(model, x, y, objective=objective, epsilon=epsilon, steps=10, seed=seed)
        assert correct(model, x_adv, y).equal(truth)


@few
@given(seed=seeds)
def test_same_seed_same_bits_and_the_images_are_left_alone(seed: int) -> None:
    model, x, y = case(seed)
    options = {"objective": margin, "epsilon": 0.1, "steps": 5, "restarts": 2}
    before = x.clone()
    first, again = (pgd(model, x, y, seed=seed, **options) for _ in range(2))
    assert first.equal(again) and x.equal(before)


@few
@given(seed=seeds)
def test_what_fell_stays_fallen_with_more_restarts_and_the_worst_case_is_the_least(seed: int) -> None:
    model, x, y = case(seed)
    options = {"objective": cross_entropy, "epsilon": 0.08, "steps": 5, "seed": seed}
    one, four = (correct(model, pgd(model, x, y, restarts=r, **options), y) for r in (1, 4))
    assert not (four & ~one).any()
    masks = survivors(model, x, y, epsilon=0.08, steps=5, seed=seed)
    worst = masks.pop(WORST)
    assert list(masks) == list(OBJECTIVES)
    assert worst.equal(torch.stack(list(masks.values())).all(0))


@few
@given(seed=seeds)
def test_more_room_fells_more_and_all_room_fells_all(seed: int) -> None:
    """On an affine model, where each attack is exact; a network may keep one class over the whole box."""
    weight = torch.randn(16, generator=torch.Generator().manual_seed(seed))
    x = images(seed, 100)
    model = Affine(weight, -(x.flatten(1) @ weight).median()).eval()
    y, options = model(x).argmax(1), {"objective": margin, "steps": 10}
    standing = [correct(model, pgd(model, x, y, epsilon=e, **options), y) for e in (0.0, 0.02, 0.1, 1.0)]
    assert standing[0].all() and not standing[3].any()
    assert all(not (more & ~less).any() for less, more in itertools.pairwise(standing))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("loss", ["MMC", "L-GM"])
def test_a_step_ascends_its_objective(name: str, loss: str) -> None:
    model, x, y = case(3, loss)
    objective = OBJECTIVES[name]
    gradient = input_gradient(objective, model, x, y)
    before, after = objective(model, x, y), objective(model, x + 1e-4 * gradient.sign(), y)
    moving = gradient.flatten(1).abs().amax(1) > 1e-3
    assert moving.any() and (after[moving] > before[moving]).all()


@few
@given(seed=seeds)
def test_objectives_are_what_they_say(seed: int) -> None:
    model, x, _ = case(seed)
    y = torch.randint(4, (len(x),), generator=torch.Generator().manual_seed(seed))
    logits = model(x)
    torch.testing.assert_close(own_center(model, x, y), -logits[range(len(x)), y])
    assert (margin(model, x, y) > 0).equal(~correct(model, x, y))
    by_hand = [max(row[k] for k in range(4) if k != label) - row[label] for row, label in zip(logits, y, strict=True)]
    torch.testing.assert_close(margin(model, x, y), torch.stack(by_hand))
    torch.testing.assert_close(cross_entropy(model, x, y), logits.logsumexp(1) - logits[range(len(x)), y])


def test_cross_entropy_goes_blind_where_the_margin_sees() -> None:
    """Logit gaps beyond 104 leave no gradient at all in float32; the margin's gradient does not care."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(16, generator=generator)
    model, x = Affine(1000 * weight, torch.tensor(0.0)).eval(), images(0, 100)
    y = model(x).argmax(1)
    far = (model(x).diff(dim=1).abs() > 104).flatten()
    share = zero_gradient_share(cross_entropy, model, x, y)
    assert share == pytest.approx(far.float().mean().item()) and share > 0.9
    assert zero_gradient_share(margin, model, x, y) == 0


def test_own_center_needs_centers() -> None:
    assert applicable(network(0, "SCE")) == ("cross-entropy", "margin")
    with pytest.raises(ValueError, match=r"needs model\.loss\.centers"):
        own_center(network(0, "SCE"), images(0), torch.zeros(24).long())


class NotANumber(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x), 4), torch.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -0.1}, r"epsilon must be >= 0.*-0\.1"),
        ({"epsilon": float("nan")}, "epsilon must be >= 0"),
        ({"x": images(0) + 1}, r"images must lie in \[0, 1\]"),
        ({"x": images(0) * torch.nan}, r"images must lie in \[0, 1\]"),
        ({"y": torch.full((24,), 4)}, "labels must be from 0 to 3, they reach from 4 to 4"),
        ({"y": torch.full((24,), -1)}, "labels must be from 0 to 3"),
        ({"y": torch.zeros(23).long()}, "one per image"),
        ({"model": network(0).train()}, "training mode"),
        ({"model": NotANumber().eval()}, "not finite for 24 of 24 images"),
        ({"steps": 0}, "steps and restarts must be at least 1"),
        ({"restarts": 0}, "steps and restarts must be at least 1"),
        ({"step_size": -1.0}, "step_size must be >= 0"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict, message: str) -> None:
    model, x, y = case(0)
    arguments = {"model": model, "x": x, "y": y, "epsilon": 0.1, "objective": margin} | change
    with pytest.raises(ValueError, match=message):
        pgd(arguments.pop("model"), arguments.pop("x"), arguments.pop("y"), **arguments)


def test_broken_promises_are_caught() -> None:
    x = images(0)
    with pytest.raises(ValueError, match=r"from its original, epsilon is 0\.1"):
        confirm(x, (x - 0.2).clamp(0, 1), 0.1)
    with pytest.raises(ValueError, match="left the box"):
        confirm(x, x + 0.1, 0.11)
    with pytest.raises(ValueError, match="the attack returned"):
        confirm(x, x.double(), 0.1)
    with pytest.raises(ValueError, match="no objective"):
        survivors(network(0), x, torch.zeros(24).long(), epsilon=0.1, objectives=["ce"])


def test_an_empty_batch_is_no_accident() -> None:
    model, x, y = case(0)
    assert pgd(model, x[:0], y[:0], objective=margin, epsilon=0.1).shape == (0, *SHAPE)
    with pytest.raises(ValueError, match="no images"):
        zero_gradient_share(margin, model, x[:0], y[:0])
