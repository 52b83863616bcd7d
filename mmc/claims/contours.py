"""Claims on the g-SCE family: who is a member, and what its loss contours look like."""

from __future__ import annotations

import math

import numpy as np
import sympy as sp

from mmc.claims import Finding, claim
from mmc.theory import contours as theory
from mmc.theory.numeric import numeric

TRIALS = 40
EXACT = 1e-9  # what float64 leaves of an identity after root finding


def log_sum_exp(scores: np.ndarray) -> np.ndarray:
    """Of the last axis, without overflow: the oracle's own, not the formula's."""
    top = scores.max(axis=-1, keepdims=True)
    return np.log(np.exp(scores - top).sum(axis=-1)) + top[..., 0]


def family(rng: np.random.Generator, num_classes: int, feature_dim: int, equal: bool = False):
    """A random isotropic member: sigma, mu, B. Precisions are apart from one another unless all are equal."""
    sigma = np.full(num_classes, 0.8) if equal else rng.permutation(np.linspace(0.5, 1.7, num_classes))
    return sigma, rng.normal(size=(num_classes, feature_dim)), rng.normal(size=num_classes)


def scores(z: np.ndarray, sigma: np.ndarray, mu: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The logits from the definition."""
    return bias - sigma * np.square(z[:, None, :] - mu).sum(axis=-1)


def crossings(loss, origin: np.ndarray, directions: np.ndarray, value: float) -> np.ndarray:
    """Points with loss = value on rays from the origin, by bisection between a grid's sign changes; knows no shape."""
    grid = np.linspace(1e-6, 12, 121)
    at = origin + grid[:, None, None] * directions
    above = np.stack([loss(points) for points in at]) > value
    step, ray = np.nonzero(above[1:] != above[:-1])
    low, high, start = grid[step], grid[step + 1], above[step, ray]
    for _ in range(50):
        middle = (low + high) / 2
        same = (loss(origin + middle[:, None] * directions[ray]) > value) == start
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return origin + low[:, None] * directions[ray]


@claim(
    "sce-is-gsce",
    paper="MMC",
    source="the definition of the g-SCE family",
    printed=r"Softmax cross-entropy is the g-SCE loss with $\Sigma_i = I$, $\mu_i = W_i/2$ and"
    r" $B_i = b_i + \lVert W_i \rVert^2 / 4$.",
    chapter="contours",
)
def sce_is_gsce() -> Finding:
    rng, worst_loss, worst_gap = np.random.default_rng(0), 0.0, 0.0
    for _ in range(TRIALS // 2):
        num_classes, d = rng.integers(2, 11), rng.integers(1, 17)
        weight, bias = rng.normal(size=(num_classes, d)), rng.normal(size=num_classes)
        z = rng.normal(size=(50, d))
        linear = z @ weight.T + bias
        parts = [theory.sce_member(sp.Matrix(w), b) for w, b in zip(weight, bias, strict=True)]
        centers = np.array([center.T.tolist()[0] for center, _, _ in parts], dtype=float)
        precisions, biases = np.array([[precision, b] for _, precision, b in parts], dtype=float).T
        member = scores(z, precisions, centers, biases)
        shared = member - linear + np.square(z).sum(axis=1, keepdims=True)
        losses = [log_sum_exp(h)[:, None] - h for h in (linear, member)]
        worst_gap = max(worst_gap, float(abs(shared).max()))
        worst_loss = max(worst_loss, float(abs(losses[0] - losses[1]).max()))
    return Finding(
        printed=max(worst_loss, worst_gap) < EXACT,
        evidence=f"On {TRIALS // 2} random layers, 50 features each, the losses of all classes agree within"
        f" {max(worst_loss, 1e-12):.0e}; the logits differ by $-\\lVert z \\rVert^2$ in every class, which cancels.",
    )


@claim(
    "mmlda-lgm-are-gsce",
    paper="MMC",
    source="the definition of the g-SCE family",
    printed=r"The MMLDA loss and the L-GM loss are members of the g-SCE family.",
    exact=r"MMLDA is a member. So is the cross-entropy of the L-GM loss without margin; with a margin $\alpha > 0$ it"
    r" is one member for each label, in which the label's own precision is $1 + \alpha$ times as large. The likelihood"
    r" term of the L-GM loss is outside the family.",
    chapter="contours",
)
def mmlda_lgm_are_gsce() -> Finding:
    import torch

    from mmc.losses import GSCE, LGM, MMLDA

    num_classes, d = 4, 6
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(100, d, generator=generator, dtype=torch.float64)
    variance = 0.5 + torch.rand(num_classes, d, generator=generator, dtype=torch.float64)
    means = torch.randn(num_classes, d, generator=generator, dtype=torch.float64)

    def all_losses(loss) -> torch.Tensor:
        """The loss of each feature under each possible label, shape (100, L)."""
        labels = torch.arange(num_classes).repeat(len(z), 1)
        return torch.stack([loss(z, labels[:, label]) for label in range(num_classes)], dim=1).detach()

    def lgm(margin: float, weight: float) -> LGM:
        loss = LGM(num_classes, d, margin, weight).double()
        loss.centers.data, loss.log_variance.data = means.clone(), variance.log()
        return loss

    def member(centers, precision, bias, shape) -> torch.Tensor:
        loss = GSCE(num_classes, d, shape).double()
        loss.centers.data, loss.factor.data, loss.bias.data = centers, precision.sqrt(), bias
        return all_losses(loss)

    def off(first: torch.Tensor, second: torch.Tensor) -> float:
        return float((first - second).abs().max())

    zero = torch.zeros(num_classes, dtype=torch.float64)
    mmlda = MMLDA(num_classes, d, norm=2.0).double()
    half = torch.full((num_classes,), 0.5, dtype=torch.float64)
    off_mmlda = off(all_losses(mmlda), member(mmlda.centers, half, zero, "isotropic"))
    log_root = -variance.log().sum(1) / 2
    off_lgm = off(all_losses(lgm(0.0, 0.0)), member(means, 0.5 / variance, log_root, "diagonal"))
    off_margin = 0.0
    for label in range(num_classes):
        stretched = 0.5 / variance
        stretched[label] *= 1.3
        own = member(means, stretched, log_root, "diagonal")[:, label]
        off_margin = max(off_margin, off(all_losses(lgm(0.3, 0.0))[:, label], own))
    # Every member's losses are -log of probabilities: over the labels, exp(-loss) sums to one. The whole loss, then
    # the likelihood term alone and the margin alone.
    totals = [torch.exp(-all_losses(lgm(*parts))).sum(1) for parts in ((0.3, 0.1), (0.0, 0.1), (0.3, 0.0))]
    spans = [(float(total.min()), float(total.max())) for total in totals]
    return Finding(
        printed=off_mmlda < EXACT and max(abs(end - 1) for end in spans[0]) < EXACT,
        # Sums that vary rule out a member plus a constant, too.
        exact=max(off_mmlda, off_lgm, off_margin) < EXACT and min(high - low for low, high in spans[1:]) > 0.1,
        evidence="In a member $e^{-\\mathrm{loss}}$ sums to one over the labels. At"
        f" {len(z)} random features the sums of the full L-GM loss ($\\alpha = 0.3$, $\\lambda = 0.1$) run from"
        f" {spans[0][0]:.1g} to {spans[0][1]:.2g}, with $\\alpha = 0$ from {spans[1][0]:.1g} to {spans[1][1]:.2g}, with"
        f" $\\lambda = 0$ from {spans[2][0]:.1g} to {spans[2][1]:.2g}. MMLDA, and L-GM's"
        f" cross-entropy without and with margin, agree with their"
        f" members within {max(off_mmlda, off_lgm, off_margin, 1e-12):.0e}.",
    )


@claim(
    "contour-equation",
    paper="MMC",
    source="the text before Theorem 1",
    printed=r"The loss is $C$ exactly where $h_y = \log \sum_{l \ne y} e^{h_l} - \log(C_e - 1)$ with $C_e = e^C$.",
    chapter="contours",
)
def contour_equation() -> Finding:
    rng, worst, points = np.random.default_rng(1), 0.0, 0
    for _ in range(TRIALS // 2):
        num_classes, d = rng.integers(2, 8), rng.integers(1, 6)
        member, value = family(rng, num_classes, d), rng.uniform(0.05, 4)

        def loss(z, member=member):
            h = scores(z, *member)
            return log_sum_exp(h) - h[:, 0]

        found = crossings(loss, rng.normal(size=d), rng.normal(size=(10, d)), value)
        h = scores(found, *member)
        error = h[:, 0] - log_sum_exp(h[:, 1:]) - float(numeric(theory.lead)(value))
        worst, points = max(worst, float(abs(error).max(initial=0))), points + len(found)
    return Finding(
        printed=worst < 1e-8 and points > 100,
        evidence=f"At {points} points where bisection along rays finds the loss to be $C$, with 2 to 7 classes in 1 to"
        f" 5 dimensions, the two sides agree within {max(worst, 1e-12):.0e}.",
    )


@claim(
    "lse-max-approximation",
    paper="MMC",
    source="the approximation before Theorem 1",
    printed=r"On a contour $\log \sum_{l \ne y} e^{h_l}$ may be replaced by $\max_{l \ne y} h_l$, so that the loss is"
    r" about $\log(e^{h_{\tilde y} - h_y} + 1)$. No size of the error is stated.",
    exact=r"Exact minus approximate loss lies between $0$ and $C - \log\!\big(1 + \tfrac{C_e - 1}{L - 1}\big) <"
    r" \log(L - 1)$; the upper end is reached where all other logits tie. The error is zero for $L = 2$ only, and for"
    r" small $C$ the exact loss can be $L - 1$ times the approximate one.",
    chapter="contours",
)
def lse_max_approximation() -> Finding:
    rng, outside, reached, ratio = np.random.default_rng(2), -math.inf, math.inf, 1.0
    two_classes = 0.0
    for num_classes in range(2, 11):
        h = 3 * rng.normal(size=(2000, num_classes))
        h[:500, 1:] = h[:500, 1:2]  # all others tie
        exact = np.log1p(np.exp(h[:, 1:] - h[:, :1]).sum(axis=1))
        error = exact - np.log1p(np.exp((h[:, 1:] - h[:, :1]).max(axis=1)))
        room = numeric(theory.loss_error_bound)(exact, num_classes) - error
        outside = max(outside, float((-room).max()), float((-error).max()))
        reached = min(reached, float((1 - abs(room[:500])).min()))
        ratio = max(ratio, float((exact / (exact - error)).max() / (num_classes - 1)))
        two_classes = float(error.max()) if num_classes == 2 else two_classes
        largest = float(error.max())
    return Finding(
        printed=largest < EXACT,
        exact=outside < EXACT and reached > 1 - EXACT and two_classes < EXACT and 0.99 < ratio <= 1 + EXACT,
        evidence=f"18,000 random logit vectors with 2 to 10 classes: none leaves the bounds, and with all others tied"
        f" the upper one is met. Ten classes: the error goes up to {largest:.2f} ($\\log 9 = {math.log(9):.2f}$). The"
        f" largest ratio of exact to approximate loss is {ratio:.3f} times $L - 1$.",
    )


@claim(
    "contour-sphere",
    paper="MMC",
    source="the statement before Theorem 1",
    printed=r"With $\Sigma = \sigma I$ and $\sigma_k \ne \sigma_{\tilde k}$ the approximate contour is the sphere"
    r" around $M = (\sigma_k \mu_k - \sigma_{\tilde k} \mu_{\tilde k}) / (\sigma_k - \sigma_{\tilde k})$ with"
    r" $R^2 = B_{k \tilde k} + \log(C_e - 1) / (\sigma_k - \sigma_{\tilde k})$, in the region where $\tilde k$ is the"
    r" runner-up.",
    chapter="contours",
)
def contour_sphere() -> Finding:
    rng, worst, points = np.random.default_rng(3), 0.0, 0
    for _ in range(TRIALS):
        num_classes, d = rng.integers(2, 6), rng.integers(1, 6)
        sigma, mu, bias = family(rng, num_classes, d)
        value = rng.uniform(0.05, 3)

        def loss(z, member=(sigma, mu, bias)):
            h = scores(z, *member)
            return np.logaddexp(0, h[:, 1:].max(axis=1) - h[:, 0])

        found = crossings(loss, mu[0], rng.normal(size=(10, d)), value)
        for point, j in zip(found, 1 + scores(found, sigma, mu, bias)[:, 1:].argmax(axis=1), strict=True):
            center = numeric(theory.pair_center)(sigma[0], sigma[j], mu[0], mu[j])
            pair = (sigma[0], sigma[j], np.square(mu[0] - mu[j]).sum(), bias[0] - bias[j])
            ratio = np.square(point - center).sum() / numeric(theory.squared_radius)(value, *pair)
            worst = max(worst, float(abs(ratio - 1)))
            points += 1
    return Finding(
        printed=worst < 1e-7 and points > 100,
        evidence=f"At {points} contour points found by bisection, with 2 to 5 classes in 1 to 5 dimensions, the squared"
        f" distance to $M$ equals $R^2$ within a relative error of {max(worst, 1e-12):.0e}.",
    )


@claim(
    "contour-hyperplane",
    paper="MMC",
    source="the statement before Theorem 1",
    printed=r"With $\sigma_k = \sigma_{\tilde k}$, as in SCE and MMLDA, the approximate contour is a hyperplane.",
    chapter="contours",
)
def contour_hyperplane() -> Finding:
    rng, worst, flat, points = np.random.default_rng(4), 0.0, 0.0, 0
    for _ in range(TRIALS):
        d = int(rng.integers(2, 6))
        sigma, mu, bias = family(rng, 2, d, equal=True)
        value = rng.uniform(0.05, 3)

        def loss(z, member=(sigma, mu, bias)):
            h = scores(z, *member)
            return np.logaddexp(0, h[:, 1] - h[:, 0])

        found = crossings(loss, mu[0], rng.normal(size=(40, d)), value)
        if len(found) <= d:
            continue
        # d + 1 or more points on one hyperplane: the smallest singular value of the centered points vanishes.
        flat = max(flat, float(np.linalg.svd(found - found.mean(axis=0), compute_uv=False)[-1]))
        normal = numeric(theory.plane_normal)(sigma[0], *mu)
        offset = numeric(theory.plane_offset)(value, sigma[0], *np.square(mu).sum(axis=1), bias[0] - bias[1])
        worst, points = max(worst, float(abs(found @ normal - offset).max())), points + len(found)
    return Finding(
        printed=max(worst, flat) < 1e-7 and points > 300,
        evidence=f"{points} contour points found by bisection in 2 to 5 dimensions: each instance's points lie on one"
        f" hyperplane (smallest singular value at most {max(flat, 1e-12):.0e}), the derived one, within"
        f" {max(worst, 1e-12):.0e}.",
    )
