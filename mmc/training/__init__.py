"""Training: which inputs the loss sees (a rule), and the loop."""

from __future__ import annotations

from mmc.training.loop import NonFiniteLossError, train

__all__ = ["NonFiniteLossError", "train"]
