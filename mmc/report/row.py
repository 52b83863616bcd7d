"""The row of a loss: five entries that need no training, exact where the theory has a formula, else measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmc.losses import Loss
from mmc.report.exact import blind_from, exact
from mmc.report.exponent import rise, thinning
from mmc.report.growth import Flow, flow
from mmc.report.quantity import MEASURED, Quantity
from mmc.report.refusals import RefusedLossError, refuse
from mmc.report.scene import FEATURE_DIM, NUM_CLASSES, Maker, placed
from mmc.report.shape import contours
from mmc.report.stationary import Resting, rests
from mmc.theory.flow import softmax_error
from mmc.theory.numeric import numeric

#: The columns, as tables and cards call them.
COLUMNS = {
    "stationary": "stationary margin m*",
    "contours": "contours",
    "exponent": "density exponent",
    "growth": "margin growth",
    "blind": "gradient of cross-entropy at rest",
}
#: Margins that differ by less, as shares, are one.
ALIKE = 1e-3


@dataclass(frozen=True)
class Row:
    """What a loss is, before any network is trained with it.

    Attributes:
        name: of the loss.
        entries: by the keys of `COLUMNS`.
        loss: in the scene.
        flow: of a feature of the first class.
        ends: where flows of all classes ended.
        notes: what is odd, yet allowed.
    """

    name: str
    entries: dict[str, Quantity]
    loss: Loss
    flow: Flow
    ends: tuple[Resting, ...]
    notes: tuple[str, ...]


def row(name: str, make: Maker, report: Callable[[str], None] = lambda text: None, **options: Any) -> Row:
    """Look at a loss in the scene of `mmc.report.scene`.

    Args:
        name: of the loss.
        make: its class.
        report: called with what is about to be done.
        options: what the class takes besides.

    Raises:
        RefusedLossError: see `refuse`; also a loss that sends features to where its own decision rule takes another
            class.
        FloatingPointError: its gradient flow cannot be followed.
    """
    report("checking")
    notes = refuse(name, make, **options)
    report("following its gradient flow")
    loss = placed(make, **options)
    path = flow(loss)
    ends = tuple(rests(loss, path))
    if (lost := [end for end in ends if not end.margin > 0]) and len(lost) == len(ends):
        raise RefusedLossError(
            f"{name} is refused: value() is lowest where logits() prefers another class: the flow of a feature of class"
            f" {lost[0].label} ends at a margin of {lost[0].margin:.4g}"
        )
    if lost:
        notes.append(f"{len(lost)} of {len(ends)} flows end where another class wins.")
    measured = {
        "stationary": _stationary(ends),
        "contours": _contours(loss, ends[0]),
        "exponent": _exponent(loss, path, ends[0]),
        "growth": _growth(path),
    }
    entries = {key: _joined(exact(key, loss), entry) for key, entry in measured.items()}
    return Row(name, entries | {"blind": _blind(entries["stationary"])}, loss, path, ends, tuple(notes))


def _joined(theory: Quantity | None, measured: Quantity) -> Quantity:
    """The theory's entry, with what was measured beside it; the measured one where there is no theory."""
    if theory is None:
        return measured
    return Quantity(theory.text, theory.how, theory.number, theory.source, measured.number)


def _stationary(ends: tuple[Resting, ...]) -> Quantity:
    margins = [end.margin for end in ends if end.found]
    source = f"ends of the flows of all classes, {len(ends)} in all, by Newton's method"
    if not margins:
        return Quantity("none by 10^6", MEASURED, None, "no flow settles until t = 10^6")
    low, high = min(margins), max(margins)
    if len(margins) < len(ends):
        return Quantity(f"{len(margins)} of {len(ends)} flows settle", MEASURED, low, source)
    text = f"{low:.4g}" if high - low <= ALIKE * max(1.0, abs(high)) else f"{low:.3g} to {high:.3g}"
    return Quantity(text, MEASURED, low, source)


def _contours(loss: Loss, end: Resting) -> Quantity:
    found = contours(loss, end.z, end.label)
    unseen = FEATURE_DIM - found.seen
    text = found.text + (f", {unseen} directions unseen" if unseen else "")
    return Quantity(text, MEASURED, None, "rays from where the flow ends, and the span of the gradients")


def _exponent(loss: Loss, path: Flow, end: Resting) -> Quantity:
    if end.found:
        found = rise(loss, end, end.label)
        source = f"the loss rises like the power {found.power:g} of the distance in {found.directions} directions"
        return Quantity(f"{found.exponent:+.4g}", MEASURED, round(found.exponent, 4), source)
    number = thinning(loss, path)
    if not np.isfinite(number):
        return Quantity("unknown", MEASURED, None, "the loss has no limit along its flow")
    number = round(number, 3) + 0.0
    return Quantity(f"{number:+.3g}", MEASURED, number, "power of the gradient in what is left of the loss")


def _growth(path: Flow) -> Quantity:
    a, power = path.growth, path.power
    if a == 0:
        return Quantity("settles", MEASURED, 0.0, "the flow until t = 10^6")
    text = f"{a:.3g} log t" if power < 0.25 else f"t^{power:.2g}"
    return Quantity(text, MEASURED, round(a, 4), "the last decade of the flow until t = 10^6")


def _blind(stationary: Quantity) -> Quantity:
    """Where the loss leaves a feature alone, how large is the gradient of cross-entropy in its logits, in float32?"""
    limit = blind_from()
    source = f"1 - p_y there; exactly zero from a margin of {limit:.4g} on (mmc.theory.underflow.gradient_gap)"
    if stationary.number is None:
        return Quantity("no rest", stationary.how, None, source)
    if stationary.number >= limit:
        return Quantity("zero", stationary.how, 0.0, source)
    share = float(numeric(softmax_error)(stationary.number, NUM_CLASSES))
    return Quantity(f"up to {share:.1g}", stationary.how, share, source)
