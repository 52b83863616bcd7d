"""The oracle: a model whose logit differences are affine in the image, so its exact robustness is known.

With features z = A x + b and one precision for all classes, the quadratic terms of any two logits cancel. The gap
g_t = h_y - h_t to class t is then affine in x, and {h_t >= h_y} is a half-space. The images that fool the model are
the union of these half-spaces, so the exact distance is the least over t, with the box [0, 1] as without it. An image
at exactly its distance ties: it is robust at every radius below.

In the box, both norms come down to one equation, sum_i a_i min(s, c_i) = target, which `level` solves in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from mmc.theory import contours


def pair_normal(
    jacobian: sp.Matrix, center_y: sp.Matrix, center_t: sp.Matrix, precision: sp.Expr = sp.S.Half
) -> sp.Matrix:
    """Gradient of h_t - h_y in the image: 2 sigma A^T (mu_t - mu_y), the direction in which the gap falls fastest.

    Args:
        jacobian: A, d x n.
        center_y: mu_y, a column of d entries.
        center_t: mu_t, likewise.
        precision: sigma > 0 in the logits -sigma ||z - mu_l||^2, the same for every class.
    """
    return jacobian.T * contours.plane_normal(precision, center_t, center_y)


def center_gap(feature: sp.Matrix, center_y: sp.Matrix, center_t: sp.Matrix, precision: sp.Expr = sp.S.Half) -> sp.Expr:
    """The gap h_y - h_t of two centers of any norms: affine in z; for equal norms 2 sigma <z, mu_y - mu_t>.

    Args:
        feature: z = A x + b, a column of d entries.
        center_y: mu_y, likewise.
        center_t: mu_t, likewise.
        precision: see `pair_normal`.
    """
    norms = center_y.dot(center_y) - center_t.dot(center_t)
    return contours.plane_normal(precision, center_y, center_t).dot(feature) - precision * norms


def linear_gap(image: sp.Matrix, weights: sp.Matrix, biases: sp.Matrix, label: int, rival: int) -> sp.Expr:
    """The gap h_y - h_t of any affine logits W x + c: every linear model is an oracle too.

    Args:
        image: x, a column of n entries.
        weights: W, L x n.
        biases: c, a column of L entries.
        label: y, the own class.
        rival: t, another one.
    """
    logits = weights * image + biases
    return logits[label] - logits[rival]


def distance_l2(gap: sp.Expr, normal: sp.Matrix) -> sp.Expr:
    """Euclidean distance to the boundary against one class, without the box: g / ||n||_2.

    Args:
        gap: g >= 0.
        normal: n, the gradient of -g in the image.
    """
    return gap / sp.sqrt(sum((entry**2 for entry in normal), sp.S.Zero))


def distance_linf(gap: sp.Expr, normal: sp.Matrix) -> sp.Expr:
    """L-inf distance to the boundary against one class, without the box: g / ||n||_1, by the dual norm.

    The arguments are those of `distance_l2`.
    """
    return gap / sum((sp.Abs(entry) for entry in normal), sp.S.Zero)


def nearest(distances: Sequence[sp.Expr]) -> sp.Expr:
    """Distance to the nearest image that fools the model, from the distances to each wrong class."""
    return sp.Min(*distances)


def room(pixel: sp.Expr, weight: sp.Expr) -> sp.Expr:
    """How far a pixel may move inside [0, 1] in the direction in which the gap falls: up for a positive weight.

    Args:
        pixel: x_i in [0, 1].
        weight: n_i.
    """
    return sp.Piecewise((1 - pixel, weight > 0), (pixel, True))


def worst_pixel(pixel: sp.Expr, weight: sp.Expr, radius: sp.Expr) -> sp.Expr:
    """The worst value of one pixel in the box and the L-inf ball: an end of [max(0, x - eps), min(1, x + eps)].

    Args:
        pixel: x_i in [0, 1].
        weight: n_i; where it is zero the pixel does not matter, and stays.
        radius: eps >= 0.
    """
    return pixel + sp.sign(weight) * sp.Min(radius, room(pixel, weight))


def loss_linf(pixel: sp.Expr, weight: sp.Expr, radius: sp.Expr) -> sp.Expr:
    """What one pixel at its worst takes from the gap, abs(n_i) min(eps, room). Robust at eps: the sum is below the gap.

    The arguments are those of `worst_pixel`.
    """
    return weight * (worst_pixel(pixel, weight, radius) - pixel)


def level(target: sp.Expr, strengths: Sequence[sp.Expr], ceilings: Sequence[sp.Expr]) -> sp.Expr:
    """The least s >= 0 with sum_i a_i min(s, c_i) = target; infinite where the sum stays below.

    Each term is the lesser of a_i s and a_i c_i, so the sum is the least, over all sets S of indices, of
    sum_{i in S} a_i c_i + s sum_{i not in S} a_i. It reaches the target once all of these do: s is the largest of
    (target - sum_{i in S} a_i c_i) / sum_{i not in S} a_i. The set of the ceilings below s attains it, so with rising
    ceilings the first k indices, k = 0, 1, ..., are enough. For k = 0 this is the solution without ceilings.

    Args:
        target: >= 0.
        strengths: a_i > 0.
        ceilings: c_i >= 0, in rising order.
    """
    filled, free = sp.S.Zero, sum(strengths, sp.S.Zero)
    candidates = [sp.S.Zero]
    for strength, ceiling in zip(strengths, ceilings, strict=True):
        candidates.append((target - filled) / free)
        filled, free = filled + strength * ceiling, free - strength
    return sp.Piecewise((sp.Max(*candidates), target <= filled), (sp.oo, True))


def boxed_linf(gap: sp.Expr, normal: sp.Matrix, image: sp.Matrix) -> sp.Expr:
    """Exact L-inf distance to the boundary against one class in the box; infinite where the box holds none.

    The least radius at which the losses of all pixels, `loss_linf`, add up to the gap.

    Args:
        gap: g >= 0, a number.
        normal: n, a column of n numbers.
        image: x, a column of n numbers in [0, 1].
    """
    pixels = [(room(x, w), sp.Abs(w)) for x, w in zip(image, normal, strict=True) if not w.is_zero]
    return _rising_level(gap, pixels)


def boxed_l2_multiplier(gap: sp.Expr, normal: sp.Matrix, image: sp.Matrix) -> sp.Expr:
    """The multiplier lambda at which clip(x + lambda n, 0, 1) lies on the boundary against one class.

    That image is the nearest one in L2: the Lagrangian of 1/2 ||x' - x||^2 under <n, x' - x> = g, minimised over the
    box, separates into pixels, each a parabola with its vertex at x_i + lambda n_i; and the problem is convex. Pixel i
    moves by min(lambda a, room), a = abs(n_i), and takes a^2 min(lambda, room / a) from the gap. Args as `boxed_linf`.
    """
    pixels = [(room(x, w) / sp.Abs(w), w**2) for x, w in zip(image, normal, strict=True) if not w.is_zero]
    return _rising_level(gap, pixels)


def boxed_l2(gap: sp.Expr, normal: sp.Matrix, image: sp.Matrix) -> sp.Expr:
    """Exact L2 distance to the boundary against one class in the box; infinite where the box holds none.

    Equal to `distance_l2` as long as no pixel meets the end of its range on the way. Args as `boxed_linf`.
    """
    multiplier = boxed_l2_multiplier(gap, normal, image)
    if multiplier == sp.oo:
        return multiplier
    moves = [sp.Min(multiplier * sp.Abs(w), room(x, w)) for x, w in zip(image, normal, strict=True)]
    return sp.sqrt(sum((move**2 for move in moves), sp.S.Zero))


def boxed_l2_multiplier_at(radius: sp.Expr, normal: sp.Matrix, image: sp.Matrix) -> sp.Expr:
    """The multiplier lambda at which clip(x + lambda n, 0, 1) lies at L2 distance `radius`; infinite out of reach.

    That image takes the most from the gap in ball and box. Its squared distance is sum_i n_i^2 min(lambda^2,
    (room / n_i)^2), the equation of `level` once more.

    Args:
        radius: eps >= 0, a number.
        normal: n, a column of n numbers.
        image: x, a column of n numbers in [0, 1].
    """
    pixels = [((room(x, w) / w) ** 2, w**2) for x, w in zip(image, normal, strict=True) if not w.is_zero]
    return sp.sqrt(_rising_level(radius**2, pixels))


def _rising_level(target: sp.Expr, pairs: Sequence[tuple[sp.Expr, sp.Expr]]) -> sp.Expr:
    """`level` of (ceiling, strength) pairs of numbers in any order."""
    ceilings, strengths = zip(*sorted(pairs), strict=True) if pairs else ((), ())
    return level(target, strengths, ceilings)


def blind_distance(slope: sp.Expr, bits: sp.Expr) -> sp.Expr:
    """Distance from the boundary beyond which cross-entropy of two classes underflows: where the gap is bits log 2.

    Args:
        slope: gap gained per unit of distance: the dual norm of `pair_normal`, ||n||_2 in L2, ||n||_1 in L-inf.
        bits: in float32, 24 for its value and the gradient in h_y, 150 for the whole gradient (first experiment).
    """
    return bits * sp.log(2) / slope
