"""Carlini and Wagner's L2 attack: the nearest image that fools, by Adam on distance plus a constant times the margin.

The constant is sought for each example by itself: up by tens until something fools, then by halving the interval.
Source: Carlini and Wagner 2017, written anew; what differs is said at `EDGE` and at `_descend`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch

from mmc.attacks.checks import confirm, correct, refuse_bad_input

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

#: A pixel is 1/2 + (1/2 + EDGE) tanh(w), cut to [0, 1]: a pixel at 0 or 1 has a finite w, and a slope to leave by.
EDGE = 0.01
#: Adam's memory of gradients and of their squares, and what keeps it from dividing by zero.
BETAS, TINY = (0.9, 0.999), 1e-8
#: A search step ends for an example whose lowest loss falls by less than this share between two looks.
FALL = 1e-4
#: What fools must do so by more than the rounding of another forward pass, in units of the largest logit.
ROUNDING = 1e-6
#: Beyond this the constant no longer grows.
LARGEST = 1e10
#: One number for each example, for all of its pixels.
WIDE = (slice(None), None, None, None)


def carlini_wagner(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    targets: Int[Tensor, " N"] | None = None,
    confidence: float = 0.0,
    search_steps: int = 9,
    iterations: int = 1000,
    learning_rate: float = 5e-3,
    first_constant: float = 0.01,
    look_every: int = 100,
) -> Float[Tensor, "N C H W"]:
    """The nearest image, in L2 and in the box, that fools the model: the best one met for each example.

    Without targets an image fools when another class has the largest logit; with them, when its target has. An example
    meets the same in whatever batch, up to rounding. There is no chance in it, so there is no seed. With several
    classes a descent may end at another class than the nearest: a distance is an upper bound, and the least over all
    targets a better one.

    Args:
        model: maps images in [0, 1] to logits of any sign; in eval mode.
        x: images in [0, 1].
        y: labels.
        targets: a class for each example, not its label.
        confidence: kappa >= 0, in units of a logit: by how much the class must win.
        search_steps: values of the constant that are tried for each example, >= 1.
        iterations: of Adam for each value, at most, >= 1.
        learning_rate: of Adam, > 0, in units of the inverse tanh.
        first_constant: the first value, > 0.
        look_every: iterations between two looks at whether the loss still falls, >= 1.

    Returns:
        One image for each of x; the image itself where none was found, or where it was wrong already.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, 0.0, targets)
    if min(search_steps, iterations, look_every) < 1:
        raise ValueError(
            "search_steps, iterations and look_every must be at least 1, "
            f"not {search_steps}, {iterations} and {look_every}"
        )
    if not (0 < learning_rate < math.inf and 0 < first_constant < math.inf):
        raise ValueError(f"learning_rate and first_constant must be > 0, not {learning_rate} and {first_constant}")
    if not 0 <= confidence < math.inf:
        raise ValueError(f"confidence must be >= 0, in units of a logit, not {confidence}")
    result = x.detach().clone()
    attacked = correct(model, x, y).nonzero().flatten()
    if not len(attacked):
        return result
    # The class whose logit is compared with the largest other one: it must lose, or as a target it must win.
    own, watched, sign = result[attacked], (y if targets is None else targets)[attacked], 1 if targets is None else -1
    low = torch.zeros(len(own), dtype=own.dtype, device=own.device)
    high, least = torch.full_like(low, torch.inf), torch.full_like(low, torch.inf)
    constant = torch.full_like(low, first_constant)
    nearest, start = own.clone(), own
    descend = partial(
        _descend,
        model=model,
        confidence=confidence,
        iterations=iterations,
        learning_rate=learning_rate,
        look_every=look_every,
    )
    for _ in range(search_steps):
        found, end = descend(own, watched, sign, start, constant, nearest, least)
        high, low = torch.where(found, constant, high), torch.where(found, low, constant)
        constant = torch.where(high.isinf(), 10 * low, (low + high) / 2).clamp_max(LARGEST)
        start = torch.where(least.isfinite()[WIDE], nearest, end)
    wins = correct(model, nearest, watched)
    holds = least.isfinite() & (~wins if targets is None else wins)
    result[attacked[holds]] = nearest[holds]
    confirm(x, result, math.inf)
    return result


