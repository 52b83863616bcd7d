"""Against other people's code: foolbox, AutoAttack and torchattacks, each skipped where it is not installed."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from attack_cases import Affine, accept, case, exact_distances, images, mutant, two_classes
from torch import nn

from mmc.attacks import apgd, correct, cross_entropy, margin, pgd
from mmc.attacks.autoattack import autoattack, autoattack_with_flags
from mmc.attacks.boundary import hop_skip_jump
from mmc.attacks.cw import carlini_wagner, distances
from mmc.attacks.mim import mim


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


needs_foolbox, needs_pyautoattack, needs_torchattacks = map(needs, ("foolbox", "pyautoattack", "torchattacks"))


def foolbox_model(model: nn.Module):
    import foolbox

    return foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")


# Carlini and Wagner


@needs_foolbox
@pytest.mark.parametrize("loss", ["MMC", "SCE"])
def test_carlini_wagner_is_as_near_as_foolbox(loss: str) -> None:
    import foolbox

    model, x, y = case(3, loss)
    options = {"steps": 200, "stepsize": 0.02, "binary_search_steps": 6, "initial_const": 0.1}
    peer = foolbox.attacks.L2CarliniWagnerAttack(**options)
    theirs = distances(model, x, y, peer.run(foolbox_model(model), x, foolbox.criteria.Misclassification(y)))
    options = {"iterations": 200, "learning_rate": 0.02, "search_steps": 6, "first_constant": 0.1, "look_every": 25}
    ours = distances(model, x, y, carlini_wagner(model, x, y, **options))
    assert ours.isfinite().all() and theirs.isfinite().all()
    assert (ours / theirs).median().item() == pytest.approx(1.0, abs=0.02)
    assert ours.median() <= 1.02 * theirs.median()


@needs_torchattacks
def test_a_margin_by_multiplication_fails_on_negative_logits() -> None:
    """The trap that ours avoids, as it stands in a public library: the clean image, where all logits are negative."""
    import torchattacks

    model, x, y = case(3)
    assert (model(x) < 0).all()
    assert torchattacks.CW(model, c=1, steps=50, lr=0.05)(x, y).equal(x)
    ours = carlini_wagner(model, x, y, iterations=50, learning_rate=0.05, search_steps=3, first_constant=1.0)
    assert not correct(model, ours, y).any()


# Momentum


@needs_foolbox
def test_momentum_differs_from_foolbox_by_design() -> None:
    """Without momentum the two are one; with it, foolbox adds up signs, and the L1 rule does not."""
    import foolbox

    model, x, y = case(5, "SCE")

    def both(decay: float) -> tuple[torch.Tensor, torch.Tensor]:
        attack = foolbox.attacks.LinfMomentumIterativeFastGradientMethod
        peer = attack(momentum=decay, abs_stepsize=0.01, steps=6)
        criterion = foolbox.criteria.Misclassification(y)
        theirs = peer.run(foolbox_model(model), x, criterion, epsilon=0.03)
        options = {"objective": cross_entropy, "epsilon": 0.03, "steps": 6, "step_size": 0.01}
        return mim(model, x, y, decay=decay, active_set=False, **options), theirs

    ours, theirs = both(0.0)
    # Who falls only on the way has its last image that fooled; all others end where foolbox ends.
    same = (ours - theirs).abs().flatten(1).amax(1) < 1e-5
    assert same.float().mean() > 0.8
    ours, theirs = both(1.0)
    assert ((ours - theirs).abs().flatten(1).amax(1) > 1e-3).any()


@needs_foolbox
def test_adding_signs_takes_another_way_than_adding_shares() -> None:
    """Slopes (3, 1), then (-2, 2) once the first pixel has moved, in a model of two linear pieces."""
    import foolbox

    class Bent(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second = x[:, 0, 0, 0], x[:, 0, 0, 1]
            before, after = 3 * (first - 0.5) + (second - 0.5), -2 * (first - 0.5) + 2 * (second - 0.5)
            score = torch.where(first > 0.501, after, before) - 1.0
            return torch.stack([-score, score], 1)

    model, x, y = Bent().eval(), torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    attack = foolbox.attacks.LinfMomentumIterativeFastGradientMethod(abs_stepsize=0.01, steps=2)
    theirs = attack.run(foolbox_model(model), x, foolbox.criteria.Misclassification(y), epsilon=0.05)
    ours = mim(model, x, y, objective=cross_entropy, epsilon=0.05, steps=2, step_size=0.01)
    # Shares (3/4, 1/4) + (-1/2, 1/2) point up in both pixels; signs (1, 1) + (-1, 1) leave the first where it is.
    torch.testing.assert_close((ours - x).flatten(), torch.tensor([0.02, 0.02]), atol=1e-6, rtol=0)
    torch.testing.assert_close((theirs - x).flatten(), torch.tensor([0.01, 0.02]), atol=1e-6, rtol=0)


# The L2 ball in the box


@needs_foolbox
@needs_pyautoattack
def test_cutting_to_the_ball_and_then_to_the_box_falls_short() -> None:
    """Half of the pixels at an end of their range, a plane, and a radius that is just enough."""
    import foolbox
    from pyautoattack.autopgd_base import APGDAttack

    model, x, y = two_classes(0, 60)
    x = torch.where(torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5, x.round(), x)
    truth = exact_distances(model, x, y)
    within = correct(model, x, y) & truth.isfinite() & (truth > 0.02)
    x, y, radius = x[within], y[within], (1.003 * truth[within]).float()

    def left(attack: Callable[..., torch.Tensor]) -> int:
        each = zip(x.split(1), y.split(1), radius.tolist(), strict=True)
        return int(correct(model, torch.cat([attack(*one) for one in each]), y).sum())

    def by_foolbox(x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
        peer = foolbox.attacks.L2PGD(abs_stepsize=2.5 * epsilon / 40, steps=40, random_start=False)
        return peer.run(foolbox_model(model), x, foolbox.criteria.Misclassification(y), epsilon=epsilon)

    def by_pyautoattack(x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
        return APGDAttack(model, n_iter=40, norm="L2", n_restarts=1, eps=epsilon, device="cpu").perturb(x, y)

    options = {"objective": margin, "norm": "l2", "steps": 40}
    for ours in (partial(pgd, start="clean"), apgd):
        assert left(lambda x, y, epsilon, attack=ours: attack(model, x, y, epsilon=epsilon, **options)) == 0
    assert left(by_foolbox) > 0 and left(by_pyautoattack) > 0


# Decisions only


def nearly_exact(attack) -> None:
    model, x, y = two_classes(3, 8)
    x_adv = attack(model, x, y, steps=8, seed=1)
    assert x_adv.min() >= 0 and x_adv.max() <= 1 and x_adv.dtype == x.dtype
    found, truth = distances(model, x, y, x_adv).double(), exact_distances(model, x, y)
    assert (found > truth * (1 - 1e-4)).all() and (found / truth).median() < 1.2


@needs_foolbox
def test_decisions_alone_come_near_the_exact_distance() -> None:
    nearly_exact(hop_skip_jump)


@needs_foolbox
@pytest.mark.parametrize(
    "change",
    [
        ("not bool(correct", "bool(correct"),
        ("result[index] = found[0]", "pass"),
        ("result[index] = found[0]", "result[index] = begin[0]"),
        (".clamp(0, 1)", " + 0.5"),
        ("classes != label", "classes == label"),
    ],
)
def test_mutants_of_the_wrapper_are_caught(change: tuple[str, str]) -> None:
    changed = mutant(importlib.import_module("mmc.attacks.boundary"), *change)
    with pytest.raises((AssertionError, ValueError)):
        nearly_exact(changed.hop_skip_jump)


@needs_foolbox
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_decisions_alone_keep_the_contract(norm: str) -> None:
    model, x, y = case(2, count=8)
    y = torch.where(torch.arange(8) == 5, (y + 1) % 4, y)  # one that is wrong already
    attack = partial(hop_skip_jump, model, norm=norm, steps=2, queries=20, seed=3)
    whole, some = attack(x, y), torch.tensor([7, 2, 5])
    assert attack(x[some], y[some]).equal(whole[some])
    assert whole[5].equal(x[5]) and not attack(x, y, seed=4).equal(whole)
    near = attack(x, y, epsilon=0.3)
    size = (near - x).flatten(1).norm(dim=1) if norm == "l2" else (near - x).flatten(1).abs().amax(1)
    assert size.max() <= 0.3 + 1e-6 and near[correct(model, near, y)].equal(x[correct(model, near, y)])
    state = torch.get_rng_state()
    attack(x[:1], y[:1])
    assert torch.get_rng_state().equal(state)


@needs_foolbox
def test_decisions_alone_need_a_start() -> None:
    model, x, y = two_classes(3, 8)
    same = x[y == 0][:1]
    assert hop_skip_jump(model, x[y == 0], y[y == 0], pool=same).equal(x[y == 0])
    with pytest.raises(ValueError, match="the pool must hold images"):
        hop_skip_jump(model, x, y, pool=x + 1)
    with pytest.raises(ValueError, match="steps and queries"):
        hop_skip_jump(model, x, y, steps=0)
    with pytest.raises(ValueError, match="norm must be one of"):
        hop_skip_jump(model, x, y, norm="l1")


# AutoAttack


@needs_pyautoattack
def test_autoattack_solves_two_affine_classes_exactly() -> None:
    def attack(model, x, y, epsilon):
        return autoattack(model, x, y, epsilon, version="custom", attacks=["apgd-ce"])

    accept(attack)


@needs_pyautoattack
@pytest.mark.parametrize(
    "change",
    [
        ("eps=epsilon", "eps=epsilon / 2"),
        ("eps=epsilon", "eps=2 * epsilon"),
        ("return x_adv, tuple", "return x, tuple"),
    ],
)
def test_mutants_of_autoattack_are_caught(change: tuple[str, str]) -> None:
    changed = mutant(importlib.import_module("mmc.attacks.autoattack"), *change)
    options = {"version": "custom", "attacks": ["apgd-ce"]}
    with pytest.raises((AssertionError, ValueError)):
        accept(lambda model, x, y, epsilon: changed.autoattack(model, x, y, epsilon, **options))


def four_classes(count: int = 6) -> tuple[Affine, torch.Tensor, torch.Tensor]:
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    model, x = Affine(weight, -weight.sum(1) / 2).eval(), images(1, count, (1, 8, 8))
    return model, x, model(x).argmax(1)


@needs_pyautoattack
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_standard_version_finds_the_truth_quietly(norm: str, capfd, caplog) -> None:
    model, x, y = four_classes()
    if norm == "L2":
        truth = exact_distances(model, x, y)
        epsilon = truth.median().item() * 1.02
        standing = truth > epsilon
    else:
        epsilon, standing = 0.03, torch.ones(len(x), dtype=torch.bool)
        for rival in range(4):
            # Each pixel at its end of the ball or the box: the worst image against one rival.
            worst = (x + epsilon * (model.weight[rival] - model.weight[y]).sign().view_as(x)).clamp(0, 1)
            logits = model(worst)
            standing &= (y == rival) | (logits[:, rival] < logits.gather(1, y[:, None])[:, 0])
    state = torch.get_rng_state()
    tracing, seed = sys.gettrace(), 7
    x_adv, flags = autoattack_with_flags(model, x, y, epsilon, norm, seed)
    assert flags == () and correct(model, x_adv, y).equal(standing) and 0 < standing.sum() < len(x)
    assert torch.get_rng_state().equal(state) and sys.gettrace() is tracing
    captured = capfd.readouterr()
    assert captured.out == captured.err == "" and not caplog.records
    assert not logging.getLogger("auto-attack").handlers


@needs_pyautoattack
def test_autoattack_repeats_with_its_seed() -> None:
    model, x, y = case(1)
    options = {"version": "custom", "attacks": ["apgd-ce"]}
    first, again = (autoattack(model, x, y, 0.1, seed=2, **options) for _ in range(2))
    assert first.equal(again) and not correct(model, first, y).all()
    assert not first.equal(autoattack(model, x, y, 0.1, seed=3, **options))
    assert autoattack(model, x[:0], y[:0], 0.1).shape == (0, 1, 4, 4)


class Rounded(nn.Module):
    """Logits without a gradient: only an attack that does not ask for one can move."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.model(x) * 20).round() / 20


