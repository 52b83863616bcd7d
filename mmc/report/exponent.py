"""The density exponent: how sample density depends on the loss value where the loss is least.

Features per loss value, N p(C), over volume per loss value, dV/dC. Where the loss rises like the power p of the
distance in q directions, V grows like (C - C_min)^(q/p), and density like the power -(q - p)/p. Where the loss falls
for ever there is no volume to speak of; what counts is the thickness of a shell, 1 / ||grad||.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from mmc.losses import Loss
from mmc.report.growth import Flow
from mmc.report.scene import value_and_gradient, wanderers
from mmc.report.stationary import Resting

#: Distance at which the rise is looked at, and the gradients' share below which a direction is flat.
NEAR, FLAT = 1e-3, 1e-4


@dataclass(frozen=True)
class Rise:
    """How a loss rises from its lowest feature.

    Attributes:
        directions: q, in how many directions.
        power: p of the distance.
    """

    directions: int
    power: float

    @property
    def exponent(self) -> float:
        """Of C - C_min in the density: negative where features get denser toward the minimum."""
        return -(self.directions - self.power) / self.power


def rise(loss: Loss, resting: Resting, label: int = 0) -> Rise:
    """Count the directions in which gradients point around a stationary feature, and compare two distances.

    Args:
        loss: in float64, with parameters fixed.
        resting: a stationary feature of this label.
        label: of the features.
    """
    around = wanderers(loss.feature_dim, 256, NEAR)
    gradients = value_and_gradient(loss, resting.z + around, label)[1]
    weights = torch.linalg.eigvalsh(gradients.T @ gradients / len(gradients))
    directions = int((weights > FLAT * weights.max()).sum())
    farther = value_and_gradient(loss, resting.z + 2 * around, label)[1]
    return Rise(directions, round(1 + math.log2(farther.norm() / gradients.norm()), 2))


def thinning(loss: Loss, flow: Flow, label: int = 0) -> float:
    """The power of C - C_inf in 1 / thickness = ||grad|| along the flow of a loss that falls for ever.

    Over the last hundredfold of time in which gradients are above rounding.

    Args:
        loss: in float64, with parameters fixed.
        flow: of a feature of this label.
        label: of the feature.
    """
    features = torch.from_numpy(flow.features.copy())
    values, gradients = value_and_gradient(loss, features, label)
    pull = gradients.norm(dim=1).numpy()
    # What is left to fall, from the flow itself: the loss falls by ||grad||^2 dt, so its own limit is not needed.
    values = values.numpy()
    late = slice(len(pull) - 40, None)
    left = _left(flow.times, pull, values)
    return float(np.polyfit(np.log(left[late]), np.log(pull[late]), 1)[0])


def _left(times: np.ndarray, pull: np.ndarray, values: np.ndarray) -> np.ndarray:
    """C - C_inf: what the flow still loses within its times, and a tail that falls like 1/t beyond."""
    tail = pull[-1] ** 2 * times[-1]
    return values - values[-1] + tail
