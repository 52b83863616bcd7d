"""How the margin of one feature grows along the gradient flow dz/dt = -grad loss, on a clock of log t."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmc.losses import Loss
from mmc.report.scene import gap, start, value_and_gradient

if TYPE_CHECKING:
    from jaxtyping import Float

#: From log t = -20, when nothing has moved yet, to t = 10^6.
BEGIN, END = -20.0, math.log(1e6)
POINTS = 121
RTOL, ATOL = 1e-8, 1e-10
#: Gradients that may be asked for; and that a feature rests if its last steps went less far than this share.
BUDGET, RECENT, RESTING = 2500, 50, 1e-3
#: A margin that grows by less than this share of itself per e-fold of time has settled.
SETTLED = 1e-3


@dataclass(frozen=True)
class Flow:
    """A feature of label 0 on its way.

    Attributes:
        times: t, from 0.01 on.
        margins: of the label over the runner-up.
        features: where it is.
    """

    times: Float[np.ndarray, " T"]
    margins: Float[np.ndarray, " T"]
    features: Float[np.ndarray, "T d"]

    def margin(self, time: float) -> float:
        """The margin at a time."""
        return float(np.interp(math.log(time), np.log(self.times), self.margins))

    @property
    def growth(self) -> float:
        """a in m = a log t + b, over the last e-folds of time; zero where the margin has settled."""
        rise = (self.margins[-1] - self.margin(self.times[-1] / 10)) / math.log(10)
        return 0.0 if abs(rise) <= SETTLED * max(1.0, abs(self.margins[-1])) else float(rise)

    @property
    def power(self) -> float:
        """b in m ~ t^b, over the last decade of time; small where the margin grows like a logarithm."""
        before, last = abs(self.margin(self.times[-1] / 10)), abs(self.margins[-1])
        return math.log10(last / before) if before > 0 and last > 0 else 0.0


def flow(loss: Loss, label: int = 0, begin: Float[torch.Tensor, " d"] | None = None) -> Flow:
    """Integrate the flow from where `start` says, by SciPy's LSODA.

    Args:
        loss: in float64, with parameters fixed.
        label: of the feature.
        begin: another place to set out from.

    Raises:
        FloatingPointError: the flow could not be followed; its gradient jumps or is not finite.
    """
    from scipy.integrate import LSODA

    def velocity(log_time: float, z: np.ndarray) -> np.ndarray:
        return -math.exp(log_time) * value_and_gradient(loss, torch.from_numpy(z)[None], label)[1][0].numpy()

    clock, reached = np.linspace(math.log(1e-2), END, POINTS), []
    solver = LSODA(velocity, BEGIN, (start(loss, label) if begin is None else begin).numpy(), END, rtol=RTOL, atol=ATOL)
    recent = deque([solver.y.copy()], maxlen=RECENT)
    while solver.status == "running" and solver.nfev < BUDGET:
        solver.step()
        recent.append(solver.y.copy())
        if len(reached) < POINTS and clock[len(reached)] <= solver.t:
            between = solver.dense_output()
            reached.extend(between(time) for time in clock[len(reached) :] if time <= solver.t)
    if len(reached) < POINTS:
        # At a kink the steps shrink without end: the feature has come to rest, or the flow cannot be followed.
        if np.ptp(recent, axis=0).max() > RESTING * (1 + np.abs(solver.y).max()) or not np.isfinite(solver.y).all():
            raise FloatingPointError(f"the gradient flow cannot be followed beyond t = {math.exp(solver.t):.3g}")
        reached.extend([solver.y] * (POINTS - len(reached)))
    features = np.array(reached)
    return Flow(np.exp(clock), gap(loss, torch.from_numpy(features.copy()), label).numpy(), features)
