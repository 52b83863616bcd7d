"""What a loss is and what it is worth: one row and one page, for a loss of the registry or a reader's own."""

from __future__ import annotations

from mmc.report.card import page, write
from mmc.report.quantity import EXACT, MEASURED, Quantity
from mmc.report.refusals import RefusedLossError, refuse
from mmc.report.row import COLUMNS, Row, row
from mmc.report.source import loss_class
from mmc.report.trial import Trial, trial
from mmc.report.whole import TRIED, LossReport, report

__all__ = [
    "COLUMNS",
    "EXACT",
    "MEASURED",
    "TRIED",
    "LossReport",
    "Quantity",
    "RefusedLossError",
    "Row",
    "Trial",
    "loss_class",
    "page",
    "refuse",
    "report",
    "row",
    "trial",
    "write",
]
