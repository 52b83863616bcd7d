"""Where a loss stops asking: the stationary feature in which a flow ends, or that it ends nowhere.

A flow whose margin has settled is brought to the stationary feature by Newton's method. One whose margin still grows
has none on its way, up to the time at which it is broken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmc.losses import Loss
from mmc.report.growth import Flow, flow
from mmc.report.scene import gap, hessian, value_and_gradient, wanderers

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

STEPS = 40
#: Curvatures below this share of the largest one are no curvature.
FLAT = 1e-9
#: Random features from which the first class's flow is followed besides, and how far from zero they are.
WANDERERS, AWAY = 3, 2.0


@dataclass(frozen=True)
class Resting:
    """Where a flow ended.

    Attributes:
        label: of the feature.
        z: the feature: stationary where one was found, else where the flow was broken off.
        margin: of the label over the runner-up there.
        found: is it stationary?
    """

    label: int
    z: Float[Tensor, " d"]
    margin: float
    found: bool


def rest(loss: Loss, path: Flow, label: int = 0) -> Resting:
    """The stationary feature at the end of a flow, if the margin has settled there."""
    z = torch.from_numpy(path.features[-1].copy())
    if path.growth == 0:
        z = _polished(loss, z, label)
    return Resting(label, z, gap(loss, z[None], label).item(), path.growth == 0)


def rests(loss: Loss, first: Flow) -> list[Resting]:
    """The end of a flow for every class, and for the first class from random features too.

    Where all margins agree, that is what the loss asks for.

    Args:
        loss: in float64, with parameters fixed.
        first: the flow of the first class.
    """
    begins = wanderers(loss.feature_dim, WANDERERS, AWAY)
    others = [rest(loss, flow(loss, label), label) for label in range(1, loss.num_classes)]
    return [rest(loss, first), *others, *(rest(loss, flow(loss, 0, begin)) for begin in begins)]


def _polished(loss: Loss, z: Float[Tensor, " d"], label: int) -> Float[Tensor, " d"]:
    """Newton's method from near a stationary feature, in the directions in which the loss bends."""
    best = _pull(loss, z, label)
    for _ in range(STEPS):
        curvature, axes = torch.linalg.eigh(hessian(loss, z, label))
        bent = curvature > FLAT * curvature.max()
        along = axes.T @ value_and_gradient(loss, z[None], label)[1][0]
        closer = z - axes @ torch.where(bent, along / torch.where(bent, curvature, 1), 0)
        pull = _pull(loss, closer, label)
        if not pull < best:
            break
        z, best = closer, pull
    return z


def _pull(loss: Loss, z: Float[Tensor, " d"], label: int) -> float:
    return value_and_gradient(loss, z[None], label)[1].norm().item()
