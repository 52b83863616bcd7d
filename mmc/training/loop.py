"""The training loop: small, deterministic, nothing hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from mmc.data import Split
    from mmc.models import Classifier


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or not a number; the message says when and why it may have."""


def standard(model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> tuple[Tensor, Tensor]:
    """The plain rule: the loss of the images as they are. Returns features and per-example losses."""
    z = model.features(x)
    return z, model.loss(z, y)


def train(
    model: Classifier,
    data: Split,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    rule: Callable[[Classifier, Tensor, Tensor], tuple[Tensor, Tensor]] = standard,
) -> list[float]:
    """Train a classifier in place with Adam, the learning rate falling to zero along a half cosine.

    The same model, data and seed give the same bits on one machine's CPU. The model is left in eval mode.

    Args:
        model: a network with its loss.
        data: the training images.
        epochs: passes over the data, >= 1.
        batch_size: >= 1; the last, smaller batch of an epoch is used too.
        learning_rate: at the start, > 0.
        seed: of the order of the images.
        rule: which inputs the loss sees; returns features and per-example losses.

    Returns:
        The mean training loss of each epoch, as seen while training.

    Raises:
        ValueError: epochs, batch_size or learning_rate out of range, or no images.
        NonFiniteLossError: the loss became infinite or not a number.
    """
    if epochs < 1 or batch_size < 1 or not learning_rate > 0 or not len(data):
        raise ValueError(
            "expected epochs >= 1, batch_size >= 1, learning_rate > 0 and some images, "
            f"not {epochs}, {batch_size}, {learning_rate} and {len(data)} images"
        )
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    steps = epochs * math.ceil(len(data) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curve, step = [], 0
    model.train()
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(data), generator=generator).split(batch_size):
            x, y = data.x[batch], data.y[batch]
            z, losses = rule(model, x, y)
            loss = losses.mean()
            if not math.isfinite(loss.item()):
                raise NonFiniteLossError(_diagnosis(model, x, step, loss.item(), learning_rate))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            model.loss.observe(z.detach(), y)
            total += loss.item() * len(batch)
            step += 1
        curve.append(total / len(data))
    model.eval()
    return curve


def _diagnosis(model: Classifier, x: Tensor, step: int, value: float, learning_rate: float) -> str:
    broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
    if not bool(x.isfinite().all()):
        cause = "the images of this batch hold values that are not finite"
    elif broken:
        cause = f"the parameters {', '.join(broken)} are no longer finite: a smaller learning_rate may help"
    else:
        cause = f"the features overflow: a learning_rate below {learning_rate:g} may help"
    return f"{type(model.loss).__name__} became {value} at step {step}; likely cause: {cause}"
