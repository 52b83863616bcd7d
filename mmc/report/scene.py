"""The scene in which every loss is looked at: ten classes, sixteen features, and each class at a known place.

A loss learns its weights and centers, so its landscape depends on them. Here they stand where the theory puts them:
weights are the first L unit vectors, so that logits are free coordinates of z, and centers are the same vectors around
their mean, a simplex of norm C_MM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from mmc.losses import Loss
from mmc.losses.base import margins

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

#: What makes a loss from the number of classes and the number of features: a class of `LOSSES`, or a reader's own.
Maker = Callable[..., Loss]

NUM_CLASSES = 10
FEATURE_DIM = 16
#: C_MM of the centers that a loss learns; those that it fixes stay as they are.
NORM = 10.0


def placed(make: Maker, num_classes: int = NUM_CLASSES, feature_dim: int = FEATURE_DIM, **options: Any) -> Loss:
    """A loss in float64 whose learned tables stand at known places, and whose parameters do not move.

    A table is an entry of shape (L, d) or (L,) that is a parameter, or a buffer whose rows are still all alike. One
    with `weight` in its name becomes the first L unit vectors, one with `bias` zero, one of another name with d columns
    a simplex of norm 10. Everything else stays as the loss makes it, with torch's seed at zero.

    Args:
        make: the loss's class.
        num_classes: L >= 2.
        feature_dim: d >= L.
        options: what the class takes besides.
    """
    with torch.random.fork_rng(devices=[]), _in_float64():
        torch.manual_seed(0)
        loss = make(num_classes, feature_dim, **options).double()
    learned = {name for name, _ in loss.named_parameters()}
    simplex = torch.zeros(num_classes, feature_dim, dtype=torch.float64)
    corners = torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes
    simplex[:, :num_classes] = NORM * (num_classes / (num_classes - 1)) ** 0.5 * corners
    with torch.no_grad():
        for name, entry in loss.state_dict().items():
            if name not in learned and not _undecided(entry, num_classes):
                continue
            if entry.shape == (num_classes, feature_dim) and not name.startswith("log_"):
                entry.copy_(torch.eye(num_classes, feature_dim) if "weight" in name else simplex)
            elif entry.shape == (num_classes,) and "bias" in name:
                entry.zero_()
    return loss.requires_grad_(False).eval()


@contextmanager
def _in_float64() -> Iterator[None]:
    """Centers that a loss computes when it is made are then exact to 16 digits."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _undecided(entry: Tensor, num_classes: int) -> bool:
    """Is it a table that has not told its classes apart yet?"""
    return entry.ndim == 2 and len(entry) == num_classes and bool((entry == entry[0]).all())


def value_and_gradient(
    loss: Loss, z: Float[Tensor, "N d"], label: int = 0
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N d"]]:
    """The loss and its gradient at features of one label."""
    z = z.detach().clone().requires_grad_()
    values = loss(z, labels(z, label))
    (gradient,) = torch.autograd.grad(values.sum(), z)
    return values.detach(), gradient


def hessian(loss: Loss, z: Float[Tensor, " d"], label: int = 0) -> Float[Tensor, "d d"]:
    """The second derivatives at one feature, made symmetric."""

    def value(point: Tensor) -> Tensor:
        return loss(point[None], labels(point[None], label))[0]

    found = torch.autograd.functional.hessian(value, z.detach())
    return (found + found.T) / 2


def labels(z: Float[Tensor, "N d"], label: int) -> Int[Tensor, " N"]:
    """One label for all of the features."""
    return torch.full((len(z),), label, dtype=torch.long)


@torch.no_grad()
def gap(loss: Loss, z: Float[Tensor, "N d"], label: int = 0) -> Float[Tensor, " N"]:
    """How far the label's logit is ahead of the runner-up's: the margin, positive where the label wins."""
    return -margins(loss.logits(z), labels(z, label))


def start(loss: Loss, label: int = 0) -> Float[Tensor, " d"]:
    """Where features set out: z = 0, or a random feature of length one where nothing pulls at zero."""
    origin = torch.zeros(1, loss.feature_dim, dtype=torch.float64)
    if value_and_gradient(loss, origin, label)[1].abs().max() > 0:
        return origin[0]
    return wanderers(loss.feature_dim, 1)[0]


def wanderers(feature_dim: int, count: int, size: float = 1.0, seed: int = 0) -> Float[Tensor, "N d"]:
    """Random features of one length, each in a direction of its own."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(count, feature_dim, generator=generator, dtype=torch.float64)
    return size * found / found.norm(dim=1, keepdim=True)
