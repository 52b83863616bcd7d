"""The losses of one feature, as functions of the few numbers each one sees: logits, cosines, distances, a length.

Wrong classes come as a sequence, in any order; no loss here tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from mmc.theory import contours


def mean(values: Sequence[sp.Expr]) -> sp.Expr:
    """The average."""
    return sum(values, sp.S.Zero) / len(values)


def cross_entropy(own: sp.Expr, others: Sequence[sp.Expr]) -> sp.Expr:
    """-log softmax at the label: SCE, g-SCE and MMLDA, each with its own logits.

    Args:
        own: h_y.
        others: the other logits.
    """
    return contours.loss(own, contours.log_sum_exp(others))


def distance_logit(squared_distance: sp.Expr, precision: sp.Expr = sp.S.Half) -> sp.Expr:
    """The logit of a center at this squared distance: MMLDA's, and the decision rule of MMC."""
    return -precision * squared_distance


def mmc(distance: sp.Expr) -> sp.Expr:
    """MMC, on simplex, random or hierarchical centers: half the squared distance to the own center."""
    return distance**2 / 2


def center(own: sp.Expr, others: Sequence[sp.Expr], squared_distance: sp.Expr, weight: sp.Expr) -> sp.Expr:
    """Center loss.

    Args:
        own: h_y.
        others: the other logits.
        squared_distance: to the own center, which is not part of the logits.
        weight: lambda >= 0.
    """
    return cross_entropy(own, others) + weight / 2 * squared_distance


def lgm(squared_distance: sp.Expr, others: Sequence[sp.Expr], margin: sp.Expr, weight: sp.Expr) -> sp.Expr:
    """L-GM loss with covariance I.

    Args:
        squared_distance: to the own center.
        others: squared distances to the other centers.
        margin: alpha >= 0.
        weight: lambda >= 0.
    """
    own = distance_logit(squared_distance)
    rivals = [distance_logit(entry) for entry in others]
    return cross_entropy(own * (1 + margin), rivals) - weight * own


def smoothed(own: sp.Expr, others: Sequence[sp.Expr], share: sp.Expr) -> sp.Expr:
    """Label smoothing: cross-entropy to a target of mass `share` on the label, the rest spread over the others."""
    everything = contours.log_sum_exp([own, *others])
    return everything - share * own - (1 - share) * mean(others)


def share_others(eps: sp.Expr) -> sp.Expr:
    """The label's share where eps goes to the L - 1 others."""
    return 1 - eps


def share_all(eps: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """The label's share where eps goes to all L classes, as in PyTorch."""
    return 1 - eps + eps / num_classes


def smoothing_margin(share: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """The margin over every wrong class at which label smoothing is stationary."""
    return sp.log((num_classes - 1) * share / (1 - share))


def smoothing_floor(share: sp.Expr, num_classes: sp.Expr) -> sp.Expr:
    """The least value of label smoothing: the entropy of its target."""
    rest = 1 - share
    return -share * sp.log(share) - rest * sp.log(rest / (num_classes - 1))


def one_vs_rest(own: sp.Expr, others: Sequence[sp.Expr]) -> sp.Expr:
    """One-vs-rest: a binary cross-entropy for each class, summed. Source: Kanai et al. 2023.

    Args:
        own: h_y.
        others: the other logits.
    """
    return sp.log(1 + sp.exp(-own)) + sum((sp.log(1 + sp.exp(entry)) for entry in others), sp.S.Zero)


def logit_squared(own: sp.Expr, others: Sequence[sp.Expr], target: sp.Expr) -> sp.Expr:
    """(m - m*)^2, averaged over the margins to all wrong classes; with one of them, the runner-up's alone.

    Args:
        own: h_y.
        others: the other logits.
        target: m*.
    """
    return mean([(own - entry - target) ** 2 for entry in others])


def mirrored(own: sp.Expr, others: Sequence[sp.Expr], target: sp.Expr) -> sp.Expr:
    """Cross-entropy plus its mirror image at the margin m*, the book's own family: m* = infinity is cross-entropy.

    Args:
        own: h_y.
        others: the other logits.
        target: m* > 0.
    """
    margins = [own - entry for entry in others]
    return cross_entropy(own, others) + contours.loss(2 * target, contours.log_sum_exp(margins))


def guided_complement(
    own: sp.Expr, others: Sequence[sp.Expr], alpha: sp.Expr, scale_classes: sp.Expr | None = None
) -> sp.Expr:
    """Guided complement entropy: p_y^alpha times the negative entropy of the wrong classes. Source: Chen et al. 2019.

    Args:
        own: h_y.
        others: the other logits, two or more.
        alpha: > 0.
        scale_classes: the number whose logarithm divides; L where not given.
    """
    wrong = contours.log_sum_exp(others)
    entropy = sum((sp.exp(entry - wrong) * (wrong - entry) for entry in others), sp.S.Zero)
    scale = sp.Integer(len(others) + 1) if scale_classes is None else scale_classes
    return -sp.exp(-alpha * contours.loss(own, wrong)) * entropy / sp.log(scale)


def guided_complement_even(margin: sp.Expr, num_classes: sp.Expr, alpha: sp.Expr) -> sp.Expr:
    """Guided complement entropy where all wrong classes trail by the same margin; its infimum is at infinity.

    Args:
        margin: m.
        num_classes: L >= 3.
        alpha: > 0.
    """
    right = sp.exp(margin) / (sp.exp(margin) + num_classes - 1)
    return -(right**alpha) * sp.log(num_classes - 1) / sp.log(num_classes)


def hypersphere(own: sp.Expr, others: Sequence[sp.Expr], scale: sp.Expr, margin: sp.Expr) -> sp.Expr:
    """Hypersphere embedding: cross-entropy on scaled cosines. Source: Pang et al. 2020b.

    Args:
        own: the cosine of feature and own weight.
        others: the other cosines.
        scale: s > 0.
        margin: m >= 0, taken from the own cosine.
    """
    return cross_entropy(scale * (own - margin), [scale * entry for entry in others])


def prototype_conformity(
    softmax: sp.Expr, squared_distance: sp.Expr, rivals: Sequence[sp.Expr], pull: sp.Expr, push: sp.Expr
) -> sp.Expr:
    """Prototype conformity. Source: Mustafa et al. 2019.

    Args:
        softmax: the value of its cross-entropy.
        squared_distance: to the own center.
        rivals: squared distances to the other classes' centers of the second set.
        pull: weight of the first, 1.
        push: weight of their mean, 1e-4.
    """
    return softmax + pull * squared_distance - push * mean(rivals)


def dot_regression(length: sp.Expr, cosine: sp.Expr, norm: sp.Expr = sp.S.One) -> sp.Expr:
    """Dot-regression: (<z, m> - ||m|| ||z||)^2 / (2 ||z||), in polar coordinates.

    Args:
        length: ||z||.
        cosine: between z and the own center m.
        norm: ||m||.
    """
    return norm**2 * length * (1 - cosine) ** 2 / 2
