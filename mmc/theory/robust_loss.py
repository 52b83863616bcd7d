"""Adversarial training where its inner maximum can be solved: what a loss becomes, and what its minimisers keep.

The model is affine. Two classes, y = +-1, are told apart by a scalar z = <w, x> + b; an L-inf ball of radius eps moves
it by at most eps ||w||_1, either way. Cross-entropy of the margin falls, so its worst image lies on the boundary's
side; the squared error of MMC's feature to its center rises on both sides, so its worst image lies where z is off
already. The population is Gaussian: x = y theta + s xi, xi standard normal, theta >= 0.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory.distances import noise_accuracy


def margin_inner(margin: sp.Expr, slope: sp.Expr, radius: sp.Expr) -> sp.Expr:
    """Largest cross-entropy of two classes in the ball: that of the margin less all that the ball can take from it.

    Args:
        margin: m = h_y - h_t at the clean image.
        slope: L1 norm of the margin's gradient in the image, >= 0.
        radius: eps >= 0.
    """
    return sp.log(1 + sp.exp(slope * radius - margin))


def square_inner(residual: sp.Expr, slope: sp.Expr, radius: sp.Expr) -> sp.Expr:
    """Largest 1/2 (z - mu_y)^2 of a scalar feature in the ball: the residual grows, whatever its sign.

    Args:
        residual: r = z - mu_y at the clean image.
        slope: ||w||_1 of the feature, >= 0.
        radius: eps >= 0.
    """
    return (sp.Abs(residual) + slope * radius) ** 2 / 2


def sign_step_radius(hessian: sp.Matrix, gradient: sp.Matrix) -> sp.Expr:
    """Up to this radius one signed step reaches the largest value of a convex quadratic in the L-inf ball.

    The largest value lies at a corner eps s'. Against the step s = sign(g) a corner that differs in the pixels F loses
    2 eps |g_i| for each i in F, and gains at most 2 eps^2 |q_ij| for each i in F and j outside. With two pixels whose
    gradient has no zero and q_12 s_1 s_2 < 0, or with q_12 = 0, no larger radius will do.

    Args:
        hessian: Q of 1/2 d^T Q d + g^T d, positive semidefinite; for MMC A^T A.
        gradient: g at the clean image; for MMC A^T r.
    """
    coupled = [sum(sp.Abs(hessian[i, j]) for j in range(len(gradient)) if j != i) for i in range(len(gradient))]
    pairs = zip(coupled, gradient, strict=True)
    return sp.Min(sp.oo, *(sp.Abs(slope) / other for other, slope in pairs if other != 0))


def certified_loss(separation: sp.Expr) -> sp.Expr:
    """MMC's loss below which every feature is nearest to its own center: half the squared half-separation, D^2 / 8.

    Args:
        separation: D > 0, least distance between two centers.
    """
    return (separation / 2) ** 2 / 2


def folded_mean(mean: sp.Expr, deviation: sp.Expr) -> sp.Expr:
    """E|r| of a normal r.

    Args:
        mean: of r.
        deviation: of r, > 0.
    """
    ratio = mean / (sp.sqrt(2) * deviation)
    return deviation * sp.sqrt(2 / sp.pi) * sp.exp(-(ratio**2)) + mean * sp.erf(ratio)


def square_population(mean: sp.Expr, deviation: sp.Expr, reach: sp.Expr) -> sp.Expr:
    """Mean of 1/2 (|r| + reach)^2 for a normal residual: what adversarial training with MMC minimises here.

    Args:
        mean: of r, here <w, theta> - mu.
        deviation: of r, here s ||w||_2, > 0.
        reach: eps ||w||_1 >= 0.
    """
    return (mean**2 + deviation**2 + reach**2) / 2 + reach * folded_mean(mean, deviation)


def threshold(signal: sp.Expr, radius: sp.Expr) -> sp.Expr:
    """A weight of the robust optimum up to a common factor: the signal of its pixel less the radius, or zero.

    Args:
        signal: theta_i >= 0.
        radius: eps >= 0, or the larger one that MMC's minimiser has in its place.
    """
    return sp.Max(signal - radius, 0)


def threshold_ratio(mean: sp.Expr, deviation: sp.Expr, reach: sp.Expr) -> sp.Expr:
    """By how much the threshold of MMC's minimiser exceeds the radius: never below 1, and 1 if r has one sign alone.

    It is E(|r| + reach) over -E((|r| + reach) sign r). At a minimiser the mean is negative. Args: `square_population`.
    """
    pull = mean + reach * sp.erf(mean / (sp.sqrt(2) * deviation))
    return -(folded_mean(mean, deviation) + reach) / pull


def gaussian_robust(signal: sp.Expr, deviation: sp.Expr, reach: sp.Expr) -> sp.Expr:
    """Exact robust accuracy of the sign of z: the share of images whose margin the ball cannot take.

    Args:
        signal: <w, theta>.
        deviation: s ||w||_2 > 0.
        reach: eps ||w||_1 >= 0.
    """
    return noise_accuracy(signal - reach, deviation)
