"""Attacks where they can be solved: Carlini and Wagner's penalty before one plane, their pixels, and SPSA's slope.

The plane is that of `mmc.theory.oracle`: a gap g that falls along its normal n, here without the box.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import oracle


def penalty_move(gap: sp.Expr, normal: sp.Matrix, constant: sp.Expr) -> sp.Expr:
    """Length of the move that minimises ||delta||^2 + c max(0, g - <n, delta>): along n, up to the plane at most.

    Args:
        gap: g >= 0.
        normal: n, the gradient of -g in the image.
        constant: c >= 0.
    """
    return sp.Min(constant * normal.norm() / 2, oracle.distance_l2(gap, normal))


def penalty_threshold(gap: sp.Expr, normal: sp.Matrix) -> sp.Expr:
    """The least constant whose minimiser reaches the plane; every larger one has the same minimiser, the nearest image.

    Args as `penalty_move`.
    """
    return 2 * gap / normal.norm() ** 2


def tanh_pixel(hidden: sp.Expr, edge: sp.Expr = sp.S.Zero) -> sp.Expr:
    """A pixel as a function of a free variable w: 1/2 + (1/2 + edge) tanh w. Its range is [0, 1], and `edge` beyond.

    Args:
        hidden: w, any real number.
        edge: >= 0; zero is the form of Carlini and Wagner 2017, in which a pixel at 0 or 1 has an infinite w.
    """
    return sp.S.Half + (sp.S.Half + edge) * sp.tanh(hidden)


def tanh_slope(pixel: sp.Expr, edge: sp.Expr = sp.S.Zero) -> sp.Expr:
    """How much a pixel moves for each unit of w, where it is now: zero at 0 and 1 without an edge."""
    span = sp.S.Half + edge
    return span - (pixel - sp.S.Half) ** 2 / span


def spsa_mean(slope: sp.Expr, third: sp.Expr, mixed: sp.Expr, delta: sp.Expr) -> sp.Expr:
    """What SPSA measures on average for one pixel, v_i (f(x + delta v) - f(x - delta v)) / (2 delta) over signs v.

    Exact for polynomials of degree three: even orders cancel, and of the third order only v_i^4 and v_i^2 v_j^2 stay.

    Args:
        slope: the true derivative in pixel i.
        third: the third derivative in pixel i.
        mixed: the sum over all other pixels j of the derivative once in i and twice in j.
        delta: half the distance between the two images of a pair, > 0.
    """
    return slope + delta**2 / 6 * (third + 3 * mixed)


def spsa_relative_error(num_pixels: sp.Expr, samples: sp.Expr) -> sp.Expr:
    """Root mean square of SPSA's error over the length of the gradient, for an affine objective.

    A sign's square is one, so a direction shows a pixel its own slope exactly, and the slopes of all others as noise.

    Args:
        num_pixels: n >= 1.
        samples: independent directions, >= 1.
    """
    return sp.sqrt((num_pixels - 1) / samples)


def spsa_corner_gain(num_pixels: sp.Expr, samples: sp.Expr) -> sp.Expr:
    """What the corner along SPSA's slope gains of what the best corner does, for an affine objective with equal slopes.

    A pixel turns the wrong way where it hears more of the others than of itself, and what it hears of many is normal:
    `spsa_relative_error` times its own slope. Right pixels minus wrong ones, as a share, are an error function.

    Args:
        num_pixels: n > 1, many.
        samples: independent directions, >= 1, over all iterations.
    """
    return sp.erf(1 / (sp.sqrt(2) * spsa_relative_error(num_pixels, samples)))
