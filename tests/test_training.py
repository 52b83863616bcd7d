"""The loop: it learns, it repeats itself bit by bit, and it stops with a reason."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from mmc.attacks import correct
from mmc.data import Split
from mmc.losses import LOSSES, build
from mmc.models import Classifier, mlp
from mmc.training import NonFiniteLossError, train

SHAPE = (1, 2, 3)


def blobs(count: int = 300) -> Split:
    """Three well separated classes in the box."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (count,), generator=generator)
    middle = 0.1 + 0.8 * torch.rand(3, *SHAPE, generator=generator)
    return Split((middle[y] + 0.03 * torch.randn(count, *SHAPE, generator=generator)).clamp(0, 1), y)


def network(name: str = "MMC", seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(mlp(SHAPE, 4, 0.5, 0.3, width=16), build(name, 3, 4))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_learns_three_blobs(name: str) -> None:
    model, data = network(name), blobs()
    curve = train(model, data, epochs=30, batch_size=32, learning_rate=1e-2)
    assert len(curve) == 30 and curve[-1] < curve[0]
    assert not model.training
    assert correct(model, data.x, data.y).float().mean() > 0.98


@pytest.mark.parametrize("name", ["SCE", "Center", "MMC"])
def test_same_seed_same_bits(name: str) -> None:
    def run(seed: int) -> tuple[list[float], torch.Tensor]:
        model = network(name)
        torch.manual_seed(seed + 100)  # the global generator has no say
        return train(model, blobs(), epochs=3, batch_size=32, seed=seed), parameters_to_vector(model.parameters())

    (curve, first), (again, second), (_, other) = run(1), run(1), run(2)
    assert curve == again and first.equal(second) and not first.equal(other)


def test_the_first_step_is_adam_by_hand() -> None:
    """Adam's first step moves every parameter by the learning rate, against the sign of its gradient."""
    model, data = network("SCE"), blobs(50)
    before = parameters_to_vector(model.parameters()).detach().clone()
    gradient = torch.autograd.grad(model.loss(model.features(data.x), data.y).mean(), list(model.parameters()))
    train(model, data, epochs=1, batch_size=50, learning_rate=1e-3)
    moved = parameters_to_vector(model.parameters()).detach() - before
    flat = torch.cat([g.flatten() for g in gradient])
    clear = flat.abs() > 1e-4
    torch.testing.assert_close(moved[clear], -1e-3 * flat[clear].sign(), rtol=1e-2, atol=1e-6)


def test_center_loss_moves_its_centers_while_training() -> None:
    model, data = network("Center"), blobs()
    train(model, data, epochs=30, batch_size=32, learning_rate=1e-2)
    with torch.no_grad():
        means = torch.stack([model.features(data.x[data.y == k]).mean(0) for k in range(3)])
    assert (model.loss.centers - means).norm(dim=1).max() < 0.1 * means.norm(dim=1).max()


def test_a_loss_that_is_not_finite_stops_with_its_cause() -> None:
    data = blobs()
    with pytest.raises(NonFiniteLossError, match=r"MMC became (nan|inf) at step \d+; likely cause: .*learning_rate"):
        train(network(), data, epochs=20, batch_size=32, learning_rate=1e18)
    bad = Split(data.x.clone(), data.y)
    bad.x[0] = torch.nan
    with pytest.raises(NonFiniteLossError, match="images of this batch"):
        train(network(), bad, epochs=1)
    broken = network()
    with torch.no_grad():
        broken.backbone[-1].bias[0] = torch.inf
    with pytest.raises(NonFiniteLossError, match=r"step 0; .*parameters backbone\.\d+\.bias are no longer finite"):
        train(broken, data, epochs=1)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"data": blobs(0)}])
def test_bad_settings_are_refused(change: dict) -> None:
    settings = {"data": blobs(), "epochs": 1} | change
    with pytest.raises(ValueError, match="expected epochs >= 1"):
        train(network(), settings.pop("data"), **settings)
