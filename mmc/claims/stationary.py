"""Claims on stationary point losses. Only the abstract of the paper is public, so each entry says how it is read here.

The checks use NumPy and SciPy alone: losses of one margin, written anew, and functions f = <w, x> + b of their own.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize
from scipy.special import expit, ndtri

from mmc.claims import Finding, claim

TOLERANCE = 1e-5  # of an offset, and of a margin
TARGET = np.log(9.0)  # m*, the margin at which label smoothing with eps = 0.1 is stationary for two classes
#: Losses of one margin with a stationary point, and their slopes: label smoothing, logit-squared, mirrored SCE.
SMOOTH = (lambda m: np.logaddexp(0, -m) + 0.1 * m, lambda m: 0.1 - expit(-m))
SQUARED = (lambda m: (m - TARGET) ** 2, lambda m: 2 * (m - TARGET))
MIRRORED = (
    lambda m: np.logaddexp(0, -m) + np.logaddexp(0, m - 2 * TARGET),
    lambda m: expit(m - 2 * TARGET) - expit(-m),
)
STATIONARY = {"label smoothing": SMOOTH, "logit-squared": SQUARED, "mirrored SCE": MIRRORED}
CROSS_ENTROPY = (lambda m: np.logaddexp(0, -m), lambda m: -expit(-m))


def fit(loss: tuple, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(w, b) that minimise the weighted mean of the loss of the margins y f(x); y is -1 or 1."""
    rows = y[:, None] * np.hstack([x, np.ones((len(x), 1))])
    shares = weights / weights.sum()

    def both(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margins = rows @ parameters
        return float(shares @ loss[0](margins)), (shares * loss[1](margins)) @ rows

    return minimize(both, np.zeros(rows.shape[1]), jac=True, options={"gtol": 1e-11, "maxiter": 5000}).x


def offset(parameters: np.ndarray, x_0: np.ndarray, x_1: np.ndarray) -> float:
    """Where f is zero between two points: from the middle toward x_1, in units of their distance."""
    f_0, f_1 = (float(x @ parameters[:-1] + parameters[-1]) for x in (x_0, x_1))
    return -f_0 / (f_1 - f_0) - 0.5


def descent(x_0: float, x_1: float, weights: tuple[float, float], log_times: np.ndarray) -> np.ndarray:
    """Offsets of cross-entropy's boundary under gradient flow in (w, b), at times e^log_times."""
    rows = np.array([[-x_0, -1.0], [x_1, 1.0]])

    def velocity(log_time: float, parameters: np.ndarray) -> np.ndarray:
        return np.exp(log_time) * (weights * expit(-rows @ parameters)) @ rows

    found = solve_ivp(velocity, (-12.0, log_times[-1]), [0.1, 0.3], "LSODA", t_eval=log_times, rtol=1e-10, atol=1e-12).y
    margins = rows @ found
    return (margins[0] - margins[1]) / (2 * margins.sum(0))


@claim(
    "sp-cross-entropy-has-none",
    paper="SP",
    source="abstract",
    printed=r"Cross-entropy has no stationary point. Read here: its slope in the margin is negative at every finite"
    r" margin, for every number of classes.",
    chapter="stationary",
)
def cross_entropy_has_none() -> Finding:
    import mpmath

    slopes = []
    with mpmath.workdps(200):
        for num_classes in (2, 3, 10, 1000):
            slopes += [
                mpmath.diff(lambda m, n=num_classes: mpmath.log(1 + (n - 1) * mpmath.exp(-m)), margin)
                for margin in (-50, -5, -1, 0, 1, 5, 20, 100, 200)
            ]
    found = {name: brentq(slope, 1e-9, 100) for name, (_, slope) in STATIONARY.items()}
    away = max(abs(value - TARGET) for value in found.values())
    return Finding(
        printed=bool(max(slopes) < 0 and away < TOLERANCE),
        evidence=f"{len(slopes)} slopes by differences in 200 digits, 2 to 1000 classes, margins from -50 to 200: all"
        f" negative, the one nearest to zero is $-10^{{{float(mpmath.log10(-max(slopes))):.0f}}}$. The same kind of"
        f" search finds the stationary margin of {', '.join(found)} within {TOLERANCE:g}.",
    )


@claim(
    "sp-sharpens-instead",
    paper="SP",
    source="abstract",
    printed=r"Cross-entropy lowers itself by sharpening the network at the decision boundary instead of moving the"
    r" boundary to the middle. Read here for two points and an affine $f$ under gradient flow.",
    exact=r"It can: every boundary that separates lets the value come as near to zero as one likes by slope alone. The"
    r" flow does both. It sharpens like $\log t$, and the offset from the middle falls like $1/\log t$, provided that"
    r" both points support the least $(w, b)$ with margins of at least one. If one does not, the boundary goes"
    r" elsewhere.",
    chapter="stationary",
)
def sharpens_instead() -> Finding:
    places = np.linspace(0.02, 0.98, 25)
    values = [np.logaddexp(0, -slope * places) + np.logaddexp(0, -slope * (1 - places)) for slope in (10, 100, 1000)]
    alone = bool((np.diff(values, axis=0) < 0).all() and np.max(values[-1]) < 1e-8)
    log_times = np.array([np.log(2e3), np.log(1e6), 100.0, 600.0])
    near = {ratio: descent(0, 1, (ratio / (1 + ratio), 1 / (1 + ratio)), log_times) for ratio in (1, 100)}
    # The points 0 and 1 support with 3 and 2 parts.
    laws = {ratio: np.log(ratio * 2 / 3) / (4 * log_times[-1]) for ratio in near}
    law_holds = all(abs(near[ratio][-1] / laws[ratio] - 1) < 0.02 for ratio in near)
    far = descent(-1, 10, (0.5, 0.5), log_times)
    elsewhere = abs(far[-1] + 7 / 22) < 2e-3  # the limit is the boundary of f = (x - 1)/2, at x = 1
    moves = all(abs(path[-1]) < 0.1 * abs(path[0]) for path in near.values())
    return Finding(
        printed=alone and not moves,
        exact=bool(alone and moves and law_holds and elsewhere),
        evidence=f"At each of {len(places)} boundaries between the points 0 and 1 a steeper $f$ brings the value below"
        f" $10^{{-8}}$. SciPy's flow, weights 100 to 1: offset {near[100][0]:.3f} at"
        f" $t = 2000$, {near[100][1]:.3f} at $10^6$, {near[100][2]:.3f} at $e^{{100}}$, {near[100][3]:.4f} at"
        f" $e^{{600}}$ (the law says {laws[100]:.4f}). Points -1 and 10, equal weights: {far[-1]:.3f} at $e^{{600}}$,"
        " and it stays there.",
    )


@claim(
    "sp-midway",
    paper="SP",
    source="abstract; the theorem behind it was not at hand",
    printed=r"A loss with a stationary point on the right side guarantees a boundary in the middle. Read here without"
    r" further conditions, as the abstract names none; the paper's theorem may have them.",
    exact=r"For two points, an affine $f$ and a loss whose one stationary margin is its minimum, every minimiser has"
    r" both margins $m^*$. Its boundary passes through the middle, for any class weights. Each condition is needed.",
    chapter="stationary",
)
def midway() -> Finding:
    rng, off = np.random.default_rng(0), []
    for loss in STATIONARY.values():
        for ratio in (1, 10, 100):
            x = rng.normal(size=(2, 3))
            off.append(abs(offset(fit(loss, x, np.array([-1.0, 1.0]), np.array([ratio, 1.0])), *x)))
    # Margins 1 and 4 have no loss and no slope under the squared hinge, and f = 5 x - 1 has them.
    hinge_slope = -np.maximum(0, 1 - np.array([1.0, 4.0]))
    hinge = offset(np.array([5.0, -1.0]), np.zeros(1), np.ones(1))
    # f = m* (2 x^4 - 1) has both margins m*, and is not affine.
    bent = brentq(lambda x: 2 * x**4 - 1, 0, 1) - 0.5
    spread = cloud_offsets()["logit-squared"]
    broken = not hinge_slope.any() and min(abs(hinge), abs(bent), abs(spread)) > 0.2
    return Finding(
        printed=not broken,
        exact=bool(max(off) < TOLERANCE and broken),
        evidence=f"{len(off)} fits by BFGS in three dimensions, three losses, weights up to 100 to 1: the boundary is"
        f" in the middle within {TOLERANCE:g}. Without a condition the offset can be {hinge:.2f} (squared hinge, a"
        f" whole range of stationary margins), {bent:.2f} ($f = m^* (2 x^4 - 1)$, not affine), {spread:.2f} (clouds"
        " instead of points, 100 to 1).",
    )


@cache
def cloud_offsets(ratio: float = 100.0, distance: float = 5.0, count: int = 200) -> dict[str, float]:
    """Offsets of the best affine f for two Gaussian clouds on a line: their quantiles, the first class heavier."""
    quantiles = ndtri((np.arange(count) + 0.5) / count)
    x = np.concatenate([quantiles, quantiles + distance])[:, None]
    y, weights = np.repeat([-1.0, 1.0], count), np.repeat([ratio, 1.0], count)
    losses = {"cross-entropy": CROSS_ENTROPY} | STATIONARY
    return {name: offset(fit(loss, x, y, weights), np.zeros(1), np.full(1, distance)) for name, loss in losses.items()}


@claim(
    "sp-imbalance-affine",
    paper="SP",
    source="abstract, which speaks of imbalanced data; read here for an affine f",
    printed=r"On imbalanced data a stationary point loss places the boundary better than cross-entropy. Read here:"
    r" nearer to the middle, for an affine $f$.",
    exact=r"For two points, yes: the weights of the classes do not matter at all. For two clouds, no: where the margins"
    r" cannot all be $m^*$, the heavier class has its way, and the boundary can lie beyond the other one.",
    chapter="stationary",
)
def imbalance_affine() -> Finding:
    ends = np.array([[0.0], [1.0]])
    y, weights = np.array([-1.0, 1.0]), np.array([100.0, 1.0])
    points = {name: abs(offset(fit(loss, ends, y, weights), *ends)) for name, loss in STATIONARY.items()}
    cross_entropy = float(descent(0, 1, (100 / 101, 1 / 101), np.array([np.log(2e3)]))[0])
    clouds = cloud_offsets()
    rivals = [clouds[name] for name in STATIONARY]
    better = max(rivals) < clouds["cross-entropy"]
    return Finding(
        printed=better,
        exact=bool(
            max(points.values()) < TOLERANCE < cross_entropy and min(rivals) > max(0.5, clouds["cross-entropy"])
        ),
        evidence=f"Weights 100 to 1. Two points: offset below {TOLERANCE:g} for {', '.join(points)};"
        f" {cross_entropy:.2f} for cross-entropy at $t = 2000$. Two Gaussian clouds, 5 deviations apart, best $f$:"
        f" {', '.join(f'{value:.2f} for {name}' for name, value in clouds.items())}; the mean of the lighter cloud is"
        " at 0.5.",
    )
