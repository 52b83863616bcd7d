"""Softmax cross-entropy and the quadratic family it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from mmc.losses.base import Loss, as_buffer

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

SHAPES = {"isotropic": 1, "diagonal": 2, "full": 3}


class SCE(Loss):
    """Softmax cross-entropy on a learned linear layer: -log softmax(W z + b)_y."""

    def __init__(self, num_classes: int, feature_dim: int) -> None:
        super().__init__(num_classes, feature_dim)
        self.linear = nn.Linear(feature_dim, num_classes)

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        return self.linear(z)

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        return F.cross_entropy(self.logits(z), y, reduction="none")


class GSCE(Loss):
    """The g-SCE family: cross-entropy on the quadratic logits h_i = -(z - mu_i)^T Sigma_i (z - mu_i) + B_i.

    Sigma_i is kept as a factor A_i with Sigma_i = A_i^T A_i, so that it stays positive semi-definite while it is
    learned. Source: Pang et al. 2020 (Sigma_i weighs the distance, it is not a covariance).

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        shape: `isotropic` (Sigma_i = sigma_i I), `diagonal` or `full`.
        centers: mu, shape (L, d); standard normal where not given.
        sigma: Sigma, shape (L,), (L, d) or (L, d, d) as `shape` says; the identity where not given.
        bias: B, shape (L,); zero where not given.
        learnable: do mu, Sigma and B follow the gradient?

    Raises:
        ValueError: an unknown `shape`, an array of another shape, or a Sigma that is not positive definite.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        shape: str = "isotropic",
        centers: object = None,
        sigma: object = None,
        bias: object = None,
        learnable: bool = True,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        if shape not in SHAPES:
            raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
        self.shape = shape
        mu = torch.randn(num_classes, feature_dim) if centers is None else as_buffer(centers)
        b = torch.zeros(num_classes) if bias is None else as_buffer(bias)
        sizes = {"centers": (mu, (num_classes, feature_dim)), "bias": (b, (num_classes,))}
        sigma_size = (num_classes, feature_dim, feature_dim)[: SHAPES[shape]]
        if sigma is None:
            s = torch.eye(feature_dim).expand(sigma_size).clone() if shape == "full" else torch.ones(sigma_size)
        else:
            s = as_buffer(sigma)
        for name, (array, size) in (sizes | {"sigma": (s, sigma_size)}).items():
            if tuple(array.shape) != size:
                raise ValueError(f"{name} must have shape {size}, not {tuple(array.shape)}")
        factor = _factor(s, shape)
        self.centers = nn.Parameter(mu, requires_grad=learnable)
        self.factor = nn.Parameter(factor, requires_grad=learnable)
        self.bias = nn.Parameter(b, requires_grad=learnable)

    @classmethod
    def from_linear(cls, weight: Float[Tensor, "L d"], bias: Float[Tensor, " L"]) -> GSCE:
        """The member that equals SCE with W and b: Sigma_i = I, mu_i = W_i / 2, B_i = b_i + ||W_i||^2 / 4."""
        return cls(*weight.shape, centers=weight / 2, bias=bias + weight.square().sum(1) / 4)

    @property
    def sigma(self) -> Tensor:
        """Sigma as numbers: shape (L,), (L, d) or (L, d, d)."""
        return self.factor.mT @ self.factor if self.shape == "full" else self.factor.square()

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        difference = z[:, None, :] - self.centers
        if self.shape == "full":
            scaled = torch.einsum("lij,nlj->nli", self.factor, difference)
        else:
            scaled = difference * self.factor.reshape(self.num_classes, -1)
        return self.bias - scaled.square().sum(-1)

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        return F.cross_entropy(self.logits(z), y, reduction="none")


def _factor(sigma: Tensor, shape: str) -> Tensor:
    if shape == "full":
        lower, info = torch.linalg.cholesky_ex(sigma)
        if bool(info.any()) or not torch.allclose(sigma, sigma.mT):
            raise ValueError("every sigma must be symmetric and positive definite")
        return lower.mT.contiguous()
    if not bool((sigma > 0).all()):
        raise ValueError(f"sigma must be positive, its smallest entry is {sigma.min().item():g}")
    return sigma.sqrt()
