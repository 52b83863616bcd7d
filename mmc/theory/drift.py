"""Two points and an affine f under gradient flow: how the boundary drifts to the middle, and whether it does.

With weights pi_i the flow of sum_i pi_i phi(m_i) moves the margins by dm/dt = G psi, where psi_i = -pi_i phi'(m_i),
and G is the Gram matrix of the signed points y_i (x_i, 1), the bias being one more weight. "Exponential tail" means
that -phi'(m) e^m tends to 1: cross-entropy with two classes, or e^{-m} itself.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import stationary


def gram(x_0: sp.Matrix, x_1: sp.Matrix) -> sp.Matrix:
    """G for a point of class 0 and one of class 1, both columns of d entries."""
    cross = -(x_0.dot(x_1) + 1)
    return sp.Matrix([[x_0.dot(x_0) + 1, cross], [cross, x_1.dot(x_1) + 1]])


def support(g_own: sp.Expr, g_cross: sp.Expr, g_other: sp.Expr) -> sp.Expr:
    """A point's entry of beta = G^{-1} (1, 1): the part it has in the least (w, b) that gives both margins 1.

    Args:
        g_own: the point's own entry of G.
        g_cross: the entry off the diagonal.
        g_other: the other point's own entry.
    """
    return (g_other - g_cross) / (g_own * g_other - g_cross**2)


def share_velocity(share: sp.Expr, g_00: sp.Expr, g_01: sp.Expr, g_11: sp.Expr) -> sp.Expr:
    """d share / d(force applied) of psi_0 / (psi_0 + psi_1) under the exponential loss: a logistic law.

    Args:
        share: between 0 and 1.
        g_00: of G.
        g_01: of G.
        g_11: of G.
    """
    return share * (1 - share) * ((g_11 - g_01) * (1 - share) - (g_00 - g_01) * share)


def late_margin(log_time: sp.Expr, weight: sp.Expr, support: sp.Expr) -> sp.Expr:
    """Margin late in the flow of a loss with exponential tail, up to o(1), where both points support.

    Args:
        log_time: log t.
        weight: pi_i > 0.
        support: beta_i > 0.
    """
    return log_time + sp.log(weight / support)


def late_offset(
    log_time: sp.Expr, weight_0: sp.Expr, weight_1: sp.Expr, support_0: sp.Expr, support_1: sp.Expr
) -> sp.Expr:
    """Offset late in the flow; times log t it tends to 1/4 log(pi_0 beta_1 / (pi_1 beta_0)). Args as `late_margin`."""
    return stationary.offset(late_margin(log_time, weight_0, support_0), late_margin(log_time, weight_1, support_1))


def late_log_time(
    offset: sp.Expr, weight_0: sp.Expr, weight_1: sp.Expr, support_0: sp.Expr, support_1: sp.Expr
) -> sp.Expr:
    """log t at which `late_offset` is down to an offset of its own sign."""
    first, second = sp.log(weight_0 / support_0), sp.log(weight_1 / support_1)
    return ((first - second) / (2 * offset) - first - second) / 2


def lone_offset(g_own: sp.Expr, g_cross: sp.Expr) -> sp.Expr:
    """Limit of the offset where only x_0 supports (g_cross > g_own): the other margin grows faster, and stays ahead.

    Args:
        g_own: the entry of G of x_0.
        g_cross: the entry off the diagonal.
    """
    return stationary.offset(g_own, g_cross)


def centred_difference(
    total: sp.Expr, half: sp.Expr, log_ratio: sp.Expr, start_total: sp.Expr, start: sp.Expr
) -> sp.Expr:
    """m_0 - m_1 under the exponential loss when m_0 + m_1 has come to `total`, for the points -h and h: exact.

    Args:
        total: m_0 + m_1, which rises with time.
        half: h > 0.
        log_ratio: log(pi_0 / pi_1), where the difference ends.
        start_total: m_0 + m_1 at the start.
        start: m_0 - m_1 at the start.
    """
    fading = sp.exp(-(total - start_total) / (2 * half**2))
    return log_ratio + 2 * sp.asinh(sp.sinh((start - log_ratio) / 2) * fading)


def return_rate(
    curvature: sp.Expr, weight_0: sp.Expr, weight_1: sp.Expr, g_00: sp.Expr, g_01: sp.Expr, g_11: sp.Expr
) -> sp.Expr:
    """Rate r of the return e^{-rt} to a stationary point: phi''(m*) times the smaller eigenvalue of G diag(pi).

    Args:
        curvature: phi''(m*) > 0.
        weight_0: pi_0 > 0.
        weight_1: pi_1 > 0.
        g_00: of G.
        g_01: of G.
        g_11: of G.
    """
    trace = weight_0 * g_00 + weight_1 * g_11
    determinant = weight_0 * weight_1 * (g_00 * g_11 - g_01**2)
    return curvature * (trace - sp.sqrt(trace**2 - 4 * determinant)) / 2
