"""Claims on density under the MMC loss: Theorem 2, what it is used for, and why the loss is a square."""

from __future__ import annotations

from functools import cache

import numpy as np
import sympy as sp

from mmc import density
from mmc.claims import Finding, claim
from mmc.theory import density as theory
from mmc.theory.numeric import numeric

DIMS = range(2, 11)
#: Loss values at which the density is measured, each in a shell five percent thick on either side.
LOSSES = np.geomspace(0.8, 3.2, 6)
SHELLS = np.stack([0.95 * LOSSES, 1.05 * LOSSES], axis=1)
LOW, HIGH = 0.7, 3.6


def log_uniform(loss_value: np.ndarray) -> np.ndarray:
    """p(C) proportional to 1/C on [LOW, HIGH]: every shell gets the same share of the features."""
    return 1 / (loss_value * np.log(HIGH / LOW))


def mmc_loss(features: np.ndarray) -> np.ndarray:
    """The MMC loss with the center at the origin."""
    return np.square(features).sum(axis=1) / 2


@cache
def measured_density(feature_dim: int, num_features: int = 250_000, seed: int = 0) -> np.ndarray:
    """Eq. 2 in thin shells by Monte Carlo: counted features over sampled volumes, per feature."""
    rng, center = np.random.default_rng([seed, feature_dim]), np.zeros(feature_dim)
    losses = density.sample_losses(log_uniform, LOW, HIGH, num_features, rng)
    values = mmc_loss(density.contour_points(losses, center, rng))
    counts = ((SHELLS[:, :1] <= values) & (values <= SHELLS[:, 1:])).sum(axis=1)
    std = np.sqrt(4 / feature_dim)  # puts the samples' mean loss value, d std^2 / 2, among the shells
    return counts / num_features / density.sampled_volumes(mmc_loss, SHELLS, center, std, num_features, rng)


def slope(values: np.ndarray) -> float:
    """Slope against the loss value on log-log axes, the density of the loss value divided out."""
    return float(np.polyfit(np.log(LOSSES), np.log(values / log_uniform(LOSSES)), 1)[0])


@claim(
    "theorem-2",
    paper="MMC",
    source="Theorem 2",
    printed=r"Under the MMC loss the sample density at loss value $C$ is proportional to"
    r" $N_k \, p_k(C) / C^{(d-1)/2}$.",
    exact=r"It is $N_k \, p_k(C) / \big(S_{d-1} (2C)^{(d-2)/2}\big)$ with $S_{d-1} = 2\pi^{d/2}/\Gamma(d/2)$:"
    r" the shell is $\Delta C / \sqrt{2C}$ thick, not $\Delta C$.",
    chapter="density-mmc",
)
def theorem_2() -> Finding:
    off_printed, off_exact, off_level = [], [], []
    for d in DIMS:
        measured, p = measured_density(d), log_uniform(LOSSES)
        exact, printed = numeric(theory.mmc_density)(LOSSES, p, d), numeric(theory.mmc_density_printed)(LOSSES, p, d)
        off_exact.append(abs(slope(measured) - slope(exact)))
        off_printed.append(abs(slope(measured) - slope(printed)))
        off_level.append(abs(float(np.mean(measured / exact)) - 1))
    return Finding(
        printed=max(off_printed) < 0.05,
        exact=max(off_exact) < 0.05 and max(off_level) < 0.02,
        evidence=f"Monte Carlo in $d = 2, \\dots, 10$: the measured exponent of $C$ is within {max(off_exact):.3f} of"
        f" the exact one and the level within {100 * max(off_level):.1f} %; the printed exponent is off by"
        f" {min(off_printed):.2f} to {max(off_printed):.2f}.",
    )


@claim(
    "mmc-density-grows",
    paper="MMC",
    source="the conclusion drawn from Theorem 2",
    printed=r"Under the MMC loss the sample density grows as the loss value $C$ decreases to $0$, through the power"
    r" of $C$.",
    exact=r"In $d > 2$ the power $C^{-(d-2)/2}$ grows, and the density with it exactly where"
    r" $\mathrm{d} \log p / \mathrm{d} \log C < (d-2)/2$. In $d = 2$ there is no power of $C$, and the conclusion rests"
    r" on $p$ alone.",
    chapter="density-mmc",
)
def mmc_density_grows() -> Finding:
    slopes = {d: slope(measured_density(d)) for d in DIMS}
    loss_value, d, a = sp.symbols("C d a", positive=True)
    law = theory.mmc_density(loss_value, loss_value**a, d)
    # d log SD / d log C = a - (d - 2)/2 for p = C^a; for Gaussian features the powers cancel altogether.
    threshold = sp.solve(theory.log_slope(law, loss_value), a)
    gaussian = theory.mmc_density(loss_value, theory.gaussian_loss_density(loss_value, d, 1), d)
    bounded = sp.limit(sp.simplify(gaussian), loss_value, 0, "+").subs(d, 10)
    return Finding(
        printed=all(value < -0.05 for value in slopes.values()),
        exact=abs(slopes[2]) < 0.05
        and all(slopes[n] < -0.05 for n in DIMS if n > 2)
        and [sp.simplify(value - (d - 2) / 2) for value in threshold] == [0]
        and bool(sp.simplify(bounded - (2 * sp.pi) ** -5) == 0),
        evidence=f"With $p$ divided out, the measured slope of log density against $\\log C$ is {slopes[2]:+.2f} in"
        f" $d = 2$, {slopes[3]:+.2f} in $d = 3$ and {slopes[10]:+.2f} in $d = 10$. Gaussian features, whose $p$ falls"
        f" like $C^{{(d-2)/2}}$, keep a bounded density at the center.",
    )


@claim(
    "mmc-squared-form",
    paper="MMC",
    source="the text that introduces the MMC loss",
    printed=r"The squared form is chosen because its gradient is $z - \mu^*_y$: the same in every direction, and zero"
    r" at the center only.",
    chapter="density-mmc",
)
def mmc_squared_form() -> Finding:
    import torch

    from mmc.losses import MMC

    loss = MMC(4, 6, norm=2.0).double()
    generator = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(200, 6, generator=generator, dtype=torch.float64)
    y = torch.arange(len(z)) % 4
    offsets = z - loss.centers[y]
    # Central differences of the loss itself: they know nothing of the formula, and are exact for a square.
    width = 1e-3
    ahead, here, behind = [], loss(z, y), []
    for step in width * torch.eye(6, dtype=torch.float64):
        ahead.append(loss(z + step, y))
        behind.append(loss(z - step, y))
    gradient = torch.stack([(a - b) / (2 * width) for a, b in zip(ahead, behind, strict=True)], dim=1)
    curvature = torch.stack([(a - 2 * here + b) / width**2 for a, b in zip(ahead, behind, strict=True)], dim=1)
    error = float((gradient - offsets).abs().max())
    ratio = gradient.norm(dim=1) / offsets.norm(dim=1)
    return Finding(
        printed=error < 1e-8 and float((ratio - 1).abs().max()) < 1e-8 and float((curvature - 1).abs().max()) < 1e-4,
        evidence=f"Central differences at {len(z)} random features agree with $z - \\mu^*_y$ within"
        f" {max(error, 1e-9):.0e}, the gradient's norm over the distance to the center is"
        f" {float(ratio.min()):.6f} to {float(ratio.max()):.6f}, and the curvature is"
        f" {float(curvature.min()):.4f} to {float(curvature.max()):.4f} along every axis.",
    )
