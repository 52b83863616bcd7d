"""What a loss must be for its report to mean anything; whatever is not is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from mmc.losses import Loss
from mmc.report.scene import FEATURE_DIM, NUM_CLASSES, Maker, wanderers

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

#: Lengths of the features that a loss is asked about.
SIZES = (0.0, 1.0, 10.0, 1000.0)
#: Values that agree so far are the same: matrix products of other sizes round otherwise.
RTOL, ATOL = 1e-4, 1e-5


class RefusedLossError(ValueError):
    """A loss whose report would mean nothing; the message names the loss, what was seen and what was expected."""


def refuse(name: str, make: Maker, **options: Any) -> list[str]:
    """Refuse a loss that cannot be made, trained or attacked; notes on what is odd, yet allowed.

    Args:
        name: for the message.
        make: the loss's class; it is made for 10 classes and 16 features.
        options: what the class takes besides.

    Raises:
        RefusedLossError: see the functions of this file, one for each reason.
    """

    def no(reason: str) -> RefusedLossError:
        return RefusedLossError(f"{name} is refused: {reason}")

    loss = _made(make, options, no)
    z, y = _features(), torch.arange(len(SIZES) * NUM_CLASSES) % NUM_CLASSES
    _refuse_shapes(loss, z, y, no)
    _refuse_numbers(loss, z, y, no)
    _refuse_unsteady(loss, z, y, no)
    _refuse_company(loss, z, y, no)
    _refuse_slopes(loss, z, y, no)
    _refuse_labels(loss, z, y, no)
    return _odd(loss, z, y)


Refusal = Callable[[str], RefusedLossError]


def _features() -> Float[Tensor, "N d"]:
    return torch.cat([wanderers(FEATURE_DIM, NUM_CLASSES, size, seed) for seed, size in enumerate(SIZES)]).float()


def _made(make: Maker, options: dict[str, Any], no: Refusal) -> Loss:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            loss = make(NUM_CLASSES, FEATURE_DIM, **options)
        except Exception as error:
            asked = f"it cannot be made from num_classes={NUM_CLASSES} and feature_dim={FEATURE_DIM}"
            raise no(f"{asked}: {type(error).__name__}: {error}") from error
    if not isinstance(loss, Loss):
        raise no(f"it must be an instance of mmc.losses.Loss, not of {type(loss).__name__}")
    return loss.float().eval()


def _call(what: str, run: Callable[..., Any], no: Refusal, *given: Any) -> Any:
    try:
        return run(*given)
    except NotImplementedError:
        raise no(f"it has no {what}(); a loss has value(z, y) and logits(z)") from None
    except Exception as error:
        raise no(f"{what}() fails on float32 features and labels 0 to {NUM_CLASSES - 1}: {error}") from error


def _refuse_shapes(loss: Loss, z: Tensor, y: Tensor, no: Refusal) -> None:
    """The value is one number for each example, the logits one for each class, in the type of the features."""
    for dtype in (torch.float32, torch.float64):
        loss.to(dtype)
        for what, run, given, shape in (
            ("value", loss, (z.to(dtype), y), (len(z),)),
            ("logits", loss.logits, (z.to(dtype),), (len(z), NUM_CLASSES)),
        ):
            found = _call(what, run, no, *given)
            if not isinstance(found, torch.Tensor):
                raise no(f"{what}() must return a tensor of shape {shape}, not {type(found).__name__}")
            if tuple(found.shape) != shape:
                raise no(f"{what}() must return shape {shape}, one for each example, not {tuple(found.shape)}")
            if found.dtype != dtype:
                raise no(f"{what}() must keep the type of its features, {dtype}, and returns {found.dtype}")
    loss.float()


def _refuse_numbers(loss: Loss, z: Tensor, y: Tensor, no: Refusal) -> None:
    """Values and logits are finite, at zero and at features of length 1000 too."""
    with torch.no_grad():
        for what, found in (("value", loss(z, y)), ("logits", loss.logits(z))):
            bad = ~found.reshape(len(z), -1).isfinite().all(1)
            if bool(bad.any()):
                sizes = sorted({f"{size:g}" for size in z[bad].norm(dim=1).round().tolist()}, key=float)
                first = found.reshape(len(z), -1)[bad][0]
                kind = "NaN" if bool(first.isnan().any()) else "infinite"
                raise no(f"{what}() is {kind} for features of length {', '.join(sizes)}")


def _refuse_unsteady(loss: Loss, z: Tensor, y: Tensor, no: Refusal) -> None:
    """The same question has the same answer, and asking changes neither features nor the loss."""
    before, state = z.clone(), {name: entry.clone() for name, entry in loss.state_dict().items()}
    with torch.no_grad():
        first, again = (torch.cat([loss(z, y)[:, None], loss.logits(z)], 1) for _ in range(2))
    if not z.equal(before):
        raise no("it changes the features that it is given; they belong to the network")
    if changed := [name for name, entry in loss.state_dict().items() if not entry.equal(state[name])]:
        raise no(f"a call changes its own {', '.join(changed)}; what moves without a gradient belongs into observe()")
    if not torch.allclose(first, again, RTOL, ATOL):
        raise no("it gives another answer to the same features: no value may depend on a random number")


def _refuse_company(loss: Loss, z: Tensor, y: Tensor, no: Refusal) -> None:
    """The value of an example is the same alone, in another order and beside other examples."""
    with torch.no_grad():
        together, scores = loss(z, y), loss.logits(z)
        order = torch.arange(len(z)).flip(0)
        cases = {
            "alone": torch.cat([loss(z[i : i + 1], y[i : i + 1]) for i in range(len(z))]),
            "in another order": loss(z[order], y[order])[order],
            "beside others": torch.cat([loss(z[:7], y[:7]), loss(z[7:], y[7:])]),
        }
        rows = torch.cat([loss.logits(z[i : i + 1]) for i in range(len(z))])
    for where, values in cases.items():
        apart = ~torch.isclose(values, together, RTOL, ATOL)
        if bool(apart.any()):
            i = int(apart.nonzero()[0])
            raise no(
                f"its value depends on the batch: an example has {together[i]:.6g} among {len(z)} and {values[i]:.6g}"
                f" {where}; a value may depend on its own feature and label alone"
            )
    if not torch.allclose(rows, scores, RTOL, ATOL):
        raise no("its logits depend on the batch: an example alone has others than among the rest")


def _gradient(values: Tensor, z: Tensor) -> Tensor | None:
    if not values.requires_grad:
        return None
    return torch.autograd.grad(values.sum(), z, allow_unused=True)[0]


def _refuse_slopes(loss: Loss, z: Tensor, y: Tensor, no: Refusal) -> None:
    """Both the value and the label's logit have a finite gradient in z that is not zero everywhere."""
    loss.requires_grad_(False)
    z = z.clone().requires_grad_()
    uses = {"value": "training follows it", "logits": "an attack climbs it"}
    for what, run in {"value": lambda: loss(z, y), "logits": lambda: loss.logits(z).gather(1, y[:, None])}.items():
        slope = _gradient(run(), z)
        if slope is None:
            raise no(f"{what}() is not differentiable in z (is it detached, or computed in NumPy?), and {uses[what]}")
        if not bool(slope.isfinite().all()):
            sizes = sorted({f"{n:g}" for n in z[~slope.isfinite().all(1)].norm(dim=1).round().tolist()}, key=float)
            raise no(f"the gradient of {what}() is not finite for features of length {', '.join(sizes)}")
        if not bool(slope.any()):
            raise no(f"the gradient of {what}() is zero at every feature: it is constant in pieces, and {uses[what]}")


