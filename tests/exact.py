"""A second oracle: one hidden ReLU layer, solved exactly region by region. For tests alone, as it needs SciPy.

On each activation pattern the differences of logits are affine, and the images that fool the model there are a
polytope: pattern, box and one half-space. The nearest point of a polytope in L2 is a least-distance problem, which
non-negative least squares solves in finitely many steps (Lawson and Hanson 1974, chapter 23); in L-inf it is a linear
program. The distance is the least over patterns and classes.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linprog, nnls
from torch import nn

from mmc.losses import build
from mmc.models import Classifier
from mmc.oracle import Exact

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def least_distance(rows: Float[np.ndarray, "m n"], limits: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"] | None:
    """The shortest u with rows @ u >= limits; None where there is none of length below 100."""
    size = np.linalg.norm(rows, axis=1)
    if (limits[size == 0] > 0).any():
        return None
    rows, limits = rows[size > 0] / size[size > 0, None], limits[size > 0] / size[size > 0]
    system = np.vstack([rows.T, limits])
    target = np.r_[np.zeros(rows.shape[1]), 1.0]
    weights, _ = nnls(system, target)
    left = target - system @ weights
    # The last entry of what is left is 1 / (1 + ||u||^2).
    return -left[:-1] / left[-1] if left[-1] > 1e-4 else None


@dataclass(frozen=True, eq=False)
class Piecewise(Exact):
    """A `Classifier` of Flatten, Linear, ReLU and Linear with few units, and a loss on centers of equal norm or SCE.

    Exact up to the tolerance of the solvers, 1e-8.
    """

    @functools.cached_property
    def regions(self) -> list[tuple[np.ndarray, ...]]:
        """Each activation pattern that the box meets: rows, offsets of rows @ x + offsets >= 0, W and c of the logits.

        W and c hold up to a term that all classes share.
        """
        first, _, second = list(self.exactly.backbone)[1:]
        weight, bias = first.weight.numpy(), first.bias.numpy()
        n = weight.shape[1]
        identity, middle = np.eye(n), np.full(n, 0.5)
        found = []
        for pattern in itertools.product((0.0, 1.0), repeat=len(weight)):
            signs = 2 * np.array(pattern) - 1
            rows = np.vstack([signs[:, None] * weight, identity, -identity])
            offsets = np.r_[signs * bias, np.zeros(n), np.ones(n)]
            if least_distance(rows, -offsets - rows @ middle) is None:
                continue

            def differences(image: Tensor, active: Tensor = torch.tensor(pattern)) -> Tensor:
                logits = self.exactly.loss.logits(second(first(image) * active))
                return (logits - logits[:, :1])[0]

            origin = torch.zeros(1, n, dtype=torch.float64)
            slope = torch.autograd.functional.jacobian(differences, origin)[:, 0]
            found.append((rows, offsets, slope.numpy(), differences(origin).numpy()))
        return found

    def find(self, norm: str, slack: float = 0.0) -> tuple[Float[Tensor, " N"], Float[Tensor, "N n"]]:
        pairs = [self._nearest(x, y, norm, slack) for x, y in zip(self.flat.numpy(), self.y.tolist(), strict=True)]
        distances, images = zip(*pairs, strict=True)
        return torch.tensor(distances, dtype=torch.float64), torch.tensor(np.array(images)).clamp(0, 1)

    def _nearest(self, x: np.ndarray, label: int, norm: str, slack: float) -> tuple[float, np.ndarray]:
        best, image = np.inf, x
        candidates = []
        for rows, offsets, weight, bias in self.regions:
            for rival in set(range(len(weight))) - {label}:
                normal = weight[rival] - weight[label]
                gap = (weight @ x + bias)[label] - (weight @ x + bias)[rival] - slack
                constraints = np.vstack([rows, normal]), np.r_[-offsets - rows @ x, gap]
                step = least_distance(*constraints)
                if step is not None:
                    candidates.append((np.linalg.norm(step), step, constraints))
        # An L-inf distance is at least the L2 distance over the root of n: most programs need not be solved.
        for length, step, constraints in sorted(candidates, key=lambda candidate: candidate[0]):
            if norm == "l2":
                return float(length), x + step
            if length / len(x) ** 0.5 >= best:
                break
            step = least_largest(*constraints)
            if np.abs(step).max() < best:
                best, image = float(np.abs(step).max()), x + step
        return best, image


def least_largest(rows: Float[np.ndarray, "m n"], limits: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    """The u of least largest entry with rows @ u >= limits, which some u fulfils."""
    n = rows.shape[1]
    identity, ones = np.eye(n), np.ones((n, 1))
    below = np.block([[-rows, np.zeros((len(rows), 1))], [identity, -ones], [-identity, -ones]])
    solved = linprog([*[0.0] * n, 1.0], below, np.r_[-limits, np.zeros(2 * n)], bounds=[*[(None, None)] * n, (0, None)])
    assert solved.status == 0, solved.message
    return solved.x[:n]


def random_piecewise(
    seed: int,
    dim: int = 3,
    num_classes: int = 3,
    width: int = 6,
    norm: float = 10.0,
    *,
    loss: str = "MMC",
    count: int = 24,
    dtype: torch.dtype = torch.float32,
) -> Piecewise:
    """A random network with one hidden ReLU layer whose kinks lie in the box, and random images that it gets right.

    Args:
        seed: of everything drawn.
        dim: pixels of an image, 2 to 6.
        num_classes: L >= 2.
        width: hidden units, at most 8: all 2^width patterns are tried.
        norm: of the centers; features reach them.
        loss: a loss on fixed centers, or "SCE".
        count: N, images.
        dtype: of model and images.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = nn.Linear(dim, width), nn.Linear(width, num_classes)
    with torch.no_grad():
        first.weight.normal_(generator=generator)
        # Each kink passes through a random image.
        first.bias.copy_(-(first.weight * torch.rand(width, dim, generator=generator)).sum(1))
        second.weight.normal_(generator=generator)
        second.bias.zero_()
        features = second(first(torch.rand(200, dim, generator=generator)).relu())
        second.bias.copy_(-features.mean(0))
        scale = norm / (features + second.bias).norm(dim=1).median()
        second.weight.mul_(scale)
        second.bias.mul_(scale)
    head = build(loss, num_classes, num_classes, **({} if loss == "SCE" else {"norm": norm}))
    if loss == "SCE":
        head.linear.load_state_dict({"weight": torch.eye(num_classes), "bias": torch.zeros(num_classes)})
    model = Classifier(nn.Sequential(nn.Flatten(), first, nn.ReLU(), second), head).to(dtype)
    model.eval().requires_grad_(False)
    x = torch.rand(count, 1, 1, dim, generator=generator).to(dtype)
    unlabelled = Piecewise(model, x, torch.zeros(count, dtype=torch.long))
    return Piecewise(model, x, (-unlabelled.gaps()).argmax(1))


