"""What is done to a model before it trains: mode, memory layout, precision, and compiling what gains by it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import torch

from mmc.models.norm import merge
from mmc.recipe import Recipe

if TYPE_CHECKING:
    from mmc.models import Classifier


def prepare(model: Classifier, recipe: Recipe) -> None:
    """Put a model into the mode, memory layout and precision in which it trains, compiled if the recipe says so.

    Raises:
        ValueError: it is to be compiled for a processor, and there is no compiler.
    """
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    on_processor = next(model.parameters()).device.type == "cpu"
    if recipe.compiled and on_processor and not has_compiler():
        raise ValueError(
            "compiled: no C++ compiler is here, neither g++ nor what CXX names; install one, or do without"
        )
    merging = recipe.compiled and on_processor and recipe.channels_last
    norms = merge(model.backbone, recipe.batch_size if merging else 0)
    if recipe.compiled and not (merging and norms):
        model.backbone.compile()
    model.train()
    model.autocast = torch.bfloat16 if recipe.precision == "bf16" else None


def has_compiler() -> bool:
    """Is there a C++ compiler? On a processor `torch.compile` needs one."""
    return shutil.which(os.environ.get("CXX") or "g++") is not None
