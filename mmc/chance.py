"""Chance without a state: what step 417 of seed 3 draws depends on those two numbers alone.

So a run that was broken off goes on with the very draws it would have made, and no generator has to be stored.
"""

from __future__ import annotations

import hashlib

import torch


def draw_seed(*parts: object) -> int:
    """A seed from a purpose and some numbers, e.g. ("order", 3, 417); nearby numbers give unrelated seeds."""
    text = ":".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def seeded(generator: torch.Generator, *parts: object) -> torch.Generator:
    """The generator, at the start of the stream that belongs to these parts."""
    return generator.manual_seed(draw_seed(*parts))
