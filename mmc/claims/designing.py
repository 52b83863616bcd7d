"""Does one property of a loss foretell robust accuracy over all losses? Read from the reports of the registry's losses.

None of the papers prints such a law. Each argues from one property, and a reader may take the argument for one.
"""

from __future__ import annotations

import numpy as np

from mmc.claims import Finding, claim
from mmc.losses import LOSSES
from mmc.report.record import kept

#: A column of the row, and what the number in it says.
PROPERTIES = {
    "stationary": "a finite stationary margin",
    "exponent": "a larger density exponent",
    "growth": "faster growth of margins",
}
RESAMPLES, LEVEL = 2000, 0.05


def accuracies() -> np.ndarray:
    """Robust accuracy of each loss of the registry, in its order: the mean over the recorded networks."""
    return np.array([np.mean([one.headline for one in kept(name).trials]) for name in LOSSES])


def column(key: str) -> np.ndarray:
    """One property of each loss, in the order of the registry; for `stationary` 1 where there is such a margin.

    Raises:
        ValueError: no such property.
    """
    if key not in PROPERTIES:
        raise ValueError(f"no property {key!r}; there are: {', '.join(PROPERTIES)}")
    numbers = [kept(name).entries[key].number for name in LOSSES]
    return np.array([n is not None for n in numbers] if key == "stationary" else numbers, dtype=float)


def foretells(key: str, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Spearman's rank correlation of a property with robust accuracy over all losses, and its p-value by permutation.

    Args:
        key: one of `PROPERTIES`.
        resamples: pairings drawn.
        seed: of the drawing.
    """
    from scipy.stats import permutation_test, rankdata, zscore

    ranks = zscore(rankdata(accuracies()))
    found = permutation_test(
        (zscore(rankdata(column(key))),),
        lambda drawn, axis: np.mean(drawn * ranks, axis=axis),  # Spearman's: Pearson's, of the ranks
        permutation_type="pairings",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(found.statistic), float(found.pvalue)


def _law(key: str, paper: str, source: str) -> None:
    @claim(
        f"{key}-foretells-robustness",
        paper=paper,
        source=source,
        printed=f"Over losses, {PROPERTIES[key]} goes with more robust accuracy. Read as a law, which no paper prints: "
        "the rank correlation over all losses of the registry is above zero beyond chance (digits, small network, "
        r"$\epsilon = 0.1$, worst case of the suite).",
        chapter="designing",
    )
    def check() -> Finding:
        value, chance = foretells(key)
        one = kept("SCE").trials
        return Finding(
            printed=bool(value > 0 and chance < LEVEL),
            evidence=f"The rank correlation over {len(LOSSES)} losses is {value:+.2f} ($p = {chance:.2f}$ by "
            f"permutation; smoke scale, {one[0].images} test images of the digits, mean of {len(one)} networks each).",
        )


_law("exponent", "MMC", "our reading of the argument that denser features make a network robust")
_law("stationary", "SP", "our reading of the argument that a stationary point makes a network robust")
_law("growth", "SOVR", "our reading of the argument that larger margins make a network robust")
