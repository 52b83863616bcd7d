"""Residual networks for small images: ResNet v1 and v2 of He et al. for CIFAR, and PreActResNet-18.

Depth counts the convolutions on the main path and one last linear layer, as the papers do. Here the last linear layer
maps the pooled channels to the feature z (the "extra linear layer" of Pang et al. 2020's code); the loss's own layer,
where it has one, comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from mmc.models.base import Normalize
from mmc.models.norm import BatchNorm, Rectified, rectify

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias)


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return BatchNorm(channels) if batch_norm else nn.Identity()


def _rectified(norm: nn.Module, x: Tensor, added: Tensor | None = None) -> Tensor:
    """ReLU of the norm of x, plus what is added if anything is."""
    if isinstance(norm, BatchNorm):
        return norm.rectified(x, added)
    return rectify(norm(x), added)


def _rectifying(channels: int, batch_norm: bool) -> list[nn.Module]:
    """Norm and ReLU where layers follow one another; two places, so that later layers keep their numbers."""
    return [Rectified(channels), nn.Identity()] if batch_norm else [nn.Identity(), nn.ReLU()]


class Basic(nn.Module):
    """The block of v1: two 3x3 convolutions, each followed by a norm, and the sum is rectified. He et al. 2016a."""

    def __init__(self, inputs: int, outputs: int, stride: int, batch_norm: bool = True) -> None:
        super().__init__()
        bias = not batch_norm
        self.first = _conv(inputs, outputs, 3, stride, bias)
        self.first_norm = _norm(outputs, batch_norm)
        self.second = _conv(outputs, outputs, 3, bias=bias)
        self.second_norm = _norm(outputs, batch_norm)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride, bias=True)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C2 H2 W2"]:
        inner = _rectified(self.first_norm, self.first(x))
        return _rectified(self.second_norm, self.second(inner), self.shortcut(x))


class PreActivated(nn.Module):
    """A block of v2: norm and ReLU come before each convolution. He et al. 2016b.

    Args:
        inputs: channels in.
        widths: channels out of each convolution, the last one is the block's.
        sizes: kernel size of each convolution.
        stride: of the convolution at `strided`.
        strided: which convolution takes the stride.
        activated: do norm and ReLU come before the first convolution too?
        activated_shortcut: does a projecting shortcut start from the rectified input (PreActResNet-18), or from the
            input itself (v2 for CIFAR)?
        batch_norm: the norm, or none.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        sizes: Sequence[int],
        stride: int,
        strided: int = 0,
        activated: bool = True,
        activated_shortcut: bool = False,
        project: bool | None = None,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        channels = [inputs, *widths]
        bias = not batch_norm
        self.activated = activated
        self.activated_shortcut = activated_shortcut
        self.norms = nn.ModuleList(
            _norm(before, batch_norm) if index or activated else nn.Identity()
            for index, before in enumerate(channels[:-1])
        )
        self.convs = nn.ModuleList(
            _conv(before, after, size, stride if index == strided else 1, bias)
            for index, (before, after, size) in enumerate(zip(channels[:-1], widths, sizes, strict=True))
        )
        project = (inputs != widths[-1] or stride > 1) if project is None else project
        self.shortcut = (
            _conv(inputs, widths[-1], 1, stride, bias=bias or not activated_shortcut) if project else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C2 H2 W2"]:
        inner = _rectified(self.norms[0], x) if self.activated else x
        start = inner if self.activated_shortcut and isinstance(self.shortcut, nn.Conv2d) else x
        inner_sum = self.convs[0](inner)
        for norm, conv in zip(self.norms[1:], self.convs[1:], strict=True):
            inner_sum = conv(_rectified(norm, inner_sum))
        return inner_sum + self.shortcut(start)


class Head(nn.Module):
    """Average over all places, then the linear layer to z, unless the pooled channels themselves are z."""

    def __init__(self, channels: int, feature_dim: int, linear: bool) -> None:
        super().__init__()
        if not linear and feature_dim != channels:
            raise ValueError(f"without the linear layer z is the {channels} pooled channels, not {feature_dim}")
        self.linear = nn.Linear(channels, feature_dim) if linear else nn.Identity()

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N d"]:
        return self.linear(x.mean((2, 3)))


def _initialised(network: nn.Sequential) -> nn.Sequential:
    """He's initialisation for convolutions; biases start at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def resnet_v1(depth: int) -> Callable[..., nn.Sequential]:
    """ResNet v1 for small images, of depth 6n + 2 with 16, 32 and 64 channels. Source: He et al. 2016a.

    Raises:
        ValueError: depth is not 6n + 2 with n >= 1.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"ResNet v1 has 6n + 2 layers, not {depth}")

    def make(
        shape: tuple[int, int, int],
        feature_dim: int,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        linear: bool = True,
        batch_norm: bool = True,
        width: int = 16,
    ) -> nn.Sequential:
        stem = _conv(shape[0], width, 3, bias=not batch_norm)
        layers: list[nn.Module] = [Normalize(mean, std), stem, *_rectifying(width, batch_norm)]
        channels = width
        for stage in range(3):
            for index in range((depth - 2) // 6):
                stride = 2 if stage and not index else 1
                layers.append(Basic(channels, width * 2**stage, stride, batch_norm))
                channels = width * 2**stage
        return _initialised(nn.Sequential(*layers, Head(channels, feature_dim, linear)))

    make.__doc__ = f"ResNet v1 with {depth} layers; arguments as for `mlp`, `linear` and `batch_norm` may be left out."
    return make


def resnet_v2(depth: int) -> Callable[..., nn.Sequential]:
    """ResNet v2 with bottlenecks for small images, of depth 9n + 2, 256 pooled channels. Source: He et al. 2016b.

    The command that Pang et al. 2020 give for their "ResNet-32" builds this one with n = 5, which has 47 layers.

    Raises:
        ValueError: depth is not 9n + 2 with n >= 1.
    """
    if depth < 11 or (depth - 2) % 9:
        raise ValueError(f"ResNet v2 has 9n + 2 layers, not {depth}")

    def make(
        shape: tuple[int, int, int],
        feature_dim: int,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        linear: bool = True,
        batch_norm: bool = True,
        width: int = 16,
    ) -> nn.Sequential:
        stem = _conv(shape[0], width, 3, bias=not batch_norm)
        layers: list[nn.Module] = [Normalize(mean, std), stem, *_rectifying(width, batch_norm)]
        channels = width
        for stage in range(3):
            inner, outer = (width, 4 * width) if stage == 0 else (channels, 2 * channels)
            for index in range((depth - 2) // 9):
                first = index == 0
                layers.append(
                    PreActivated(
                        channels,
                        (inner, inner, outer),
                        (1, 3, 1),
                        stride=2 if stage and first else 1,
                        activated=not first or stage > 0,
                        project=first,
                        batch_norm=batch_norm,
                    )
                )
                channels = outer
        layers += [*_rectifying(channels, batch_norm), Head(channels, feature_dim, linear)]
        return _initialised(nn.Sequential(*layers))

    make.__doc__ = f"ResNet v2 with {depth} layers; arguments as for `mlp`, `linear` and `batch_norm` may be left out."
    return make


def preact_resnet18(
    shape: tuple[int, int, int],
    feature_dim: int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    linear: bool = True,
    batch_norm: bool = True,
    width: int = 64,
) -> nn.Sequential:
    """PreActResNet-18 for small images: four stages of two blocks, 64 to 512 channels. Source: He et al. 2016b.

    The network that most work on adversarial training since Rice et al. (2020) reports. Arguments as for `mlp`.
    """
    layers: list[nn.Module] = [Normalize(mean, std), _conv(shape[0], width, 3, bias=not batch_norm)]
    channels = width
    for stage in range(4):
        for index in range(2):
            out = width * 2**stage
            stride = 2 if stage and not index else 1
            layers.append(
                PreActivated(channels, (out, out), (3, 3), stride, activated_shortcut=True, batch_norm=batch_norm)
            )
            channels = out
    layers += [*_rectifying(channels, batch_norm), Head(channels, feature_dim, linear)]
    return _initialised(nn.Sequential(*layers))
