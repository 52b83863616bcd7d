"""Checkpoints: one file per run, written whole, sealed by its digest, and read without running anything in it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from mmc.files import write_bytes

_SEAL = 32


class DamagedCheckpointError(ValueError):
    """A checkpoint that is cut off or altered; the message names the file."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: SHA-256, then what torch.save makes of the state."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_bytes(path, hashlib.sha256(content).digest() + content)


def load(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint; tensors and plain values only.

    Raises:
        DamagedCheckpointError: its content does not match its seal.
    """
    data = path.read_bytes()
    seal, content = data[:_SEAL], data[_SEAL:]
    if len(seal) < _SEAL or hashlib.sha256(content).digest() != seal:
        raise DamagedCheckpointError(f"the checkpoint {path} is cut off or altered")
    return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
