"""The ladder of objectives in closed form, where features are isotropic in the image: ||A d|| = s ||d||.

Up to the scale s an image is then its feature, and the best point that an objective has in an L2 ball lies at the end
of a ray: away from the own center, toward another one, or straight across the plane between the two. How far each ray
has to go before the model is fooled is the radius at which even a perfect climb of that objective succeeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from mmc.theory import oracle


def heading(normal: sp.Matrix, direction: sp.Matrix) -> sp.Expr:
    """Cosine between a direction and the one in which the gap falls fastest: 1 is the shortest way, 0 leads nowhere.

    Args:
        normal: n, the gradient of -g.
        direction: of the climb, of any length > 0.
    """
    return normal.dot(direction) / (_length(normal) * _length(direction))


def ray_reach(gap: sp.Expr, normal: sp.Matrix, direction: sp.Matrix) -> sp.Expr:
    """Distance to the boundary along a ray: that of the boundary over the heading; infinite where the gap never falls.

    Args:
        gap: g >= 0.
        normal: n, the gradient of -g.
        direction: of the ray.
    """
    ahead = heading(normal, direction)
    return sp.Piecewise((oracle.distance_l2(gap, normal) / ahead, ahead > 0), (sp.oo, True))


def plane(separation: sp.Expr, residual: sp.Expr, cosine: sp.Expr) -> tuple[sp.Matrix, sp.Matrix, sp.Matrix]:
    """Own center, other center and feature in the plane that they span, the origin midway between the centers.

    Args:
        separation: D > 0, the distance between the two centers.
        residual: rho >= 0, how far the feature lies from its own center.
        cosine: of the angle there between feature and other center.
    """
    other = sp.Matrix([separation / 2, 0])
    return -other, other, residual * sp.Matrix([cosine, sp.sqrt(1 - cosine**2)]) - other


def pair_gap(separation: sp.Expr, residual: sp.Expr, cosine: sp.Expr) -> sp.Expr:
    """The gap of a feature to the other class, under logits -||z - mu||^2 / 2. Args: `plane`."""
    own, other, feature = plane(separation, residual, cosine)
    return oracle.center_gap(feature, own, other)


def own_reach(separation: sp.Expr, residual: sp.Expr, cosine: sp.Expr) -> sp.Expr:
    """How far from the feature a climb of ||z - mu_y||^2 meets the boundary, if at all. Args: `plane`."""
    own, other, feature = plane(separation, residual, cosine)
    return ray_reach(pair_gap(separation, residual, cosine), other - own, feature - own)


def other_reach(separation: sp.Expr, residual: sp.Expr, cosine: sp.Expr) -> sp.Expr:
    """How far from the feature a descent of ||z - mu_t||^2 meets the boundary. Args: `plane`."""
    own, other, feature = plane(separation, residual, cosine)
    return ray_reach(pair_gap(separation, residual, cosine), other - own, other - feature)


def pair_reach(separation: sp.Expr, residual: sp.Expr, cosine: sp.Expr) -> sp.Expr:
    """How far from the feature a climb of h_t - h_y meets the boundary: the exact distance. Args: `plane`."""
    own, other, _ = plane(separation, residual, cosine)
    return ray_reach(pair_gap(separation, residual, cosine), other - own, other - own)


def cap_share(cosine: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Share of all directions whose cosine with a given one is at least this: a cap's part of the sphere.

    Args:
        cosine: from -1 to 1.
        feature_dim: d >= 2.
    """
    half = sp.betainc_regularized((feature_dim - 1) / sp.S(2), sp.S.Half, 0, 1 - cosine**2) / 2
    return sp.Piecewise((half, cosine >= 0), (1 - half, True))


def missed_share(separation: sp.Expr, residual: sp.Expr, radius: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Two classes, residuals in all directions alike: share of features that the margin fools and the own center not.

    Both are as good as they can be within the radius. The margin succeeds from the cosine (D/2 - eps) / rho on, the own
    center from D / (2 (rho + eps)) on.

    Args:
        separation: D > 0.
        residual: rho > 0, below D/2, so that all features are classified correctly.
        radius: eps >= 0, in the units of a feature.
        feature_dim: d >= 2.
    """
    by_margin = sp.Max(-1, sp.Min(1, (separation / 2 - radius) / residual))
    by_own_center = sp.Min(1, separation / (2 * (residual + radius)))
    return cap_share(by_margin, feature_dim) - cap_share(by_own_center, feature_dim)


def difference_ratio(logits: Sequence[sp.Expr]) -> sp.Expr:
    """The ratio of logit differences to be climbed where the label leads: -(h_y - h_2) / (h_y - h_3).

    Source: Croce and Hein 2020.

    Args:
        logits: the label's, the second and the third largest.
    """
    own, second, third = logits
    return -(own - second) / (own - third)


def _length(vector: sp.Matrix) -> sp.Expr:
    return sp.sqrt(vector.dot(vector))
