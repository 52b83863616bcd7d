"""One descent of Carlini and Wagner's attack: Adam on squared distance plus a constant times what is missing to fool.

What differs from Carlini and Wagner 2017 is said at `EDGE` and at `descend`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

from mmc.losses.base import margins, own

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    #: From logits, labels and aims: what the penalty pushes up, and what is positive where an image fools.
    Leads = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

#: A pixel is 1/2 + (1/2 + EDGE) tanh(w), cut to [0, 1]: a pixel at 0 or 1 has a finite w, and a slope to leave by.
EDGE = 0.01
#: Adam's memory of gradients and of their squares, and what keeps it from dividing by zero.
BETAS, TINY = (0.9, 0.999), 1e-8
#: A descent ends for an example whose lowest loss falls by less than this share between two looks.
FALL = 1e-4
#: What fools must do so by more than the rounding of another forward pass, in units of the largest logit.
ROUNDING = 1e-6
#: One number for each example, for all of its pixels.
WIDE = (slice(None), None, None, None)


def over_label(
    logits: Float[Tensor, "N L"], label: Int[Tensor, " N"], aim: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """As printed: whichever class leads the label is pushed, another one next time."""
    lead = margins(logits, label)
    return lead, lead


def toward_rival(
    logits: Float[Tensor, "N L"], label: Int[Tensor, " N"], aim: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """One class is pushed over the label, and any class fools."""
    return own(logits, aim) - own(logits, label), margins(logits.detach(), label)


def to_target(
    logits: Float[Tensor, "N L"], label: Int[Tensor, " N"], aim: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """The target is pushed over all others, and must win."""
    lead = -margins(logits, aim)
    return lead, lead


def fooled(
    logits: Float[Tensor, "N L"], over: Float[Tensor, " N"], confidence: float
) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """By how much an image must lead to fool, beyond rounding, and which images do."""
    needed = confidence + ROUNDING * logits.abs().amax(1)
    return needed, (over > needed) & logits.isfinite().all(1)


class Reached(NamedTuple):
    """What a descent came to.

    Attributes:
        found: which examples were fooled on it.
        end: where each example ended.
        nearest: the nearest image that fooled, on this descent or before.
        least: its distance; infinite where none fooled yet.
    """

    found: Bool[Tensor, " N"]
    end: Float[Tensor, "N C H W"]
    nearest: Float[Tensor, "N C H W"]
    least: Float[Tensor, " N"]

    def or_nearer(self, other: Reached) -> tuple[Reached, Bool[Tensor, " N"]]:
        """Of two descents the one that came nearer, example by example; and where that is the other one."""
        nearer = other.least < self.least
        pairs = zip(other, self, strict=True)
        return Reached(*(torch.where(nearer[WIDE] if a.ndim == 4 else nearer, a, b) for a, b in pairs)), nearer


def descend(
    x: Float[Tensor, "N C H W"],
    label: Int[Tensor, " N"],
    aim: Int[Tensor, " N"],
    constant: Float[Tensor, " N"],
    start: Float[Tensor, "N C H W"],
    nearest: Float[Tensor, "N C H W"],
    least: Float[Tensor, " N"],
    *,
    model: nn.Module,
    leads: Leads,
    stride: float,
    confidence: float,
    iterations: int,
    learning_rate: float,
    look_every: int,
) -> Reached:
    """Descend from a start, with a constant for each example; what was nearest before is kept up.

    It may begin at the nearest image found before, not at the image anew. An example whose loss no longer falls leaves
    by itself, not with its batch. No iteration moves farther than `stride` times the distance found before.
    """
    span = 0.5 + EDGE
    found, end, nearest, least = (
        torch.zeros_like(label, dtype=torch.bool),
        start.clone(),
        nearest.clone(),
        least.clone(),
    )
    live = torch.arange(len(x), device=x.device)
    # In double precision: a float32 inverse tanh rounds by an example's place in the batch.
    w = ((start.double() - 0.5) / span).atanh().to(start.dtype)
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    lowest, before = torch.full_like(least, torch.inf), torch.full_like(least, torch.inf)
    rate = (least.clamp_min(TINY) * (stride / (span * math.sqrt(x[0].numel())))).clamp_max(learning_rate)
    hit, best, closest = found.clone(), nearest.clone(), least.clone()
    for step in range(1, iterations + 1):
        slope = w.tanh()
        free = 0.5 + span * slope
        here = free.clamp(0, 1).requires_grad_()
        logits = model(here)
        lead, over = leads(logits, label, aim)
        (gradient,) = torch.autograd.grad(lead.sum(), here)
        lead, over, here, logits = lead.detach(), over.detach(), here.detach(), logits.detach()
        short = (here - x).flatten(1).norm(dim=1)
        needed, fools = fooled(logits, over, confidence)
        hit |= fools
        closer = fools & (short < closest)
        closest, best = torch.where(closer, short, closest), torch.where(closer[WIDE], here, best)
        lowest = torch.minimum(lowest, short.square() + constant * (needed - lead).clamp_min(0))
        # Where a pixel was cut, only the distance pulls it.
        push = torch.where((lead <= needed)[WIDE] & (free == here), constant[WIDE] * gradient, 0)
        descent = (2 * (free - x) - push) * span * (1 - slope.square())
        first.lerp_(descent, 1 - BETAS[0])
        second.lerp_(descent.square(), 1 - BETAS[1])
        size = math.sqrt(1 - BETAS[1] ** step) / (1 - BETAS[0] ** step)
        w = w - size * rate[WIDE] * first / (second.sqrt() + TINY)
        if step % look_every and step < iterations:
            continue
        stays = (lowest < (1 - FALL) * before) & (step < iterations)
        before = lowest
        if bool(stays.all()):
            continue
        left = live[~stays]
        found[left], end[left], nearest[left], least[left] = (kept[~stays] for kept in (hit, here, best, closest))
        each = (live, x, label, aim, constant, rate, w, first, second, lowest, before, hit, best, closest)
        live, x, label, aim, constant, rate, w, first, second, lowest, before, hit, best, closest = (
            kept[stays] for kept in each
        )
        if not len(live):
            break
    return Reached(found, end, nearest, least)
