"""Small networks: two hidden layers; two convolutions and a hidden layer; seven convolutions with batch norm."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mmc.models.base import Normalize
from mmc.models.norm import Rectified


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


def vgg8(
    shape: tuple[int, int, int],
    feature_dim: int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    width: int = 32,
) -> nn.Sequential:
    """A plain network of eight layers, after VGG (Simonyan & Zisserman 2015), with batch norm.

    A first convolution, three stages of two convolutions that each halve the image, the maximum over what is left, and
    a linear layer to z. At the same accuracy on CIFAR-10 it takes a quarter of ResNet-32's time on a processor: few
    wide layers keep it busier than many narrow ones.

    The arguments are those of `mlp`; `width` counts the channels of the first stage, and height and width are
    multiples of 8.
    """
    channels, height, columns = shape
    if height % 8 or columns % 8:
        raise ValueError(f"vgg8 halves an image three times: height and width must be multiples of 8, not {shape}")

    def convolution(inputs: int, outputs: int, *between: nn.Module) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        # An empty layer after the norm with its ReLU, so that later layers keep their numbers.
        return [conv, *between, Rectified(outputs), nn.Identity()]

    def stage(inputs: int, outputs: int) -> list[nn.Module]:
        return [*convolution(inputs, outputs, nn.MaxPool2d(2)), *convolution(outputs, outputs)]

    return nn.Sequential(
        Normalize(mean, std),
        *convolution(channels, width),
        *stage(width, width),
        *stage(width, 2 * width),
        *stage(2 * width, 4 * width),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, feature_dim),
    )
