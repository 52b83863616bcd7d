"""Every training rule: its formula against a slow one by hand, what it leaves alone, and where rules coincide."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.chance import seeded
from mmc.data import Split
from mmc.losses import LOSSES, build
from mmc.losses.base import margins
from mmc.models import Classifier, build_backbone, mlp
from mmc.training import Recipe, accuracy, train
from mmc.training.craft import ascend, frozen
from mmc.training.rules import (
    AT,
    EWAT,
    FGSMRS,
    GAIRAT,
    MAIL,
    MART,
    MMA,
    NFGSM,
    RULES,
    SOVR,
    TRADES,
    TSOVR,
    Crafting,
    Moment,
    Standard,
    build_rule,
)
from mmc.training.rules.base import divergence, largest

few = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 10_000)
SHAPE, L, N = (1, 4, 4), 4, 24
ADVERSARIAL = [name for name in RULES if name != "standard"]
LATE = {"epoch": 9, "epochs": 10}


def moment(seed: int = 0, epoch: int = 9, epochs: int = 10) -> Moment:
    return Moment(epoch, epochs, seeded(torch.Generator(), "test", seed))


def network(seed: int = 0, loss: str = "SCE", scale: float = 4.0) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier(mlp(SHAPE, 6, 0.5, 0.3, width=32), build(loss, L, 6))
    with torch.no_grad():
        model.backbone[-1].weight *= scale
    return model


def batch(seed: int = 0, count: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *SHAPE, generator=generator), torch.randint(L, (count,), generator=generator)


def craft(rule: Crafting, model: Classifier, x: torch.Tensor, y: torch.Tensor, seed: int = 0) -> torch.Tensor:
    if isinstance(rule, TRADES):
        return rule.craft(model, x, moment(seed))
    return rule.craft(model, x, y, moment(seed))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("loss", LOSSES)
def test_contract_for_every_rule_and_loss(name: str, loss: str) -> None:
    model, (x, y) = network(0, loss), batch()
    before = x.clone()
    z, losses = build_rule(name)(model, x, y, moment())
    assert z.shape == (N, 6) and losses.shape == (N,) and bool(losses.isfinite().all())
    assert x.equal(before)
    learned = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(losses.mean(), learned, allow_unused=True)
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)
    assert any(bool((g != 0).any()) for g in gradients if g is not None)


@pytest.mark.parametrize("name", ADVERSARIAL)
@few
@given(seed=seeds, epsilon=st.floats(0, 0.5))
def test_crafted_images_stay_in_the_ball_and_in_the_box(name: str, seed: int, epsilon: float) -> None:
    rule = dataclasses.replace(build_rule(name), epsilon=epsilon)
    x, y = batch(seed)
    moved = craft(rule, network(seed), x, y, seed)
    # N-FGSM alone steps out of the ball: noise of spread * epsilon, then a step of epsilon, no projection.
    reach = (rule.spread + 1) * epsilon if isinstance(rule, NFGSM) else epsilon
    assert (moved - x).abs().max() <= reach + 1e-6
    assert moved.min() >= 0 and moved.max() <= 1 and not moved.requires_grad


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_crafting_moves_no_parameter_no_statistic_and_no_mode(name: str, mode: str) -> None:
    torch.manual_seed(0)
    model = Classifier(build_backbone("resnet8", SHAPE, 6, width=4), build("SCE", L, 6)).train()
    model.backbone[2].eval()  # a mixed state must come back as it was
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    x, y = batch()
    craft(dataclasses.replace(build_rule(name), batch_norm=mode), model, x, y)
    assert all(v.equal(before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_the_batch_norm_mode_is_the_one_that_is_named() -> None:
    torch.manual_seed(0)
    model = Classifier(build_backbone("resnet8", SHAPE, 6, width=4), build("SCE", L, 6)).train()
    x, y = batch()
    for mode in ("eval", "train"):
        with frozen(model, mode):
            inside = model(x)
        expected = model.eval()(x) if mode == "eval" else None
        model.train()
        if expected is None:
            copy = Classifier(build_backbone("resnet8", SHAPE, 6, width=4), build("SCE", L, 6)).train()
            copy.load_state_dict(model.state_dict())
            expected = copy(x)
        torch.testing.assert_close(inside, expected)
    assert len(y) == N


@pytest.mark.parametrize("name", [n for n in ADVERSARIAL if n not in ("FGSM-RS", "N-FGSM")])
@few
@given(seed=seeds)
def test_crafting_finds_a_worse_image_than_chance(name: str, seed: int) -> None:
    """Averaged over the batch, what the rule climbs ends higher than at random points of the ball."""
    rule, model, (x, y) = dataclasses.replace(build_rule(name), epsilon=0.1, step_size=0.03), network(seed), batch(seed)
    if isinstance(rule, MMA):
        return  # it looks for the nearest point, not the worst: see its own test
    moved = craft(rule, model, x, y, seed)
    generator = torch.Generator().manual_seed(seed)
    randoms = [(x + 0.1 * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1) for _ in range(5)]
    if isinstance(rule, TRADES):
        climbed = [divergence(model(x), model(images)).mean() for images in (moved, *randoms)]
    else:
        climbed = [F.cross_entropy(model(images), y) for images in (moved, *randoms)]
    assert climbed[0] > max(climbed[1:])


def test_the_affine_case_is_solved_exactly() -> None:
    """Two classes, logits affine in x: every pixel goes to its end of the ball or of the box."""

    class Affine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = x.flatten(1) @ weight
            return torch.stack([-score, score], 1)

    weight = torch.randn(16, generator=torch.Generator().manual_seed(1))
    x, _ = batch(2)
    y = torch.arange(N) % 2
    model = Affine()
    worst = (x.flatten(1) + 0.07 * (1 - 2.0 * y)[:, None] * weight.sign()).clamp(0, 1).view_as(x)
    value = lambda images: F.cross_entropy(model(images), y, reduction="none")  # noqa: E731
    assert torch.allclose(ascend(value, x, x, epsilon=0.07, step_size=0.02, steps=10), worst, atol=1e-6)


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return torch.stack([F.kl_div(b.log(), a, reduction="sum") for a, b in zip(p, q, strict=True)])


@few
@given(seed=seeds)
def test_trades_and_mart_are_their_formulas(seed: int) -> None:
    model, (x, y) = network(seed), batch(seed)
    trades, mart = TRADES(beta=3.0), MART(beta=2.0)
    moved = trades.craft(model, x, moment(seed))
    p, q = model(x).softmax(1), model(moved).softmax(1)
    expected = F.cross_entropy(model(x), y, reduction="none") + 3 * kl(p, q)
    torch.testing.assert_close(trades(model, x, y, moment(seed))[1], expected, rtol=1e-4, atol=1e-5)
    moved = mart.craft(model, x, y, moment(seed))
    q = model(moved).softmax(1).double()
    label = F.one_hot(y, L).bool()
    rival = q.masked_fill(label, 0).amax(1)
    expected = -q[label].log() - (1 - rival).log() + 2 * kl(p, q.float()) * (1 - p[label])
    torch.testing.assert_close(mart(model, x, y, moment(seed))[1].double(), expected.double(), rtol=1e-3, atol=1e-4)


def test_mart_stays_finite_where_probabilities_round_to_one() -> None:
    model, (x, y) = network(0, scale=4000.0), batch()
    _, losses = MART()(model, x, y, moment())
    assert bool(losses.isfinite().all())
    assert (model(x).softmax(1).amax(1) == 1).any()


@few
@given(seed=seeds)
def test_the_weighted_rules_are_their_formulas(seed: int) -> None:
    model, (x, y) = network(seed), batch(seed)
    moved = AT(inner="cross-entropy").craft(model, x, y, moment(seed))
    logits = model(moved).detach()
    losses, p = F.cross_entropy(logits, y, reduction="none"), logits.softmax(1)
    others = p.masked_fill(F.one_hot(y, L).bool(), 0).amax(1)
    mail = 3 / (1 + torch.exp(-10 * (others - p.gather(1, y[:, None])[:, 0] - 0.5)))
    torch.testing.assert_close(MAIL()(model, x, y, moment(seed))[1].detach(), mail * losses)
    entropy = -(p * p.log()).sum(1)
    expected = entropy / entropy.mean() * losses
    torch.testing.assert_close(EWAT()(model, x, y, moment(seed))[1].detach(), expected, rtol=1e-4, atol=1e-6)
    kappa = torch.zeros(N)
    start = moment(seed)
    noise = torch.rand(x.shape, generator=start.generator) * 2 - 1
    here = (x + 8 / 255 * noise).clamp((x - 8 / 255).clamp(min=0), (x + 8 / 255).clamp(max=1))
    for _ in range(10):
        kappa += (model(here).argmax(1) == y).float()
        here = ascend(
            lambda images: F.cross_entropy(model(images), y, reduction="none"),
            x,
            here,
            epsilon=8 / 255,
            step_size=2 / 255,
            steps=1,
        )
    weights = (1 + torch.tanh(-1 + 5 * (1 - 2 * kappa / 10))) / 2
    torch.testing.assert_close(GAIRAT()(model, x, y, moment(seed))[1].detach(), weights / weights.mean() * losses)
    early = GAIRAT()(model, x, y, moment(seed, epoch=5))[1].detach()
    torch.testing.assert_close(early, losses)


@few
@given(seed=seeds, share=st.floats(0, 1), weight=st.floats(0, 2))
def test_sovr_switches_the_share_of_smallest_margin(seed: int, share: float, weight: float) -> None:
    model, (x, y) = network(seed), batch(seed)
    rule = SOVR(share=share, weight=weight)
    logits = model(rule.craft(model, x, y, moment(seed))).detach()
    ce = F.cross_entropy(logits, y, reduction="none")
    ovr = F.binary_cross_entropy_with_logits(logits, F.one_hot(y, L).float(), reduction="none").sum(1)
    order = sorted(range(N), key=lambda i: -margins(logits, y)[i].item())
    switched = torch.zeros(N).bool()
    switched[order[: round(share * N)]] = True
    torch.testing.assert_close(
        rule(model, x, y, moment(seed))[1].detach(), torch.where(switched, weight * ovr, ce), rtol=1e-4, atol=1e-5
    )


@few
@given(seed=seeds)
def test_rules_coincide_at_the_ends_of_their_parameters(seed: int) -> None:
    model, (x, y) = network(seed), batch(seed)

    def losses(rule: object) -> torch.Tensor:
        return rule(model, x, y, moment(seed))[1].detach()

    plain = losses(Standard())
    torch.testing.assert_close(losses(TRADES(beta=0.0)), plain)
    torch.testing.assert_close(losses(TSOVR(share=0.0)), losses(TRADES()))
    at = losses(AT(inner="cross-entropy"))
    torch.testing.assert_close(losses(AT()), at)  # SCE's own loss is the cross-entropy of its logits
    torch.testing.assert_close(losses(SOVR(share=0.0)), at)
    torch.testing.assert_close(losses(GAIRAT(from_share=1.0)), at)
    torch.testing.assert_close(losses(EWAT(offset=1e9)), at)
    torch.testing.assert_close(losses(MAIL(slope=0.0)), 1.5 * at)
    torch.testing.assert_close(losses(MMA(clean_weight=1.0)), plain)
    for name in ("AT", "FGSM-RS", "N-FGSM", "MMA"):
        torch.testing.assert_close(losses(build_rule(name, epsilon=0.0)), plain)
    torch.testing.assert_close(losses(FGSMRS(step_size=0.1)), losses(AT(step_size=0.1, steps=1)))


@few
@given(seed=seeds, ramp=st.floats(0.01, 1), progress=st.floats(0, 1))
def test_a_ramp_rises_from_the_plain_rule_to_the_whole_ball(seed: int, ramp: float, progress: float) -> None:
    rule = RULES["AT"](epsilon=0.2, step_size=0.05, steps=3, ramp=ramp)
    share = min(1.0, progress / ramp)
    at = rule.at(progress)
    assert (at.epsilon, at.step_size) == pytest.approx((share * 0.2, share * 0.05))
    assert rule.at(1.0) == rule and RULES["AT"](epsilon=0.2).at(progress).epsilon == 0.2
    model, (x, y) = network(seed), batch(seed)
    assert rule.at(0.0)(model, x, y, moment(seed))[1].equal(RULES["standard"]()(model, x, y, moment(seed))[1])


@few
@given(seed=seeds)
def test_mma_stops_just_beyond_the_boundary(seed: int) -> None:
    model, (x, y) = network(seed, scale=20.0), batch(seed)
    y = torch.where(torch.arange(N) < 16, model(x).argmax(1), y)
    rule = MMA(epsilon=0.3, step_size=0.06)
    moved = rule.craft(model, x, y, moment(seed))
    clean, after = margins(model(x), y), margins(model(moved), y)
    assert moved[clean > 0].equal(x[clean > 0])
    fooled = (clean <= 0) & (after > 0)
    with frozen(model, "eval"):
        start = x + 0.3 * (2 * torch.rand(x.shape, generator=moment(seed).generator) - 1)
        far = ascend(lambda images: margins(model(images), y), x, start, epsilon=0.3, step_size=0.06, steps=10)
    # The bisection's last interval holds the boundary: its near end, 2^-10 of the way back, is still correct.
    share = ((moved - x).flatten(1).norm(dim=1) / (far - x).flatten(1).norm(dim=1))[:, None, None, None]
    near = x + (share - 2**-10) * (far - x)
    assert (margins(model(near), y)[fooled] < 1e-3).all()
    stubborn = (clean <= 0) & (margins(model(far), y) <= 0)
    torch.testing.assert_close(moved[stubborn], far[stubborn])


@few
@given(seed=seeds)
def test_targets_are_never_the_label_and_uniform_over_the_rest(seed: int) -> None:
    from mmc.training.rules.adversarial import other_classes

    y = torch.arange(6000) % L
    targets = other_classes(y, L, moment(seed).generator)
    assert (targets != y).all()
    counts = ((targets - y) % L).bincount(minlength=L)[1:]
    assert (counts - 2000).abs().max() < 250


def test_targeted_training_descends_the_target() -> None:
    model, (x, y) = network(3), batch(3)
    rule = AT(targeted=True, epsilon=0.2, step_size=0.05)
    from mmc.training.rules.adversarial import other_classes

    targets = other_classes(y, L, moment(3).generator)
    moved = rule.craft(model, x, y, moment(3))
    before, after = (F.cross_entropy(model(images), targets) for images in (x, moved))
    assert after < before


def test_largest_takes_the_right_number_and_breaks_ties_by_position() -> None:
    values = torch.tensor([1.0, 3.0, 3.0, 3.0, 0.0])
    assert largest(values, 0.4).tolist() == [False, True, True, False, False]
    assert largest(values, 0.0).sum() == 0 and largest(values, 1.0).all()
    assert math.isclose(margins(torch.tensor([[1.0, 4.0, 2.0]]), torch.tensor([1]))[0], -2.0)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_trains_also_with_averaged_weights_and_repeats_itself(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (160,), generator=generator)
    middle = 0.2 + 0.6 * torch.rand(3, *SHAPE, generator=generator)
    x = (middle[y] + 0.02 * torch.randn(160, *SHAPE, generator=generator)).clamp(0, 1)
    data, recipe = (
        Split(x, y),
        Recipe(epochs=80 if name == "MAIL" else 20, batch_size=32, learning_rate=0.05, average=0.9),
    )
    rule = dataclasses.replace(build_rule(name), **({} if name == "standard" else {"epsilon": 4 / 255}))

    def run() -> Classifier:
        torch.manual_seed(0)
        model = Classifier(mlp(SHAPE, 6, 0.5, 0.3, width=32), build("SCE", 3, 6))
        train(model, data, recipe, rule=rule)
        return model

    first, again = run(), run()
    assert accuracy(first, data) > 0.95
    assert all(a.equal(b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: build_rule("PGD"), "no training rule 'PGD'; there are: standard, AT, FGSM-RS"),
        (lambda: build_rule("AT", eps=0.1), "training rule 'AT'.*eps"),
        (lambda: AT(epsilon=-1.0), "expected epsilon >= 0"),
        (lambda: AT(steps=0), "steps >= 1"),
        (lambda: AT(batch_norm="off"), "batch_norm must be one of eval, train, not 'off'"),
        (lambda: AT(ramp=1.5), r"ramp must be in \[0, 1\], not 1.5"),
        (lambda: AT(inner="dlr"), "inner must be one of loss, cross-entropy, margin"),
        (lambda: FGSMRS(steps=2), "one-step rule"),
        (lambda: SOVR(share=1.5), r"share must lie in \[0, 1\]"),
        (lambda: TSOVR(switch_on="both"), "switch_on must be adversarial or clean"),
        (lambda: MMA(halvings=0), "halvings >= 1"),
        (lambda: EWAT(offset=-1.0), "offset must be >= 0"),
    ],
)
def test_bad_options_are_refused_by_name(act: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()