def _refuse_labels(loss: Loss, z: Tensor, y: Int[Tensor, " N"], no: Refusal) -> None:
    """The label makes a difference, and one that is no class is not taken."""
    with torch.no_grad():
        if torch.allclose(loss(z, y), loss(z, (y + 1) % NUM_CLASSES), RTOL, ATOL):
            raise no("its value does not depend on the label")
        try:
            loss(z, torch.full_like(y, NUM_CLASSES))
        except Exception:
            return
    raise no(f"it takes the label {NUM_CLASSES}, though classes are 0 to {NUM_CLASSES - 1}: a slip would go unseen")


def _odd(loss: Loss, z: Tensor, y: Tensor) -> list[str]:
    """Is the gradient that of the value? By central differences in float64, away from zero."""
    loss = loss.double()
    z, y = z.double()[NUM_CLASSES : 3 * NUM_CLASSES].requires_grad_(), y[NUM_CLASSES : 3 * NUM_CLASSES]
    slope = _gradient(loss(z, y), z)
    ways = wanderers(FEATURE_DIM, len(z), seed=5)
    with torch.no_grad():
        rise = (loss(z + 1e-5 * ways, y) - loss(z - 1e-5 * ways, y)) / 2e-5
    told = (slope * ways).sum(1)
    if torch.allclose(rise, told, rtol=1e-3, atol=1e-3 * (1 + told.abs().max().item())):
        return []
    return ["Its gradient is not that of its value; the flow and the stationary margin follow the gradient."]
