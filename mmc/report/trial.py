"""A loss at work: a small network trained on the embedded digits, and attacked by everything that fits its head."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from mmc.attacks import LADDER, applicable, correct, pgd, run_suite, zero_gradient_share
from mmc.attacks.preset import Preset
from mmc.attacks.presets import PRESETS, chosen
from mmc.attacks.verdicts import summary
from mmc.catalogue.first import FIRST
from mmc.losses import LOSSES, Loss
from mmc.losses.base import margins
from mmc.models import Classifier, mlp
from mmc.networks import dataset
from mmc.report.scene import FEATURE_DIM, Maker
from mmc.training import train

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

#: The network and recipe of the book's first experiment.
SPEC = FIRST["digits"]
#: L-inf radii in units of a pixel's range [0, 1], and the one whose accuracy is the report's.
EPSILONS = (0.05, 0.1, 0.15, 0.2)
HEADLINE = 0.1
WORST = "worst case"
TRAINING_LOSS = "training loss, PGD-50"


CROSS_ENTROPY, EACH_CLASS, AUTOATTACK = "cross-entropy, PGD-50", "each class, APGD-100", "AutoAttack on the rest"


def attacks(everything: bool) -> dict[str, Preset]:
    """Attacks by what the card calls them: cross-entropy first, then what is made for the head, then no gradients.

    Args:
        everything: all of them, or the three that a curve over radii needs.
    """
    spsa = PRESETS["spsa100-margin-8"]
    small = (dict(spsa.options) | {"iterations": 20, "samples": 32}).items()
    found = {
        CROSS_ENTROPY: PRESETS["pgd50-ce-8"],
        "margin, PGD-50, 5 starts": PRESETS["margin-pgd-8"],
        EACH_CLASS: PRESETS["apgd-targets-8"],
    }
    more = {
        "own center, PGD-50": PRESETS["pgd50-own-center-8"],
        "each class, DLR, APGD-100": PRESETS["apgd-targets-dlr-8"],
        "no gradients, SPSA-20": dataclasses.replace(spsa, short="spsa20-margin", options=tuple(small)),
    }
    return found | more if everything else found


@dataclass(frozen=True)
class Trial:
    """What one trained network showed.

    Attributes:
        seed: of network, order and attacks.
        clean: share of the test images that are classified correctly.
        robust: by radius and attack, the share still correct; under `worst case` after every attack, image by image.
        zero_gradients: by objective, the share of images with an exactly zero gradient in float32.
        margins: of the label over the runner-up on the test images: 21 quantiles, from the least to the largest.
        images: how many were attacked.
        seconds: of training and of attacking.
        notes: what was not run, and what an attack warned of.
    """

    seed: int
    clean: float
    robust: dict[str, dict[str, float]]
    zero_gradients: dict[str, float]
    margins: list[float]
    images: int
    seconds: dict[str, float]
    notes: list[str]

    @property
    def worst(self) -> dict[float, float]:
        """Robust accuracy by radius."""
        return {float(epsilon): found[WORST] for epsilon, found in self.robust.items()}

    @property
    def headline(self) -> float:
        """Robust accuracy at the radius of the report."""
        return self.robust[f"{HEADLINE:g}"][WORST]


def network(make: Maker, seed: int, **options: Any) -> Classifier:
    """Train the network of the first experiment with a loss; a loss of the registry gives the bits of that experiment.

    Raises:
        NonFiniteLossError: the loss became infinite or not a number.
    """
    digits = dataset(SPEC.dataset)
    own = {"center_seed": seed} if make is LOSSES["MMC (rand)"] else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = mlp(digits.shape, FEATURE_DIM, digits.mean, digits.std)
        loss: Loss = make(digits.num_classes, FEATURE_DIM, **own | options)
    model = Classifier(backbone, loss).to(digits.test.x.device)
    train(model, digits.train, SPEC.recipe, seed=seed)
    return model.requires_grad_(False)


def trial(
    make: Maker,
    seed: int = 0,
    report: Callable[[str], None] = lambda text: None,
    images: int = 500,
    epsilons: Sequence[float] | None = None,
    **options: Any,
) -> Trial:
    """Train a network with a loss and attack it.

    Args:
        make: the loss's class.
        seed: of network, order and attacks.
        report: called with what is about to be done.
        images: how many test images, from the first; 500 are all.
        epsilons: radii; those of a card where not given.
        options: what the class takes besides.
    """
    report("training")
    started = time.monotonic()
    model = network(make, seed, **options)
    trained = time.monotonic()
    test = dataset(SPEC.dataset).test.first(images)
    x, y, notes = test.x, test.y, []
    robust = {}
    for epsilon in EPSILONS if epsilons is None else epsilons:
        report(f"attacking at epsilon {epsilon:g}")
        robust[f"{epsilon:g}"] = {k: _share(mask) for k, mask in _standing(model, x, y, epsilon, seed, notes).items()}
    return Trial(
        seed,
        _share(correct(model, x, y)),
        robust,
        _zero(model, x, y),
        [round(m, 4) for m in torch.quantile(-margins(model(x), y), torch.linspace(0, 1, 21)).tolist()],
        len(x),
        {"training": round(trained - started, 1), "attacks": round(time.monotonic() - trained, 1)},
        list(dict.fromkeys(notes)),
    )


def _standing(
    model: Classifier, x: Tensor, y: Tensor, epsilon: float, seed: int, notes: list[str]
) -> dict[str, Bool[Tensor, " N"]]:
    """By attack, which images are still correct; under `worst case` after all of them."""
    presets = attacks(epsilon == HEADLINE)
    named = {attack.at(epsilon).slug: name for name, attack in presets.items()}
    found = run_suite(model, x, y, chosen(presets.values(), epsilon), seed=seed)
    masks = {named[slug]: attacked.correct for slug, attacked in found.attacks.items()}
    climbed = pgd(model, x, y, objective=training_loss, epsilon=epsilon, steps=50, seed=seed)
    masks = {TRAINING_LOSS: correct(model, climbed, y).cpu()} | masks
    worst = torch.stack([found.clean, *masks.values()]).all(0)
    if epsilon == HEADLINE and worst.any():
        masks |= _rest(model, x[worst], y[worst], worst, seed, notes)
    return masks | {WORST: torch.stack([worst, *masks.values()]).all(0)}


def _rest(
    model: Classifier, x: Tensor, y: Tensor, standing: Bool[Tensor, " N"], seed: int, notes: list[str]
) -> dict[str, Bool[Tensor, " N"]]:
    """What the standard AutoAttack leaves of the images that everything before it has left."""
    if not importlib.util.find_spec("pyautoattack"):
        notes.append("AutoAttack was not run: pyautoattack is not installed.")
        return {}
    (found,) = run_suite(model, x, y, ["autoattack-8"], epsilon=HEADLINE, seed=seed).attacks.values()
    notes.extend(f"AutoAttack warned: {note}" for note in found.notes)
    left = standing.clone()
    left[standing] = found.correct
    return {AUTOATTACK: left}


def training_loss(model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The loss that the network was trained with, as an objective; blind where it is stationary."""
    return model.loss(model.features(x), y)


def _zero(model: Classifier, x: Tensor, y: Tensor) -> dict[str, float]:
    objectives = {name: LADDER[name] for name in applicable(model)} | {"training loss": training_loss}
    share = partial(zero_gradient_share, model=model, x=x, y=y)
    return {name: round(share(objective), 6) for name, objective in objectives.items()}


def _share(mask: Bool[Tensor, " N"]) -> float:
    return summary(mask)["accuracy"]
