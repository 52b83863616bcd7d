"""Claims on the switching one-vs-rest loss that free logits settle; trained networks have a file of their own."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import expit

from mmc.claims import Finding, claim

#: The clock runs in log t, so that a flow can be followed to times that no training reaches.
LATE = 600.0


def flow_margins(one_vs_rest: bool, num_classes: int, weight: float, log_times: np.ndarray) -> np.ndarray:
    """Margins at times e^log_times of free logits from zero; own class first, all logits, no symmetry put in."""

    def velocity(log_time: float, h: np.ndarray) -> np.ndarray:
        if one_vs_rest:
            step = np.r_[expit(-h[0]), -expit(h[1:])]
        else:
            shares = np.exp(h[1:] - h.max())
            wrong = shares / (shares.sum() + np.exp(h[0] - h.max()))
            step = np.r_[wrong.sum(), -wrong]  # 1 - p_y as a sum, which does not round to zero
        return weight * np.exp(log_time) * step

    early = -30.0
    found = solve_ivp(
        velocity, (early, log_times[-1]), np.zeros(num_classes), "LSODA", t_eval=log_times, rtol=1e-9, atol=1e-11
    )
    return found.y[0] - found.y[1:].max(0)


@claim(
    "ovr-doubles-margins",
    paper="SOVR",
    source="Kanai et al., abstract; its theorem on a simple problem, whose exact wording was not at hand",
    printed=r"One-vs-rest increases logit margins two times larger than the weighted cross-entropy loss does, for a"
    r" simple problem. Read here: logits that are free, start at zero and follow the gradient flow, at every time.",
    exact=r"Eventually. For every number of classes $L$ and all weights the ratio of the margins tends to $2$ as"
    r" $t \to \infty$. With equal weights it is below $2$ at every time, at late times about"
    r" $2 \log t / \log(L t)$, and below $1$ at first if $L > 4$.",
    chapter="switching",
)
def ovr_doubles_margins() -> Finding:
    times = np.log([1, 10, 100, 1e3, 1e4])
    settings = [(num_classes, weight) for num_classes in (2, 4, 5, 10, 100) for weight in (0.4, 1.0)]
    every = np.r_[np.log(0.1), times, LATE]
    ratios = {
        (num_classes, weight): flow_margins(True, num_classes, weight, every)
        / flow_margins(False, num_classes, weight, every)
        for num_classes, weight in settings
    }
    # Different weights on the two sides: the limit is the same.
    ends = {(n, w, w): ratio[-1] for (n, w), ratio in ratios.items()}
    ends[10, 0.4, 2.0] = flow_margins(True, 10, 0.4, every)[-1] / flow_margins(False, 10, 2.0, every)[-1]
    gaps = {key: 2 * np.log(key[0] * key[2] / key[1]) / (LATE + np.log(key[0] * key[2])) for key in ends}
    limit = all(abs(ends[key] - 2 + gaps[key]) < 1e-4 for key in ends)
    behind = all((ratio[0] < 1) == (n > 4) for (n, _), ratio in ratios.items())
    shown = ", ".join(f"{value:.3f}" for value in ratios[10, 1.0][1:-1])
    return Finding(
        printed=bool(all(np.abs(ratio - 2).max() < 0.01 for ratio in ratios.values())),
        exact=bool(limit and behind and (np.array(list(ratios.values())) < 2).all()),
        evidence=f"SciPy's integration of all logits. $L = 10$, weights 1: the ratio is {shown} at $t = 1, 10, \\dots,"
        f" 10^4$. At $\\log t = {LATE:g}$, {len(ends)} settings of $L$ from 2 to 100 and of both weights: from"
        f" {min(ends.values()):.3f} to {max(ends.values()):.3f}, short of 2 by logarithms of $L$ and the weights over"
        " that of $t$. At $t = 0.1$ it is below 1 for exactly those with $L > 4$.",
    )


@claim(
    "weights-and-margins",
    paper="SOVR",
    source="Kanai et al., abstract, on importance-aware methods; read here for free logits and weighted cross-entropy",
    printed=r"Weights do not increase the logit margins of important samples, but decrease those of less important"
    r" ones, compared with cross-entropy.",
    exact=r"A weight $w$ changes the margin of a free logit in both directions, and in the end by $\log w$, however"
    r" long the training: up for $w > 1$, down for $w < 1$. It never changes the rate.",
    chapter="switching",
)
def weights_and_margins() -> Finding:
    log_times, num_classes = np.array([0.0, np.log(100), 40.0]), 10
    plain, important, other = (flow_margins(False, num_classes, w, log_times) for w in (1.0, 4.0, 0.25))
    up, down = important - plain, other - plain
    late = max(abs(up[-1] - np.log(4)), abs(down[-1] + np.log(4)))
    return Finding(
        printed=bool((up <= 0).all() and (down < 0).all()),
        exact=bool((up > 0).all() and (down < 0).all() and late < 1e-3),
        evidence=f"SciPy's integration, $L = {num_classes}$, at $t = 1$, $100$ and $e^{{40}}$: a weight of 4 moves the"
        f" margin by {', '.join(f'{value:+.3f}' for value in up)}, a weight of 1/4 by"
        f" {', '.join(f'{value:+.3f}' for value in down)}; $\\log 4 = {np.log(4):.3f}$. What networks do, whose"
        " examples share their weights, is `weights-and-margins-trained`.",
    )
