"""Claims on convergence: how fast features reach where a loss wants them, in feature space and in a toy."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import log_softmax, softmax

from mmc.claims import Finding, claim

NUM_CLASSES, NORM = 4, 1.0


def corners() -> np.ndarray:
    """A regular simplex, from the unit vectors: it shares no code with the library's."""
    centered = np.eye(NUM_CLASSES) - 1 / NUM_CLASSES
    return NORM * centered / np.linalg.norm(centered[0])


def flow_values(start: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MMLDA and MMC losses along their integrated gradient flows, for a feature of class 0."""
    centers = corners()

    def integrate(velocity: object, ends: np.ndarray) -> np.ndarray:
        span = (0, float(ends[-1]))
        return solve_ivp(velocity, span, start, t_eval=ends, method="LSODA", rtol=1e-10, atol=1e-13).y.T

    by_softmax = integrate(lambda _, z: centers[0] - softmax(centers @ z) @ centers, times)
    by_square = integrate(lambda _, z: centers[0] - z, np.linspace(0.5, 8, len(times)))
    return -log_softmax(by_softmax @ centers.T, axis=1)[:, 0], np.square(by_square - centers[0]).sum(1) / 2


@claim(
    "faster-convergence-flow",
    paper="MMC",
    source="the advantages listed for the MMC loss, read in feature space",
    printed=r"The MMC loss converges faster than SCE and its variants. For one feature under gradient flow: its"
    r" distance to the center falls like $e^{-t}$, while the loss of SCE and MMLDA falls like $1/t$.",
    chapter="convergence",
)
def faster_convergence_flow() -> Finding:
    from mmc.theory import flow
    from mmc.theory.numeric import numeric

    generator = np.random.default_rng(0)
    times = np.geomspace(1e4, 1e6, 9)
    powers, exponents = [], []
    for _ in range(4):
        softmax_values, mmc_values = flow_values(generator.normal(size=NUM_CLASSES), times)
        powers.append(np.polyfit(np.log(times), np.log(softmax_values), 1)[0])
        exponents.append(np.polyfit(np.linspace(0.5, 8, len(times)), np.log(mmc_values), 1)[0])
    off = [max(abs(np.array(powers) + 1)), max(abs(np.array(exponents) + 2))]
    share = np.geomspace(0.5, 1e-6, 400)
    slope = numeric(flow.simplex_slope)(10, 10)
    behind = numeric(flow.softmax_time_to)(share, slope, 10) < numeric(flow.mmc_time_to)(share)
    return Finding(
        printed=bool(off[0] < 0.01 and off[1] < 0.01),
        evidence=f"SciPy's integration from four random features ($L = 4$): MMLDA's loss falls like"
        f" $t^{{{np.mean(powers):.3f}}}$ between $t = 10^4$ and $10^6$, MMC's like $e^{{{np.mean(exponents):.3f} t}}$."
        f" The lead comes late where steps are equal: with $L = 10$ and $C_{{MM}} = 10$, MMLDA is ahead until its loss"
        f" is {100 * share[behind].min():.2g} % of its start.",
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
        evidence=f"A small network on five spiral arms, best of three step sizes each: MMC has 95 % of the features"
        f" nearest to their own center, at a mean distance of a quarter of half the gap, after {_listed(steps['MMC'])}"
        f" steps (two seeds), Center loss ($\\lambda = 0.1$) after {_listed(steps['Center'])}.",
    )


def _best(toy: object, name: str, seed: int) -> float:
    """Fewest steps to both goals over the step sizes; infinity where none gets there."""
    inputs, labels = toy.spiral(5, 20, seed)
    options = {"weight": 0.1} if name == "Center" else {}
    found = []
    for rate in (0.04, 0.08, 0.16):
        loss = toy.make_loss(name, 5, seed=seed, **options)
        run = toy.network_run(loss, toy.small_network(seed=seed), inputs, labels, steps=150, rate=rate)
        found.append(run.first(accuracy=0.95, distance=0.25))
    return min((steps for steps in found if steps is not None), default=float("inf"))


def _listed(steps: list[float]) -> str:
    return " and ".join(f"{value:.0f}" if np.isfinite(value) else "more than 150" for value in steps)
