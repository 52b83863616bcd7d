"""Gradient flows dz/dt = -grad loss of one feature: how fast each loss can bring a feature to where it wants it.

Softmax losses are reduced to one number, the margin m = h_y - h_l, equal for all wrong classes l by symmetry: on the
axis through the own center of a simplex, or with two classes. Then 1 - p_y = (L - 1) / (e^m + L - 1).
"""

from __future__ import annotations

import sympy as sp


def mmc_distance(time: sp.Expr, start: sp.Expr) -> sp.Expr:
    """Distance to the own center under the MMC loss.

    Args:
        time: t >= 0; one unit multiplies the distance by 1/e.
        start: the distance at t = 0.
    """
    return start * sp.exp(-time)


def mmc_loss(time: sp.Expr, start: sp.Expr) -> sp.Expr:
    """MMC loss along its flow, from a feature at distance `start`."""
    return mmc_distance(time, start) ** 2 / 2


def softmax_loss(margin: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Softmax cross-entropy where every wrong class trails the right one by the same margin."""
    return sp.log(1 + (num_classes - 1) * sp.exp(-margin))


def softmax_error(margin: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """The probability 1 - p_y that softmax gives to all wrong classes together, with equal margins."""
    return (num_classes - 1) / (sp.exp(margin) + num_classes - 1)


def simplex_slope(norm: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Margin gained by one unit of length along mu*_y, with inner products <z, mu*_l> as logits: C_MM L / (L - 1)."""
    return norm * num_classes / (num_classes - 1)


def softmax_time(margin: sp.Expr, slope: sp.Expr, num_classes: sp.Expr, start: sp.Expr = sp.S.Zero) -> sp.Expr:
    """Time at which the flow of a softmax loss reaches a margin: the inverse of `softmax_margin`, without overflow.

    Args:
        margin: m >= start.
        slope: a, what one unit of length along the feature's path adds to the margin: `simplex_slope` for MMLDA,
            ||w_y - w_l|| for two-class SCE with fixed weights.
        num_classes: L >= 2.
        start: the margin at t = 0.
    """
    others = num_classes - 1
    return (sp.exp(margin) - sp.exp(start) + others * (margin - start)) / (slope**2 * others)


def softmax_margin(time: sp.Expr, slope: sp.Expr, num_classes: sp.Expr, start: sp.Expr = sp.S.Zero) -> sp.Expr:
    """Margin along the flow of a softmax loss, dm/dt = a^2 (1 - p_y), by Lambert's W. Args as `softmax_time`."""
    others = num_classes - 1
    level = slope**2 * time + start + sp.exp(start) / others
    return level - sp.LambertW(sp.exp(level) / others)


def softmax_loss_floor(time: sp.Expr, spread: sp.Expr, start: sp.Expr) -> sp.Expr:
    """What a softmax loss is at least along its flow, from any feature and with any fixed weights and biases.

    Args:
        time: t >= 0.
        spread: the largest ||w_y - w_l||; it bounds the gradient by spread * (1 - p_y) <= spread * loss.
        start: the loss at t = 0, > 0.
    """
    return 1 / (1 / start + spread**2 * time)


def softmax_sideways(margin: sp.Expr, num_classes: sp.Expr, start: sp.Expr = sp.S.Zero) -> sp.Expr:
    """Share left of a small deviation from the axis of the own class, with simplex weights; t^(-1/L) late in the flow.

    Args:
        margin: m, reached on the axis.
        num_classes: L >= 3.
        start: the margin at which the share is 1.
    """
    return sp.exp(-(margin - start) / num_classes)


def mmc_time_to(share: sp.Expr) -> sp.Expr:
    """Time in which the MMC loss falls to a share (0 to 1) of its value at t = 0, wherever it starts."""
    return -sp.log(share) / 2


def softmax_time_to(share: sp.Expr, slope: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Time in which a softmax loss falls to a share of log L, its value at margin zero.

    Args:
        share: between 0 and 1.
        slope: a, see `softmax_time`.
        num_classes: L >= 2.
    """
    margin = sp.log((num_classes - 1) / (num_classes**share - 1))
    return softmax_time(margin, slope, num_classes)


def mmlda_curvature(norm: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Curvature of the MMLDA loss at the origin, in every direction of the simplex; that of MMC is 1 everywhere."""
    return norm**2 / (num_classes - 1)


def mmlda_sharpest(norm: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Largest curvature of the MMLDA loss: approached far out between two classes; reached at the origin for L = 2."""
    return norm**2 * num_classes / (2 * (num_classes - 1))


def center_velocity(
    position: sp.Expr, slope: sp.Expr, num_classes: sp.Expr, weight: sp.Expr, center: sp.Expr
) -> sp.Expr:
    """ds/dt under Center loss with fixed simplex weights, for a feature and a center on the axis of its class.

    Args:
        position: s, where the feature is on the axis.
        slope: a, so that the margin is a s.
        num_classes: L >= 2.
        weight: lambda >= 0, the weight of 1/2 (s - center)^2.
        center: where the center is on the axis.
    """
    return slope * softmax_error(slope * position, num_classes) - weight * (position - center)


def center_rate(position: sp.Expr, slope: sp.Expr, num_classes: sp.Expr, weight: sp.Expr) -> sp.Expr:
    """Rate r of the return e^{-rt} to the balance point of Center loss with a fixed center, from p_y there."""
    error = softmax_error(slope * position, num_classes)
    return weight + slope**2 * error * (1 - error)


def center_overshoot_bound(slope: sp.Expr, num_classes: sp.Expr, weight: sp.Expr, center: sp.Expr) -> sp.Expr:
    """Upper bound on how far beyond a fixed center the balance point of Center loss lies; sharp as a * center grows."""
    pull = slope**2 * (num_classes - 1) * sp.exp(-slope * center) / weight
    return sp.LambertW(pull) / slope


def moving_center_delay(weight: sp.Expr, pace: sp.Expr) -> sp.Expr:
    """How many times slower Center loss with a moving center runs than softmax alone, as t grows: 1 + lambda / alpha.

    Args:
        weight: lambda >= 0.
        pace: alpha > 0 in dc/dt = alpha (z - c), the center's own rule in continuous time.
    """
    return 1 + weight / pace
