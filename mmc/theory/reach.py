"""What a network can reach: how depth is counted, and centers seen from features that are never negative.

Pooled ReLU outputs lie in the nonnegative orthant. A center's nearest point there is its positive part, so the least
MMC loss of its class is half the squared length of its negative part.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import centers


def v1_depth(blocks: sp.Expr) -> sp.Expr:
    """Layers of a ResNet v1 with so many blocks in each of three stages: two convolutions a block, stem and end."""
    return 6 * blocks + 2


def v2_depth(blocks: sp.Expr) -> sp.Expr:
    """Layers of a ResNet v2 with bottlenecks: three convolutions a block, stem and end."""
    return 9 * blocks + 2


def v1_parameters(blocks: sp.Expr, width: sp.Expr, channels: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Trained numbers of a ResNet v1: convolutions, batch norms, projections with bias, and the linear layer to z.

    Args:
        blocks: n in each stage.
        width: channels of the first stage; the others have twice and four times as many.
        channels: of the image.
        feature_dim: d.
    """
    total = 9 * channels * width + 2 * width + blocks * (18 * width**2 + 4 * width)
    for before, after in ((width, 2 * width), (2 * width, 4 * width)):
        turn = 9 * before * after + 9 * after**2 + 4 * after + before * after + after
        total += turn + (blocks - 1) * (18 * after**2 + 4 * after)
    return total + 4 * width * feature_dim + feature_dim


def v1_multiply_adds(
    blocks: sp.Expr, width: sp.Expr, channels: sp.Expr, side: sp.Expr, feature_dim: sp.Expr
) -> sp.Expr:
    """Multiply-adds of one image through a ResNet v1: sides halve as channels double, so each stage costs alike.

    Args:
        blocks: n in each stage.
        width: channels of the first stage.
        channels: of the image.
        side: of the square image, a multiple of four.
        feature_dim: d.
    """
    layer = 9 * width**2 * side**2
    stem = 9 * channels * width * side**2
    # At the two turns the first convolution and the projection start from half of the channels.
    turns = 2 * (layer / 2 + layer / 18)
    return stem + (6 * blocks - 2) * layer + turns + 4 * width * feature_dim


def floor(num_classes: sp.Expr, index: sp.Expr, norm: sp.Expr) -> sp.Expr:
    """Least MMC loss of class k = 1, ..., L with a nonnegative feature, for the centers of the authors' recursion."""
    return norm**2 * (1 - centers.simplex_diagonal(num_classes, index) ** 2) / 2


def mean_floor(num_classes: sp.Expr, norm: sp.Expr) -> sp.Expr:
    """The mean of `floor` over the classes; about norm^2 log(L) / (2 L)."""
    return norm**2 * (sp.harmonic(num_classes) - 1) / (2 * (num_classes - 1))


def best_floor(num_classes: sp.Expr, norm: sp.Expr) -> sp.Expr:
    """The least mean floor over all rotations of a simplex: that of centered one-hot vectors, in d >= L dimensions."""
    return norm**2 / (2 * num_classes)


def worst_floor(num_classes: sp.Expr, norm: sp.Expr) -> sp.Expr:
    """The largest mean floor over all rotations: that of the negated centered one-hot vectors."""
    return norm**2 / 2 - best_floor(num_classes, norm)


def turned_floor(norm: sp.Expr) -> sp.Expr:
    """The mean floor over random rotations, of any centers of this norm: half of what lies behind is as much ahead."""
    return norm**2 / 4


def kept_gap(num_classes: sp.Expr, index: sp.Expr) -> sp.Expr:
    """The gap of class k at its floor as a share of the gap at its center, for the authors' recursion.

    The nearest rivals are the classes before k; the first has none of these and keeps all, the last keeps nothing.
    """
    left = num_classes - index
    return sp.Piecewise((sp.S.One, sp.Eq(index, 1)), (left / (left + 1), True))


def kept_gap_onehot(num_classes: sp.Expr) -> sp.Expr:
    """The same for centered one-hot vectors, every class alike."""
    return 1 - 1 / num_classes
