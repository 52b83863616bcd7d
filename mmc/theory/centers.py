"""Max-Mahalanobis centers: exact simplices, bounds on every set of centers, chance, hierarchies, exact codes.

Centers of one norm are judged by their largest cosine: the smaller it is, the larger is the smallest distance.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import sympy as sp

#: Best known smallest angles in degrees by (L, d), to 1e-4; those in d = 3 are proven optimal, and so is E8.
#: Source: tables of spherical codes (Conway and Sloane 1999, chapter 1).
BEST_ANGLES = {
    (5, 3): 90.0,
    (6, 3): 90.0,
    (7, 3): 77.8695,
    (8, 3): 74.8585,
    (9, 3): 70.5288,
    (10, 3): 66.1468,
    (11, 3): 63.4349,
    (12, 3): 63.4349,
    (13, 3): 57.1367,
    (14, 3): 55.6706,
    (24, 3): 43.6908,
    (24, 4): 60.0,
    (240, 8): 60.0,
}


def squared_distance(norm: sp.Expr, cosine: sp.Expr) -> sp.Expr:
    """Squared distance of two centers of one norm: it falls as the cosine rises."""
    return 2 * norm**2 * (1 - cosine)


def simplex_cosine(num_classes: sp.Expr) -> sp.Expr:
    """Cosine between any two of the L Max-Mahalanobis centers, for L <= d + 1 (Pang et al. 2020)."""
    return -1 / (num_classes - 1)


def simplex_squared_distance(num_classes: sp.Expr, norm: sp.Expr) -> sp.Expr:
    """Squared distance between any two corners of a regular simplex: 2 norm^2 L/(L - 1)."""
    return 2 * norm**2 * num_classes / (num_classes - 1)


def simplex_gram(num_classes: int) -> sp.Matrix:
    """Gram matrix of the simplex of norm 1: ones on the diagonal, -1/(L - 1) elsewhere."""
    cosine = simplex_cosine(sp.Integer(num_classes))
    return sp.Matrix(num_classes, num_classes, lambda i, j: sp.S.One if i == j else cosine)


def exact_diagonal(squared_norm: sp.Expr) -> sp.Expr:
    """The last coordinate that completes a vector to norm 1."""
    return sp.sqrt(1 - squared_norm)


def port_diagonal(squared_norm: sp.Expr) -> sp.Expr:
    """A public port's slip, sqrt(|1 - ||mu|||^2): the square sits outside the bars that should hold it."""
    return sp.sqrt(sp.Abs(1 - sp.sqrt(squared_norm)) ** 2)


def recursion(num_classes: int, diagonal: Callable[[sp.Expr], sp.Expr] = exact_diagonal) -> sp.Matrix:
    """The authors' recursion for norm 1, with one coordinate for each class: rows are centers, lower triangular.

    Args:
        num_classes: L >= 2.
        diagonal: the last coordinate of a row from the squared norm of its earlier ones.
    """
    rows = sp.zeros(num_classes, num_classes)
    rows[0, 0] = sp.S.One
    for k in range(1, num_classes):
        for j in range(k):
            product = sum((rows[k, i] * rows[j, i] for i in range(j)), sp.S.Zero)
            rows[k, j] = (simplex_cosine(sp.Integer(num_classes)) - product) / rows[j, j]
        rows[k, k] = diagonal(sum((rows[k, i] ** 2 for i in range(k)), sp.S.Zero))
    return rows


def simplex_diagonal(num_classes: sp.Expr, index: sp.Expr) -> sp.Expr:
    """Diagonal entry k = 1, ..., L of the recursion in closed form; zero for k = L."""
    left = num_classes - index
    return sp.sqrt(num_classes * left / ((num_classes - 1) * (left + 1)))


def simplex_below(num_classes: sp.Expr, index: sp.Expr) -> sp.Expr:
    """The entry that all rows below the diagonal share in column k < L: the later centers balance the k-th."""
    return -simplex_diagonal(num_classes, index) / (num_classes - index)


def centered_onehots(num_classes: int) -> sp.Matrix:
    """The simplex of norm 1 as centered one-hot vectors, L of them in the hyperplane sum = 0 of R^L."""
    scale = sp.sqrt(sp.Rational(num_classes, num_classes - 1))
    return scale * (sp.eye(num_classes) - sp.ones(num_classes, num_classes) / num_classes)


def decision_radius(num_classes: sp.Expr, norm: sp.Expr) -> sp.Expr:
    """Half the distance between two centers of the simplex; a feature nearer to its center is classified right."""
    return norm * sp.sqrt(num_classes / (2 * (num_classes - 1)))


