"""PGD and Auto-PGD in both balls: exact on affine models, the same for any batch, and what each objective promises."""

from __future__ import annotations

import importlib
from itertools import pairwise as successive

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import (
    LADDER,
    TARGETED,
    apgd,
    apgd_all_targets,
    away_from,
    correct,
    cross_entropy,
    margin,
    pairwise,
    pgd,
    targets_by_rank,
)
from mmc.attacks.apgd import checkpoints
from mmc.attacks.balls import NORMS, lengths, project, random_start, steepest
from mmc.attacks.checks import confirm
from mmc.attacks.climb import look
from mmc.losses import build
from mmc.models import Classifier, mlp

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 10_000)
SHAPE, L = (1, 4, 4), 5
CLIMBS = {"pgd": pgd, "apgd": apgd}


def network(seed: int, loss: str = "MMC") -> Classifier:
    torch.manual_seed(seed)
    model = Classifier(mlp(SHAPE, 6, width=32), build(loss, L, 6)).eval()
    with torch.no_grad():
        model.backbone[-1].weight *= 40
    return model


def case(seed: int, loss: str = "MMC", count: int = 24) -> tuple[Classifier, torch.Tensor, torch.Tensor]:
    model = network(seed, loss)
    x = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return model, x, model(x).argmax(1)


class Affine(nn.Module):
    """Logits affine in x."""

    def __init__(self, seed: int, num_classes: int = L) -> None:
        super().__init__()
        self.weight = torch.randn(num_classes, 16, generator=torch.Generator().manual_seed(seed))
        self.bias = -self.weight.sum(1) / 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


def interior(seed: int, count: int = 60) -> torch.Tensor:
    """Images so far inside the box that a small ball does not touch it."""
    return 0.3 + 0.4 * torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def exact_distances(model: Affine, x: torch.Tensor, y: torch.Tensor, norm: str) -> torch.Tensor:
    """To the nearest boundary, box aside: gap over the dual norm of the difference of weights."""
    logits = model(x)
    found = torch.full((len(x), L), torch.inf)
    for target in range(L):
        w = model.weight[target] - model.weight[y]
        dual = w.abs().sum(1) if norm == "linf" else w.norm(dim=1)
        gap = logits[range(len(x)), y] - logits[:, target]
        found[:, target] = torch.where(y == target, torch.inf, gap / dual.clamp_min(1e-30))
    return found.amin(1)


@pytest.mark.parametrize("norm", NORMS)
@few
@given(seed=seeds)
def test_affine_models_are_solved_exactly_by_the_pairwise_margin(norm: str, seed: int) -> None:
    model, x = Affine(seed).eval(), interior(seed)
    y = model(x).argmax(1)
    distances = exact_distances(model, x, y, norm)
    epsilon = min(distances.quantile(0.6).item(), 0.29)
    truth = distances > epsilon
    clear = (distances / epsilon - 1).abs() > 1e-3
    x_adv = apgd_all_targets(model, x, y, epsilon=epsilon, steps=30, norm=norm)
    standing = correct(model, x_adv, y)
    assert not (standing != truth)[clear].any()
    for climb in CLIMBS.values():  # no attack reports more than the truth allows
        other = correct(model, climb(model, x, y, objective=margin, epsilon=epsilon, steps=20, norm=norm), y)
        assert not (~other & truth & clear).any()
        assert (other & ~truth).float().mean() < 0.2


