"""The balls an attack may move in: projection, steepest step and random start in L-inf and L2, inside the box."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mmc.chance import seeded

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

NORMS = ("linf", "l2")
#: A radius in units of a pixel's range [0, 1]: one for all examples, or one for each.
Radius = float | torch.Tensor


def check_norm(norm: str) -> None:
    """Refuse an unknown norm by name."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {norm!r}")


def of(epsilon: Radius, rows: Int[Tensor, " M"]) -> Radius:
    """The radii of some examples."""
    return epsilon[rows] if isinstance(epsilon, torch.Tensor) else epsilon


def _wide(epsilon: Radius) -> Radius:
    return epsilon[:, None, None, None] if isinstance(epsilon, torch.Tensor) else epsilon


def lengths(delta: Float[Tensor, "N C H W"], norm: str) -> Float[Tensor, " N"]:
    """The norm of each example's change."""
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def project(
    moved: Float[Tensor, "N C H W"], x: Float[Tensor, "N C H W"], epsilon: Radius, norm: str
) -> Float[Tensor, "N C H W"]:
    """The nearest images, in L2, that are within epsilon of x and in the box [0, 1]."""
    delta, epsilon = moved - x, _wide(epsilon)
    # In L-inf every pixel is on its own: it is cut to the ball, and then to the box.
    delta = delta.clamp(-epsilon, epsilon) if norm == "linf" else _shortened(delta, x, epsilon) * delta
    return (x + delta).clamp(0, 1)


def _shortened(
    delta: Float[Tensor, "N C H W"], x: Float[Tensor, "N C H W"], epsilon: Radius
) -> Float[Tensor, "N 1 1 1"]:
    """The largest share, at most 1, at which x + share * delta is within epsilon of x once it is cut to the box.

    The nearest point of ball and box has this form: with a multiplier m for the ball, each pixel minimises
    (u - delta)^2 + m u^2 between the walls of the box, so u is delta / (1 + m), cut to them. What the pixels at a wall
    leave of the ball goes to the others, of which more may then reach a wall, until none does.
    """
    room, size = torch.where(delta > 0, 1 - x, x), delta.abs()
    stopped, share = torch.zeros_like(size, dtype=torch.bool), 0.0
    while True:
        spent, free = _wide(lengths(room * stopped, "l2")), _wide(lengths(size * ~stopped, "l2"))
        left = (epsilon**2 - spent**2).clamp_min(0).sqrt()
        # The share can only grow; rounding must not shrink it, for then what had reached a wall would come off it.
        share = (left / free.clamp_min(1e-30)).clamp_max(1.0).clamp_min(share)
        more = share * size > room
        if more.equal(stopped):
            return share
        stopped = more


def steepest(gradient: Float[Tensor, "N C H W"], norm: str) -> Float[Tensor, "N C H W"]:
    """The unit step that raises a linear function the most; zero where the gradient is zero."""
    if norm == "linf":
        return gradient.sign()
    # First by the largest entry: the square of a tiny gradient would underflow.
    scaled = gradient / gradient.flatten(1).abs().amax(1).clamp_min(1e-38)[:, None, None, None]
    return scaled / lengths(scaled, norm).clamp_min(1e-30)[:, None, None, None]


def content(image: Float[Tensor, "C H W"]) -> str:
    """What an example's chance hangs on besides the seed: its content, not its place in a batch."""
    return hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def chance(
    x: Float[Tensor, "N C H W"], seed: int, *purpose: object, keys: Sequence[str] | None = None
) -> Float[Tensor, "N C H W"]:
    """Uniform draws from [-1, 1], one image of them for each of x, that depend on that image and the seed alone.

    So it does not matter with which others, in which order, or in which batch an example is attacked. Who draws often
    for the same images gives the `content` of each as its key.
    """
    generator, drawn = torch.Generator(), []
    for key in map(content, x) if keys is None else keys:
        seeded(generator, seed, *purpose, key)
        drawn.append(torch.rand(x.shape[1:], generator=generator))
    return (2 * torch.stack(drawn) - 1).to(x) if drawn else torch.empty_like(x)


def random_start(
    x: Float[Tensor, "N C H W"], epsilon: Radius, norm: str, seed: int, *purpose: object
) -> Float[Tensor, "N C H W"]:
    """A point of the ball for each image: uniform in L-inf; in L2 a uniform direction with a uniform length."""
    draws = chance(x, seed, *purpose)
    if norm == "linf":
        return (x + _wide(epsilon) * draws).clamp(0, 1)
    normal = torch.erfinv(draws.clamp(-1 + 1e-6, 1 - 1e-6))
    share = chance(x[:, :1, :1, :1], seed, *purpose, "length").abs()
    return project(x + _wide(epsilon) * share * steepest(normal, "l2"), x, epsilon, norm)
