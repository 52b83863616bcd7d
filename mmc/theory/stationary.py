"""Stationary points of margin losses, and the boundary that they ask for.

A margin loss is a function phi of the margin m, and it has a stationary point if phi'(m*) = 0 at a finite m* > 0. With
several classes the margins to all wrong ones are taken equal here. The offset of a boundary is its place between two
points, x_0 of class 0 and x_1 of class 1: measured from the middle toward x_1, in units of their distance.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import flow


def stationary_margins(loss: sp.Expr, margin: sp.Symbol) -> list[sp.Expr]:
    """All m* > 0 with phi'(m*) = 0, exactly and in rising order. An empty list is a proof that there is none.

    The slope must be a polynomial in m or a fraction in q = e^m. Its roots are isolated, not searched for.

    Args:
        loss: phi, with numbers for everything but the margin.
        margin: m.

    Raises:
        ValueError: the slope is of neither kind.
    """
    slope = sp.diff(loss, margin).rewrite(sp.exp)
    odds = sp.Symbol("q", positive=True)
    if slope.is_polynomial(margin):
        return [root for root in _real_roots(slope, margin) if root > 0]
    fraction = sp.numer(sp.cancel(sp.expand(slope.subs(margin, sp.log(odds)))))
    if not fraction.is_polynomial(odds):
        raise ValueError(f"the slope of {loss} is neither a polynomial in {margin} nor a fraction in exp({margin})")
    return [sp.log(root) for root in _real_roots(fraction, odds) if root > 1]


def _real_roots(polynomial: sp.Expr, variable: sp.Symbol) -> list[sp.Expr]:
    """Each real root once, in rising order."""
    return list(dict.fromkeys(sp.Poly(polynomial, variable).real_roots()))


def exponential(margin: sp.Expr) -> sp.Expr:
    """Exponential loss, the tail of cross-entropy with two classes: e^{-m}."""
    return sp.exp(-margin)


def focal(margin: sp.Expr, num_classes: sp.Expr, gamma: sp.Expr) -> sp.Expr:
    """Focal loss (1 - p_y)^gamma times cross-entropy. Source: Lin et al. 2017.

    Args:
        margin: m.
        num_classes: L >= 2.
        gamma: >= 0; 0 is cross-entropy.
    """
    return flow.softmax_error(margin, num_classes) ** gamma * flow.softmax_loss(margin, num_classes)


def squared_hinge(margin: sp.Expr, target: sp.Expr) -> sp.Expr:
    """Half the square of what is missing to m*: every margin from there on is stationary."""
    return sp.Max(target - margin, 0) ** 2 / 2


def mirrored_even(margin: sp.Expr, num_classes: sp.Expr, target: sp.Expr) -> sp.Expr:
    """Mirrored cross-entropy (`losses.mirrored`) where every wrong class trails by the same margin.

    Args:
        margin: m.
        num_classes: L >= 2.
        target: m*.
    """
    return flow.softmax_loss(margin, num_classes) + flow.softmax_loss(2 * target - margin, num_classes)


def smoothing_curvature(target: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Curvature phi''(m*) of label smoothing at its stationary margin: p (1 - p), as of cross-entropy there.

    Args:
        target: m*.
        num_classes: L >= 2.
    """
    error = flow.softmax_error(target, num_classes)
    return error * (1 - error)


def mirrored_curvature(target: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """The same of mirrored cross-entropy: both halves bend alike, so it is twice as much. Args likewise."""
    return 2 * smoothing_curvature(target, num_classes)


def offset(margin_0: sp.Expr, margin_1: sp.Expr) -> sp.Expr:
    """Offset of the boundary of an affine f, from the margins of the two points.

    Args:
        margin_0: -f(x_0), of the point of class 0.
        margin_1: f(x_1); the sum of both is positive.
    """
    return (margin_0 - margin_1) / (2 * (margin_0 + margin_1))


def power_offset(power: sp.Expr) -> sp.Expr:
    """Offset of the boundary of f = m* (2 s^power - 1), s the share of the way: anywhere between the points."""
    return 2 ** (-1 / power) - sp.S.Half


def squares_offset(share_0: sp.Expr, share_1: sp.Expr, squared_distance: sp.Expr) -> sp.Expr:
    """Offset under the logit-squared loss, affine f and two clouds of the same covariance, between their means.

    Args:
        share_0: of class 0 in the total weight.
        share_1: of class 1; the two add up to 1.
        squared_distance: of the means, in the metric of the inverse covariance (Mahalanobis).
    """
    return (share_0 - share_1) / (2 * share_0 * share_1 * squared_distance)


def bayes_offset(share_0: sp.Expr, share_1: sp.Expr, squared_distance: sp.Expr) -> sp.Expr:
    """Offset under cross-entropy and infinitely many points of two Gaussians: the fewest errors. Args likewise."""
    return sp.log(share_0 / share_1) / squared_distance