@pytest.mark.parametrize("norm", NORMS)
@few
@given(seed=seeds, epsilon=st.floats(0, 3.0))
def test_projection_is_the_nearest_point_of_the_ball_and_stays_in_the_box(norm: str, seed: int, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(20, *SHAPE, generator=generator)
    moved = x + torch.randn(x.shape, generator=generator)
    back = project(moved, x, epsilon, norm)
    confirm(x, back, epsilon, norm)
    torch.testing.assert_close(project(back, x, epsilon, norm), back, atol=1e-5, rtol=0)
    # The nearest point of a convex set: from there no way into the set leads toward where the image had moved.
    for size in (0.1, 1.0, 10.0):
        other = project(back + size * torch.randn(x.shape, generator=generator), x, epsilon, norm)
        assert (((moved - back) * (other - back)).flatten(1).sum(1) <= 1e-5).all()
    start = random_start(x, epsilon, norm, seed)
    confirm(x, start, epsilon, norm)
    gradient = torch.randn(x.shape, generator=generator) * 10.0 ** torch.randint(-30, 20, (20, 1, 1, 1))
    step = steepest(gradient, norm)
    torch.testing.assert_close(lengths(step, norm), torch.ones(20))
    flat = gradient.double().flatten(1)
    dual = flat.abs().sum(1) if norm == "linf" else flat.norm(dim=1)  # what a linear function can gain at most
    torch.testing.assert_close((flat * step.flatten(1)).sum(1) / dual, torch.ones(20).double(), rtol=0, atol=1e-5)
    assert steepest(torch.zeros_like(x), norm).eq(0).all()


def test_a_corner_of_the_box_just_within_reach_is_a_point_like_others() -> None:
    """All pixels end at a wall and use the whole radius: rounding may not take more of it than there is."""
    generator = torch.Generator().manual_seed(0)
    x = 1 - 0.5 * torch.rand(4000, 1, 1, 1, generator=generator).expand(-1, 1, 1, 12)
    reach = lengths(1 - x, "l2")
    for slack in (1 - 1e-7, 1.0, 1 + 1e-7):
        back = project(x + 3, x, slack * reach, "l2")
        torch.testing.assert_close(back, torch.ones_like(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CLIMBS)
@pytest.mark.parametrize("norm", NORMS)
@few
@given(seed=seeds)
def test_an_example_meets_the_same_in_every_batch_and_order(name: str, norm: str, seed: int) -> None:
    model, x, y = case(seed)
    epsilon = 0.1 if norm == "linf" else 0.6
    options = {"objective": margin, "epsilon": epsilon, "steps": 6, "norm": norm, "seed": seed, "restarts": 2}
    whole = CLIMBS[name](model, x, y, **options)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    shuffled = CLIMBS[name](model, x[order], y[order], **options)
    part = CLIMBS[name](model, x[5:9], y[5:9], **options)
    # Matrix products round differently for other batch sizes; a flipped sign would move a pixel by a whole step.
    assert ((shuffled - whole[order]).abs() < 1e-4).float().mean() > 0.98
    assert ((part - whole[5:9]).abs() < 1e-4).float().mean() > 0.98
    assert whole.equal(CLIMBS[name](model, x, y, **options)), "same seed, same bits"


@few
@given(seed=seeds, name=st.sampled_from(list(LADDER)))
def test_the_active_set_changes_no_verdict(seed: int, name: str) -> None:
    model, x, y = case(seed)
    options = {"objective": LADDER[name], "epsilon": 0.08, "steps": 8, "restarts": 2, "seed": seed}
    one, other = (correct(model, pgd(model, x, y, active_set=a, **options), y) for a in (True, False))
    assert one.equal(other)


@pytest.mark.parametrize("name", [*LADDER, *TARGETED])
@pytest.mark.parametrize("loss", ["MMC", "L-GM"])
def test_a_small_step_raises_every_objective(name: str, loss: str) -> None:
    model, x, y = case(3, loss)
    labels = (y,) if name in LADDER else (y, (y + 2) % L)
    objective = (LADDER | TARGETED)[name]
    before, gradient, stands = look(objective, model, x, *labels)
    assert stands.all()
    step = 1e-4 * gradient.sign()
    after = objective(model, x + step, *labels)
    moving = gradient.flatten(1).abs().sum(1) > 1e-2 * gradient.flatten(1).abs().sum(1).amax()
    assert moving.any() and (after[moving] > before[moving]).all()


@few
@given(seed=seeds)
def test_the_objectives_are_their_definitions(seed: int) -> None:
    model, x, _ = case(seed)
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(L, (len(x),), generator=generator)
    target = (y + torch.randint(1, L, (len(x),), generator=generator)) % L
    logits, z = model(x), model.features(x)
    centers = model.loss.centers
    found = {name: objective(model, x, y) for name, objective in LADDER.items()}
    aimed = {name: objective(model, x, y, target) for name, objective in TARGETED.items()}
    for i in range(len(x)):
        row = logits[i].tolist()
        own, others = row[y[i]], [v for k, v in enumerate(row) if k != y[i]]
        ranked = sorted(row, reverse=True)
        assert found["margin"][i].item() == pytest.approx(max(others) - own, rel=1e-4, abs=1e-4)
        expected = (max(others) - own) / max(ranked[0] - ranked[2], 1e-12)
        assert found["DLR"][i].item() == pytest.approx(expected, rel=1e-3, abs=1e-4)
        near = min((z[i] - centers[k]).square().sum().item() / 2 for k in range(L) if k != y[i])
        assert found["nearest other center"][i].item() == pytest.approx(-near, rel=1e-4, abs=1e-4)
        assert aimed["pairwise margin"][i].item() == pytest.approx(row[target[i]] - own, rel=1e-4, abs=1e-4)
        scale = ranked[0] - (ranked[2] + ranked[3]) / 2
        assert aimed["target DLR"][i].item() == pytest.approx((row[target[i]] - own) / scale, rel=1e-3, abs=1e-4)
        away = (z[i] - centers[target[i]]).square().sum().item() / 2
        assert aimed["target center"][i].item() == pytest.approx(-away, rel=1e-4, abs=1e-4)
    reference = torch.randn(z.shape, generator=generator)
    torch.testing.assert_close(away_from(reference)(model, x, y), (z - reference).square().sum(1) / 2)


@few
@given(seed=seeds)
def test_one_forward_pass_gives_value_gradient_and_verdict(seed: int) -> None:
    model, x, _ = case(seed)
    y = torch.randint(L, (len(x),), generator=torch.Generator().manual_seed(seed))
    passes = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    for objective in LADDER.values():
        passes.clear()
        values, gradient, stands = look(objective, model, x, y)
        assert len(passes) == 1
        torch.testing.assert_close(values, objective(model, x, y).detach())
        assert stands.equal(correct(model, x, y))
        free = x.clone().requires_grad_()
        torch.testing.assert_close(gradient, torch.autograd.grad(objective(model, free, y).sum(), free)[0])
    assert all(p.grad is None for p in model.parameters())


class Wrapped(nn.Module):
    """Features of a classifier and a decision of its own, with or without the classifier's loss in sight."""

    def __init__(self, model: Classifier, with_loss: bool) -> None:
        super().__init__()
        self.model, self.features = model, model.features
        if with_loss:
            self.loss = model.loss

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).roll(1, 1)


@pytest.mark.parametrize("with_loss", [False, True])
def test_a_model_is_judged_by_its_own_decision_whatever_else_it_has(with_loss: bool) -> None:
    inner, x, _ = case(3)
    model = Wrapped(inner, with_loss).eval()
    y = torch.where(torch.arange(len(x)) % 2 == 0, model(x).argmax(1), inner(x).argmax(1))
    assert 0 < correct(model, x, y).sum() < len(x)
    objectives = [cross_entropy, margin, away_from(torch.zeros_like(inner.features(x)))]
    for objective in objectives + ([LADDER["own center"]] if with_loss else []):
        values, gradient, stands = look(objective, model, x, y)
        assert values.equal(objective(model, x, y).detach()) and gradient.flatten(1).any(1).all()
        assert stands.equal(correct(model, x, y))


def test_auto_pgd_checks_when_its_source_says() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert all(a < b for a, b in zip(checkpoints(20), checkpoints(20)[1:], strict=False))


@few
@given(seed=seeds)
def test_auto_pgd_ends_no_lower_than_plain_pgd_on_the_whole(seed: int) -> None:
    model, x, y = case(seed, "MMLDA", 60)
    options = {"objective": margin, "epsilon": 0.05, "steps": 40, "seed": seed}
    plain, auto = (climb(model, x, y, **options) for climb in (pgd, apgd))
    standing = [correct(model, images, y).float().mean().item() for images in (plain, auto)]
    assert standing[1] <= standing[0] + 0.05


@few
@given(seed=seeds)
def test_all_targets_fell_what_the_margin_fells(seed: int) -> None:
    model, x, y = case(seed, count=40)
    options = {"epsilon": 0.06, "steps": 30, "seed": seed}
    one = correct(model, apgd(model, x, y, objective=margin, **options), y).float().mean()
    every = correct(model, apgd_all_targets(model, x, y, **options), y).float().mean()
    assert every <= one + 0.05


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 7, 10, 100])
def test_a_ball_that_shrinks_hands_on_the_nearest_point(norm: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three climbs in balls of three, two and one radii; each starts where the last one ended, cut to its own."""
    module, seen = importlib.import_module("mmc.attacks.apgd"), []
    real = module._climb

    def spy(model, x, labels, *, start, epsilon, steps, objective, norm):
        found, left = real(model, x, labels, start=start, epsilon=epsilon, steps=steps, objective=objective, norm=norm)
        seen.append((start, epsilon, steps, found))
        return found, left

    monkeypatch.setattr(module, "_climb", spy)
    model, x, y = case(1)
    epsilon = 0.004
    x_adv = apgd(model, x, y, epsilon=epsilon, steps=steps, norm=norm, shrink=True)
    confirm(x, x_adv, epsilon, norm)
    assert [times for _, times, _, _ in seen] == pytest.approx([3 * epsilon, 2 * epsilon, epsilon])
    assert [some for _, _, some, _ in seen] == [int(0.3 * steps), int(0.3 * steps), steps - 2 * int(0.3 * steps)]
    for (_, _, _, before), (start, radius, _, found) in successive(seen):
        assert start.equal(project(before, x, radius, norm))
        confirm(x, found, radius, norm)
    assert x_adv.equal(seen[-1][-1]) and (lengths(seen[0][-1] - x, norm) > 2.5 * epsilon).any()


@few
@given(seed=seeds)
def test_a_ball_that_shrinks_fells_what_one_that_does_not_fells(seed: int) -> None:
    model, x, y = case(seed, count=40)
    options = {"epsilon": 0.06, "steps": 30, "seed": seed}
    plain, shrinking = (
        correct(model, apgd_all_targets(model, x, y, shrink=shrink, **options), y).float().mean()
        for shrink in (False, True)
    )
    assert abs(shrinking - plain) <= 0.05


def test_targets_come_by_rank_and_leave_out_the_label() -> None:
    model, x, _ = case(0)
    y = torch.arange(len(x)) % L
    ranks = torch.stack(list(targets_by_rank(model, x, y)), 1)
    assert ranks.shape == (len(x), L - 1)
    for row, label, logits in zip(ranks.tolist(), y.tolist(), model(x).tolist(), strict=True):
        assert row == sorted((k for k in range(L) if k != label), key=lambda k: -logits[k])
    assert len(list(targets_by_rank(model, x, y, most=2))) == 2


@few
@given(seed=seeds, restarts=st.integers(1, 4))
def test_each_restart_of_pgd_begins_at_a_point_of_its_own(seed: int, restarts: int) -> None:
    """Steps of length zero end where they began: at the start of the last restart."""
    model, x, y = case(seed)
    options = {"objective": margin, "epsilon": 0.02, "steps": 2, "step_size": 0.0, "seed": seed}
    found = pgd(model, x, y, restarts=restarts, **options)
    left = correct(model, found, y)
    begun = random_start(x, 0.02, "linf", seed, "pgd", restarts - 1)
    assert left.any() and found[left].equal(begun[left])


def test_what_falls_at_the_very_last_step_is_not_climbed_again() -> None:
    """With one step every fall is at the last; a later restart, from a worse point, would lose some of them."""
    model, _, _ = case(5)
    x = torch.rand(400, *SHAPE, generator=torch.Generator().manual_seed(5))
    y = model(x).argmax(1)
    options = {"objective": margin, "epsilon": 0.05, "steps": 1, "seed": 5}
    once = correct(model, pgd(model, x, y, restarts=1, **options), y)
    later = correct(model, pgd(model, x, y, restarts=1, **options | {"seed": 6}), y)
    assert (later & ~once).any()  # another start does lose some
    assert not (correct(model, pgd(model, x, y, restarts=4, **options), y) & ~once).any()


def test_a_schedule_of_step_sizes_is_followed() -> None:
    model, x = Affine(0).eval(), interior(0)
    y = model(x).argmin(1)  # wrong already: no step is taken
    assert pgd(model, x, y, objective=margin, epsilon=0.1).equal(x)
    y = model(x).argmax(1)
    still = pgd(model, x, y, objective=margin, epsilon=1e-4, steps=3, step_size=lambda step: 0.0, start="clean")
    assert still.equal(x)


def test_the_step_is_two_and_a_half_radii_over_the_steps() -> None:
    """Where none is given: from the image itself, the last of k equal steps would end 2.5 radii away."""
    model, x = Affine(0).eval(), interior(0)
    y, options = model(x).argmax(1), {"objective": margin, "epsilon": 1e-3, "start": "clean"}
    for steps in (1, 5, 20):
        given = pgd(model, x, y, steps=steps, step_size=2.5e-3 / steps, **options)
        assert pgd(model, x, y, steps=steps, **options).equal(given)
    short = pgd(model, x, y, steps=5, step_size=1e-4, **options)
    assert not short.equal(pgd(model, x, y, steps=5, **options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "l1"}, "norm must be one of linf, l2, not 'l1'"),
        ({"targets": torch.zeros(24).long() + 9, "objective": pairwise}, "targets must be from 0 to 4"),
        ({"targets": torch.zeros(3).long(), "objective": pairwise}, r"targets must have shape \(24,\)"),
        ({"epsilon": -1.0}, "epsilon must be >= 0"),
        ({"steps": 0}, "at least 1"),
    ],
)
@pytest.mark.parametrize("name", CLIMBS)
def test_bad_input_is_refused_by_name(name: str, change: dict, message: str) -> None:
    model, x, y = case(0)
    with pytest.raises(ValueError, match=message):
        CLIMBS[name](model, x, y, **{"objective": margin, "epsilon": 0.1} | change)
    with pytest.raises(ValueError, match="24 targets are the label itself"):
        CLIMBS[name](model, x, y, objective=pairwise, epsilon=0.1, targets=y)


@pytest.mark.parametrize("name", CLIMBS)
@pytest.mark.parametrize("mutant", ["flipped sign", "no step", "no projection"])
def test_a_broken_climb_is_noticed(name: str, mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exactness test above would fail for each of these."""
    room = importlib.import_module(f"mmc.attacks.{name}")
    if mutant == "flipped sign":
        monkeypatch.setattr(room, "steepest", lambda gradient, norm: -steepest(gradient, norm))
    elif mutant == "no step":
        monkeypatch.setattr(room, "steepest", lambda gradient, norm: torch.zeros_like(gradient))
    else:
        monkeypatch.setattr(room, "project", lambda moved, x, epsilon, norm: moved)
    model, x = Affine(1).eval(), interior(1)
    y = model(x).argmax(1)
    distances = exact_distances(model, x, y, "linf")
    epsilon = distances.quantile(0.5).item()
    options = {"objective": cross_entropy, "epsilon": epsilon, "steps": 20}
    if mutant == "no projection":
        with pytest.raises(ValueError, match=r"from its original|left the box"):
            CLIMBS[name](model, x, y, **options)
        return
    standing = correct(model, CLIMBS[name](model, x, y, **options), y)
    assert (standing & (distances < 0.9 * epsilon)).float().mean() > 0.1
