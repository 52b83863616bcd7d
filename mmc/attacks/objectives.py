"""What an attack ascends: `objective(model, x, y) -> (N,)`, larger is worse for the model.

A targeted objective takes one class more for each example, `objective(model, x, y, target) -> (N,)`: larger is nearer
to the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mmc.losses.base import margins, own

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    Objective = Callable[..., Tensor]


def _without(values: Float[Tensor, "N L"], classes: Int[Tensor, " N"]) -> Float[Tensor, "N L"]:
    """The values with one class of each row at minus infinity: masked, never multiplied, whatever their sign."""
    return values.scatter(1, classes[:, None], -torch.inf)


def _centers(model: nn.Module, name: str) -> Float[Tensor, "L d"]:
    centers = getattr(getattr(model, "loss", None), "centers", None)
    if centers is None:
        raise ValueError(f"the {name} objective needs model.loss.centers, and this model's loss has none")
    return centers


def cross_entropy(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Cross-entropy of the logits, the usual objective; blind where softmax saturates."""
    return F.cross_entropy(model(x), y, reduction="none")


def own_center(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Half the squared distance of z to the label's center: away from home, in whatever direction.

    The adaptive objective of Pang et al. 2020 (untargeted; a constant factor changes no sign).

    Raises:
        ValueError: the model's loss has no centers.
    """
    centers = _centers(model, "own-center")
    return (model.features(x) - centers[y]).square().sum(1) / 2


def nearest_other_center(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Minus half the squared distance to the nearest center of another class, chosen anew wherever z is.

    Raises:
        ValueError: the model's loss has no centers.
    """
    centers = _centers(model, "nearest-other-center")
    distances = (model.features(x)[:, None] - centers).square().sum(2) / 2
    return _without(-distances, y).amax(1)


def margin(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The largest other logit minus the label's: positive exactly where the model is fooled."""
    return margins(model(x), y)


def dlr(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The margin over the gap between the largest and third largest logit: free of the logits' scale and shift.

    Source: Croce and Hein 2020.

    Raises:
        ValueError: fewer than three classes.
    """
    logits = model(x)
    if logits.shape[1] < 3:
        raise ValueError(f"the difference of logits ratio needs three classes or more, not {logits.shape[1]}")
    top = logits.topk(3, dim=1).values
    return margins(logits, y) / (top[:, 0] - top[:, 2]).clamp_min(1e-12)


def target_cross_entropy(
    model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], target: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Minus the cross-entropy of the target class."""
    return -F.cross_entropy(model(x), target, reduction="none")


def target_center(
    model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], target: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Minus half the squared distance to the target's center: the targeted objective of Pang et al. 2020.

    Raises:
        ValueError: the model's loss has no centers.
    """
    centers = _centers(model, "target-center")
    return -(model.features(x) - centers[target]).square().sum(1) / 2


def pairwise(
    model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], target: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The target's logit minus the label's. Affine in z under centers of equal norm: the quadratic terms cancel."""
    logits = model(x)
    return own(logits, target) - own(logits, y)


def target_dlr(
    model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], target: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The target's logit minus the label's, over the largest logit minus the mean of third and fourth.

    Source: Croce and Hein 2020.

    Raises:
        ValueError: fewer than four classes.
    """
    logits = model(x)
    if logits.shape[1] < 4:
        raise ValueError(f"the targeted difference of logits ratio needs four classes or more, not {logits.shape[1]}")
    top = logits.topk(4, dim=1).values
    scale = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return (own(logits, target) - own(logits, y)) / scale.clamp_min(1e-12)


def away_from(reference: Float[Tensor, "N d"]) -> Objective:
    """Half the squared distance of the features to reference features: no label, no head.

    For attacks without an active set: the reference belongs to the batch as it is given.
    """

    def feature_distance(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        return (model.features(x) - reference).square().sum(1) / 2

    return feature_distance


#: Untargeted objectives by name, weak before strong against a center-based head.
OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": cross_entropy,
    "own center": own_center,
    "margin": margin,
}
#: All untargeted objectives by name: the ladder that attacks are built on.
LADDER: dict[str, Objective] = {
    **OBJECTIVES,
    "nearest other center": nearest_other_center,
    "DLR": dlr,
}
#: Targeted objectives by name.
TARGETED: dict[str, Objective] = {
    "target cross-entropy": target_cross_entropy,
    "target center": target_center,
    "pairwise margin": pairwise,
    "target DLR": target_dlr,
}
