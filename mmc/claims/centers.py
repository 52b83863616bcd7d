"""Claims on centers: the simplex, the authors' recursion, what C_MM measures, the search beyond L = d + 1, MMLDA."""

from __future__ import annotations

import numpy as np
import sympy as sp
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from mmc import centers
from mmc.claims import Finding, claim
from mmc.theory import centers as theory
from mmc.theory.numeric import numeric


def largest_min_distance(num_classes: int, feature_dim: int, tries: int = 3, seed: int = 0) -> float:
    """Smallest distance after maximizing it over the unit sphere by sequential quadratic programming (SciPy)."""
    rng = np.random.default_rng([seed, num_classes, feature_dim])
    first, second = np.triu_indices(num_classes, 1)

    def gaps(flat: np.ndarray) -> np.ndarray:
        points = flat[:-1].reshape(num_classes, feature_dim)
        return np.square(points[first] - points[second]).sum(axis=1) - flat[-1]

    def norms(flat: np.ndarray) -> np.ndarray:
        return np.square(flat[:-1].reshape(num_classes, feature_dim)).sum(axis=1) - 1

    constraints = [{"type": "ineq", "fun": gaps}, {"type": "eq", "fun": norms}]
    best = 0.0
    for _ in range(tries):
        points = rng.standard_normal((num_classes, feature_dim))
        start = np.append(points / np.linalg.norm(points, axis=1, keepdims=True), 0.0)
        found = minimize(
            lambda flat: -flat[-1], start, constraints=constraints, method="SLSQP", options={"ftol": 1e-12}
        )
        if found.success:
            best = max(best, float(np.sqrt(found.x[-1])))
    return best


@claim(
    "mm-centers-simplex",
    paper="MMC",
    source="definition of the Max-Mahalanobis centers",
    printed=r"For $L \le d + 1$ the centers of norm $C_{MM}$ with the largest smallest distance form a regular"
    r" simplex: any two have cosine $-1/(L-1)$.",
    chapter="centers",
)
def mm_centers_simplex() -> Finding:
    L, c = sp.symbols("L c")
    # |sum of centers|^2 >= 0 bounds the mean cosine from below; the largest cosine is at least the mean.
    proof = sp.simplify(sp.solve(L + L * (L - 1) * c, c)[0] - theory.simplex_cosine(L)) == 0
    exact = all(
        sp.simplify((m := theory.centered_onehots(n)) * m.T - theory.simplex_gram(n)).is_zero_matrix for n in (2, 5, 10)
    )
    cases = ((3, 2), (4, 3), (4, 4), (5, 4))
    errors = []
    for n, d in cases:
        ours = centers.min_distance(centers.simplex_centers(n, d, 1.0, dtype=torch.float64))
        errors.append(largest_min_distance(n, d) - ours)
    worst = max(map(abs, errors))
    return Finding(
        bool(proof and exact and worst < 1e-5),
        "The bound follows from the sum of the Gram entries, and the simplex meets it exactly; a search that maximizes"
        f" the smallest distance directly ({len(cases)} sizes up to L = 5) ends within $10^{{-5}}$ of the simplex's.",
    )


@claim(
    "mm-centers-recursion",
    paper="MMC",
    source="algorithm for the Max-Mahalanobis centers, and the released code",
    printed=r"The lower triangular recursion"
    r" $\mu_k[j] = -\big(\frac{1}{L-1} + \langle \mu_k, \mu_j \rangle\big)/\mu_j[j]$,"
    r" $\mu_k[k] = \sqrt{1 - \lVert \mu_k \rVert^2}$ gives these centers for every $L \le d + 1$.",
    chapter="centers",
)
def mm_centers_recursion() -> Finding:
    sizes = range(2, 13)
    good = [sp.simplify((m := theory.recursion(n)) * m.T - theory.simplex_gram(n)).is_zero_matrix for n in sizes]
    last = [theory.recursion(n)[n - 1, n - 1] for n in sizes]
    # For every L: a diagonal entry a_k, the same entry b_k in all rows below; norms by induction, then cosines.
    L, k = sp.symbols("L k", positive=True)
    a, b = theory.simplex_diagonal(L, k), theory.simplex_below(L, k)
    rules = (a.subs(k, 1) - 1, a.subs(k, k + 1) ** 2 + b**2 - a**2, 1 - a**2 + a * b - theory.simplex_cosine(L))
    closed = all(sp.simplify(rule) == 0 for rule in rules)
    return Finding(
        all(good) and not any(last) and closed,
        f"Run exactly, with square roots, for all $L$ from {sizes[0]} to {sizes[-1]}; for every $L$ its closed form has"
        f" norm 1 and the right cosines. The $L$-th coordinate of the last center is always {max(last)}, so $d = L - 1$"
        " suffices although a loop over $L$ coordinates needs $d = L$.",
    )


