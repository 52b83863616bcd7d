"""Cross-entropy and one-vs-rest on free logits: each class score is an unknown that follows the flow from zero.

Both losses may carry a weight, which multiplies time and does nothing else. All wrong classes stay equal, so
cross-entropy is one number, the margin m, and so is one-vs-rest: u = h_y = -h_k, with margin 2 u.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from mmc.theory import flow


def logit_margin_loss(own: sp.Expr, others: Sequence[sp.Expr]) -> sp.Expr:
    """LM, the largest wrong logit minus the own: the margin with its sign turned. Source: Kanai et al. 2023."""
    return sp.Max(*others) - own


def balance(total: sp.Expr, slope: sp.Expr) -> sp.Expr:
    """The x that solves e^x + slope * x = total, by Lambert's W; as a logarithm, which keeps its digits at late times.

    Args:
        total: >= 1, so that x >= 0.
        slope: > 0.
    """
    return sp.log(slope * sp.LambertW(sp.exp(total / slope) / slope))


def free_slope(num_classes: sp.Expr) -> sp.Expr:
    """Margin gained by one unit of length along the path of free logits under cross-entropy; `flow.softmax_time`'s."""
    return sp.sqrt(num_classes / (num_classes - 1))


def cross_entropy_margin(time: sp.Expr, num_classes: sp.Expr, weight: sp.Expr = sp.S.One) -> sp.Expr:
    """Margin of free logits under weighted cross-entropy: e^m + (L - 1) m = w L t + 1.

    Args:
        time: t >= 0.
        num_classes: L >= 2.
        weight: w > 0.
    """
    return balance(weight * num_classes * time + 1, num_classes - 1)


def cross_entropy_time(margin: sp.Expr, num_classes: sp.Expr, weight: sp.Expr = sp.S.One) -> sp.Expr:
    """Time at which the margin is reached under weighted cross-entropy."""
    return flow.softmax_time(margin, free_slope(num_classes), num_classes) / weight


def one_vs_rest_margin(time: sp.Expr, weight: sp.Expr = sp.S.One) -> sp.Expr:
    """Margin 2 u of free logits under weighted one-vs-rest: e^u + u = w t + 1, whatever the number of classes."""
    return 2 * balance(weight * time + 1, sp.S.One)


def one_vs_rest_time(margin: sp.Expr, weight: sp.Expr = sp.S.One) -> sp.Expr:
    """Time at which the margin is reached under weighted one-vs-rest: each class is a softmax against a logit of 0."""
    return flow.softmax_time(margin / 2, sp.S.One, sp.Integer(2)) / weight


def cross_entropy_pace(margin: sp.Expr, num_classes: sp.Expr, weight: sp.Expr = sp.S.One) -> sp.Expr:
    """dm/dt under weighted cross-entropy, with equal margins: the same at every level of the logits."""
    return weight * free_slope(num_classes) ** 2 * flow.softmax_error(margin, num_classes)


def one_vs_rest_pace(own: sp.Expr, other: sp.Expr, weight: sp.Expr = sp.S.One) -> sp.Expr:
    """dm/dt under weighted one-vs-rest, with h_y and h_k given: it depends on both, not on their difference."""
    return weight * (1 / (1 + sp.exp(own)) + 1 / (1 + sp.exp(-other)))


def cross_entropy_pull(margin: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Norm of the gradient of cross-entropy in the logits, with equal margins; ~ e^{-m}."""
    return free_slope(num_classes) * flow.softmax_error(margin, num_classes)


def one_vs_rest_pull(margin: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Norm of the gradient of one-vs-rest in the logits, with h_y = -h_k; ~ e^{-m/2}."""
    return sp.sqrt(num_classes) / (1 + sp.exp(margin / 2))


def lead(growth: sp.Expr, num_classes: sp.Expr, switched: sp.Expr = sp.S.One) -> sp.Expr:
    """Positive where one-vs-rest is ahead of cross-entropy at the same time, negative where it is behind.

    Args:
        growth: v = e^u >= 1 of one-vs-rest; the time is (v + log v - 1) / switched.
        num_classes: L >= 2.
        switched: lambda, the weight of one-vs-rest over that of cross-entropy, > 0.
    """
    others = num_classes - 1
    return growth**2 + 2 * others * sp.log(growth) - 1 - num_classes * (growth + sp.log(growth) - 1) / switched


def crossing_classes(growth: sp.Expr) -> sp.Expr:
    """The number of classes, a real number above 4, for which the two losses are level at v = e^u > 1; lambda = 1."""
    return (growth**2 - 2 * sp.log(growth) - 1) / (growth - 1 - sp.log(growth))


def even_pace_margin(num_classes: sp.Expr, switched: sp.Expr = sp.S.One) -> sp.Expr:
    """The margin from which lambda times one-vs-rest, at h_y = -h_k, is faster than cross-entropy; 0 if it always is.

    Args:
        num_classes: L >= 4, or so many that the root is real.
        switched: lambda, between 0 and 1.
    """
    root = sp.sqrt(num_classes**2 + 8 * switched * (num_classes - 2 * switched * (num_classes - 1)))
    return 2 * sp.log((num_classes + root) / (4 * switched))


def ratio_floor(time: sp.Expr, num_classes: sp.Expr, switched: sp.Expr, weight: sp.Expr) -> sp.Expr:
    """A lower bound of one-vs-rest's margin over cross-entropy's at t > 0, for weights lambda and w; its limit is 2."""
    below = sp.log(switched * time + 1 - sp.log(switched * time + 1))
    return 2 * below / sp.log(weight * num_classes * time + 1)


def ratio_ceiling(time: sp.Expr, num_classes: sp.Expr, switched: sp.Expr, weight: sp.Expr) -> sp.Expr:
    """An upper bound, likewise, from the time on at which its denominator is positive."""
    total = weight * num_classes * time + 1
    return 2 * sp.log(switched * time + 1) / sp.log(total - (num_classes - 1) * sp.log(total))


def ratio_late(time: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """The ratio of the margins at late times, up to terms of the order 1/t: 2 log t / log(L t), weights 1."""
    return 2 * sp.log(time) / sp.log(num_classes * time)


def ratio_expansion(time: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """The ratio of the margins at late times with the term of the order 1/t; weights 1."""
    log_time, total = sp.log(time), sp.log(num_classes * time)
    term = (num_classes - log_time) * total - log_time
    return ratio_late(time, num_classes) + 2 * term / (num_classes * time * total**2)


def time_to_ratio(ratio: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """When `ratio_late` reaches a ratio below 2: a power of the number of classes."""
    return num_classes ** (ratio / (2 - ratio))


def answers(logits: Sequence[sp.Expr]) -> sp.Expr:
    """The sum of one-vs-rest's answers, 1 / (1 + e^{-h_k}) for each class; 1 at the best level of the logits."""
    return sum((1 / (1 + sp.exp(-entry)) for entry in logits), sp.S.Zero)


def level_slope(logits: Sequence[sp.Expr]) -> sp.Expr:
    """What adding a constant to all logits does to one-vs-rest, to first order: the answers minus one."""
    return answers(logits) - 1


def best_level(num_classes: sp.Expr) -> sp.Expr:
    """The level of equal logits at which the answers sum to one: -log(L - 1)."""
    return -sp.log(num_classes - 1)


def repeated_margin(share: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Where one-vs-rest settles if an input keeps its label with this share, else takes another at random.

    Cross-entropy settles at `losses.smoothing_margin`.
    """
    rest = 1 - share
    return sp.log(share / rest) + sp.log((num_classes - 1 - rest) / rest)