@needs_pyautoattack
def test_autoattack_tells_of_masked_gradients() -> None:
    model, x, y = four_classes()
    model = Rounded(model).eval()
    # In the order of the standard version, without its slowest member.
    options = {"version": "custom", "attacks": ["apgd-ce", "apgd-t", "square"]}
    x_adv, flags = autoattack_with_flags(model, x, y, 0.3, **options)
    assert correct(model, x_adv, y).float().mean() < 0.5
    text = " ".join(flags)
    assert f"cross-entropy has an exactly zero gradient at {len(x)} of {len(x)} images" in text
    assert "points with zero gradient" in text and "Square Attack has decreased the robust accuracy" in text


@needs_pyautoattack
def test_a_saturated_cross_entropy_is_told_of() -> None:
    """The library itself stays silent: it looks for zero gradients under the ratio of logit differences only."""
    model, x, y = four_classes()
    model.weight, model.bias = 3000 * model.weight, 3000 * model.bias
    flags = autoattack_with_flags(model, x, y, 0.01, version="custom", attacks=["apgd-ce"])[1]
    assert len(flags) == 1 and flags[0].startswith("cross-entropy has an exactly zero gradient at ")


@needs_pyautoattack
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.0}, "epsilon must be > 0"),
        ({"norm": "L1"}, "norm must be one of Linf, L2"),
        ({"version": "fast"}, "version must be one of standard, plus, rand, custom"),
        ({"version": "custom"}, "attacks are given for the version custom"),
        ({"attacks": ["square"]}, "attacks are given for the version custom"),
        ({"version": "custom", "attacks": ["pgd"]}, r"no attack \['pgd'\]; there are: apgd-ce"),
        ({"version": "custom", "attacks": []}, "no attack"),
        ({}, "need 4 classes or more, the model has 2"),
        ({"version": "rand"}, "need 3 classes or more"),
        ({"version": "custom", "attacks": ["square"], "norm": "L2"}, "Square in L2 needs images of 5"),
        ({"batch_size": 0}, "batch_size at least 1"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict, message: str) -> None:
    model, x, y = two_classes(0, 4)
    with pytest.raises(ValueError, match=message):
        autoattack(model, x, y, **({"epsilon": 0.1} | change))


@pytest.mark.parametrize(
    ("name", "attack"), [("foolbox", hop_skip_jump), ("pyautoattack", partial(autoattack, epsilon=0.1))]
)
def test_what_is_missing_is_named(name: str, attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    model, x, y = two_classes(0, 4)
    with pytest.raises(ImportError, match=f"pip install {name}"):
        attack(model, x, y)
