"""Sample density: volumes of balls and shells, and the density of features spread evenly along loss contours.

Every law here is one sentence: features per loss value, N p(C), over volume per loss value, dV/dC.
"""

from __future__ import annotations

import sympy as sp


def sphere_area(feature_dim: sp.Expr) -> sp.Expr:
    """Area S_{d-1} of the unit sphere in R^d.

    Args:
        feature_dim: d >= 1; two points for d = 1, the circle's length for d = 2.
    """
    return 2 * sp.pi ** (feature_dim / 2) / sp.gamma(feature_dim / 2)


def ball_volume(radius: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Volume of a ball of the given radius in R^d."""
    return sphere_area(feature_dim) * radius**feature_dim / feature_dim


def shell_volume(inner: sp.Expr, outer: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Volume between two concentric spheres with radii inner <= outer."""
    return ball_volume(outer, feature_dim) - ball_volume(inner, feature_dim)


def shell_fraction(thickness: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Share of a unit ball's volume that lies within `thickness` (0 to 1) of its surface."""
    return 1 - (1 - thickness) ** feature_dim


def volume_rate(radius: sp.Expr, loss_value: sp.Symbol, feature_dim: sp.Expr) -> sp.Expr:
    """Volume per loss value, dV/dC, between spherical contours of radius R(C): area times thickness |dR/dC|.

    Args:
        radius: R(C), an expression of `loss_value`.
        loss_value: the symbol C.
        feature_dim: d >= 1.
    """
    return sphere_area(feature_dim) * radius ** (feature_dim - 1) * sp.Abs(sp.diff(radius, loss_value))


def radial_density(
    radius: sp.Expr,
    loss_value: sp.Symbol,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density (Eq. 2) of features spread evenly along spherical loss contours, by the coarea formula.

    Args:
        radius: R(C), an expression of `loss_value`.
        loss_value: the symbol C.
        loss_density: p(C), the probability density of the loss value.
        feature_dim: d >= 1.
        num_features: N, how many features share these contours.
    """
    return num_features * loss_density / volume_rate(radius, loss_value, feature_dim)


def power_radius(loss_value: sp.Expr, power: sp.Expr) -> sp.Expr:
    """Radius of the contour ||z - mu||^q / q = C; q = 2 is the MMC loss."""
    return (power * loss_value) ** (1 / power)


def power_density(
    loss_value: sp.Expr,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    power: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density under the loss ||z - mu||^q / q: the exponent of C is (d - q)/q."""
    return (
        num_features
        * loss_density
        / (sphere_area(feature_dim) * (power * loss_value) ** ((feature_dim - power) / power))
    )


def mmc_radius(loss_value: sp.Expr) -> sp.Expr:
    """Radius of the MMC contour C = R^2 / 2 around the label's center."""
    return sp.sqrt(2 * loss_value)


def mmc_density(
    loss_value: sp.Expr,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density under the MMC loss, exact (Theorem 2 with the shell's true thickness dR = dC / R).

    Args:
        loss_value: C > 0.
        loss_density: p_k(C), the probability density of the loss value in class k.
        feature_dim: d >= 1.
        num_features: N_k, the number of features with label k.
    """
    return num_features * loss_density / (sphere_area(feature_dim) * (2 * loss_value) ** ((feature_dim - 2) / 2))


def mmc_density_printed(
    loss_value: sp.Expr,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density under the MMC loss as printed in Theorem 2, up to a constant factor. Args as `mmc_density`."""
    return num_features * loss_density / loss_value ** ((feature_dim - 1) / 2)


def emc_density(
    loss_value: sp.Expr,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    tau: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density under the elastic MMC loss (||z - mu|| - tau)^2 / 2, whose contours are pairs of spheres.

    The inner sphere exists while sqrt(2C) < tau. Both shells are equally thick, so even along both is even in volume.

    Args:
        loss_value: C > 0.
        loss_density: p_k(C).
        feature_dim: d >= 2.
        tau: radius of the sphere on which the loss vanishes, > 0.
        num_features: N_k.
    """
    gap = mmc_radius(loss_value)
    areas = (tau + gap) ** (feature_dim - 1) + sp.Max(tau - gap, 0) ** (feature_dim - 1)
    return num_features * loss_density * gap / (sphere_area(feature_dim) * areas)


def gaussian_loss_density(loss_value: sp.Expr, feature_dim: sp.Expr, std: sp.Expr) -> sp.Expr:
    """p(C) of the MMC loss when features are Gaussian around the center: C ~ Gamma(d/2, scale std^2)."""
    shape = feature_dim / 2
    return loss_value ** (shape - 1) * sp.exp(-loss_value / std**2) / (sp.gamma(shape) * std**feature_dim)


def log_slope(law: sp.Expr, loss_value: sp.Symbol) -> sp.Expr:
    """Slope of a law on log-log axes, d log(law) / d log(C); a pure power C^a has slope a everywhere."""
    return sp.simplify(loss_value * sp.diff(law, loss_value) / law)


def knn_relative_variance(neighbors: sp.Expr, num_features: sp.Expr) -> sp.Expr:
    """Variance over squared mean of the bias-corrected k-NN density where the features are evenly spread.

    It holds no d: the number of neighbors alone sets the noise.

    Args:
        neighbors: k >= 3.
        num_features: N >= k.
    """
    return (num_features - neighbors + 1) / (num_features * (neighbors - 2))


def needed_features(neighbors: sp.Expr, radius: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """How many features, spread evenly in a unit ball, put k of them within `radius` (0 to 1) of its center."""
    return neighbors / radius**feature_dim


def gaussian_ball_ratio(radius: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Mean density of a standard Gaussian in a ball around its center, over the density at the center: Eq. 2's bias."""
    inside = sp.lowergamma(feature_dim / 2, radius**2 / 2) / sp.gamma(feature_dim / 2)
    return inside * (2 * sp.pi) ** (feature_dim / 2) / ball_volume(radius, feature_dim)


def mmc_mean_density_bound(
    mean_loss: sp.Expr, feature_dim: sp.Expr, share: sp.Expr = sp.Rational(1, 2), num_features: sp.Expr = sp.S.One
) -> sp.Expr:
    """Least mean density of the densest part of a class under the MMC loss, whatever p is.

    By Markov's inequality a share theta of the features has a loss of at most mean / (1 - theta), so it lies in a ball.

    Args:
        mean_loss: mean MMC loss of the class, > 0.
        feature_dim: d >= 1.
        share: theta, between 0 and 1.
        num_features: N_k.
    """
    return num_features * share / ball_volume(mmc_radius(mean_loss / (1 - share)), feature_dim)
