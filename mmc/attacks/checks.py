"""What an attack refuses, what it promises, and how success is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.attacks.balls import Radius, lengths

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective

#: Rounding that a projection in float32 may leave.
SLACK = 1e-6


def refuse_bad_input(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    epsilon: Radius,
    targets: Int[Tensor, " N"] | None = None,
) -> None:
    """Refuse what would make an attack's result meaningless.

    Raises:
        ValueError: the model is in training mode, its logits are not finite, x leaves [0, 1], labels or targets are
            out of range or of another number, a target is the label, or epsilon is negative.
    """
    radii = torch.as_tensor(epsilon, dtype=torch.float64)
    if radii.ndim and radii.shape != x.shape[:1]:
        raise ValueError(f"epsilon must be one number or have shape ({len(x)},), not {tuple(radii.shape)}")
    if not bool((radii >= 0).all()):
        raise ValueError(f"epsilon must be >= 0, in units of a pixel's range [0, 1], not {radii.min().item():g}")
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() before attacking it")
    if y.shape != x.shape[:1]:
        raise ValueError(f"labels must have shape ({len(x)},), one per image, not {tuple(y.shape)}")
    if not len(y):
        return
    low, high = x.min().item(), x.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must lie in [0, 1], they reach from {low:g} to {high:g}")
    with torch.no_grad():
        logits = model(x)
    if not bool(logits.isfinite().all()):
        bad = int((~logits.isfinite()).any(1).sum())
        raise ValueError(f"the model's logits are not finite for {bad} of {len(x)} images")
    if not (int(y.min()) >= 0 and int(y.max()) < logits.shape[1]):
        raise ValueError(f"labels must be from 0 to {logits.shape[1] - 1}, they reach from {y.min()} to {y.max()}")
    if targets is None:
        return
    if targets.shape != y.shape:
        raise ValueError(f"targets must have shape ({len(x)},), one per image, not {tuple(targets.shape)}")
    if not (int(targets.min()) >= 0 and int(targets.max()) < logits.shape[1]):
        low, high = int(targets.min()), int(targets.max())
        raise ValueError(f"targets must be from 0 to {logits.shape[1] - 1}, they reach from {low} to {high}")
    if bool((targets == y).any()):
        raise ValueError(f"{int((targets == y).sum())} targets are the label itself")


def confirm(x: Float[Tensor, "N C H W"], x_adv: Float[Tensor, "N C H W"], epsilon: Radius, norm: str = "linf") -> None:
    """Check every returned image: same shape and type, in the box, within epsilon of its original.

    An epsilon of infinity leaves the box alone to be checked, for attacks that have no ball.

    Raises:
        ValueError: an image breaks a bound; this would be a fault of the attack.
    """
    if x_adv.shape != x.shape or x_adv.dtype != x.dtype:
        raise ValueError(f"the attack returned {tuple(x_adv.shape)} {x_adv.dtype}, not {tuple(x.shape)} {x.dtype}")
    distance = lengths(x_adv - x, norm).double()
    radius = torch.as_tensor(epsilon, dtype=torch.float64, device=distance.device).expand(len(x))
    outside = ~(distance <= radius + SLACK * radius.clamp_min(1))
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        raise ValueError(f"an image lies {distance[first]:g} from its original, epsilon is {radius[first]:g}")
    if len(x) and not (x_adv.min().item() >= 0 and x_adv.max().item() <= 1):
        raise ValueError("an image left the box [0, 1]")


@torch.no_grad()
def correct(model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Which images are classified correctly, by a float32 forward pass; logits that are not finite count as wrong."""
    logits = model(x.float())
    return (logits.argmax(1) == y) & logits.isfinite().all(1)


def input_gradient(
    objective: Objective, model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]
) -> Float[Tensor, "N C H W"]:
    """The gradient of each example's objective with respect to its pixels."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(model, x, y).sum(), x)
    return gradient


def zero_gradient_share(
    objective: Objective, model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]
) -> float:
    """Share of examples whose gradient is exactly zero in every pixel: from there a gradient step leads nowhere."""
    if not len(x):
        raise ValueError("the share of zero gradients of no images is undefined")
    return (input_gradient(objective, model, x, y).flatten(1) == 0).all(1).float().mean().item()
