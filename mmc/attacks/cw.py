"""Carlini and Wagner's L2 attack: the nearest image that fools, by Adam on distance plus a constant times the margin.

The constant is sought for each example by itself: up by tens until something fools, then by halving the interval.
Source: Carlini and Wagner 2017, written anew.

As printed, three things keep the attack from the nearest image. The margin's largest other class changes on the way,
and the descent settles where it is led first. One constant to begin with fits no head: where logits are large it
outweighs the distance by so much that Adam, whose steps forget sizes but remember the largest, hardly moves along the
boundary. And steps of one length are long beside a short distance. So the search is fitted to each example unless a
first constant is given: see `carlini_wagner`. And where a network is far from affine, as under MMC, the plane at the
image misleads about class and constant; so the search begins at the boundary, too, where a walk met it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.attacks.penalty import TINY, WIDE, descend, over_label, to_target, toward_rival
from mmc.attacks.walk import walk
from mmc.losses.base import own

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

#: Beyond this the constant no longer grows.
LARGEST = 1e10
#: A fitted search from the image begins at so many times the constant that the plane there asks for: a bent boundary
#: may ask for more. From the boundary it begins at the constant that the plane there asks for.
ABOVE = 4.0
#: How many classes are walked to, those that are nearest by first order.
WALKED = 9
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
    iterations: int = 200,
    learning_rate: float = 0.01,
    first_constant: float | None = None,
    rivals: int = 2,
    steps: int = 25,
    look_every: int = 50,
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
            descends toward each of a few classes, from the image and from the boundary, with a constant that belongs to
            the plane through the linearised boundary there; the others go on toward the class whose image was nearest,
            in steps that are short beside the distance found.
        rivals: how many classes a fitted search tries, >= 1: from the image those that are nearest by first order, and
            from the boundary those to which a walk was shortest.
        steps: of a fitted search's walks to the boundary, >= 0; see `mmc.attacks.walk`. Without any it begins at the
            image alone.
        look_every: iterations between two looks at whether the loss still falls, >= 1.

    Returns:
        One image for each of x; the image itself where none was found, or where it was wrong already. On bent
        boundaries a descent may settle at another place than the nearest: a distance is an upper bound.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, 0.0, targets)
    if min(search_steps, iterations, look_every, rivals) < 1 or steps < 0:
        raise ValueError(
            "search_steps, iterations, look_every and rivals must be at least 1, and steps at least 0, "
            f"not {search_steps}, {iterations}, {look_every}, {rivals} and {steps}"
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
    leads, stride = over_label if target is None else to_target, math.inf
    if first_constant is None:
        leads, stride = toward_rival if target is None else to_target, STRIDE
        starts = _fitted(model, images, label, target, confidence, rivals, steps)
    else:
        aim = label if target is None else target
        starts = [_Start(aim, torch.full_like(images[:, 0, 0, 0], first_constant), images, None)]
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
    high = torch.full_like(images[:, 0, 0, 0], torch.inf)
    low = torch.zeros_like(high)
    came = [
        search(begun.aim, begun.constant, begun.image, begun.image, high if begun.distance is None else begun.distance)
        for begun in starts
    ]
    reached, (aim, constant, *_) = came[0], starts[0]
    for begun, other in zip(starts[1:], came[1:], strict=True):
        reached, nearer = reached.or_nearer(other)
        aim, constant = torch.where(nearer, begun.aim, aim), torch.where(nearer, begun.constant, constant)
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


class _Start(NamedTuple):
    """Where a descent begins: toward which class, with which constant, at which image, and how far that one is.

    A distance is given where the image fools, or may: infinite for an example whose image does not.
    """

    aim: Int[Tensor, " N"]
    constant: Float[Tensor, " N"]
    image: Float[Tensor, "N C H W"]
    distance: Float[Tensor, " N"] | None


def _fitted(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    target: Int[Tensor, " N"] | None,
    confidence: float,
    rivals: int,
    steps: int,
) -> list[_Start]:
    """Where to begin, at the image and at the boundary: classes, the nearest first, or the target; and constants."""
    here = x.detach().requires_grad_()
    logits = model(here)
    gaps = own(logits, y)[:, None] - logits + confidence
    slopes = [_length(torch.autograd.grad(gap.sum(), here, retain_graph=True)[0]) for gap in gaps.T]
    slope, gap = torch.stack(slopes, 1), gaps.detach().double()
    constants = ABOVE * _constant(gap, slope).to(x.dtype)
    away = (gap / slope).where(slope > 0, torch.inf).scatter(1, y[:, None], torch.nan)  # nan comes last
    order = away.argsort(1)[:, : logits.shape[1] - 1].T if target is None else target[None]
    starts = [_Start(aim, own(constants, aim), x, None) for aim in order[:rivals]]
    if not steps:
        return starts
    leads = toward_rival if target is None else to_target
    near = order[:WALKED]
    met = [walk(model, x, y, aim, leads=leads, confidence=confidence, steps=steps) for aim in near]
    # An example that met nothing begins at the image again, with the constant of the plane there.
    begun = [
        _Start(
            aim,
            _constant(m.distance * m.slope, m.slope).to(x.dtype).where(m.distance.isfinite(), own(constants, aim)),
            m.image,
            m.distance,
        )
        for aim, m in zip(near, met, strict=True)
    ]
    nearest = torch.stack([m.distance for m in met]).argsort(dim=0, stable=True)[:rivals]
    return [*starts, *(_Start(*(_pick(part, chosen) for part in zip(*begun, strict=True))) for chosen in nearest)]


def _constant(gap: Float[Tensor, ...], slope: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """From which constant on the penalty wins before a plane; `mmc.theory.attacks.penalty_threshold`, kept in range.

    Before a level plane any constant is as good, and no class is farther.
    """
    return (2 * gap / slope.square()).where(slope > 0, 1 / ABOVE).clamp(TINY, LARGEST / ABOVE)


def _pick(parts: Sequence[Tensor], chosen: Int[Tensor, " N"]) -> Tensor:
    """From each example's own choice of several tensors."""
    return torch.stack(list(parts))[chosen, torch.arange(len(chosen), device=chosen.device)]


def _length(gradient: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """In double precision, where no square underflows."""
    return gradient.flatten(1).double().norm(dim=1)
