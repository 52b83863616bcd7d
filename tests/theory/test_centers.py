"""Exact centers, bounds and chance, against independent oracles: SciPy, brute force, known codes, plain arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from mmc.theory import centers
from mmc.theory.numeric import numeric

SIZES = [2, 3, 4, 7, 10]


def value(expression: sp.Expr) -> float:
    return float(sp.sympify(expression).evalf())


@pytest.mark.parametrize(
    ("norm", "cosine", "squared"), [(1, -1, 4), (10, 0, 200), (3, "1/3", 12), (10, "-1/9", "2000/9")]
)
def test_squared_distance_is_the_law_of_cosines(norm, cosine, squared):
    assert centers.squared_distance(sp.Integer(norm), sp.Rational(cosine)) == sp.Rational(squared)


@pytest.mark.parametrize("L", SIZES)
def test_simplex_values_are_those_of_one_hot_vectors_seen_from_their_mean(L):
    onehots = np.eye(L) - 1 / L
    unit = onehots / np.linalg.norm(onehots, axis=1, keepdims=True)
    gram = unit @ unit.T
    assert value(centers.simplex_cosine(sp.Integer(L))) == pytest.approx(gram[0, 1])
    np.testing.assert_allclose(np.array(centers.simplex_gram(L), float), gram, atol=1e-14)
    distance = 3 * np.linalg.norm(unit[0] - unit[1])
    assert value(centers.simplex_squared_distance(sp.Integer(L), sp.Integer(3))) == pytest.approx(distance**2)
    assert value(centers.decision_radius(sp.Integer(L), sp.Integer(3))) == pytest.approx(distance / 2)
    np.testing.assert_allclose(np.array(centers.centered_onehots(L), float), unit, atol=1e-14)


def test_the_distance_of_cifar10_at_norm_10():
    assert centers.simplex_squared_distance(sp.Integer(10), sp.Integer(10)) == sp.Rational(2000, 9)


@pytest.mark.parametrize("L", SIZES)
def test_recursion_is_lower_triangular_of_norm_one_and_equiangular(L):
    rows = centers.recursion(L)
    numbers = np.array(rows.evalf(), float)
    expected = np.full((L, L), -1 / (L - 1)) + np.eye(L) * L / (L - 1)
    assert rows.shape == (L, L)
    assert rows[0, 0] == 1
    assert rows[L - 1, L - 1] == 0
    assert (np.triu(numbers, 1) == 0).all()
    assert (np.diag(numbers)[:-1] > 0).all()
    np.testing.assert_allclose(numbers @ numbers.T, expected, atol=1e-13)
    for k in range(1, L):
        assert value(centers.simplex_diagonal(sp.Integer(L), sp.Integer(k))) == pytest.approx(numbers[k - 1, k - 1])
        assert value(centers.simplex_below(sp.Integer(L), sp.Integer(k))) == pytest.approx(numbers[L - 1, k - 1])
        assert len({round(entry, 12) for entry in numbers[k:, k - 1]}) == 1


@pytest.mark.parametrize(("squared", "left"), [("0", 1), ("3/4", "1/2"), ("9/25", "4/5")])
def test_exact_diagonal_completes_to_norm_one(squared, left):
    assert centers.exact_diagonal(sp.Rational(squared)) == sp.Rational(left)


@pytest.mark.parametrize(("squared", "left"), [("1/4", "1/2"), ("9/25", "2/5"), ("4", 1), ("9", 2)])
def test_port_diagonal_takes_the_distance_of_the_norm_from_one(squared, left):
    assert centers.port_diagonal(sp.Rational(squared)) == sp.Rational(left)


def test_port_recursion_is_that_of_a_plain_loop():
    L = 10
    rows = np.zeros((L, L))
    rows[0, 0] = 1
    for i in range(1, L):
        for j in range(i):
            rows[i, j] = -(1 / (L - 1) + rows[i] @ rows[j]) / rows[j, j]
        rows[i, i] = np.sqrt(np.abs(1 - np.linalg.norm(rows[i])) ** 2)
    found = np.array(centers.recursion(L, lambda squared: centers.port_diagonal(squared).evalf(30)), float)
    np.testing.assert_allclose(found, rows, rtol=1e-9)
    assert np.linalg.norm(found, axis=1).max() == pytest.approx(14.76, abs=0.01)


@pytest.mark.parametrize(
    ("L", "d", "bound"), [(3, 2, "1/2"), (28, 7, "1/3"), (276, 23, "1/5"), (4, 3, "1/3"), (5, 5, 0)]
)
def test_welch_bound_is_met_by_equiangular_lines(L, d, bound):
    # The Mercedes star, the 28 lines in R^7, the 276 in R^23, the tetrahedron, an orthonormal basis.
    assert value(centers.welch_bound(sp.Integer(L), sp.Integer(d))) == pytest.approx(value(sp.Rational(bound)))


@pytest.mark.parametrize(("L", "d", "bound"), [(6, 3, 0), (27, 6, "1/10"), (12, 3, "1/5"), (275, 22, "231/6006")])
def test_crowded_bound(L, d, bound):
    # From (L/d - 2)/(L - 2), written out.
    assert value(centers.crowded_bound(sp.Integer(L), sp.Integer(d))) == pytest.approx(value(sp.Rational(bound)))


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("L", [2, 3, 4, 5, 6, 7, 10, 11, 20])
def test_no_random_code_beats_the_bounds(L, d):
    rng = np.random.default_rng(L * 10 + d)
    codes = rng.standard_normal((2000, L, d))
    codes /= np.linalg.norm(codes, axis=2, keepdims=True)
    first, second = np.triu_indices(L, 1)
    pairs = np.einsum("npd,npd->np", codes[:, first], codes[:, second])
    bound = float(numeric(centers.cosine_bound)(L, d))
    assert pairs.max(axis=1).min() >= bound - 1e-12
    if d >= L - 1:
        assert bound == pytest.approx(-1 / (L - 1))
    elif d >= L / 2:
        assert bound == 0
    else:
        assert bound == pytest.approx((L / d - 2) / (L - 2))
    if d <= L:
        assert np.abs(pairs).max(axis=1).min() >= float(numeric(centers.welch_bound)(L, d)) - 1e-12


@pytest.mark.parametrize("L", [3, 5, 12])
def test_bounds_in_the_plane_lie_below_the_regular_polygon(L):
    assert float(numeric(centers.cosine_bound)(L, 2)) <= np.cos(2 * np.pi / L) + 1e-12


@pytest.mark.parametrize("d", [2, 3, 4, 9, 64])
def test_cosine_law_is_a_beta(d):
    law = stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
    t = np.array([-0.7, -0.2, 0.0, 0.15, 0.6])
    np.testing.assert_allclose(numeric(centers.cosine_density)(t, d), law.pdf(t), rtol=1e-10)
    np.testing.assert_allclose(numeric(centers.cosine_survival)(t, d), law.sf(t), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("L", "d"), [(3, 2), (5, 3), (10, 8)])
def test_law_of_the_largest_cosine_against_simulation(L, d):
    rng = np.random.default_rng(1)
    codes = rng.standard_normal((20000, L, d))
    codes /= np.linalg.norm(codes, axis=2, keepdims=True)
    first, second = np.triu_indices(L, 1)
    largest = np.einsum("npd,npd->np", codes[:, first], codes[:, second]).max(axis=1)
    assert float(numeric(centers.median_cosine_bound)(L, d)) >= np.median(largest) - 0.01
    for t in np.quantile(largest, [0.3, 0.8, 0.98]):
        share = (largest > t).mean()
        lower, upper = (
            float(numeric(getattr(centers, f"max_cosine_survival_{side}"))(t, L, d)) for side in ("lower", "upper")
        )
        assert lower - 0.012 <= share <= upper + 0.012
    t = np.quantile(largest, 0.98)
    assert float(numeric(centers.max_cosine_survival)(t, L, d)) == pytest.approx(0.02, rel=0.25)


@pytest.mark.parametrize(("L", "d", "t"), [(4, 3, 0.9), (10, 64, 0.2), (100, 64, 0.4)])
def test_survival_formulas_from_scipys_tail(L, d, t):
    q = stats.beta((d - 1) / 2, (d - 1) / 2).cdf((1 - t) / 2)
    pairs = len(list(itertools.combinations(range(L), 2)))
    assert centers.num_pairs(sp.Integer(L)) == pairs
    assert float(numeric(centers.max_cosine_survival)(t, L, d)) == pytest.approx(1 - (1 - q) ** pairs, rel=1e-6)
    assert float(numeric(centers.max_cosine_survival_upper)(t, L, d)) == pytest.approx(min(1, pairs * q), rel=1e-9)
    lower = pairs * q / (1 - q + pairs * q)
    assert float(numeric(centers.max_cosine_survival_lower)(t, L, d)) == pytest.approx(lower, rel=1e-9)


def test_upper_bound_is_a_probability():
    assert float(numeric(centers.max_cosine_survival_upper)(-0.5, 10, 4)) == 1


@pytest.mark.parametrize(("L", "d"), [(5, 3), (10, 64), (100, 256)])
def test_median_bound_solves_its_tail_equation(L, d):
    # At the bound t, pairs * (1 - t^2)^((d - 1)/2) = 1.
    t = float(numeric(centers.median_cosine_bound)(L, d))
    assert L * (L - 1) / 2 * (1 - t**2) ** ((d - 1) / 2) == pytest.approx(1)


@pytest.mark.parametrize(("distance", "tau", "loss"), [(5, 5, 0), (0, 4, 8), (7, 1, 18)])
def test_elastic_loss(distance, tau, loss):
    assert centers.elastic_loss(sp.Integer(distance), sp.Integer(tau)) == loss


@pytest.mark.parametrize(("K", "n", "norm", "sub"), [(2, 2, 1, 1), (20, 5, 10, 1), (3, 4, 2, 5)])
def test_hierarchical_distances_are_those_of_explicit_coordinates(K, n, norm, sub):
    def simplex(size: int, radius: float) -> np.ndarray:
        rows = np.eye(size) - 1 / size
        return radius * rows / np.linalg.norm(rows[0])

    upper, lower = simplex(K, norm), simplex(n, sub)
    points = {(g, c): np.concatenate([upper[g], lower[c]]) for g in range(2) for c in range(2)}
    args = [sp.Integer(x) for x in (K, n, norm, sub)]
    same = np.sum((points[0, 0] - points[1, 0]) ** 2)
    other = np.sum((points[0, 0] - points[1, 1]) ** 2)
    assert value(centers.between_squared_distance(*args)) == pytest.approx(same)
    assert value(centers.between_squared_distance(*args, sp.S.Zero)) == pytest.approx(other)
    limit = value(centers.hierarchy_limit(*args[:3]))
    within = np.sum((simplex(n, limit)[0] - simplex(n, limit)[1]) ** 2)
    assert within == pytest.approx(same)


@pytest.mark.parametrize("d", [3, 8])
@pytest.mark.parametrize("power", range(7))
def test_cosine_moment_is_an_integral(power, d):
    law = stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
    moment = integrate.quad(lambda t: t**power * law.pdf(t), -1, 1)[0]
    assert value(centers.cosine_moment(power, sp.Integer(d))) == pytest.approx(moment, abs=1e-8)


@pytest.mark.parametrize("d", [3, 5])
def test_polynomial_coefficients_rebuild_the_polynomial(d):
    t = sp.Symbol("t")
    f = t**4 - 2 * t**3 + t / 3 + 1
    rebuilt = sp.S.Zero
    for k in range(5):
        basis = sp.gegenbauer(k, sp.Rational(d, 2) - 1, t)
        rebuilt += centers.polynomial_coefficient(f, t, d, k) * basis / basis.subs(t, 1)
    assert sp.expand(rebuilt - f) == 0


def test_polynomial_bound_of_known_codes():
    t = sp.Symbol("t")
    assert centers.polynomial_bound(t + sp.Rational(1, 4), t, 4) == 5
    assert centers.polynomial_bound((t + 1) * t, t, 7) == 14
    kissing = (t + 1) * (t + sp.Rational(1, 2)) ** 2 * t**2 * (t - sp.Rational(1, 2))
    assert centers.polynomial_bound(kissing, t, 8) == 240


@pytest.mark.parametrize(("code", "count", "d", "squared"), [("cell24_roots", 24, 4, 2), ("e8_roots", 240, 8, 8)])
def test_root_systems_are_closed_under_their_reflections(code, count, d, squared):
    roots = np.array(getattr(centers, code)()).astype(int)
    assert roots.shape == (count, d)
    assert len({tuple(row) for row in roots}) == count
    gram = roots @ roots.T
    assert (np.diag(gram) == squared).all()
    assert np.unique(2 * gram // squared).tolist() == [-2, -1, 0, 1, 2]
    assert (2 * gram % squared == 0).all()
    reflected = roots[:, None] - (2 * gram // squared)[:, :, None] * roots[None]
    assert {tuple(row) for row in reflected.reshape(-1, d)[:5000]} <= {tuple(row) for row in roots}


def test_best_angles_respect_the_bounds():
    for (L, d), angle in centers.BEST_ANGLES.items():
        assert np.cos(np.deg2rad(angle)) >= float(numeric(centers.cosine_bound)(L, d)) - 1e-6
