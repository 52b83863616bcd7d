"""Small networks: two hidden layers, or two convolutions and a hidden layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mmc.models.base import Normalize


def mlp(
    shape: tuple[int, int, int],
    feature_dim: int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    width: int = 128,
) -> nn.Sequential:
    """A network of two hidden layers.

    Args:
        shape: channels, height and width of an image.
        feature_dim: d.
        mean: mean of the training pixels, one number or one per channel.
        std: standard deviation of the training pixels, > 0, likewise.
        width: units of a hidden layer.
    """
    channels, height, columns = shape
    return nn.Sequential(
        Normalize(mean, std),
        nn.Flatten(),
        nn.Linear(channels * height * columns, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, feature_dim),
    )


def cnn(
    shape: tuple[int, int, int],
    feature_dim: int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    width: int = 16,
    hidden: int = 100,
) -> nn.Sequential:
    """A small convolutional network: two strided convolutions, a hidden layer, and a linear layer to z.

    The arguments are those of `mlp`; `width` counts the channels of the first convolution, `hidden` the units of the
    hidden layer, and height and width are multiples of 4.
    """
    channels, height, columns = shape
    if height % 4 or columns % 4:
        raise ValueError(f"the small CNN halves an image twice: height and width must be multiples of 4, not {shape}")
    return nn.Sequential(
        Normalize(mean, std),
        nn.Conv2d(channels, width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 4) * (columns // 4), hidden),
        nn.ReLU(),
        # No ReLU after this layer: features must reach centers in every orthant.
        nn.Linear(hidden, feature_dim),
    )
