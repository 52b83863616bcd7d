"""The curse of softmax: where small loss values of the g-SCE family lie, and what pull is left there.

A softmax loss reads differences of logits only. So a small value asks for large differences, not for any one place.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import contours, flow


def free_directions(feature_dim: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """How many directions of feature space a linear softmax loss leaves alone, at least: max(d - (L - 1), 0).

    Exactly that many where the differences of the weights are as independent as they can be, as for a simplex.
    """
    return sp.Max(feature_dim - (num_classes - 1), 0)


def radius_growth(loss_value: sp.Expr, sigma_k: sp.Expr, sigma_j: sp.Expr) -> sp.Expr:
    """Leading term of the contour's radius as C -> 0, for sigma_k < sigma_j: sqrt(log(1/C) / (sigma_j - sigma_k)).

    Args:
        loss_value: C, between 0 and 1.
        sigma_k: precision of the label's class.
        sigma_j: precision of the runner-up.
    """
    return sp.sqrt(-sp.log(loss_value) / (sigma_j - sigma_k))


def plane_distance(loss_value: sp.Expr, sigma: sp.Expr, center_distance: sp.Expr) -> sp.Expr:
    """How far the contour plane of loss value C lies from the decision boundary, on the label's side if positive.

    Args:
        loss_value: C > 0.
        sigma: the precision of both classes; SCE has sigma * center_distance = ||w_k - w_j|| / 2.
        center_distance: ||mu_k - mu_j|| > 0.
    """
    return contours.lead(loss_value) / (2 * sigma * center_distance)


def norm_bound(loss_value: sp.Expr, num_classes: sp.Expr, spread: sp.Expr, bias_gap: sp.Expr = sp.S.Zero) -> sp.Expr:
    """Least norm ||z|| that a softmax loss value C allows with linear logits, by Jensen's inequality.

    Args:
        loss_value: C > 0.
        num_classes: L >= 2.
        spread: ||w_y - mean of the other weights||; twice the largest norm of a weight is an upper bound on it.
        bias_gap: b_y minus the mean of the other biases.
    """
    return (sp.log((num_classes - 1) / (sp.exp(loss_value) - 1)) - bias_gap) / spread


def gradient_bound(loss_value: sp.Expr, length: sp.Expr) -> sp.Expr:
    """Bound on the norm of a softmax loss's gradient in z by the loss value alone: length * (1 - e^{-C}).

    From above with the largest ||w_l - w_y||. From below, for a simplex, with `flow.simplex_slope`.
    """
    return length * (1 - sp.exp(-loss_value))


def mmlda_pull(position: sp.Expr, norm: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Norm of MMLDA's gradient at z = position * mu*_y / C_MM, on the axis of the own class.

    Args:
        position: s; C_MM at the center itself.
        norm: C_MM > 0.
        num_classes: L >= 2.
    """
    slope = flow.simplex_slope(norm, num_classes)
    return slope * flow.softmax_error(slope * position, num_classes)


def mmlda_reach(pull: sp.Expr, norm: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Position on the axis of the own class beyond which MMLDA's gradient is smaller than `pull`.

    Args:
        pull: between 0 and C_MM, the norm of the gradient at the origin.
        norm: C_MM > 0.
        num_classes: L >= 2.
    """
    return sp.log(num_classes * norm / pull - (num_classes - 1)) / flow.simplex_slope(norm, num_classes)
