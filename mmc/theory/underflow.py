"""Where softmax goes silent: the gaps of logits at which floating-point numbers round its probabilities away.

The label leads a rival by g. Softmax then holds 1 + exp(-g) and exp(-g); a format with so many significant bits rounds
the first to 1, and one with so small a least exponent the second to 0. Rounding is to nearest, ties to even.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import centers

#: Significant bits, the hidden one included, and exponent of the least normal number: IEEE 754, and its short relative.
FORMATS = {"float64": (53, -1022), "float32": (24, -126), "bfloat16": (8, -126), "float16": (11, -14)}


def absorbed(bits: sp.Expr) -> sp.Expr:
    """The largest number that vanishes when it is added to 1: half a unit in the last place, a tie that goes to 1.

    Args:
        bits: significant bits of the format.
    """
    return sp.Integer(2) ** -bits


def least_positive(bits: sp.Expr, least_exponent: sp.Expr) -> sp.Expr:
    """The smallest positive number, a subnormal one; half of it, a tie, rounds to zero.

    Args:
        bits: significant bits of the format.
        least_exponent: of its normal numbers.
    """
    return sp.Integer(2) ** (least_exponent - bits + 1)


def value_gap(bits: sp.Expr, rivals: sp.Expr = sp.S.One) -> sp.Expr:
    """The gap from which on the label's probability is exactly 1: cross-entropy and its pull on the label are zero.

    Args:
        bits: significant bits of the format.
        rivals: how many classes follow at that same gap.
    """
    return sp.expand_log(sp.log(rivals / absorbed(bits)), force=True)


def gradient_gap(bits: sp.Expr, least_exponent: sp.Expr, factor: sp.Expr = sp.S.One) -> sp.Expr:
    """The gap from which on the rival's probability is exactly 0: the gradient of cross-entropy is zero altogether.

    Args:
        bits: significant bits of the format.
        least_exponent: of its normal numbers.
        factor: what the probability is multiplied with on the way back, such as 1/N under the mean of a batch.
    """
    return sp.expand_log(sp.log(2 * factor / least_positive(bits, least_exponent)), force=True)


def flushed_gap(least_exponent: sp.Expr) -> sp.Expr:
    """The same on hardware that takes subnormal numbers for zero: the rival then has the least normal one.

    Args:
        least_exponent: of the format's normal numbers.
    """
    return sp.expand_log(-sp.log(sp.Integer(2) ** least_exponent), force=True)


def home_gap(norm: sp.Expr, num_classes: sp.Expr, precision: sp.Expr = sp.S.Half) -> sp.Expr:
    """The gap at the own one of simplex centers: precision times the squared distance of two of them.

    Args:
        norm: C_MM > 0.
        num_classes: L >= 2.
        precision: sigma in the logits -sigma ||z - mu_l||^2; 1/2 in this book, 1 in the released code.
    """
    return precision * centers.simplex_squared_distance(num_classes, norm)


def largest_norm(gap: sp.Expr, num_classes: sp.Expr, precision: sp.Expr = sp.S.Half) -> sp.Expr:
    """The norm C_MM at which the own center lies at this gap: with larger centers it lies beyond.

    Args:
        gap: a threshold, such as `gradient_gap`.
        num_classes: L >= 2.
        precision: see `home_gap`.
    """
    return sp.sqrt(gap / home_gap(sp.S.One, num_classes, precision))
