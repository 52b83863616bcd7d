"""Carlini and Wagner's L2 attack: the nearest image that fools, by Adam on distance plus a constant times the margin.

The constant is sought for each example by itself: up by tens until something fools, then by halving the interval.
Source: Carlini and Wagner 2017, written anew.

As printed, three things keep the attack from the nearest image. The margin's largest other class changes on the way,
and the descent settles where it is led first. One constant to begin with fits no head: where logits are large it
outweighs the distance by so much that Adam, whose steps forget sizes but remember the largest, hardly moves along the
boundary. And steps of one length are long beside a short distance. So the search is fitted to each example unless a
first constant is given: see `carlini_wagner`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch

from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.attacks.penalty import TINY, WIDE, descend, over_label, to_target, toward_rival
from mmc.losses.base import own

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

#: Beyond this the constant no longer grows.
LARGEST = 1e10
#: A fitted search begins at so many times the constant that a plane asks for: a bent boundary may ask for more.
ABOVE = 4.0
#: In a fitted search no iteration moves farther than this share of the distance found before.
STRIDE = 0.05


def carlini_wagner(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    targets: Int[Tensor, " N"] | None = None,
    confidence: float = 0.0,
    search_steps: int = 4,
    iterations: int = 300,
    learning_rate: float = 0.01,
    first_constant: float | None = None,
    rivals: int = 3,
    look_every: int = 100,
) -> Float[Tensor, "N C H W"]:
    """The nearest image, in L2 and in the box, that fools the model: the best one met for each example.

    Without targets an image fools when another class has the largest logit; with them, when its target has. An example
    meets the same in whatever batch, up to rounding. There is no chance in it, so there is no seed.

    Args:
        model: maps images in [0, 1] to logits of any sign; in eval mode.
        x: images in [0, 1].
        y: labels.
        targets: a class for each example, not its label.
        confidence: kappa >= 0, in units of a logit: by how much the class must win.
        search_steps: values of the constant that are tried for each example, >= 1.
        iterations: of Adam for each value, at most, >= 1.
        learning_rate: of Adam, > 0, in units of the inverse tanh.
        first_constant: the first value for every example, > 0: then the search is the printed one, and its margin is
            that over whichever class leads. Where it is not given, the search is fitted to each example. Its first step
            descends toward each of a few classes, with a constant that belongs to the plane through the example's
            linearised boundary; the others go on toward the class whose image was nearest, in steps that are short
            beside the distance found.
        rivals: how many classes a fitted search tries, those that are nearest by first order, >= 1.
        look_every: iterations between two looks at whether the loss still falls, >= 1.

    Returns:
        One image for each of x; the image itself where none was found, or where it was wrong already. On bent
        boundaries a descent may settle at another place than the nearest: a distance is an upper bound.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, 0.0, targets)
    if min(search_steps, iterations, look_every, rivals) < 1:
        raise ValueError(
            "search_steps, iterations, look_every and rivals must be at least 1, "
            f"not {search_steps}, {iterations}, {look_every} and {rivals}"
        )
    if not 0 < learning_rate < math.inf or not (first_constant is None or 0 < first_constant < math.inf):
        raise ValueError(f"learning_rate and first_constant must be > 0, not {learning_rate} and {first_constant}")
    if not 0 <= confidence < math.inf:
        raise ValueError(f"confidence must be >= 0, in units of a logit, not {confidence}")
    result = x.detach().clone()
    attacked = correct(model, x, y).nonzero().flatten()
    if not len(attacked):
        return result
    images, label = x.detach()[attacked], y[attacked]
    target = None if targets is None else targets[attacked]
    if first_constant is None:
        tries = _fitted(model, images, label, target, confidence, rivals)
        leads, stride = toward_rival if target is None else to_target, STRIDE
    else:
        tries = [(label if target is None else target, torch.full_like(images[:, 0, 0, 0], first_constant))]
        leads, stride = over_label if target is None else to_target, math.inf
    search = partial(
        descend,
        images,
        label,
        model=model,
        leads=leads,
        stride=stride,
        confidence=confidence,
        iterations=iterations,
        learning_rate=learning_rate,
        look_every=look_every,
    )
    aim, constant = tries[0]
    high = torch.full_like(constant, torch.inf)
    low = torch.zeros_like(constant)
    reached = search(aim, constant, images, images, high)
    for rival, fitting in tries[1:]:
        reached, nearer = reached.or_nearer(search(rival, fitting, images, images, high))
        aim, constant = torch.where(nearer, rival, aim), torch.where(nearer, fitting, constant)
    for _ in range(search_steps - 1):
        high, low = torch.where(reached.found, constant, high), torch.where(reached.found, low, constant)
        constant = torch.where(high.isinf(), 10 * low, (low + high) / 2).clamp_max(LARGEST)
        start = torch.where(reached.least.isfinite()[WIDE], reached.nearest, reached.end)
        reached = search(aim, constant, start, reached.nearest, reached.least)
    wins = correct(model, reached.nearest, label if target is None else target)
    holds = reached.least.isfinite() & (~wins if target is None else wins)
    result[attacked[holds]] = reached.nearest[holds]
    confirm(x, result, math.inf)
    return result


def distances(
    model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], x_adv: Float[Tensor, "N C H W"]
) -> Float[Tensor, " N"]:
    """How far each example had to be moved, in L2: zero where it was wrong already, infinite where it still stands."""
    moved = (x_adv - x).flatten(1).norm(dim=1)
    return torch.where(correct(model, x_adv, y), torch.inf, torch.where(correct(model, x, y), moved, 0.0))


def _fitted(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    target: Int[Tensor, " N"] | None,
    confidence: float,
    rivals: int,
) -> list[tuple[Int[Tensor, " N"], Float[Tensor, " N"]]]:
    """The classes to try, the nearest by first order first, or the target; and a constant for each.

    Before the plane g + <a, x' - x> = 0 the penalty wins from the constant 2 g / ||a||^2 on; see
    `mmc.theory.attacks.penalty_threshold`.
    """
    x = x.detach().requires_grad_()
    logits = model(x)
    gaps = own(logits, y)[:, None] - logits + confidence
    slopes = [_length(torch.autograd.grad(gap.sum(), x, retain_graph=True)[0]) for gap in gaps.T]
    slope, gap = torch.stack(slopes, 1), gaps.detach().double()
    level = slope == 0  # any constant is as good, and no class is farther
    constants = (ABOVE * 2 * gap / slope.square()).where(~level, 1.0).clamp(TINY, LARGEST).to(x.dtype)
    if target is not None:
        return [(target, own(constants, target))]
    away = (gap / slope).where(~level, torch.inf).scatter(1, y[:, None], torch.nan)  # nan comes last
    aims = away.argsort(1)[:, : min(rivals, logits.shape[1] - 1)].T
    return [(aim, own(constants, aim)) for aim in aims]


def _length(gradient: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """In double precision, where no square underflows."""
    return gradient.flatten(1).double().norm(dim=1)
