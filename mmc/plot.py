"""One look for every figure of the book: colour-blind safe, legible at page width, one colour per loss."""

from __future__ import annotations

import matplotlib.pyplot as plt

#: Okabe and Ito's eight colours, distinguishable under the common colour-vision deficiencies.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")

#: Each loss keeps its colour, its line style and its marker through the whole book. Relatives share a colour:
#: plain softmax vermillion, a pull beside the softmax orange, margins purple, fixed centers blue and green, one-vs-rest
#: and its kind black. Colour and line style together name one loss, and so do colour and marker.
_LOOKS = {
    "SCE": ("#D55E00", "-", "o"),
    "g-SCE": ("#D55E00", "--", "s"),
    "Center": ("#E69F00", "--", "s"),
    "L-GM": ("#CC79A7", ":", "^"),
    "MMLDA": ("#009E73", "-.", "D"),
    "MMC": ("#0072B2", "-", "o"),
    "MMC (rand)": ("#56B4E9", "--", "s"),
    "MMC (hier)": ("#0072B2", ":", "^"),
    "Elastic MMC": ("#0072B2", "--", "s"),
    "ETF": ("#009E73", "-", "o"),
    "Label smoothing": ("#D55E00", ":", "^"),
    "GCE": ("#CC79A7", "--", "s"),
    "OVR": ("#000000", "-", "o"),
    "Logit-squared": ("#000000", "--", "s"),
    "Mirrored SCE": ("#D55E00", "-.", "D"),
    "HE": ("#CC79A7", "-", "o"),
    "PC": ("#E69F00", "-", "o"),
}
COLORS = {name: look[0] for name, look in _LOOKS.items()}
LINES = {name: look[1] for name, look in _LOOKS.items()}
MARKERS = {name: look[2] for name, look in _LOOKS.items()}


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