def distances(
    model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], x_adv: Float[Tensor, "N C H W"]
) -> Float[Tensor, " N"]:
    """How far each example had to be moved, in L2: zero where it was wrong already, infinite where it still stands."""
    moved = (x_adv - x).flatten(1).norm(dim=1)
    return torch.where(correct(model, x_adv, y), torch.inf, torch.where(correct(model, x, y), moved, 0.0))


def _lead(logits: Float[Tensor, "N L"], watched: Int[Tensor, " N"], sign: int) -> Float[Tensor, " N"]:
    """By how much the largest other logit exceeds the watched one: masked by minus infinity, whatever their signs."""
    others = logits.scatter(1, watched[:, None], -torch.inf).amax(1)
    return sign * (others - logits.gather(1, watched[:, None]).squeeze(1))


def _descend(
    x: Float[Tensor, "N C H W"],
    watched: Int[Tensor, " N"],
    sign: int,
    start: Float[Tensor, "N C H W"],
    constant: Float[Tensor, " N"],
    nearest: Float[Tensor, "N C H W"],
    least: Float[Tensor, " N"],
    *,
    model: nn.Module,
    confidence: float,
    iterations: int,
    learning_rate: float,
    look_every: int,
) -> tuple[Bool[Tensor, " N"], Float[Tensor, "N C H W"]]:
    """One search step: which examples were fooled, and where each one ended; `nearest` and `least` are kept up.

    It begins at the nearest image found before, or where the last step ended, and not at the image anew. An example
    whose loss no longer falls leaves by itself, not with its batch.
    """
    span = 0.5 + EDGE
    found, end = torch.zeros_like(watched, dtype=torch.bool), start.clone()
    live = torch.arange(len(x), device=x.device)
    # In double precision: a float32 inverse tanh rounds by an example's place in the batch.
    w = ((start.double() - 0.5) / span).atanh().to(start.dtype)
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    lowest, before = torch.full_like(least, torch.inf), torch.full_like(least, torch.inf)
    hit, best, closest = found.clone(), nearest.clone(), least.clone()
    for step in range(1, iterations + 1):
        slope = w.tanh()
        free = 0.5 + span * slope
        here = free.clamp(0, 1).requires_grad_()
        logits = model(here)
        lead = _lead(logits, watched, sign)
        (gradient,) = torch.autograd.grad(lead.sum(), here)
        lead, here, logits = lead.detach(), here.detach(), logits.detach()
        short = (here - x).flatten(1).norm(dim=1)
        fools = (lead > confidence + ROUNDING * logits.abs().amax(1)) & logits.isfinite().all(1)
        hit |= fools
        closer = fools & (short < closest)
        closest, best = torch.where(closer, short, closest), torch.where(closer[WIDE], here, best)
        lowest = torch.minimum(lowest, short.square() + constant * (confidence - lead).clamp_min(0))
        # Where a pixel was cut, only the distance pulls it.
        push = torch.where((lead <= confidence)[WIDE] & (free == here), constant[WIDE] * gradient, 0)
        descent = (2 * (free - x) - push) * span * (1 - slope.square())
        first.lerp_(descent, 1 - BETAS[0])
        second.lerp_(descent.square(), 1 - BETAS[1])
        size = learning_rate * math.sqrt(1 - BETAS[1] ** step) / (1 - BETAS[0] ** step)
        w = w - size * first / (second.sqrt() + TINY)
        if step % look_every and step < iterations:
            continue
        stays = (lowest < (1 - FALL) * before) & (step < iterations)
        before = lowest
        if bool(stays.all()):
            continue
        left = live[~stays]
        found[left], end[left], nearest[left], least[left] = (kept[~stays] for kept in (hit, here, best, closest))
        batch = (live, x, watched, constant, w, first, second, lowest, before, hit, best, closest)
        live, x, watched, constant, w, first, second, lowest, before, hit, best, closest = (k[stays] for k in batch)
        if not len(live):
            break
    return found, end
