"""What every attack must pass: models whose exact robust accuracy and distances are known.

`instances` are affine, from 8 to 784 pixels; `head_instances` likewise, of few pixels, with every head of the package
whose differences of logits are affine. `piecewise_instances` and `trained_instances` have one hidden ReLU layer and 2
to 6 pixels, so that gradients change on the way; the latter's networks are trained. An attack that keeps its radius can
then never report less robust accuracy than the truth, and one that minimises a distance can never find less than the
exact one; how close it comes is its quality.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from exact import random_piecewise, trained_piecewise
from torch import nn

from mmc.attacks import margin
from mmc.attacks.checks import input_gradient
from mmc.losses import LOSSES as LOSSES_OF_ALL
from mmc.losses import build
from mmc.models import Classifier
from mmc.oracle import Exact, Oracle, random_oracle

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    Attack = Callable[..., Tensor]

LOSSES = ("MMC", "SCE", "MMC (rand)", "MMLDA")
DIMS = (64, 8, 784, 16, 196)
CLASSES = (10, 2, 20, 3, 4, 15, 5)
NORMS = (10.0, 1.0, 100.0)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
#: What a distance may exceed the exact one by and still be it: images are float32.
ROUNDING = 1e-6


class Instance(NamedTuple):
    """An oracle, and a radius at which its robust accuracy is neither 0 nor 1 and no distance is close."""

    oracle: Exact
    epsilon: float


def instances(count: int, seed: int = 0, norm: str = "linf", images: int = 40) -> Iterator[Instance]:
    """Affine oracles over losses, pixels, classes, norms of the centers, distances and shares; built once.

    Args:
        count: how many; five already hold every number of pixels.
        seed: of the order of the settings, and of what is drawn.
        norm: that of the radius.
        images: of each.
    """
    for index in range(count):
        yield _instance(index, seed, norm, images)


@functools.cache
def _instance(index: int, seed: int, norm: str, images: int) -> Instance:
    # Lists of coprime lengths, each gone around in its own order: no two settings stay together.
    order = random.Random(seed)
    lists = [order.sample(values, len(values)) for values in (LOSSES, DIMS, CLASSES, NORMS)]
    loss, dim, classes, size = (values[index % len(values)] for values in lists)
    draw = random.Random(f"{seed} {index}")
    extra, spread, share = draw.choice((0, 1, 7)), draw.uniform(0.5, 1.9), draw.choice(SHARES)
    features = max(2, classes - 1 + extra)
    oracle = random_oracle(1000 * seed + index, dim, classes, features, size, loss=loss, count=images, spread=spread)
    return Instance(oracle, oracle.radius(share, norm))


def piecewise_instances(count: int, seed: int = 0, norm: str = "linf", images: int = 12) -> Iterator[Instance]:
    """Networks with one hidden ReLU layer, of 2 to 6 pixels and 2 to 4 classes. Args as `instances`."""
    for index in range(count):
        yield _piecewise_instance(index, seed, norm, images)


@functools.cache
def _piecewise_instance(index: int, seed: int, norm: str, images: int) -> Instance:
    dim, classes, loss = (2, 4, 3, 6, 5)[index % 5], (3, 2, 4)[index % 3], ("MMC", "SCE")[index % 2]
    oracle = random_piecewise(1000 * seed + index, dim, classes, loss=loss, count=images)
    return Instance(oracle, oracle.radius((0.5, 0.3, 0.7)[index % 3], norm))


#: Every head with affine differences of logits. Hyperspherical embedding alone divides by the length of z.
HEADS = tuple(name for name in LOSSES_OF_ALL if name != "HE")


def head_instances(count: int, seed: int = 0, norm: str = "linf", images: int = 12) -> Iterator[Instance]:
    """Affine oracles with each head in turn, of 8 to 48 pixels and 2 to 12 classes. Args as `instances`."""
    for index in range(count):
        yield _head_instance(index, seed, norm, images)


@functools.cache
def _head_instance(index: int, seed: int, norm: str, images: int) -> Instance:
    draw, loss = random.Random(f"{seed} {index}"), HEADS[index % len(HEADS)]
    # Guided complement entropy has no classes to balance where there are two.
    classes, dim = draw.choice((3 if loss == "GCE" else 2, 3, 4, 5, 7, 10, 12)), draw.choice((8, 12, 24, 48))
    oracle = _any_head(1000 * seed + index, loss, dim, classes, draw.uniform(0.4, 1.0), images)
    return Instance(oracle, oracle.radius(draw.choice((0.25, 0.5, 0.75)), norm))


def _any_head(seed: int, loss: str, dim: int, classes: int, spread: float, count: int) -> Oracle:
    """A head as it is built, and a linear layer under which all its logits tie near the middle of the box."""
    features, generator = classes + 1, torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build(loss, classes, features).double()

    def differences(z: Tensor) -> Tensor:
        logits = head.logits(z[None])[0]
        return logits - logits[0]

    origin = torch.zeros(features, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(differences, origin)
    tie = -torch.linalg.pinv(slope) @ differences(origin).detach()
    layer, middle = nn.Linear(dim, features), 0.4 + 0.2 * torch.rand(dim, generator=generator)
    weight = torch.randn(features, dim, generator=generator) * 4 / dim**0.5
    layer.load_state_dict({"weight": weight, "bias": tie.float() - weight @ middle})
    model = Classifier(nn.Sequential(nn.Flatten(), layer), head.float()).eval().requires_grad_(False)
    x = (middle + spread * (torch.rand(count, dim, generator=generator) - middle)).view(count, 1, 4, dim // 4)
    unlabelled = Oracle(model, x, torch.zeros(count, dtype=torch.long))
    return Oracle(model, x, (-unlabelled.gaps()).argmax(1))


def trained_instances(count: int, seed: int = 0, norm: str = "linf", images: int = 12) -> Iterator[Instance]:
    """Trained networks with one hidden ReLU layer, of 2 to 5 pixels and 2 to 4 classes. Args as `instances`."""
    for index in range(count):
        yield _trained_instance(index, seed, norm, images)


@functools.cache
def _trained_instance(index: int, seed: int, norm: str, images: int) -> Instance:
    dim, classes, loss = (3, 2, 5, 4)[index % 4], (3, 2, 4)[index % 3], ("MMC", "SCE", "MMLDA", "Center")[index % 4]
    oracle = trained_piecewise(1000 * seed + index, dim, classes, loss=loss, count=images)
    return Instance(oracle, oracle.radius((0.5, 0.3, 0.7)[index % 3], norm))


def lengths(step: Float[Tensor, "N C H W"], norm: str) -> Float[Tensor, " N"]:
    """The length of each image's change, float64."""
    flat = step.double().flatten(1)
    return flat.abs().amax(1) if norm == "linf" else torch.linalg.vector_norm(flat, dim=1)


