"""Does density go with robustness? Rank correlations over recorded networks, within seeds.

Networks of one seed begin alike and see the images in one order, so a seed is a block: only networks of one seed are
ranked against each other, and chance is drawn within seeds.
"""

from __future__ import annotations

import numpy as np

from mmc import lab
from mmc.attacks import WORST
from mmc.catalogue.job import PAPER_LOSSES
from mmc.claims import Finding, claim
from mmc.lab import Record

#: Networks whose features and robustness were measured alike.
PATTERNS = tuple(f"{name}/laptop/mnist-cnn-*.json" for name in ("first-experiment", "ablations", "density"))
RADIUS = "0.1"
DRAWS = 4000


def records() -> list[Record]:
    """The networks without adversarial training, each once.

    Raises:
        ValueError: there are none.
    """
    found = {record.spec.slug: record for pattern in PATTERNS[::-1] for record in lab.load(pattern)}
    plain = [record for record in found.values() if record.spec.rule == "standard"]
    if not plain:
        raise ValueError(f"no records {PATTERNS[0]}: `mmc sweep first-experiment --scale laptop` makes them")
    return plain


def of_losses() -> list[Record]:
    """The networks that differ by their loss alone: the paper's six, as they come."""
    return [r for r in records() if r.spec.loss in PAPER_LOSSES and not (r.spec.loss_options or r.spec.tag)]


def of_norms() -> list[Record]:
    """MMC's networks that differ by the norm of their centers alone."""
    return [
        r for r in records() if r.spec.loss == "MMC" and set(dict(r.spec.loss_options)) <= {"norm"} and not r.spec.tag
    ]


def _standard_ranks(x: np.ndarray, blocks: np.ndarray) -> list[np.ndarray]:
    """The ranks within each block of two or more, of mean 0 and length 1; ties share their mean rank."""
    from scipy import stats

    parts = [stats.rankdata(x[blocks == block]) for block in np.unique(blocks) if (blocks == block).sum() > 1]
    centered = [part - part.mean() for part in parts]
    return [part / (np.linalg.norm(part) or 1.0) for part in centered]


def _mean_product(x: list[np.ndarray], y: list[np.ndarray]) -> np.ndarray:
    return np.average([yi @ xi for xi, yi in zip(x, y, strict=True)], axis=0, weights=[len(part) for part in x])


def rank_correlation(x: np.ndarray, y: np.ndarray, blocks: np.ndarray) -> float:
    """Spearman's correlation within each block of two or more, averaged over the blocks by their size."""
    return float(_mean_product(_standard_ranks(x, blocks), _standard_ranks(y, blocks)))


def chance_of(
    x: np.ndarray, y: np.ndarray, blocks: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """How often a shuffle within blocks gives a rank correlation at least as high, and at least as low."""
    rng, found = np.random.default_rng(seed), rank_correlation(x, y, blocks)
    ranks = _standard_ranks(y, blocks)
    shuffled = [rng.permuted(np.tile(part, (draws, 1)), axis=1) for part in ranks]
    others = _mean_product(_standard_ranks(x, blocks), shuffled)
    least = 1e-9  # equal up to rounding is equal
    return tuple(
        float((1 + extreme.sum()) / (1 + draws)) for extreme in (others >= found - least, others <= found + least)
    )


def columns(found: list[Record]) -> dict[str, np.ndarray]:
    """One entry for each network: `density` (log10, unit of length the mean distance of classes), `robust`, `seed`."""
    return {
        "density": np.concatenate([record.values("features", "log_density") for record in found]),
        "robust": np.concatenate([record.values("robust", RADIUS, WORST) for record in found]),
        "seed": np.concatenate([record.seeds for record in found]),
    }


@claim(
    "density-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the idea behind the MMC loss",
    printed="Of networks that differ by their loss alone, those with denser features are the more robust (MNIST, small "
    r"CNN, $\epsilon = 0.1$, worst case of three objectives; rank correlation within seeds, above zero beyond chance).",
    chapter="density-robustness",
)
def density_laptop() -> Finding:
    table = columns(of_losses())
    triple = (table["density"], table["robust"], table["seed"])
    found, (above, below) = rank_correlation(*triple), chance_of(*triple)
    return Finding(
        printed=bool(found > 0 and above < 0.05),
        evidence=f"Over {len(table['seed'])} networks, {len(np.unique(table['seed']))} seeds, the rank correlation of "
        f"density and robust accuracy within seeds is {found:+.2f}. Shuffled, it comes out as high in {above:.0%} of "
        f"the cases, and as low in {below:.1%} (laptop scale, MNIST, 1000 test images).",
    )
