"""Sample density under the g-SCE loss (Theorem 1): as printed, exact by the coarea formula, and between hyperplanes.

N p(C) features per loss value over dV/dC of volume; the rate C_e / (C_e - 1) sets the thickness of a shell.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import contours, density


def lead_rate(loss_value: sp.Expr) -> sp.Expr:
    """How fast the own logit falls behind as the loss value grows: |d lead / dC| = C_e / (C_e - 1)."""
    return sp.exp(loss_value) / (sp.exp(loss_value) - 1)


def gsce_density(
    loss_value: sp.Expr,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    sigma_k: sp.Expr,
    sigma_j: sp.Expr,
    squared_distance: sp.Expr,
    bias_gap: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density between label k and runner-up j where sigma_k != sigma_j, exact.

    For two classes; with more, divide by the share of the sphere on which j is the runner-up (`cap_share`).

    Args:
        loss_value: C > 0, with R^2 > 0.
        loss_density: p(C), the probability density of the loss value.
        feature_dim: d >= 1.
        sigma_k: precision of the label's class.
        sigma_j: precision of the runner-up.
        squared_distance: ||mu_k - mu_j||^2.
        bias_gap: B_k - B_j.
        num_features: N_kj.
    """
    squared_radius = contours.squared_radius(loss_value, sigma_k, sigma_j, squared_distance, bias_gap)
    area_over_radius = density.sphere_area(feature_dim) * squared_radius ** ((feature_dim - 2) / 2)
    return num_features * loss_density * 2 * sp.Abs(sigma_k - sigma_j) / (lead_rate(loss_value) * area_over_radius)


def gsce_density_printed(
    loss_value: sp.Expr,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    sigma_k: sp.Expr,
    sigma_j: sp.Expr,
    squared_distance: sp.Expr,
    bias_gap: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density as printed in Theorem 1 (Eq. 7), up to a constant factor. Args as `gsce_density`."""
    squared_radius = contours.squared_radius(loss_value, sigma_k, sigma_j, squared_distance, bias_gap)
    return num_features * loss_density / squared_radius ** ((feature_dim - 1) / 2)


def printed_drift(loss_value: sp.Expr, squared_radius: sp.Expr) -> sp.Expr:
    """Printed over exact density, up to a constant: C_e / ((C_e - 1) R). The dimension is not in it."""
    return lead_rate(loss_value) / sp.sqrt(squared_radius)


def cap_share(cosine: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Share of the unit sphere in R^d whose points u have u_1 >= cosine: (1 - u_1)/2 is Beta((d-1)/2, (d-1)/2).

    Args:
        cosine: between -1 and 1.
        feature_dim: d >= 2.
    """
    shape = (feature_dim - 1) / sp.S(2)
    return sp.betainc_regularized(shape, shape, 0, (1 - cosine) / 2)


def slab_thickness(loss_value: sp.Expr, slope: sp.Expr) -> sp.Expr:
    """Thickness per loss value of the slab between parallel contours (sigma_k = sigma_j): C_e / ((C_e - 1) slope).

    Args:
        loss_value: C > 0.
        slope: norm of the planes' normal, ||W_k - W_j|| under SCE, > 0.
    """
    return lead_rate(loss_value) / slope


def depth_density(
    loss_value: sp.Expr, loss_density: sp.Expr, slope: sp.Expr, num_features: sp.Expr = sp.S.One
) -> sp.Expr:
    """Features per unit length across the slabs, in 1/length: all the loss value says where contours are planes.

    Args:
        loss_value: C > 0.
        loss_density: p(C).
        slope: as in `slab_thickness`.
        num_features: N_kj.
    """
    return num_features * loss_density / slab_thickness(loss_value, slope)


def window_density(
    loss_value: sp.Expr,
    loss_density: sp.Expr,
    feature_dim: sp.Expr,
    slope: sp.Expr,
    intercept: sp.Expr,
    radius: sp.Expr,
    num_features: sp.Expr = sp.S.One,
) -> sp.Expr:
    """Sample density between parallel contours inside a ball of the given radius around the origin.

    Args:
        loss_value: C > 0; the plane must meet the ball.
        loss_density: p(C) of the features in the ball.
        feature_dim: d >= 2.
        slope: norm of the planes' normal.
        intercept: the logit difference h_k - h_j at the origin.
        radius: rho > 0; features are spread evenly along the disk that the ball cuts from the plane.
        num_features: how many features are in the ball.
    """
    height = (contours.lead(loss_value) - intercept) / slope
    disk = density.ball_volume(sp.sqrt(radius**2 - height**2), feature_dim - 1)
    return depth_density(loss_value, loss_density, slope, num_features) / disk
