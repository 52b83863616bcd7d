"""One look for every figure of the book: colour-blind safe, legible at page width, one colour per loss."""

from __future__ import annotations

import matplotlib.pyplot as plt

#: Okabe and Ito's eight colours, distinguishable under the common colour-vision deficiencies.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")

#: Each loss keeps its colour and its line style through the whole book.
COLORS = {
    "SCE": "#D55E00",
    "Center": "#E69F00",
    "L-GM": "#CC79A7",
    "MMLDA": "#009E73",
    "MMC": "#0072B2",
    "MMC (rand)": "#56B4E9",
}
LINES = {"SCE": "-", "Center": "--", "L-GM": ":", "MMLDA": "-.", "MMC": "-", "MMC (rand)": "--"}


def use_style() -> None:
    """Set the book's Matplotlib style; called once, in a chapter's setup cell."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.2, 3.6),
            "figure.dpi": 120,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "font.size": 10,
            "axes.titlesize": 10.5,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "image.cmap": "viridis",
        }
    )
