"""The g-SCE family: its logits, its members, and the shape of its loss contours.

Between two classes a contour is the quadric h_k - h_j = -log(e^C - 1): with scalar precisions, a sphere or a plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import sympy as sp


def logit(features: sp.Matrix, center: sp.Matrix, precision: sp.Expr | sp.Matrix, bias: sp.Expr) -> sp.Expr:
    """The g-SCE logit h = -(z - mu)^T Sigma (z - mu) + B. Source: Pang et al. 2020, Section 3.2.

    Args:
        features: z, a column of d entries.
        center: mu, a column of d entries.
        precision: Sigma, a symmetric d x d matrix, or the scalar sigma of Sigma = sigma I.
        bias: B.
    """
    offset = features - center
    return bias - (offset.T * precision * offset)[0]


def linear_logit(features: sp.Matrix, weight: sp.Matrix, bias: sp.Expr) -> sp.Expr:
    """The logit of a linear layer, W^T z + b: what softmax cross-entropy uses."""
    return weight.dot(features) + bias


def sce_member(weight: sp.Matrix, bias: sp.Expr, precision: sp.Expr = sp.S.One) -> tuple[sp.Matrix, sp.Expr, sp.Expr]:
    """Center, precision and bias of the g-SCE member that equals SCE: W / (2 s), s, b + ||W||^2 / (4 s).

    Its logits are those of SCE minus s ||z||^2, the same for every class, which the softmax cancels. The paper takes
    s = 1; every other s > 0 gives the same loss.

    Args:
        weight: W_i, a column of d entries.
        bias: b_i.
        precision: s > 0, the same for every class.
    """
    return weight / (2 * precision), precision, bias + weight.dot(weight) / (4 * precision)


def lgm_member(variances: Sequence[sp.Expr], margin: sp.Expr = sp.S.Zero) -> tuple[sp.Matrix, sp.Expr]:
    """Precision and bias of the g-SCE member behind the L-GM loss's cross-entropy, with a diagonal covariance.

    Args:
        variances: the covariance's diagonal, d entries > 0.
        margin: alpha >= 0 on the label's own class, 0 on the others.

    Returns:
        Sigma = (1 + alpha) / 2 times the inverse covariance, and B = -1/2 log det of the covariance.
    """
    precision = sp.diag(*((1 + margin) / (2 * variance) for variance in variances))
    return precision, -sum(sp.log(variance) for variance in variances) / 2


def log_sum_exp(logits: Sequence[sp.Expr]) -> sp.Expr:
    """log sum_l exp h_l, the smooth maximum."""
    return sp.log(sum(sp.exp(entry) for entry in logits))


def loss(own_logit: sp.Expr, rival: sp.Expr) -> sp.Expr:
    """Cross-entropy log(1 + e^(rival - own)): exact with the others' log-sum-exp as rival, approximate with their max.

    Args:
        own_logit: h_y.
        rival: what stands for the other classes' logits.
    """
    return sp.log(1 + sp.exp(rival - own_logit))


def lead(loss_value: sp.Expr) -> sp.Expr:
    """What the own logit is ahead of its rival on the contour of loss value C: -log(e^C - 1), negative above log 2."""
    return -sp.log(sp.exp(loss_value) - 1)


def pair_center(sigma_k: sp.Expr, sigma_j: sp.Expr, center_k: sp.Expr, center_j: sp.Expr) -> sp.Expr:
    """Center M of the spherical contours between label k and runner-up j, one coordinate (or a whole column).

    Args:
        sigma_k: precision of the label's class.
        sigma_j: precision of the runner-up, different from sigma_k.
        center_k: mu_k.
        center_j: mu_j.
    """
    return (sigma_k * center_k - sigma_j * center_j) / (sigma_k - sigma_j)


def pair_constant(sigma_k: sp.Expr, sigma_j: sp.Expr, squared_distance: sp.Expr, bias_gap: sp.Expr) -> sp.Expr:
    """B_kj as printed: the part of the squared radius that does not depend on the loss value.

    Args:
        sigma_k: precision of the label's class.
        sigma_j: precision of the runner-up, different from sigma_k.
        squared_distance: ||mu_k - mu_j||^2.
        bias_gap: B_k - B_j.
    """
    return sigma_k * sigma_j * squared_distance / (sigma_k - sigma_j) ** 2 + bias_gap / (sigma_k - sigma_j)


def squared_radius(
    loss_value: sp.Expr, sigma_k: sp.Expr, sigma_j: sp.Expr, squared_distance: sp.Expr, bias_gap: sp.Expr
) -> sp.Expr:
    """R^2 of the contour of loss value C, as printed; no contour where it is negative. Args as `pair_constant`."""
    constant = pair_constant(sigma_k, sigma_j, squared_distance, bias_gap)
    return constant - lead(loss_value) / (sigma_k - sigma_j)


def limit_loss(sigma_k: sp.Expr, sigma_j: sp.Expr, squared_distance: sp.Expr, bias_gap: sp.Expr) -> sp.Expr:
    """The loss value C* at M, where the contour shrinks to a point: least for sigma_k > sigma_j, largest for <."""
    constant = pair_constant(sigma_k, sigma_j, squared_distance, bias_gap)
    return sp.log(1 + sp.exp((sigma_j - sigma_k) * constant))


def plane_normal(sigma: sp.Expr, center_k: sp.Expr, center_j: sp.Expr) -> sp.Expr:
    """Normal of the contour {normal . z = offset}, equal precisions (one coordinate or a column); W_k - W_j in SCE."""
    return 2 * sigma * (center_k - center_j)


def plane_offset(
    loss_value: sp.Expr, sigma: sp.Expr, squared_norm_k: sp.Expr, squared_norm_j: sp.Expr, bias_gap: sp.Expr
) -> sp.Expr:
    """Offset of the contour {normal . z = offset} for equal precisions.

    Args:
        loss_value: C > 0.
        sigma: the precision of both classes.
        squared_norm_k: ||mu_k||^2.
        squared_norm_j: ||mu_j||^2.
        bias_gap: B_k - B_j.
    """
    return lead(loss_value) + sigma * (squared_norm_k - squared_norm_j) - bias_gap


def pair_quadric(
    loss_value: sp.Expr,
    centers: tuple[sp.Matrix, sp.Matrix],
    precisions: tuple[sp.Matrix, sp.Matrix],
    bias_gap: sp.Expr,
) -> tuple[sp.Matrix, sp.Matrix, sp.Expr]:
    """The contour z^T A z - 2 b^T z + c = 0 between label k and runner-up j, for full precision matrices.

    Args:
        loss_value: C > 0.
        centers: mu_k and mu_j, columns of d entries.
        precisions: Sigma_k and Sigma_j, symmetric.
        bias_gap: B_k - B_j.

    Returns:
        A = Sigma_k - Sigma_j, the column b = Sigma_k mu_k - Sigma_j mu_j, and c.
    """
    pulled_k, pulled_j = (precision * center for precision, center in zip(precisions, centers, strict=True))
    constant = pulled_k.dot(centers[0]) - pulled_j.dot(centers[1]) - bias_gap + lead(loss_value)
    return precisions[0] - precisions[1], pulled_k - pulled_j, constant


def signature(matrix: sp.Matrix) -> tuple[int, int]:
    """How many eigenvalues of a symmetric matrix are positive, and how many negative, without computing any.

    All roots of its characteristic polynomial are real, so Descartes' rule of signs counts the positive ones exactly.

    Args:
        matrix: symmetric, with exact real numbers as entries.

    Raises:
        ValueError: not symmetric, a float, or an entry that is not a number.
    """
    if not matrix.is_symmetric() or matrix.has(sp.Float) or matrix.free_symbols:
        raise ValueError(f"matrix must be symmetric with exact numbers as entries, got {matrix}")
    signs = [sp.sign(sp.simplify(coefficient)) for coefficient in matrix.charpoly().all_coeffs()]
    positive = sum(before != after for before, after in pairwise(sign for sign in signs if sign))
    rank = max(power for power, sign in enumerate(signs) if sign)
    return positive, rank - positive


def quadric_kind(matrix: sp.Matrix, column: sp.Matrix, constant: sp.Expr) -> str:
    """Name the set {z : z^T A z - 2 b^T z + c = 0} in R^d; the name does not change under translation or rotation.

    It follows from two signatures: of A, and of the bordered matrix [[A, -b], [-b^T, c]], which a translation changes
    by a congruence. The border adds no eigenvalue sign (cone), one (central) or one of each (paraboloid).

    Args:
        matrix: A, symmetric, exact numbers.
        column: b, d entries.
        constant: c.

    Returns:
        A name in the language of R^3, for every d: an `ellipsoid` in the plane is an ellipse, a `plane` there a line.
        Directions in which the set does not change make it a `cylinder over` something in fewer dimensions.
    """
    bordered = sp.Matrix(sp.BlockMatrix([[matrix, -column], [-column.T, sp.Matrix([constant])]]))
    positive, negative = signature(matrix)
    more, less = signature(bordered)
    spare = matrix.rows - positive - negative
    match (more - positive, less - negative):
        case (1, 1):
            kind, spare = _paraboloid(positive, negative), spare - 1
        case (1, 0):  # in sum of +-x^2 = 1, the squares with a plus are those whose sign is opposite to the constant's
            kind = _central(negative, positive)
        case (0, 1):
            kind = _central(positive, negative)
        case _:
            kind = _cone(positive, negative, spare)
    return f"cylinder over {kind}" if spare and kind.endswith(("oid", "sheet", "sheets", "cone")) else kind


def _central(plus: int, minus: int) -> str:
    if plus == 0:
        return "empty"
    if minus == 0:
        return "two parallel planes" if plus == 1 else "ellipsoid"
    return "hyperboloid of two sheets" if plus == 1 else "hyperboloid of one sheet"


def _cone(positive: int, negative: int, spare: int) -> str:
    if positive and negative:
        return "two crossing planes" if positive == negative == 1 else "cone"
    if positive + negative < 2:
        return "plane" if positive or negative else "whole space"
    return "flat" if spare else "point"


def _paraboloid(positive: int, negative: int) -> str:
    if positive and negative:
        return "hyperbolic paraboloid"
    return "elliptic paraboloid" if positive or negative else "plane"


def excess_low(gap: sp.Expr) -> sp.Expr:
    """Least log-sum-exp minus maximum of two or more logits whose two largest differ by `gap` >= 0."""
    return sp.log(1 + sp.exp(-gap))


def excess_high(gap: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Largest log-sum-exp minus maximum of the L - 1 other logits whose two largest differ by `gap` >= 0.

    At most log(L - 1), reached where all tie; equal to `excess_low` for L = 3.
    """
    return sp.log(1 + (num_classes - 2) * sp.exp(-gap))


def approximate_value(loss_value: sp.Expr, excess: sp.Expr) -> sp.Expr:
    """The approximate loss where the exact one is C and log-sum-exp exceeds the maximum by `excess`.

    So a point of the exact contour C lies on the approximate contour of this smaller value.
    """
    return sp.log(1 + (sp.exp(loss_value) - 1) * sp.exp(-excess))


def loss_error_bound(loss_value: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """Largest exact minus approximate loss at exact loss C with L classes; the least is 0. Below log(L - 1)."""
    return loss_value - approximate_value(loss_value, sp.log(num_classes - 1))


def squared_radius_shift(excess: sp.Expr, sigma_k: sp.Expr, sigma_j: sp.Expr) -> sp.Expr:
    """Squared distance to M on the exact contour minus R^2 of the approximate one: negative for sigma_k > sigma_j."""
    return -excess / (sigma_k - sigma_j)
