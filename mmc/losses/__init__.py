"""The losses: features and labels in, one value per example out, with a decision rule.

To add one: a subclass of `Loss` with `value` and `logits`, and a line in `LOSSES`.
"""

from __future__ import annotations

from typing import Any

from mmc.losses.base import Loss
from mmc.losses.complement import GCE
from mmc.losses.conformity import PC
from mmc.losses.etf import ETF
from mmc.losses.fixed import MMC, MMLDA, ElasticMMC, FixedCenters, MMCRand
from mmc.losses.hierarchical import MMCHier
from mmc.losses.hypersphere import HE
from mmc.losses.learned import LGM, CenterLoss
from mmc.losses.one_vs_rest import OVR
from mmc.losses.smoothing import LabelSmoothing
from mmc.losses.softmax import GSCE, SCE
from mmc.losses.stationary import LogitSquared, MirroredSCE

#: Every loss by the name that is printed in tables and figures.
LOSSES: dict[str, type[Loss]] = {
    "SCE": SCE,
    "g-SCE": GSCE,
    "Center": CenterLoss,
    "L-GM": LGM,
    "MMLDA": MMLDA,
    "MMC": MMC,
    "MMC (rand)": MMCRand,
    "MMC (hier)": MMCHier,
    "Elastic MMC": ElasticMMC,
    "ETF": ETF,
    "Label smoothing": LabelSmoothing,
    "GCE": GCE,
    "OVR": OVR,
    "Logit-squared": LogitSquared,
    "Mirrored SCE": MirroredSCE,
    "HE": HE,
    "PC": PC,
}


def build(name: str, num_classes: int, feature_dim: int, **options: Any) -> Loss:
    """Make a loss by its printed name.

    Args:
        name: a key of `LOSSES`.
        num_classes: L >= 2.
        feature_dim: d >= 1.
        options: what the loss's constructor takes besides.

    Raises:
        ValueError: no such loss, or an option it does not have; the message lists what there is.
    """
    if name not in LOSSES:
        raise ValueError(f"no loss {name!r}; there are: {', '.join(LOSSES)}")
    try:
        return LOSSES[name](num_classes, feature_dim, **options)
    except TypeError as error:
        raise ValueError(f"loss {name!r}: {error}") from error


__all__ = [
    "ETF",
    "GCE",
    "GSCE",
    "HE",
    "LGM",
    "LOSSES",
    "MMC",
    "MMLDA",
    "OVR",
    "PC",
    "SCE",
    "CenterLoss",
    "ElasticMMC",
    "FixedCenters",
    "LabelSmoothing",
    "LogitSquared",
    "Loss",
    "MMCHier",
    "MMCRand",
    "MirroredSCE",
    "build",
]
