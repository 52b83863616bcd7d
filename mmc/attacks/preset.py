"""A preset: an attack with all of its settings, as data, under a name that can be typed."""

from __future__ import annotations

import dataclasses
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from mmc.attacks.apgd import apgd, apgd_all_targets
from mmc.attacks.autoattack import autoattack_with_flags
from mmc.attacks.balls import content
from mmc.attacks.boundary import hop_skip_jump
from mmc.attacks.cw import carlini_wagner
from mmc.attacks.mim import mim
from mmc.attacks.objectives import LADDER, TARGETED
from mmc.attacks.pgd import pgd
from mmc.attacks.simple import gaussian_noise, random_search, rotation, worst_rotation
from mmc.attacks.spsa import spsa
from mmc.chance import draw_seed, seeded

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

ATTACKS = {
    "apgd": apgd,
    "apgd_all_targets": apgd_all_targets,
    "autoattack": autoattack_with_flags,
    "carlini_wagner": carlini_wagner,
    "gaussian_noise": gaussian_noise,
    "hop_skip_jump": hop_skip_jump,
    "mim": mim,
    "pgd": pgd,
    "random_search": random_search,
    "rotation": rotation,
    "spsa": spsa,
    "worst_rotation": worst_rotation,
}
#: Attacks that look for the nearest image that fools: one run has the verdict at every radius.
NEAREST = ("carlini_wagner", "hop_skip_jump")
#: Step sizes that shrink, by name: from the radius and the number of steps to a function of the step's number.
SCHEDULES = {"cosine": lambda epsilon, steps: lambda step: epsilon * (1 + math.cos(math.pi * step / steps)) / 2}
#: Options in the units of epsilon, and the radii that the paper prints; see `Preset.at`.
STEPS = ("step_size", "learning_rate")
PRINTED = (8 / 255, 16 / 255)

CROSS_ENTROPY = ("cross-entropy", "target cross-entropy")
CENTERS = ("own center", "target center", "nearest other center")
#: What a verdict is worth, each with its reason.
LABELS = {
    "weak": "blind, or with an objective that is not made for this head",
    "the paper's": "climbs the distance to a center, or cross-entropy where the head trains with it",
    "adaptive": "climbs differences of logits, which decide for every head",
    "standard": "the ensemble behind published numbers",
}


class NotApplicableError(ValueError):
    """An attack or objective that is not defined for this model; the message says why."""


