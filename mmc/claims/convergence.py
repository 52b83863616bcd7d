"""Claims on convergence: how fast features reach where a loss wants them, in feature space and in a toy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from mmc.claims import Finding, claim

NUM_CLASSES, NORM = 4, 1.0


def corners() -> np.ndarray:
    """A regular simplex, from the unit vectors: it shares no code with the library's."""
    centered = np.eye(NUM_CLASSES) - 1 / NUM_CLASSES
    return NORM * centered / np.linalg.norm(centered[0])


def integrate(velocity: Callable, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Positions at the times, one row each, of the flow that starts at time zero."""
    span = (0, float(times[-1]))
    return solve_ivp(velocity, span, start, t_eval=times, method="LSODA", rtol=1e-10, atol=1e-13).y.T


def softmax_power(weights: np.ndarray, biases: np.ndarray, start: np.ndarray) -> float:
    """Slope of log loss against log time, t from 10^4 to 10^6, under softmax with these logits, own class 0."""
    times = np.geomspace(1e4, 1e6, 9)
    path = integrate(lambda _, z: weights[0] - softmax(weights @ z + biases) @ weights, start, times)
    values = -log_softmax(path @ weights.T + biases, axis=1)[:, 0]
    return float(np.polyfit(np.log(times), np.log(values), 1)[0])


def square_exponent(center: np.ndarray, start: np.ndarray) -> float:
    """Slope of log loss against time, t from 0.5 to 8, under the MMC loss."""
    times = np.linspace(0.5, 8, 9)
    path = integrate(lambda _, z: center - z, start, times)
    return float(np.polyfit(times, np.log(np.square(path - center).sum(1) / 2), 1)[0])


@claim(
    "faster-convergence-flow",
    paper="MMC",
    source="the advantages listed for the MMC loss, in words; read here as a rate in feature space",
    printed=r"The MMC loss converges faster than SCE and MMLDA. Read as a rate, for one feature that follows the"
    r" gradient flow with weights and centers fixed: the MMC loss falls like $e^{-2t}$, theirs at best like $1/t$. So"
    r" MMC is ahead from some time on, whatever the step sizes; a lead from the start is not part of this reading.",
    chapter="convergence",
)
def faster_convergence_flow() -> Finding:
    from mmc.theory import flow
    from mmc.theory.numeric import numeric

    generator = np.random.default_rng(0)
    centers, unbiased = corners(), np.zeros(NUM_CLASSES)
    found = {"MMLDA": [], "SCE": [], "MMC": []}
    for _ in range(4):
        start, biases = generator.normal(size=(2, NUM_CLASSES))
        weights = generator.normal(size=(NUM_CLASSES, NUM_CLASSES))
        found["MMLDA"].append(softmax_power(centers, unbiased, start))
        found["SCE"].append(softmax_power(weights, biases, start))
        found["MMC"].append(square_exponent(centers[0], start))
    want = {"MMLDA": -1, "SCE": -1, "MMC": -2}
    slope = numeric(flow.simplex_slope)(10, 10)

    def lead(log_share: float) -> float:
        share = np.exp(log_share)
        return float(numeric(flow.softmax_time_to)(share, slope, 10) - numeric(flow.mmc_time_to)(share))

    overtaken = np.exp(brentq(lead, np.log(1e-6), np.log(0.5)))
    return Finding(
        printed=all(np.abs(np.array(found[name]) - want[name]).max() < 0.01 for name in found),
        evidence="SciPy's integration, $L = 4$, four random features (and weights and biases for SCE): between"
        f" $t = 10^4$ and $10^6$ the loss falls like $t^{{{np.mean(found['MMLDA']):.3f}}}$ under MMLDA and"
        f" $t^{{{np.mean(found['SCE']):.3f}}}$ under SCE, and like $e^{{{np.mean(found['MMC']):.3f} t}}$ under MMC. At"
        " one step size for both the lead comes late: with $L = 10$ and $C_{MM} = 10$, from $z = 0$, MMLDA has lost the"
        f" larger share of its loss until {100 * overtaken:.2g} % is left.",
    )


@claim(
    "faster-convergence-toy",
    paper="MMC",
    source="the toy demonstration on faster convergence (its title alone is public; the set-up is ours)",
    printed=r"In a two-dimensional toy, fixed centers (MMC) converge faster than moving centers (Center loss).",
    chapter="convergence",
)
def faster_convergence_toy() -> Finding:
    import torch

    from mmc import toy

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny tensors
    try:
        steps = {name: [_best(toy, name, seed) for seed in range(2)] for name in ("MMC", "Center")}
    finally:
        torch.set_num_threads(threads)
    ahead = all(fixed < moving for fixed, moving in zip(steps["MMC"], steps["Center"], strict=True))
    return Finding(
        printed=ahead,
        evidence="A small network on five spiral arms, best of three step sizes each (for Center loss also of"
        " $\\lambda = 0.1$ and $0.3$): MMC has 95 % of the features nearest to their own center, at a mean distance of"
        f" a quarter of half the gap, after {_listed(steps['MMC'])} steps (two seeds), Center loss after"
        f" {_listed(steps['Center'])}.",
    )


def _best(toy: object, name: str, seed: int) -> float:
    """Fewest steps to both goals over step sizes and, for Center loss, weights; infinity where none gets there."""
    inputs, labels = toy.spiral(5, 20, seed)
    found = []
    for options in [{"weight": 0.1}, {"weight": 0.3}] if name == "Center" else [{}]:
        for rate in (0.04, 0.08, 0.16):
            loss = toy.make_loss(name, 5, seed=seed, **options)
            run = toy.network_run(loss, toy.small_network(seed=seed), inputs, labels, steps=150, rate=rate)
            found.append(run.first(accuracy=0.95, distance=0.25))
    return min((steps for steps in found if steps is not None), default=float("inf"))


def _listed(steps: list[float]) -> str:
    return " and ".join(f"{value:.0f}" if np.isfinite(value) else "more than 150" for value in steps)