@claim(
    "c-mm-is-norm",
    paper="MMC",
    source="experimental setting and the released code",
    printed=r"$C_{MM} = 10$ is the norm of the centers, so that for $L = 10$ two of them are at squared"
    r" distance $2 C_{MM}^2 L/(L-1) = 222.2$.",
    chapter="centers",
)
def c_mm_is_norm() -> Finding:
    rows = np.array(theory.recursion(10), float)
    measured = [np.square(scale * (rows[0] - rows[9])).sum() for scale in (10, np.sqrt(10))]
    law = float(numeric(theory.simplex_squared_distance)(10, 10))
    return Finding(
        bool(np.isclose(measured[0], law) and round(measured[0], 1) == 222.2),
        f"The recursion's rows times 10 are at squared distance {measured[0]:.1f}; read as a squared norm, the same 10"
        f" gives {measured[1]:.1f}.",
    )


@claim(
    "mm-centers-max-cosine",
    paper="MMC",
    source="Max-Mahalanobis centers for d < L - 1",
    printed=r"Where no simplex fits, the centers are found numerically by minimizing the largest cosine.",
    chapter="centers",
)
def mm_centers_max_cosine() -> Finding:
    norm, cosine = sp.symbols(r"C_{MM} c", positive=True)
    slope = sp.diff(theory.squared_distance(norm, cosine), cosine)
    misses = {}
    for n, d in ((8, 3), (12, 3)):
        code = centers.spherical_code(n, d, restarts=8, dtype=torch.float64)
        misses[n, d] = theory.BEST_ANGLES[n, d] - centers.min_angle(code)
    worst = max(map(abs, misses.values()))
    return Finding(
        bool(slope.is_negative and worst < 1e-3),
        f"The squared distance falls with the cosine (slope ${sp.latex(slope)}$), so the two criteria are one; the"
        f" search reaches the best known angle of {len(misses)} codes to 0.001 degrees. It proves nothing where no best"
        " angle is known.",
    )


@claim(
    "mmlda-equals-dot-softmax",
    paper="MMC",
    source="the MMLDA loss, both printed forms",
    printed=r"As the centers have equal norms, $-\log \operatorname{softmax}(-\frac12 \lVert z - \mu^*_l \rVert^2)_y ="
    r" -\log \operatorname{softmax}(z^\top \mu^*_l)_y$.",
    chapter="centers",
)
def mmlda_equals_dot_softmax() -> Finding:
    z, mu = sp.Matrix(sp.symbols("z1:4", real=True)), sp.Matrix(sp.symbols("m1:4", real=True))
    difference = sp.expand(-(z - mu).dot(z - mu) / 2 - z.dot(mu))
    same_for_all_classes = sp.expand(difference + (z.dot(z) + mu.dot(mu)) / 2) == 0

    rng = np.random.default_rng(0)
    features = 5 * rng.standard_normal((1000, 12))

    def gap(points: np.ndarray) -> float:
        squared = np.square(features[:, None] - points).sum(axis=2)
        return float(np.abs(log_softmax(-squared / 2, axis=1) - log_softmax(features @ points.T, axis=1)).max())

    points = centers.simplex_centers(10, 12, dtype=torch.float64).numpy()
    equal, unequal = gap(points), gap(points * np.linspace(1, 1.1, 10)[:, None])
    return Finding(
        bool(same_for_all_classes and equal < 1e-10),
        r"The logits differ by $-\frac12(\lVert z \rVert^2 + \lVert \mu_l \rVert^2)$, the same for all classes, which"
        f" softmax does not see: on 1,000 features the losses agree to $10^{{-10}}$. With norms spread by 10 % they"
        f" differ by up to {unequal:.1f}.",
    )