@dataclass(frozen=True)
class Preset:
    """An attack with all of its settings. It is called like any attack: `preset(model, x, y, seed=0)`.

    Attributes:
        short: what is typed, but for the radius.
        title: what is read, but for the radius.
        attack: a name in `ATTACKS`.
        label: one of `LABELS`; see `label_for`.
        source: who set it so, in a line.
        options: what the attack takes, as (name, value) pairs; a step size may be a name in `SCHEDULES`.
        objective: a name in `LADDER` or `TARGETED`; empty where the attack has its own.
        targeted: does it draw a target class for each image?
        norm: `linf` or `l2`; empty where the threat is no ball.
        epsilon: radius in units of a pixel's range [0, 1]; None where there is no ball, or any distance counts.
        images: how many test images the source attacked, where it says so.
    """

    short: str
    title: str
    attack: str
    label: str
    source: str
    options: tuple[tuple[str, Any], ...] = ()
    objective: str = ""
    targeted: bool = False
    norm: str = ""
    epsilon: float | None = None
    images: int | None = None

    @property
    def slug(self) -> str:
        """The name that is typed, e.g. `pgd10-own-center-8`."""
        ball = [] if self.epsilon is None else [radius(self.epsilon).removesuffix("/255")]
        return "-".join([self.short, *(["l2"] if ball and self.norm == "l2" else []), *ball])

    @property
    def name(self) -> str:
        """The name that is read, e.g. `pgd-10 untargeted own-center 8/255`."""
        ball = [] if self.epsilon is None else [radius(self.epsilon)]
        return " ".join([self.title, *(["L2"] if self.norm == "l2" else []), *ball])

    @property
    def threat(self) -> str:
        """What the attacker may do: attacks of one threat have a worst case in common, others have not."""
        if self.norm:
            ball = {"linf": "L-inf", "l2": "L2"}[self.norm]
            return f"{ball}, any distance" if self.epsilon is None else f"{ball} {radius(self.epsilon)}"
        options = dict(self.options)
        return f"noise {options['sigma']:g}" if "sigma" in options else f"rotation {options['degrees']:g} degrees"

    @property
    def nearest(self) -> bool:
        """Does it look for the nearest image that fools, so that each example has a distance?"""
        return self.attack in NEAREST

    def at(self, epsilon: float) -> Preset:
        """The same attack at another radius of its norm.

        At the radii that the paper prints, its steps are as they are. At another radius in L-inf a step keeps the share
        that it has of the first of these, 8/255: the attack then reaches as far.

        Raises:
            ValueError: the threat has no radius, or the radius is not positive or not finite.
        """
        if not self.norm:
            raise ValueError(f"{self.name} is no attack in a ball: epsilon says nothing about it")
        if not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon must be > 0, in units of a pixel's range [0, 1], not {epsilon}")
        change = _stride(epsilon) / _stride(self.epsilon) if self.norm == "linf" else 1.0
        scaled = {name: value * change for name, value in self.options if name in STEPS and isinstance(value, float)}
        options = tuple((dict(self.options) | scaled).items())
        return dataclasses.replace(self, epsilon=float(epsilon), options=options)

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], *, seed: int = 0
    ) -> Float[Tensor, "N C H W"]:
        """The images of `craft`."""
        return self.craft(model, x, y, seed=seed)[0]

    def craft(
        self, model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], *, seed: int = 0, budget: int = 1024
    ) -> tuple[Float[Tensor, "N C H W"], tuple[str, ...]]:
        """One image for each of x, as the attack returns it, and what the attack warned of.

        Args:
            model: maps images in [0, 1] to logits; in eval mode.
            x: images in [0, 1].
            y: labels.
            seed: of random starts, of draws and of target classes.
            budget: the most images in one forward pass, two at least, where an attack makes several of each.

        Raises:
            NotApplicableError: attack or objective are not defined for this model.
            ValueError: bad input, named; see `refuse_bad_input`.
        """
        classes = num_classes(model, x)
        if reason := self.misfit(model, classes):
            raise NotApplicableError(f"{self.name} is not applicable: {reason}")
        given, attack = dict(self.options), ATTACKS[self.attack]
        if isinstance(schedule := given.get("step_size"), str):
            given["step_size"] = SCHEDULES[schedule](self.epsilon, given["steps"])
        if self.objective:
            given["objective"] = (LADDER | TARGETED)[self.objective]
        if self.targeted:
            given["targets"] = random_targets(x, y, classes, seed)
        offered = {"seed": seed, "norm": self.norm, "budget": max(budget, 2)}
        offered |= {} if self.nearest else {"epsilon": self.epsilon}
        taken = inspect.signature(attack).parameters
        found = attack(model, x, y, **given, **{name: value for name, value in offered.items() if name in taken})
        return found if isinstance(found, tuple) else (found, ())

    def misfit(self, model: nn.Module, classes: int) -> str:
        """Why this attack is not defined for a model with so many classes; empty where it is."""
        if self.objective in CENTERS and not has_centers(model):
            return "the model's loss has no centers"
        fewest = {"DLR": 3, "target DLR": 4}.get(self.objective, 4 if self.attack == "autoattack" else 2)
        return f"it needs {fewest} classes or more, the model has {classes}" if classes < fewest else ""

    def label_for(self, model: nn.Module) -> str:
        """The label against this model: where the head trains with cross-entropy, that is the paper's objective."""
        own = self.objective in CROSS_ENTROPY and trains_with_cross_entropy(model)
        return "the paper's" if own else self.label


def _stride(epsilon: float) -> float:
    """How long a step is, in units of the one at the printed radii."""
    return 1.0 if any(math.isclose(epsilon, printed) for printed in PRINTED) else epsilon / PRINTED[0]


def radius(epsilon: float) -> str:
    """A radius in words: 0.1 where four digits say it exactly, else 8/255."""
    pixels = round(epsilon * 255)
    exact = float(f"{epsilon:.4g}") == epsilon
    return f"{pixels}/255" if not exact and math.isclose(pixels / 255, epsilon) else f"{epsilon:.10g}"


def has_centers(model: nn.Module) -> bool:
    """Does the model's loss have centers?"""
    return getattr(getattr(model, "loss", None), "centers", None) is not None


@torch.no_grad()
def num_classes(model: nn.Module, x: Float[Tensor, "N C H W"]) -> int:
    """How many logits the model has."""
    return model(x[:1]).shape[1]


def random_targets(x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], classes: int, seed: int = 0) -> Int[Tensor, " N"]:
    """A class for each image that is not its label, all alike likely; it depends on the image and the seed alone."""
    drawn = [draw_seed(seed, "target", content(image)) % (classes - 1) for image in x]
    targets = torch.tensor(drawn, dtype=y.dtype, device=y.device)
    return targets + (targets >= y)


@torch.no_grad()
def trains_with_cross_entropy(model: nn.Module) -> bool:
    """Is the head's loss softmax cross-entropy of its logits? The loss itself is asked, at some features."""
    loss = getattr(model, "loss", None)
    if not callable(loss) or not hasattr(loss, "feature_dim"):
        return False
    example = next(model.parameters())
    z = torch.randn(8, loss.feature_dim, generator=seeded(torch.Generator(), "features")).to(example)
    y = (torch.arange(8) % loss.num_classes).to(example.device)
    return torch.allclose(loss(z, y), F.cross_entropy(loss.logits(z), y, reduction="none"), rtol=1e-4, atol=1e-5)
