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

    Images are float32, because success is counted by a float32 forward pass: what falls in another precision need not
    fall in this one.

    Raises:
        ValueError: images are not float32 of shape (N, C, H, W) in [0, 1], or the model does not take such; it is in
            training mode, or its logits are not finite; labels or targets are no int64, out of range or of another
            number, or a target is the label; epsilon is negative.
    """
    if x.dtype != torch.float32 or x.ndim != 4:
        remedy = "" if x.dtype == torch.float32 else f": take x.float(){'' if x.is_floating_point() else ' / 255'}"
        raise ValueError(
            f"images must be torch.float32 of shape (N, C, H, W), not {x.dtype} of shape {tuple(x.shape)}{remedy}"
        )
    radii = torch.as_tensor(epsilon, dtype=torch.float64)
    if radii.ndim and radii.shape != x.shape[:1]:
        raise ValueError(f"epsilon must be one number or have shape ({len(x)},), not {tuple(radii.shape)}")
    if not bool((radii >= 0).all()):
        raise ValueError(f"epsilon must be >= 0, in units of a pixel's range [0, 1], not {radii.min().item():g}")
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() before attacking it")
    _refuse_classes("labels", y, x)
    if not len(y):
        return
    low, high = x.min().item(), x.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must lie in [0, 1], they reach from {low:g} to {high:g}")
    logits = _logits(model, x)
    if not bool(logits.isfinite().all()):
        bad = int((~logits.isfinite()).any(1).sum())
        raise ValueError(f"the model's logits are not finite for {bad} of {len(x)} images")
    if not (int(y.min()) >= 0 and int(y.max()) < logits.shape[1]):
        raise ValueError(f"labels must be from 0 to {logits.shape[1] - 1}, they reach from {y.min()} to {y.max()}")
    if targets is None:
        return
    _refuse_classes("targets", targets, x)
    if not (int(targets.min()) >= 0 and int(targets.max()) < logits.shape[1]):
        low, high = int(targets.min()), int(targets.max())
        raise ValueError(f"targets must be from 0 to {logits.shape[1] - 1}, they reach from {low} to {high}")
    if bool((targets == y).any()):
        raise ValueError(f"{int((targets == y).sum())} targets are the label itself")


def _refuse_classes(name: str, classes: Int[Tensor, " N"], x: Float[Tensor, "N C H W"]) -> None:
    if classes.shape != x.shape[:1]:
        raise ValueError(f"{name} must have shape ({len(x)},), one per image, not {tuple(classes.shape)}")
    if classes.dtype != torch.int64:
        raise ValueError(f"{name} must be torch.int64, not {classes.dtype}: call .long()")


@torch.no_grad()
def _logits(model: nn.Module, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
    """The model's logits, if it computes in the type of its images."""
    try:
        logits, reason = model(x), None
    except RuntimeError as error:
        logits, reason = None, error
    inside = {parameter.dtype for parameter in model.parameters()} if logits is None else {logits.dtype}
    if other := inside - {x.dtype}:
        names = ", ".join(map(str, other))
        raise ValueError(f"the model computes in {names}, its images are {x.dtype}: call model.float()") from reason
    if reason:
        raise reason
    return logits


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
    """Which images are classified correctly, by a float32 forward pass; logits that are not finite count as wrong.

    Every verdict in the book is this one: an image that fools in another precision alone has not fallen.
    """
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