def welch_bound(num_classes: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Welch's bound (1974) for L >= d centers: the largest *absolute* cosine is at least this."""
    return sp.sqrt((num_classes - feature_dim) / (feature_dim * (num_classes - 1)))


def crowded_bound(num_classes: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Welch's argument for signed cosines: the largest cosine of L > 2d centers is at least this; zero at L = 2d."""
    return (num_classes - 2 * feature_dim) / (feature_dim * (num_classes - 2))


def cosine_bound(num_classes: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """A lower bound on the largest cosine of any L centers in R^d, attained for L <= 2d.

    Simplex for L <= d + 1, Rankin's bound 0 (1955) for L <= 2d, `crowded_bound` beyond.
    """
    return sp.Piecewise(
        (simplex_cosine(num_classes), num_classes <= feature_dim + 1),
        (sp.S.Zero, num_classes <= 2 * feature_dim),
        (crowded_bound(num_classes, feature_dim), True),
    )


def cosine_density(cosine: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Density on [-1, 1] of the cosine between two independent random directions in R^d, d >= 2."""
    scale = sp.gamma(feature_dim / 2) / (sp.sqrt(sp.pi) * sp.gamma((feature_dim - 1) / 2))
    return scale * (1 - cosine**2) ** ((feature_dim - 3) / 2)


def cosine_survival(cosine: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Probability that two random directions in R^d, d >= 2, have a cosine above this one: (1 - cosine)/2 is a Beta."""
    shape = (feature_dim - 1) / 2
    return sp.betainc_regularized(shape, shape, 0, (1 - cosine) / 2)


def num_pairs(num_classes: sp.Expr) -> sp.Expr:
    """How many pairs L classes have."""
    return num_classes * (num_classes - 1) / 2


def max_cosine_survival(cosine: sp.Expr, num_classes: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """P(largest cosine of L random directions > this one) if all pairs were independent; they are only two by two."""
    return 1 - (1 - cosine_survival(cosine, feature_dim)) ** num_pairs(num_classes)


def max_cosine_survival_upper(cosine: sp.Expr, num_classes: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Proven upper bound on the same probability: the expected number of pairs above the cosine, if that is below 1."""
    return sp.Min(1, num_pairs(num_classes) * cosine_survival(cosine, feature_dim))


def max_cosine_survival_lower(cosine: sp.Expr, num_classes: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """Proven lower bound on the same probability, by the second moment: pairs are independent two by two."""
    single = cosine_survival(cosine, feature_dim)
    return num_pairs(num_classes) * single / (1 + (num_pairs(num_classes) - 1) * single)


def median_cosine_bound(num_classes: sp.Expr, feature_dim: sp.Expr) -> sp.Expr:
    """With probability 1/2 or more, no two of L random directions in R^d, d >= 2, have a cosine above this one."""
    return sp.sqrt(1 - num_pairs(num_classes) ** (-2 / (feature_dim - 1)))


def elastic_loss(distance: sp.Expr, tau: sp.Expr) -> sp.Expr:
    """Elastic MMC at a distance from the own center: zero on the sphere of radius tau."""
    return (distance - tau) ** 2 / 2


def between_squared_distance(
    num_groups: sp.Expr, group_size: sp.Expr, norm: sp.Expr, sub_norm: sp.Expr, same_place: sp.Expr = sp.S.One
) -> sp.Expr:
    """Squared distance of two hierarchical centers in different groups of one size.

    Args:
        num_groups: K >= 2 super-classes on a simplex of radius `norm`.
        group_size: n >= 2 classes in each, on a simplex of radius `sub_norm` in coordinates of its own.
        norm: of the super-centers.
        sub_norm: distance of a center from its super-center.
        same_place: 1 where both are the same corner of their small simplices, 0 where not.
    """
    inside = (1 - same_place) * simplex_squared_distance(group_size, sub_norm)
    return simplex_squared_distance(num_groups, norm) + inside


def hierarchy_limit(num_groups: sp.Expr, group_size: sp.Expr, norm: sp.Expr) -> sp.Expr:
    """The sub_norm up to which every class is nearer to the classes of its own group than to any other."""
    return norm * sp.sqrt(num_groups * (group_size - 1) / ((num_groups - 1) * group_size))


def cosine_moment(power: int, feature_dim: sp.Expr) -> sp.Expr:
    """Mean of cosine^power between two random directions in R^d; rational, e.g. 1/d for power 2."""
    half = sp.Rational(power, 2)
    return sp.rf(sp.S.Half, half) / sp.rf(feature_dim / 2, half) if power % 2 == 0 else sp.S.Zero


def polynomial_coefficient(polynomial: sp.Expr, cosine: sp.Symbol, feature_dim: int, degree: int) -> sp.Expr:
    """Coefficient f_k of f(t) = sum_k f_k P_k(t), P_k the Gegenbauer polynomials of R^d (d >= 3) with P_k(1) = 1."""

    def mean(expression: sp.Expr) -> sp.Expr:
        terms = sp.Poly(expression, cosine).terms()
        return sum((factor * cosine_moment(power, sp.Integer(feature_dim)) for (power,), factor in terms), sp.S.Zero)

    basis = sp.gegenbauer(degree, sp.Rational(feature_dim - 2, 2), cosine)
    basis = basis / basis.subs(cosine, 1)
    return sp.simplify(mean(polynomial * basis) / mean(basis**2))


def polynomial_bound(polynomial: sp.Expr, cosine: sp.Symbol, feature_dim: int) -> sp.Expr:
    """Upper bound f(1)/f_0 on L, where f <= 0 at every cosine of the code, and f_0 > 0, f_k >= 0 for k >= 1."""
    return sp.simplify(polynomial.subs(cosine, 1) / polynomial_coefficient(polynomial, cosine, feature_dim, 0))


def cell24_roots() -> sp.Matrix:
    """The 24-cell: the 24 vectors with two entries of +-1 and the rest 0 in R^4, squared norm 2."""
    return sp.Matrix(_signed_pairs(4))


def e8_roots() -> sp.Matrix:
    """The 240 roots of E8 times two: 112 like (+-2, +-2, 0^6), 128 of +-1 with an even number of minus signs."""
    pairs = [[2 * entry for entry in row] for row in _signed_pairs(8)]
    halves = [list(signs) for signs in itertools.product((1, -1), repeat=8) if sp.prod(signs) == 1]
    return sp.Matrix(pairs + halves)


def _signed_pairs(feature_dim: int) -> list[list[int]]:
    rows = []
    for (i, j), signs in itertools.product(
        itertools.combinations(range(feature_dim), 2), itertools.product((1, -1), repeat=2)
    ):
        row = [0] * feature_dim
        row[i], row[j] = signs
        rows.append(row)
    return rows