@torch.no_grad()
def fooled(oracle: Exact, x_adv: Float[Tensor, "N C H W"]) -> Bool[Tensor, " N"]:
    """Which images the model misclassifies, by a forward pass of its own precision."""
    return oracle.model(x_adv).argmax(1) != oracle.y


def _refuse_what_is_no_image(oracle: Exact, x_adv: Float[Tensor, "N C H W"]) -> None:
    assert x_adv.shape == oracle.x.shape and x_adv.dtype == oracle.x.dtype, "the attack returned another shape or type"
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all()), "an image left the box [0, 1], or is not a number"


def check_fixed_radius(
    attack: Attack, instance: Instance, norm: str = "linf", tolerance: float = 1e-6, **options: Any
) -> tuple[float, float]:
    """Run an attack of fixed radius, and assert that it reports no less robust accuracy than there is.

    Args:
        attack: `attack(model, x, y, epsilon=..., **options) -> x_adv`.
        instance: see `instances`.
        norm: of the attack's ball.
        tolerance: what rounding may add to the radius, in units of a pixel's range, or as a share of a radius that is
            larger: float32 rounds a length of six by nearly as much. The model's own rounding is allowed for besides,
            see `Exact.safe_distances`.
        options: passed on.

    Returns:
        Reported and exact robust accuracy.
    """
    oracle, epsilon = instance
    x_adv = attack(oracle.model, oracle.x, oracle.y, epsilon=epsilon, **options)
    _refuse_what_is_no_image(oracle, x_adv)
    longest = lengths(x_adv - oracle.x, norm).max().item()
    allowed = epsilon + tolerance * max(1.0, epsilon)
    assert longest <= allowed, f"an image lies {longest:g} from its original, epsilon is {epsilon:g}"
    fell = fooled(oracle, x_adv)
    impossible = fell & (oracle.safe_distances(norm) > allowed)
    assert not impossible.any(), f"{int(impossible.sum())} images fell that are exactly robust"
    return (~fell).double().mean().item(), oracle.robust_accuracy(epsilon, norm)


def check_minimum_distance(attack: Attack, instance: Instance, norm: str = "l2", **options: Any) -> Float[Tensor, " M"]:
    """Run an attack of minimum norm, and assert that no image that fools is nearer than the nearest.

    Args:
        attack: `attack(model, x, y, **options) -> x_adv`.
        instance: see `instances`; its radius is not used.
        norm: what the attack minimises.
        options: passed on.

    Returns:
        Found over exact distance of every image that is correct as it is: 1 is perfect, or within `ROUNDING`; infinite
        where the attack found nothing.
    """
    oracle = instance.oracle
    x_adv = attack(oracle.model, oracle.x, oracle.y, **options)
    _refuse_what_is_no_image(oracle, x_adv)
    found = lengths(x_adv.double() - oracle.x.double(), norm)
    found = torch.where(fooled(oracle, x_adv), found, torch.inf)
    exact, safe = oracle.distances(norm), oracle.safe_distances(norm)
    impossible = found < (1 - 1e-4) * safe
    assert not impossible.any(), f"{int(impossible.sum())} images fool at less than their exact distance"
    return torch.where(found <= exact + ROUNDING, 1, found / exact)[_judged(instance, norm)]


def _judged(instance: Instance, norm: str) -> Bool[Tensor, " N"]:
    """Which images have a distance: they are correct as they are, and not on the boundary."""
    return (instance.oracle.distances(norm) > 0) & ~fooled(instance.oracle, instance.oracle.x)


def on_a_slope(instance: Instance, norm: str = "l2") -> Bool[Tensor, " M"]:
    """At which of the images that `check_minimum_distance` judges the margin has a gradient.

    A small network may be flat around an image, and some are nearly everywhere, depending on the machine that trained
    them. No climb knows the way from there, so how near it comes is no measure of it.
    """
    model, x, y = instance.oracle.model, instance.oracle.x, instance.oracle.y
    return (input_gradient(margin, model, x, y).flatten(1) != 0).any(1)[_judged(instance, norm)]