def trained_piecewise(
    seed: int, dim: int = 3, num_classes: int = 3, width: int = 6, *, loss: str = "MMC", count: int = 24
) -> Piecewise:
    """A small network that is trained on clusters of points in the box, and points that it gets right.

    Args:
        seed: of the clusters, of the first weights and of the images.
        dim: pixels of an image, 2 to 6.
        num_classes: L >= 2; each class has two clusters.
        width: hidden units, at most 8: all 2^width patterns are tried.
        loss: any loss with affine differences of logits, by its printed name.
        count: N, at most; points that the network gets wrong are left out.
    """
    generator = torch.Generator().manual_seed(seed)
    middles = 0.1 + 0.8 * torch.rand(2 * num_classes, dim, generator=generator)
    label = torch.arange(40 * num_classes) % num_classes
    cluster = label + num_classes * torch.randint(2, label.shape, generator=generator)
    points = (middles[cluster] + 0.08 * torch.randn(len(label), dim, generator=generator)).clamp(0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = nn.Sequential(nn.Flatten(), nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, num_classes))
        model = Classifier(backbone, build(loss, num_classes, num_classes))
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    x = points.view(-1, 1, 1, dim)
    for _ in range(200):
        optimizer.zero_grad()
        model.loss(model.features(x), label).mean().backward()
        optimizer.step()
    model.eval().requires_grad_(False)
    right = model(x).argmax(1) == label
    return Piecewise(model, x[right][:count], label[right][:count])
