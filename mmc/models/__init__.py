"""Networks by name: pixels in [0, 1] to features, and the classifier that a loss makes of them.

To add one: a function of (shape, feature_dim, mean, std), and a line in `BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from mmc.models.base import Classifier, Normalize
from mmc.models.resnet import preact_resnet18, resnet_v1, resnet_v2
from mmc.models.small import cnn, mlp, vgg8

#: Networks by name: each maps (shape, feature_dim, mean, std) to a module from images to features. The paper's
#: "ResNet-32" may be either of two: version 1 with 32 layers, or what its published command builds, 47 of version 2.
BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "vgg8": vgg8,
    "resnet8": resnet_v1(8),
    "resnet20": resnet_v1(20),
    "resnet32": resnet_v1(32),
    "resnet110": resnet_v1(110),
    "resnet47-v2": resnet_v2(47),
    "resnet110-v2": resnet_v2(110),
    "preactresnet18": preact_resnet18,
}


def build_backbone(
    name: str,
    shape: tuple[int, int, int],
    feature_dim: int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    **options: Any,
) -> nn.Module:
    """Make a network by name.

    Args:
        name: a key of `BACKBONES`.
        shape: channels, height and width of an image.
        feature_dim: d.
        mean: of the training pixels, one number or one per channel.
        std: likewise.
        options: what the network takes besides, e.g. `linear=False`.

    Raises:
        ValueError: no such network, or an option it does not have; the message lists what there is.
    """
    if name not in BACKBONES:
        raise ValueError(f"no network {name!r}; there are: {', '.join(BACKBONES)}")
    try:
        return BACKBONES[name](shape, feature_dim, mean=mean, std=std, **options)
    except TypeError as error:
        raise ValueError(f"network {name!r}: {error}") from error


__all__ = ["BACKBONES", "Classifier", "Normalize", "build_backbone", "cnn", "mlp", "vgg8"]
