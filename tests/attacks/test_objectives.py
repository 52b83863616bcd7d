"""What attacks climb, alone and together: objectives, where their gradients die, and the worst case over several."""

from __future__ import annotations

import pytest
import torch
from attack_cases import Affine, case, few, images, network, seeds, two_classes, worst_in_ball
from hypothesis import given

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


@few
@given(seed=seeds)
def test_the_affine_case_is_solved_exactly_whatever_is_climbed(seed: int) -> None:
    """Each pixel goes to its end of the ball, or of the box: the verdict of every objective is the true one."""
    model, x, y = two_classes(seed, 200)
    truth = correct(model, worst_in_ball(model, x, y, 0.05), y)
    assert 0 < truth.float().mean() < 1
    for objective in (cross_entropy, margin):
        x_adv = pgd(model, x, y, objective=objective, epsilon=0.05, steps=10, seed=seed)
        assert correct(model, x_adv, y).equal(truth)


@few
@given(seed=seeds)
def test_the_worst_case_is_the_least_example_by_example(seed: int) -> None:
    model, x, y = case(seed)
    masks = survivors(model, x, y, epsilon=0.08, steps=5, seed=seed)
    worst = masks.pop(WORST)
    assert list(masks) == list(OBJECTIVES)
    assert worst.equal(torch.stack(list(masks.values())).all(0))
    with pytest.raises(ValueError, match="no objective"):
        survivors(model, x, y, epsilon=0.1, objectives=["ce"])


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("loss", ["MMC", "L-GM"])
def test_a_step_ascends_its_objective(name: str, loss: str) -> None:
    model, x, y = case(3, loss, 24)
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
    model, x, _ = two_classes(0, 100)
    model = Affine(1000 * model.weight, 1000 * model.bias).eval()
    y = model(x).argmax(1)
    far = (model(x).diff(dim=1).abs() > 104).flatten()
    share = zero_gradient_share(cross_entropy, model, x, y)
    assert share == pytest.approx(far.float().mean().item()) and share > 0.9
    assert zero_gradient_share(margin, model, x, y) == 0


def test_a_share_of_no_images_is_refused() -> None:
    model, x, y = case(0)
    with pytest.raises(ValueError, match="no images"):
        zero_gradient_share(margin, model, x[:0], y[:0])


def test_own_center_needs_centers() -> None:
    assert applicable(network(0, "SCE")) == ("cross-entropy", "margin")
    with pytest.raises(ValueError, match=r"needs model\.loss\.centers"):
        own_center(network(0, "SCE"), images(0), torch.zeros(12).long())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps and restarts must be at least 1"),
        ({"restarts": 0}, "steps and restarts must be at least 1"),
        ({"step_size": -1.0}, "step_size must be >= 0"),
    ],
)
def test_a_climb_that_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pgd(*case(0), objective=margin, epsilon=0.1, **change)
