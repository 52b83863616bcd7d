"""Claims on the curse of softmax, each against losses written out in full: no contour formula is used to judge one."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, logsumexp, softmax

from mmc.claims import Finding, claim


def pair_loss(z: np.ndarray, sigma: np.ndarray, centers: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The g-SCE loss of class 0 at one or more features, from the definition."""
    offsets = np.asarray(z)[..., None, :] - centers
    return -log_softmax(bias - sigma * np.square(offsets).sum(-1), axis=-1)[..., 0]


def random_pair(rng: np.random.Generator, feature_dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precisions (the smaller one first), centers and biases of two classes."""
    sigma = np.sort(rng.uniform(0.3, 1.2, 2)) + np.array([0, 0.6])
    return sigma, 0.5 * rng.normal(size=(2, feature_dim)), rng.normal(size=2)


def fitted_radius(points: np.ndarray) -> float:
    """Radius of the sphere through the points by linear least squares: |z|^2 = 2 z.m + (R^2 - |m|^2)."""
    middle = points.mean(0)  # far spheres: fit around the points' own middle
    shifted = points - middle
    solution = np.linalg.lstsq(np.c_[2 * shifted, np.ones(len(points))], np.square(shifted).sum(1), rcond=None)[0]
    return float(np.sqrt(solution[-1] + solution[:-1] @ solution[:-1]))


@claim(
    "softmax-only-differences",
    paper="MMC",
    source="the text on the curse of softmax",
    printed=r"A softmax loss depends on the logits only through their differences, so its supervision of the feature is"
    r" indirect.",
    chapter="curse",
)
def softmax_only_differences() -> Finding:
    import torch

    from mmc.losses import MMC, SCE

    generator = torch.Generator().manual_seed(0)
    num_classes, d = 10, 64
    z = torch.randn(200, d, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.arange(200) % num_classes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sce = SCE(num_classes, d).double()
    shift = 50 * torch.randn(200, 1, generator=generator, dtype=torch.float64)
    plain, shifted = (torch.nn.functional.cross_entropy(sce.logits(z) + s, y, reduction="none") for s in (0, shift))
    change = float((plain - shifted).detach().abs().max())
    ranks = []
    for loss in (sce, MMC(num_classes, d).double()):
        (gradient,) = torch.autograd.grad(loss(z, y).sum(), z)
        ranks.append(int(torch.linalg.matrix_rank(gradient)))
    return Finding(
        printed=change < 1e-12 and ranks[0] == num_classes - 1 and ranks[1] == d,
        evidence=f"Shifting all logits of an example changes its loss by at most {max(change, 1e-13):.0e}."
        f" With $L = 10$ and $d = 64$ the SCE gradients of 200 random features span {ranks[0]} directions, those of MMC"
        f" all {ranks[1]}.",
    )


@claim(
    "curse-radius-diverges",
    paper="MMC",
    source="the text on the curse of softmax, after Theorem 1",
    printed=r"For $\sigma_k < \sigma_{\tilde k}$ the contour's radius $R$ tends to infinity as $C \to 0$.",
    chapter="curse",
)
def curse_radius_diverges() -> Finding:
    rng, values = np.random.default_rng(0), np.geomspace(1e-2, 1e-12, 6)
    growing, slopes = True, []
    for _ in range(3):
        sigma, centers, bias = random_pair(rng, 3)
        rays = rng.normal(size=(24, 3))
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        squared = []
        for value in values:

            def excess(r: float, ray: np.ndarray, value=value, sigma=sigma, centers=centers, bias=bias) -> float:
                # In logs, and without the 1 + that would swallow a small loss.
                offsets = np.square(centers[1] + r * ray - centers).sum(-1)
                return -float((bias - sigma * offsets) @ [1, -1]) - np.log(np.expm1(value))

            points = np.array([centers[1] + brentq(excess, 0, 1e4, args=(ray,), xtol=1e-13) * ray for ray in rays])
            squared.append(fitted_radius(points) ** 2)
        growing &= bool(np.all(np.diff(squared) > 0))
        slopes.append(np.polyfit(-np.log(values), squared, 1)[0] * (sigma[1] - sigma[0]))
    return Finding(
        printed=bool(growing and max(abs(np.array(slopes) - 1)) < 0.01),
        evidence=f"Spheres fitted to brute-force contour points of three random pairs ($d = 3$, $C$ from $10^{{-2}}$ to"
        f" $10^{{-12}}$): the radius always grows, and $R^2$ rises with $\\log(1/C)$ at"
        f" {min(slopes):.3f} to {max(slopes):.3f} times the rate $1/(\\sigma_{{\\tilde k}} - \\sigma_k)$:"
        " without bound, but slowly.",
    )


@claim(
    "curse-no-contour",
    paper="MMC",
    source="the text on the curse of softmax, after Theorem 1",
    printed=r"For $\sigma_k > \sigma_{\tilde k}$ there is no contour for loss values below some $C^* > 0$.",
    chapter="curse",
)
def curse_no_contour() -> Finding:
    from mmc.theory import contours
    from mmc.theory.numeric import numeric

    rng, off, least = np.random.default_rng(1), [], []
    for _ in range(5):
        sigma, centers, bias = random_pair(rng, 3)
        sigma = sigma[::-1]
        found = [
            minimize(pair_loss, start, args=(sigma, centers, bias), options={"gtol": 1e-10})
            for start in 3 * rng.normal(size=(3, 3))
        ]
        least.append(min(result.fun for result in found))
        distance = np.square(centers[0] - centers[1]).sum()
        formula = numeric(contours.limit_loss)(sigma[0], sigma[1], distance, bias[0] - bias[1])
        off.append(abs(float(formula) / least[-1] - 1))
    return Finding(
        printed=bool(min(least) > 0 and max(off) < 1e-6),
        evidence=f"Minimizing the loss of five random pairs in $d = 3$ from several starts ends at a positive value"
        f" each time ({min(least):.2g} to {max(least):.2g}); the closed form of $C^*$ agrees within"
        f" {max(max(off), 1e-9):.0e}.",
    )


@claim(
    "curse-hyperplane-infinity",
    paper="MMC",
    source="the text on the curse of softmax, after Theorem 1",
    printed=r"For $\sigma_k = \sigma_{\tilde k}$ (SCE, MMLDA) contours are hyperplanes, and as $C \to 0$ the"
    r" features run to infinity.",
    chapter="curse",
)
def curse_hyperplane_infinity() -> Finding:
    from mmc.theory import curse
    from mmc.theory.numeric import numeric

    rng, values = np.random.default_rng(2), np.array([0.1, 1e-2, 1e-3, 1e-4])
    steps, ratios = [], []
    for _ in range(3):
        weights, bias = rng.normal(size=(5, 8)), 0.3 * rng.normal(size=5)
        norms = [_least_norm(value, weights, bias) for value in values]
        spread, gap = np.linalg.norm(weights[0] - weights[1:].mean(0)), bias[0] - bias[1:].mean()
        ratios.extend(norms / numeric(curse.norm_bound)(values, 5, spread, gap))
        steps.append(np.diff(norms))
    return Finding(
        printed=bool(np.min(steps) > 0.1 and min(ratios) >= 1 - 1e-6),
        evidence=f"The least norm of a feature with SCE loss at most $C$, by convex optimization ($L = 5$, $d = 8$,"
        f" three random layers with biases): every factor of ten in $C$ adds {np.min(steps):.2f} to"
        f" {np.max(steps):.2f}, and it is {min(ratios):.2f} to {max(ratios):.2f} times the derived lower bound.",
    )


def _least_norm(value: float, weights: np.ndarray, bias: np.ndarray) -> float:
    def slack(z: np.ndarray) -> float:
        scores = weights @ z + bias
        return float(np.log(np.expm1(value)) - logsumexp(scores[1:]) + scores[0])

    def slope(z: np.ndarray) -> np.ndarray:
        return weights[0] - softmax((weights @ z + bias)[1:]) @ weights[1:]

    start = 10 * np.linalg.pinv(weights - weights.mean(0))[:, 0]
    found = minimize(
        lambda z: z @ z,
        start,
        jac=lambda z: 2 * z,
        method="SLSQP",
        constraints={"type": "ineq", "fun": slack, "jac": slope},
        options={"ftol": 1e-10},
    )
    if not found.success or slack(found.x) < -1e-6:
        raise RuntimeError(f"the least norm at loss {value} was not found: {found.message}")
    return float(np.linalg.norm(found.x))


@claim(
    "mmlda-gradient-vanishes-off-center",
    paper="MMC",
    source="the text that introduces the MMC loss, read against MMLDA",
    printed=r"The gradient of MMC vanishes at the own center only, while that of MMLDA, on the same centers, tends to"
    r" zero far away from any center.",
    chapter="curse",
)
def mmlda_gradient_vanishes_off_center() -> Finding:
    import torch

    from mmc.losses import MMC, MMLDA

    num_classes, d, norm = 4, 6, 2.0
    mmlda, mmc = MMLDA(num_classes, d, norm).double(), MMC(num_classes, d, norm).double()
    center = mmc.centers[0]
    generator = torch.Generator().manual_seed(0)
    side = torch.randn(100, d, generator=generator, dtype=torch.float64)
    far = 20 * (center + 0.3 * side * norm / side.norm(dim=1, keepdim=True))
    near = 3 * torch.randn(400, d, generator=generator, dtype=torch.float64)
    sizes = {}
    for name, loss in (("MMLDA", mmlda), ("MMC", mmc)):
        for where, points in (("far", far), ("near", near)):
            z = points.clone().requires_grad_()
            values = loss(z, torch.zeros(len(z), dtype=torch.long))
            (gradient,) = torch.autograd.grad(values.sum(), z)
            sizes[name, where] = (gradient.norm(dim=1), values.detach())
    gradient, values = sizes["MMLDA", "near"]
    share = gradient / (norm * -torch.expm1(-values))
    low, high = num_classes / (num_classes - 1), (2 * num_classes / (num_classes - 1)) ** 0.5
    away = (far - center).norm(dim=1).min()
    tiny, kept = sizes["MMLDA", "far"][0].max(), sizes["MMC", "far"][0].min()
    pull = sizes["MMC", "near"][0] / (near - center).norm(dim=1)
    return Finding(
        printed=bool(tiny < 1e-6 and kept > 10 and (pull - 1).abs().max() < 1e-6)
        and bool(share.min() > low - 1e-6 and share.max() < high + 1e-6),
        evidence=f"At 100 points at least {away:.0f} away from the own center ($L = 4$, $C_{{\\mathrm{{MM}}}} = 2$),"
        f" MMLDA's gradient is at most {tiny:.0e} and that of MMC at least {kept:.0f}. At 400 random features MMLDA's"
        f" gradient over $C_{{\\mathrm{{MM}}}}(1 - e^{{-C}})$ is {share.min():.3f} to {share.max():.3f} (derived bounds"
        f" {low:.3f} and {high:.3f}): it measures the loss, and is zero nowhere.",
    )
