"""The two-dimensional toy: a few classes in the plane, features that follow a loss, and what a run is judged by.

Two kinds of runs share everything else. In `free_run` the features themselves are the unknowns; in `network_run` they
are the outputs of a small network on a fixed scene. Full batches, no randomness after the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmc import losses
from mmc.centers import polygon_centers

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

#: Losses with fixed centers take the regular polygon, which is optimal in the plane.
FIXED = ("MMC", "MMLDA")


@dataclass(frozen=True)
class Run:
    """What one run leaves, one entry per step, the start included.

    Attributes:
        features: shape (steps + 1, N, 2).
        centers: what the run is judged by, shape (steps + 1, L, 2): the loss's own centers, or the class means where
            it has none (SCE).
        labels: of the features.
    """

    features: Float[Tensor, "T N 2"]
    centers: Float[Tensor, "T L 2"]
    labels: Int[Tensor, " N"]

    @cached_property
    def _own_and_nearest_other(self) -> tuple[Tensor, Tensor]:
        away = torch.cdist(self.features, self.centers)
        index = self.labels.expand(len(away), -1)[..., None]
        return away.gather(2, index).squeeze(2), away.scatter(2, index, float("inf")).amin(2)

    @property
    def accuracy(self) -> Float[Tensor, " T"]:
        """Share of the features that are nearest to their own center; a tie decides nothing and is an error."""
        own, other = self._own_and_nearest_other
        return (own < other).double().mean(1)

    @property
    def distance(self) -> Float[Tensor, " T"]:
        """Mean distance to the own center over half the smallest distance between centers; below 1 is well inside."""
        gaps = torch.cdist(self.centers, self.centers) + torch.diag(torch.full((self.centers.shape[1],), torch.inf))
        return self._own_and_nearest_other[0].mean(1) / (gaps.amin((1, 2)) / 2)

    def first(self, accuracy: float = 0.0, distance: float = float("inf")) -> int | None:
        """The first step from which on both goals are met to the end, or None."""
        met = ((self.accuracy >= accuracy) & (self.distance <= distance)).tolist()
        lasting = len(met) - (met[::-1].index(False) if False in met else len(met))
        return lasting if lasting < len(met) else None


def make_loss(name: str, num_classes: int, norm: float = 4.0, seed: int = 0, **options: float) -> losses.Loss:
    """A loss on features in the plane, in float64.

    Args:
        name: a key of `mmc.losses.LOSSES`.
        num_classes: L >= 2.
        norm: of the fixed centers, for those losses that have them, > 0.
        seed: of the loss's own parameters, where it has any.
        options: what the loss takes besides.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if name in FIXED:
            options["centers"] = polygon_centers(num_classes, norm, dtype=torch.float64)
        return losses.build(name, num_classes, 2, **options).double()


def cloud(num_classes: int, per_class: int, seed: int = 0) -> tuple[Float[Tensor, "N 2"], Int[Tensor, " N"]]:
    """Features before training: every class the same standard Gaussian, so that nothing tells the classes apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    return torch.randn(len(labels), 2, generator=generator, dtype=torch.float64), labels


def spiral(num_classes: int, per_class: int, seed: int = 0) -> tuple[Float[Tensor, "N 2"], Int[Tensor, " N"]]:
    """Inputs on interleaved spiral arms, one per class, with a little noise: no straight line tells them apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    radius = torch.linspace(0.2, 1.0, per_class, dtype=torch.float64).repeat(num_classes)
    noise = 0.1 * torch.randn(len(labels), generator=generator, dtype=torch.float64)
    angle = 2 * torch.pi * labels / num_classes + 2.5 * radius + noise
    return 2 * torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), labels


def small_network(width: int = 32, seed: int = 0) -> nn.Module:
    """Two inputs, two hidden layers, two features."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)]
        return nn.Sequential(*layers).double()


def class_means(features: Float[Tensor, "N d"], labels: Int[Tensor, " N"]) -> Float[Tensor, "L d"]:
    """The mean feature of each class; labels are 0, ..., L - 1, each at least once."""
    membership = nn.functional.one_hot(labels).to(features.dtype)
    return membership.T @ features / membership.sum(0)[:, None]


def _descend(
    features: Callable[[], Tensor],
    followers: list[Tensor],
    loss: losses.Loss,
    labels: Tensor,
    steps: int,
    rate: float,
    momentum: float,
    per_feature: bool,
) -> Run:
    learned = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    moving = [*followers, *learned]
    velocities = [torch.zeros_like(parameter) for parameter in moving]
    seen, judged_by = [], []
    for _ in range(steps + 1):
        z = features()
        seen.append(z.detach().clone())
        judged_by.append(loss.centers.detach().clone() if hasattr(loss, "centers") else class_means(seen[-1], labels))
        values = loss(z, labels)
        gradients = torch.autograd.grad(values.sum() if per_feature else values.mean(), moving)
        with torch.no_grad():
            for index, (parameter, velocity, gradient) in enumerate(zip(moving, velocities, gradients, strict=True)):
                # Each free feature moves by its own gradient, what all share by the mean, as in training.
                shared = per_feature and index >= len(followers)
                velocity.mul_(momentum).add_(gradient / len(labels) if shared else gradient)
                parameter -= rate * velocity
        loss.observe(seen[-1], labels)
    return Run(torch.stack(seen), torch.stack(judged_by), labels)


def free_run(
    loss: losses.Loss,
    features: Float[Tensor, "N 2"],
    labels: Int[Tensor, " N"],
    steps: int = 100,
    rate: float = 0.1,
) -> Run:
    """Let the features themselves follow the loss: z <- z - rate * grad, an Euler step of the gradient flow.

    Args:
        loss: its parameters follow the mean gradient at the same rate; its centers follow `loss.observe`.
        features: where they start; left as they are.
        labels: 0, ..., L - 1.
        steps: how many; the time of the flow is steps * rate.
        rate: step size, > 0.
    """
    z = features.clone().requires_grad_()
    return _descend(lambda: z, [z], loss, labels, steps, rate, 0.0, True)


def network_run(
    loss: losses.Loss,
    network: nn.Module,
    inputs: Float[Tensor, "N 2"],
    labels: Int[Tensor, " N"],
    steps: int = 300,
    rate: float = 0.1,
    momentum: float = 0.9,
) -> Run:
    """Train a network and the loss's parameters by full-batch descent with momentum; the network is changed.

    Args:
        loss: see `free_run`.
        network: inputs to features.
        inputs: of all examples.
        labels: 0, ..., L - 1.
        steps: how many, each with the whole batch.
        rate: step size, > 0.
        momentum: 0 to 1.
    """
    return _descend(lambda: network(inputs), list(network.parameters()), loss, labels, steps, rate, momentum, False)
