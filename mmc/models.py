"""Small networks: pixels in [0, 1] to features, and the classifier that a loss makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmc.losses import Loss

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Normalize(nn.Module):
    """The first layer of every network: pixels in [0, 1] to mean 0 and standard deviation 1 over the training set."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        if not std > 0:
            raise ValueError(f"std must be positive, not {std}")
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return (x - self.mean) / self.std


def mlp(
    shape: tuple[int, int, int], feature_dim: int, mean: float = 0.0, std: float = 1.0, width: int = 128
) -> nn.Sequential:
    """A network of two hidden layers.

    Args:
        shape: channels, height and width of an image.
        feature_dim: d.
        mean: mean of the training pixels.
        std: standard deviation of the training pixels, > 0.
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
    shape: tuple[int, int, int], feature_dim: int, mean: float = 0.0, std: float = 1.0, width: int = 16
) -> nn.Sequential:
    """A small convolutional network: two strided convolutions, a hidden layer, and a linear layer to z.

    The arguments are those of `mlp`; `width` counts the channels of the first convolution, and height and width are
    multiples of 4.
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
        nn.Linear(2 * width * (height // 4) * (columns // 4), 100),
        nn.ReLU(),
        # No ReLU after this layer: features must reach centers in every orthant.
        nn.Linear(100, feature_dim),
    )


#: Networks by name: each maps (shape, feature_dim, mean, std) to a module from images to features.
BACKBONES: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "cnn": cnn}


def build_backbone(
    name: str, shape: tuple[int, int, int], feature_dim: int, mean: float = 0.0, std: float = 1.0
) -> nn.Module:
    """Make a network by name.

    Raises:
        ValueError: no such network; the message lists what there is.
    """
    if name not in BACKBONES:
        raise ValueError(f"no network {name!r}; there are: {', '.join(BACKBONES)}")
    return BACKBONES[name](shape, feature_dim, mean=mean, std=std)


class Classifier(nn.Module):
    """A network and the loss it is trained with: `model.features(x)` is z, `model(x)` the loss's logits of z.

    Args:
        backbone: maps images in [0, 1] to features.
        loss: gives the decision rule and the training objective.
    """

    def __init__(self, backbone: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.backbone = backbone
        self.loss = loss

    def features(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N d"]:
        return self.backbone(x)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
        return self.loss.logits(self.features(x))
