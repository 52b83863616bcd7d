"""What the tests of attacks share: small networks, a model that is solved exactly, company, and mutants."""

from __future__ import annotations

import math
import types
from collections.abc import Callable

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import correct
from mmc.losses import build
from mmc.models import Classifier, mlp

few = settings(max_examples=4, deadline=None)
seeds = st.integers(0, 10_000)
SHAPE = (1, 4, 4)


def network(seed: int, loss: str = "MMC") -> Classifier:
    """A random network; its last layer is scaled so that features reach the centers."""
    torch.manual_seed(seed)
    model = Classifier(mlp(SHAPE, 6, width=32), build(loss, 4, 6)).eval()
    with torch.no_grad():
        model.backbone[-1].weight *= 40
    return model


def images(seed: int, count: int = 12, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def case(seed: int, loss: str = "MMC", count: int = 12) -> tuple[Classifier, torch.Tensor, torch.Tensor]:
    """A network and images with the labels that it gives them, so that every example starts out correct."""
    model, x = network(seed, loss), images(seed, count)
    return model, x, model(x).argmax(1)


class Alone(nn.Module):
    """A model that looks at one image at a time: no rounding of a batch reaches another example."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.model(image[None]) for image in x]) if len(x) else self.model(x)


class Affine(nn.Module):
    """Logits affine in x, of any number of classes."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


def two_classes(seed: int, count: int = 100, signs: bool = False) -> tuple[Affine, torch.Tensor, torch.Tensor]:
    """Two classes with a plane between them that halves the images; with `signs`, of slope +1 or -1 in each pixel."""
    weight, x = torch.randn(16, generator=torch.Generator().manual_seed(seed)), images(seed, count)
    weight = weight.sign() if signs else weight
    model = Affine(torch.stack([-weight, weight]), torch.zeros(2)).eval()
    middle = (x.flatten(1) @ weight).sort().values[count // 2 - 1 : count // 2 + 1].mean()  # on none of the images
    model.bias = torch.stack([middle, -middle])
    return model, x, model(x).argmax(1)


def worst_in_ball(model: Affine, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Two affine classes: each pixel at its end of the ball or of the box."""
    sign = (1 - 2.0 * y)[:, None] * model.weight[1].sign()
    return (x.flatten(1) + epsilon * sign).clamp(0, 1).view_as(x)


def exact_distances(
    model: Affine, x: torch.Tensor, y: torch.Tensor, targets: torch.Tensor | None = None, lead: float = 0.0
) -> torch.Tensor:
    """The L2 distance to where another class, or the target, leads the label's logit, in the box [0, 1].

    The nearest point of a half-space in a box is the image moved along the normal and cut: how far, by bisection in
    double precision. For a target among more than two classes this is a lower bound.
    """
    weight, bias, flat = model.weight.double(), model.bias.double(), x.flatten(1).double()
    least = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for rival in range(len(weight)):
        normal, logits = weight[rival] - weight[y], flat @ weight.T + bias
        gap = logits.gather(1, y[:, None])[:, 0] - logits[:, rival] + lead
        low, high = torch.zeros_like(gap), torch.full_like(gap, 1e6)
        for _ in range(100):
            middle = (low + high) / 2
            step = (flat + middle[:, None] * normal).clamp(0, 1) - flat
            enough = (step * normal).sum(1) >= gap
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        found = ((flat + high[:, None] * normal).clamp(0, 1) - flat).norm(dim=1)
        allowed = (y != rival) & (high < 1e6 / 2) if targets is None else (targets == rival)
        least = torch.where(allowed, torch.minimum(least, found), least)
    return least


def keeps_to_itself(attack: Callable, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """A subset, in another order, meets the very images that it met among all."""
    before = x.clone()
    whole, some = attack(model, x, y), torch.tensor([7, 2, 4])
    assert attack(model, x[some], y[some]).equal(whole[some])
    assert x.equal(before) and not whole.requires_grad and whole.dtype == x.dtype


def accept(attack: Callable, count: int = 60, signs: bool = False) -> None:
    """What every attack in the L-inf ball must do: keep to ball and box, and solve two affine classes exactly.

    Args:
        attack: `attack(model, x, y, epsilon) -> x_adv`.
        count: images.
        signs: slopes of equal size, for attacks that only measure them.
    """
    model, x, y = two_classes(1, count, signs)
    for epsilon in (0.05, 0.1):
        x_adv = attack(model, x, y, epsilon)
        assert (x_adv - x).abs().max() <= epsilon + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1
        truth = correct(model, worst_in_ball(model, x, y, epsilon), y)
        assert 0 < truth.float().mean() < 1 and correct(model, x_adv, y).equal(truth)


class Mesa(nn.Module):
    """Two classes around the middle of the box: a plateau, all but level, and then a cliff to another class.

    At an image the slope says that the boundary is a thousand times farther than it is.
    """

    def forward(self, x: Tensor) -> Tensor:
        out = (x - 0.5).flatten(1).norm(dim=1)
        lead = -1 + 1e-4 * out + 3 * (40 * (out - 0.2)).sigmoid()
        return torch.stack([torch.zeros_like(lead), lead], 1)


def mesa(count: int = 8) -> tuple[Mesa, Tensor, Tensor, Tensor]:
    """A model on which planes mislead, images, labels, and how far the boundary is, straight out."""
    x = 0.5 + 0.01 * torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    truth = 0.2 - math.log(2) / 40 - (x - 0.5).flatten(1).norm(dim=1)
    return Mesa().eval(), x, torch.zeros(count, dtype=torch.long), truth


def mutant(module: types.ModuleType, old: str, new: str) -> types.SimpleNamespace:
    """The module with one piece of its source changed wherever it stands."""
    with open(module.__file__) as file:  # noqa: PTH123
        source = file.read()
    assert old in source, f"{old!r} is not in {module.__name__}"
    names = {"__name__": module.__name__}
    exec(compile(source.replace(old, new), module.__file__, "exec"), names)
    return types.SimpleNamespace(**names)
