"""AutoAttack, through pyautoattack: the ensemble behind published numbers, with its warnings beside the images."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from mmc.attacks.checks import confirm, input_gradient, refuse_bad_input
from mmc.attacks.objectives import cross_entropy

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

NORMS = {"linf": "Linf", "l2": "L2"}
#: Which attacks each version runs.
VERSIONS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
    "custom": (),
}
#: The fewest classes that each attack is defined for: the ratio of logit differences needs three, with a target four.
FEWEST = {"apgd-ce": 2, "apgd-dlr": 3, "fab": 2, "square": 2, "apgd-t": 4, "fab-t": 2}
#: Square's first tile in L2 is a fifth of an image's side.
LEAST_SIDE = 5


def autoattack(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    epsilon: float,
    norm: str = "Linf",
    seed: int = 0,
    version: str = "standard",
    *,
    attacks: Sequence[str] | None = None,
    batch_size: int = 250,
) -> Float[Tensor, "N C H W"]:
    """The images of `autoattack_with_flags`, without its flags."""
    options = {"attacks": attacks, "batch_size": batch_size}
    return autoattack_with_flags(model, x, y, epsilon, norm, seed, version, **options)[0]


def autoattack_with_flags(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    epsilon: float,
    norm: str = "Linf",
    seed: int = 0,
    version: str = "standard",
    *,
    attacks: Sequence[str] | None = None,
    batch_size: int = 250,
) -> tuple[Float[Tensor, "N C H W"], tuple[str, ...]]:
    """AutoAttack, and what it warned of: zero gradients, randomness, or Square doing better than the others.

    The library looks for zero gradients under the ratio of logit differences only. Where cross-entropy is climbed, its
    zero gradients at the images are counted here, and told among the warnings.

    It runs one attack after another on what still stands: for `standard` APGD on cross-entropy, targeted APGD, targeted
    FAB and Square. Its draws belong to a batch, so an example's image may depend on its neighbours. torch's global
    generator is left as it was. Source: Croce and Hein 2020.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        epsilon: radius of the ball in units of a pixel's range [0, 1], > 0.
        norm: `Linf` or `L2`, in whatever case.
        seed: of all draws.
        version: `standard`, `plus`, `rand`, or `custom` with a choice of attacks.
        attacks: for `custom`, names in `FEWEST`.
        batch_size: images in one forward pass, >= 1.

    Returns:
        One image for each of x, the image itself where none that fools was found; and the warnings, each once.

    Raises:
        ImportError: pyautoattack is not installed.
        ValueError: bad input, named; see `refuse_bad_input`. Also fewer classes than the attacks need.
    """
    try:
        from pyautoattack import AutoAttack
    except ImportError as error:
        raise ImportError("AutoAttack needs pyautoattack: pip install pyautoattack") from error
    refuse_bad_input(model, x, y, epsilon)
    if norm.lower() not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS.values())}, not {norm!r}")
    if version not in VERSIONS:
        raise ValueError(f"version must be one of {', '.join(VERSIONS)}, not {version!r}")
    if (version == "custom") != (attacks is not None):
        raise ValueError("attacks are given for the version custom, and for no other")
    run = VERSIONS[version] if attacks is None else tuple(attacks)
    if not run or (unknown := [name for name in run if name not in FEWEST]):
        raise ValueError(f"no attack {unknown if run else run}; there are: {', '.join(FEWEST)}")
    if not epsilon > 0 or batch_size < 1:
        raise ValueError(f"epsilon must be > 0 and batch_size at least 1, not {epsilon} and {batch_size}")
    if not len(x):
        return x.detach().clone(), ()
    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    if classes < (fewest := max(FEWEST[name] for name in run)):
        raise ValueError(f"these attacks need {fewest} classes or more, the model has {classes}")
    if "square" in run and norm.lower() == "l2" and min(x.shape[2:]) < LEAST_SIDE:
        raise ValueError(f"Square in L2 needs images of {LEAST_SIDE} pixels or more a side, not {tuple(x.shape[2:])}")
    with _overheard() as heard, torch.random.fork_rng([x.device] if x.is_cuda else []):
        suite = AutoAttack(
            model,
            attacks=None if attacks is None else list(attacks),
            device=x.device,
            eps=epsilon,
            norm=NORMS[norm.lower()],
            seed=seed,
            version=version,
        )
        # As many targets as there are: its own default of nine assumes ten classes.
        suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = min(9, classes - 1)
        x_adv, _ = suite.run_standard_evaluation(x.detach().clone(), y.clone(), batch_size=batch_size)
    confirm(x, x_adv, epsilon, norm.lower())
    if "apgd-ce" in run and (blind := _blind(model, x, y, batch_size)):
        heard.insert(0, f"cross-entropy has an exactly zero gradient at {blind} of {len(x)} images")
    return x_adv, tuple(dict.fromkeys(heard))


def _blind(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], batch_size: int) -> int:
    """At how many images cross-entropy has no gradient at all."""
    batches = zip(x.split(batch_size), y.split(batch_size), strict=True)
    gradients = (input_gradient(cross_entropy, model, images, labels) for images, labels in batches)
    return sum(int((gradient.flatten(1) == 0).all(1).sum()) for gradient in gradients)


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect the suite's warnings instead of printing them; its tracing of calls is undone as well."""
    heard: list[str] = []
    logger, tracing = logging.getLogger("auto-attack"), sys.gettrace()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())
    before = logger.propagate, logger.level
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield heard
        heard.extend(str(warning.message) for warning in caught)
    finally:
        logger.removeHandler(handler)
        logger.propagate = before[0]
        logger.setLevel(before[1])
        sys.settrace(tracing)
