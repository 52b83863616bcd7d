"""What an attack ascends: `objective(model, x, y) -> (N,)`, larger is worse for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch.nn.functional as F

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]


def cross_entropy(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Cross-entropy of the logits, the usual objective; blind where softmax saturates."""
    return F.cross_entropy(model(x), y, reduction="none")


def own_center(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Half the squared distance of z to the label's center: away from home, in whatever direction.

    The adaptive objective of Pang et al. 2020 (untargeted; a constant factor changes no sign).

    Raises:
        ValueError: the model's loss has no centers.
    """
    centers = getattr(getattr(model, "loss", None), "centers", None)
    if centers is None:
        raise ValueError("the own-center objective needs model.loss.centers, and this model's loss has none")
    return (model.features(x) - centers[y]).square().sum(1) / 2


def margin(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The largest other logit minus the label's: positive exactly where the model is fooled."""
    logits = model(x)
    label = F.one_hot(y, logits.shape[1]).bool()
    return logits.masked_fill(label, -float("inf")).amax(1) - logits[label]


#: Objectives by name.
OBJECTIVES: dict[str, Objective] = {"cross-entropy": cross_entropy, "own center": own_center, "margin": margin}
