"""Sixteen-bit arithmetic: which machines have it, and what to say to a recipe that asks for it where it is missing."""

from __future__ import annotations

import torch

from mmc.recipe import Recipe


def has_bf16(device: str) -> bool:
    """Does this device multiply in bf16 faster than in float32, not by a detour?

    A processor without such instructions takes the recipe too, but computes each product in float32 and rounds:
    a step then costs many times as much.

    Args:
        device: `cpu` or `cuda`.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(asked and asked())


def fastest(device: str) -> str:
    """The precision in which this device trains fastest: one of `PRECISIONS`."""
    return "bf16" if has_bf16(device) else "float32"


def advice(recipe: Recipe, device: str) -> str:
    """What to say before a training that this device makes slow; empty where there is nothing to say."""
    if recipe.precision == "float32" or has_bf16(device):
        return ""
    return (
        f"precision {recipe.precision!r} is slow here: this {device} has no 16-bit instructions, and float32 may be "
        "ten times as fast. A record of the one precision is not one of the other."
    )
