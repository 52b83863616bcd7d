"""The six pictures of a report card, each in a function of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from mmc.losses.base import margins
from mmc.plot import PALETTE
from mmc.report.exact import blind_from
from mmc.report.row import Row
from mmc.report.scene import gap, labels, value_and_gradient
from mmc.report.trial import CROSS_ENTROPY, WORST, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

BLUE, RED, GREEN = PALETTE[:3]
SIDE, ARROWS = 121, 13
#: By the number of columns.
SIZES = {2: (7.2, 8.4), 3: (11, 6.6)}


def alt(name: str) -> str:
    """A description of the figure for readers who cannot see it."""
    return (
        f"Six panels on the loss {name}. Contours of its value in a plane of features, with arrows where those of the"
        " first class go; its value against the margin on the way from another class; the margin against time along the"
        " gradient flow; three gradients along the same way; accuracy against epsilon; the share of test images"
        " up to each margin."
    )


def draw(row: Row, trials: Sequence[Trial], columns: int = 3) -> Figure:
    """The figure of a card.

    Args:
        row: of the loss.
        trials: of its networks.
        columns: 3 on a card, 2 where a page is narrow.

    Raises:
        ValueError: another number of columns.
    """
    if columns not in SIZES:
        raise ValueError(f"columns must be 2 or 3, not {columns}")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(6 // columns, columns, figsize=SIZES[columns], layout="constrained")
    for ax, panel in zip(axes.flat, (landscape, value_by_margin, growth, pulls), strict=False):
        panel(ax, row)
    accuracy(axes.flat[4], trials)
    reached(axes.flat[5], trials)
    return figure


def _plane(row: Row) -> tuple[Tensor, Tensor]:
    """Two orthogonal directions: to where class 0 ends, and from there to where class 1 does."""
    own, other = row.ends[0].z, row.ends[1].z
    first = own / own.norm().clamp_min(1e-9)
    second = other - (other @ first) * first
    return first, second / second.norm().clamp_min(1e-9)


def _way(row: Row, shares: np.ndarray) -> Tensor:
    """Features on the line from where class 1 ends (0) to where class 0 does (1), and beyond."""
    own, other = row.ends[0].z, row.ends[1].z
    return other + torch.from_numpy(shares)[:, None] * (own - other)


def landscape(ax: Axes, row: Row) -> None:
    """Contours of the loss of class 0, where its features go, and the boundary of the class."""
    first, second = _plane(row)
    places = torch.stack([row.ends[k].z for k in (0, 1)]) @ torch.stack([first, second], 1)
    reach = 1.5 * float(places.abs().max())
    axis = torch.linspace(-reach, reach, SIDE, dtype=torch.float64)
    grid = axis[None, :, None] * first + axis[:, None, None] * second
    values = value_and_gradient(row.loss, grid.flatten(0, 1))[0].reshape(SIDE, SIDE).numpy()
    ax.contourf(axis, axis, values, 24, cmap="Blues", alpha=0.55)
    levels = np.unique(np.quantile(values, [0.04, 0.12, 0.25, 0.4, 0.55, 0.7, 0.85]))
    ax.contour(axis, axis, values, levels, colors="#1b4f72", linewidths=0.8, linestyles="-")
    lead = gap(row.loss, grid.flatten(0, 1)).reshape(SIDE, SIDE).numpy()
    ax.contour(axis, axis, lead, [0.0], colors=RED, linewidths=1.6, linestyles="--")
    coarse = grid[5 :: SIDE // ARROWS, 5 :: SIDE // ARROWS].flatten(0, 1)
    pull = -value_and_gradient(row.loss, coarse)[1] @ torch.stack([first, second], 1)
    size = pull.norm(dim=1, keepdim=True)
    shown = pull / size.clamp_min(1e-300) * (size / size.max()) ** (1 / 3)
    spots = coarse @ torch.stack([first, second], 1)
    ax.quiver(*spots.T.numpy(), *shown.T.numpy(), angles="xy", scale_units="xy", scale=7 / reach, width=0.006)
    ax.plot(*places[0], "o", color=RED, ms=6)
    ax.plot(*places[1], "s", color="0.35", ms=5)
    ax.set(title="contours, and where features go", xlabel="toward class 0", ylabel="toward class 1", aspect="equal")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.grid(False)


def value_by_margin(ax: Axes, row: Row) -> None:
    """The loss along the way from class 1 to class 0 and to twice as far, against the margin there."""
    points = _way(row, np.linspace(-0.2, 2, 401))
    ax.plot(gap(row.loss, points), value_and_gradient(row.loss, points)[0], color=BLUE)
    ax.axvline(0, color="0.6", lw=0.8)
    if row.ends[0].found:
        ax.axvline(row.ends[0].margin, color=RED, ls="--", lw=1.2, label=f"$m^*$ = {row.ends[0].margin:.3g}")
        ax.legend()
    ax.set(title="loss on the way from class 1 to 0", xlabel="margin (logits)", ylabel="loss")


def growth(ax: Axes, row: Row) -> None:
    """The margin along the gradient flow."""
    ax.semilogx(row.flow.times, row.flow.margins, color=BLUE)
    ax.set(title="margin along the gradient flow", xlabel="time $t$", ylabel="margin (logits)")
    ax.set_xticks([1e-2, 1, 1e2, 1e4, 1e6])


def pulls(ax: Axes, row: Row) -> None:
    """Three gradients in z along the same way, in float32: a gap in a curve is an exact zero."""
    shares = np.linspace(0.02, 2, 400)
    points, single = _way(row, shares).float(), row.loss.float()
    y = labels(points, 0)
    try:
        for name, objective, style in (
            ("training loss", lambda z: single(z, y), {"color": BLUE, "ls": "-"}),
            ("cross-entropy", lambda z: F.cross_entropy(single.logits(z), y, reduction="none"), {"color": RED}),
            ("margin", lambda z: margins(single.logits(z), y), {"color": GREEN, "ls": "-."}),
        ):
            z = points.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(objective(z).sum(), z)
            size = gradient.double().norm(dim=1).numpy()
            ax.plot(shares, np.where(size > 0, size, np.nan), label=name, **{"ls": "--"} | style)
    finally:
        row.loss.double()
    ax.set(yscale="log", title="what an attacker sees, float32", ylabel="length of the gradient")
    ax.set_xticks([0, 0.5, 1, 2], ["class 1", "half", "class 0", "twice"])
    ax.legend(loc="lower left")


def accuracy(ax: Axes, trials: Sequence[Trial]) -> None:
    """Accuracy against the radius, under cross-entropy and at worst; one line for each network."""
    for trial in trials:
        radii = [0.0, *map(float, trial.robust)]
        for attack, style in ((CROSS_ENTROPY, {"color": RED, "ls": "--"}), (WORST, {"color": BLUE})):
            shares = [trial.clean, *(found[attack] for found in trial.robust.values())]
            ax.plot(radii, 100 * np.array(shares), marker="o", ms=4, label=attack, **style)
    handles, names = ax.get_legend_handles_labels()
    kept = dict(zip(names, handles, strict=True))
    ax.legend(kept.values(), kept.keys())
    ax.set(title="digits: accuracy under attack", xlabel=r"$\epsilon$ ($\ell_\infty$)", ylabel="accuracy (%)")
    ax.set(ylim=(-2, 102))


def reached(ax: Axes, trials: Sequence[Trial]) -> None:
    """Which margins trained networks reach, and from where on cross-entropy is blind."""
    for trial in trials:
        ax.plot(trial.margins, np.linspace(0, 100, len(trial.margins)), color=BLUE, marker=".")
    if max(max(trial.margins) for trial in trials) > 0.5 * blind_from():
        ax.axvline(blind_from(), color=RED, ls="--", label="cross-entropy is blind beyond")
        ax.legend(loc="upper left")
    ax.axvline(0, color="0.6", lw=0.8)
    ax.set(title="margins of test images", xlabel="margin (logits)", ylabel="share up to there (%)")
