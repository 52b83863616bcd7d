"""What is done before a model trains: mode, memory layout, precision, compiling what gains by it, and the allocator."""

from __future__ import annotations

import ctypes
import os
import shutil
from typing import TYPE_CHECKING

import torch

from mmc.models.norm import merge
from mmc.recipe import Recipe

if TYPE_CHECKING:
    from mmc.models import Classifier

#: Parameters of glibc's mallopt, in malloc.h: from what size on freed memory goes back, and how many blocks are mapped.
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def prepare(model: Classifier, recipe: Recipe) -> None:
    """Put a model into the mode, memory layout and precision in which it trains, compiled if the recipe says so.

    On a processor this process keeps freed memory from now on; see `keep_freed_memory`.

    Raises:
        ValueError: it is to be compiled for a processor, and there is no compiler.
    """
    on_processor = next(model.parameters()).device.type == "cpu"
    if on_processor:
        keep_freed_memory()
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
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


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, for the next step of training.

    A step frees its activations and the next one asks for as many bytes. As a rule the C library hands large blocks
    back to the system and gets them anew, zeroed page by page; on a virtual machine that is a tenth of a step and more.
    The results are the same bits. What a process once held it holds until it ends.

    Returns:
        Whether the C library is glibc, which can be told so. Any other is left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
