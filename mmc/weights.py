"""Trained weights as safetensors: numbers and names, nothing that could run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mmc.files import write_bytes

if TYPE_CHECKING:
    from torch import nn


def save(path: Path, model: nn.Module, *, half: bool = False, about: Mapping[str, str] | None = None) -> None:
    """Write all parameters and buffers of a model atomically.

    Args:
        path: the file.
        model: any module.
        half: store floats with 16 bits, for nets that travel with the book.
        about: words to store beside the weights.

    Raises:
        OSError: the file could not be written.
    """
    from safetensors.torch import save as dumps

    def stored(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach().cpu().contiguous()
        return tensor.half() if half and tensor.is_floating_point() else tensor

    tensors = {name: stored(tensor) for name, tensor in model.state_dict().items()}
    write_bytes(path, dumps(tensors, metadata=dict(about or {})))


def about(path: Path) -> dict[str, str]:
    """The words that are stored beside the weights.

    Raises:
        ValueError: the file is damaged.
        FileNotFoundError: there is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"the weights {path} are damaged ({error})") from None


def load(path: Path, model: nn.Module) -> None:
    """Read weights into a model that has the same parts.

    Raises:
        ValueError: the file is damaged, or its weights are another model's; the message names both.
        FileNotFoundError: there is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as loads

    try:
        model.load_state_dict(loads(path.read_bytes()))
    except SafetensorError as error:
        raise ValueError(f"the weights {path} are damaged ({error})") from None
    except RuntimeError as error:
        raise ValueError(f"the weights {path} do not fit this model: {error}") from None
