"""Attacks of other libraries, each as `attack(model, x, y, seed) -> x_adv`, with the settings that are said.

A peer is taken as it stands. foolbox's climbs let the objective be named, so they get the one that ours has. The others
climb cross-entropy, whatever the head was trained with.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from mmc.attacks.autoattack import autoattack
from mmc.attacks.preset import num_classes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective
    from mmc.bench.contest import Attack

PEERS = ("foolbox", "torchattacks", "pyautoattack")
#: What is not put beside ours, and why.
LEFT_OUT = {
    "torchattacks, C&W": "masks the label's logit by multiplication and returns the clean image where all logits are "
    "negative, as MMC's are (issue 184)",
    "foolbox, SPSA": "it has none",
    "cleverhans, SPSA": "measures at 2 x + delta, never at the iterate (issue 1249)",
}


def installed(name: str) -> bool:
    """Is a library there?"""
    return importlib.util.find_spec(name) is not None


def versions() -> dict[str, str]:
    """The peers by name with their versions; `not installed` where one is absent."""
    return {name: importlib.metadata.version(name) if installed(name) else "not installed" for name in PEERS}


def seeded(attack: Callable[[nn.Module, Tensor, Tensor, int], Tensor]) -> Attack:
    """The attack with torch's own generator seeded, and left as it was."""

    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            torch.manual_seed(seed)
            return attack(model, x, y, seed).detach()

    return run


def _foolbox_climb(base: str, objective: Objective, epsilon: float, **options: Any) -> Attack:
    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        import eagerpy
        import foolbox

        class Climb(getattr(foolbox.attacks, base)):
            def get_loss_fn(self, wrapped: Any, labels: Any) -> Callable[[Any], Any]:
                return lambda images: eagerpy.astensor(objective(model, images.raw, labels.raw).sum())

        criterion = foolbox.criteria.Misclassification(y)
        return Climb(**options).run(_bounded(model, x), x, criterion, epsilon=epsilon)

    return seeded(run)


def _bounded(model: nn.Module, x: Tensor) -> Any:
    import foolbox

    return foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)


def foolbox_pgd(objective: Objective, epsilon: float, steps: int) -> Attack:
    """LinfPGD from a random start, with steps of 2.5 epsilon / steps."""
    return _foolbox_climb("LinfPGD", objective, epsilon, steps=steps, abs_stepsize=2.5 * epsilon / steps)


def foolbox_mim(objective: Objective, epsilon: float, steps: int) -> Attack:
    """Its momentum iterative method, which adds up signs, with steps of epsilon / steps."""
    base = "LinfMomentumIterativeFastGradientMethod"
    return _foolbox_climb(base, objective, epsilon, steps=steps, abs_stepsize=epsilon / steps)


def foolbox_carlini_wagner(**options: Any) -> Attack:
    """L2CarliniWagnerAttack."""

    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        import foolbox

        attack = foolbox.attacks.L2CarliniWagnerAttack(**options)
        found = attack.run(_bounded(model, x), x, foolbox.criteria.Misclassification(y))
        missing = (found == 0).flatten(1).all(1)  # where it found none, it returns a black image
        return torch.where(missing[:, None, None, None], x, found)

    return seeded(run)


def torchattacks_attack(name: str, **options: Any) -> Attack:
    """An attack of torchattacks by the name of its class."""

    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        import torchattacks

        return getattr(torchattacks, name)(model, **options)(x, y)

    return seeded(run)


def pyautoattack_apgd(epsilon: float, targeted: bool) -> Attack:
    """One part of AutoAttack alone, as its standard version runs it: 100 steps, one restart, or nine targets."""

    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

        options = {"n_iter": 100, "n_restarts": 1, "eps": epsilon, "seed": seed, "device": x.device}
        if not targeted:
            return APGDAttack(model, **options).perturb(x, y)
        return APGDAttack_targeted(model, n_target_classes=min(9, num_classes(model, x) - 1), **options).perturb(x, y)

    return seeded(run)


def pyautoattack_standard(epsilon: float) -> Attack:
    """Standard AutoAttack."""
    return lambda model, x, y, seed: autoattack(model, x, y, epsilon, seed=seed)
