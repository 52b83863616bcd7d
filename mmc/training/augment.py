"""Augmentation where the images are: a shift or crop and a mirror image, one draw per image, on raw pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Zero pixels around an image before `crop-flip` cuts out its size.
PADDING = 4


def augment(pixels: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Move and mirror every image of a batch at random.

    Args:
        pixels: shape (N, C, H, W), of any type; the type and the range stay.
        kind: one of `mmc.recipe.AUGMENTATIONS`.
        generator: where the draws come from, on the device of the pixels.

    Returns:
        Pixels of the same shape; `none` returns its input.
    """
    if kind == "none":
        return pixels
    count, _, height, width = pixels.shape
    device = pixels.device
    crop, flip = kind == "crop-flip", kind.endswith("flip")

    def places(size: int) -> Tensor:
        reach = PADDING if crop else size // 10
        offset = torch.randint(-reach, reach + 1, (count, 1), generator=generator, device=device)
        return torch.arange(size, device=device) + offset

    rows, columns = places(height), places(width)
    if flip:
        mirrored = torch.rand(count, 1, generator=generator, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    index = (rows[:, :, None] * width + columns[:, None]).flatten(1)[:, None].expand(-1, pixels.shape[1], -1)
    moved = pixels.flatten(2).gather(2, index).view_as(pixels)
    return moved * inside[:, None] if crop else moved
