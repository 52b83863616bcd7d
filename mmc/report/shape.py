"""The shape of a loss's contours: which directions it sees at all, and whether its contours close in these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmc.losses import Loss
from mmc.report.scene import start, value_and_gradient, wanderers

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

RAYS = 400
#: How far out a contour is looked for.
FAR = 1e4
#: Gradients below this share of the largest are left out, and directions with this share of them are not seen.
FAINT = 1e-6
#: Two numbers that agree to this share are the same.
SAME = 1e-7


@dataclass(frozen=True)
class Contours:
    """What contours look like.

    Attributes:
        seen: in how many directions the loss changes; in the d - seen others it never does.
        closed: does the loss get above the level of a contour in every direction that it sees?
        round: does the value depend on the distance to one place alone?
        conical: is the value the same on every ray from zero?
    """

    seen: int
    closed: bool
    round: bool
    conical: bool

    @property
    def text(self) -> str:
        """In words."""
        if self.round:
            return "spheres"
        if self.conical:
            return "cones"
        return "closed" if self.closed else "open"


def scattered(loss: Loss) -> Float[Tensor, "N d"]:
    """Random features, near zero and far from it."""
    return torch.cat([wanderers(loss.feature_dim, 64, size, seed) for seed, size in enumerate((0.5, 3.0, 12.0))])


def seen_directions(gradients: Float[Tensor, "N d"]) -> int:
    """How many directions gradients point in: the rank of their span."""
    lengths = gradients.norm(dim=1)
    clear = lengths > FAINT * lengths.max()
    size = torch.linalg.svdvals(gradients[clear] / lengths[clear, None])
    return int((size > FAINT * size.max()).sum())


def one_place(points: Float[Tensor, "N d"], gradients: Float[Tensor, "N d"]) -> bool:
    """Do the lines along all gradients meet in one place, as those of a function of the distance to it do?"""
    ways = gradients / gradients.norm(dim=1, keepdim=True)
    across = torch.eye(points.shape[1], dtype=points.dtype) - ways[:, :, None] * ways[:, None, :]
    place = torch.linalg.lstsq(across.sum(0), (across @ points[:, :, None]).sum(0)).solution
    missed = (across @ (place[None] - points[:, :, None])).norm(dim=1)
    return bool(missed.max() <= SAME * points.norm(dim=1).max())


def contours(loss: Loss, end: Float[Tensor, " d"], label: int = 0) -> Contours:
    """Look along many rays from where the loss is low, and along the one that has led there.

    Args:
        loss: in float64, with parameters fixed.
        end: a stationary feature, or where the flow has come to.
        label: of the features.
    """
    points = scattered(loss)
    values, gradients = value_and_gradient(loss, points, label)
    pulled = gradients.norm(dim=1) > 0
    tripled = value_and_gradient(loss, 3 * points, label)[0]
    rays = torch.cat([wanderers(loss.feature_dim, RAYS, seed=9), end[None] / end.norm().clamp_min(1e-12)])
    level = value_and_gradient(loss, start(loss, label)[None], label)[0]
    ends = torch.stack([value_and_gradient(loss, end + far * rays, label)[0] for far in (FAR, 10 * FAR)]).amin(0)
    return Contours(
        seen=seen_directions(gradients[pulled]),
        closed=bool((ends > level).all()),
        round=one_place(points[pulled], gradients[pulled]),
        conical=bool(((tripled - values).abs() <= SAME * values.abs()).all()),
    )
