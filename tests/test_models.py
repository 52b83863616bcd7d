"""Networks: the contract between pixels, features and logits."""

from __future__ import annotations

import pytest
import torch

from mmc.losses import LOSSES, build
from mmc.models import BACKBONES, Classifier, Normalize, build_backbone

SHAPE = (1, 8, 8)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("loss", LOSSES)
def test_contract(backbone: str, loss: str) -> None:
    model = Classifier(build_backbone(backbone, SHAPE, 7, 0.3, 0.4), build(loss, 4, 7)).eval()
    x, y = torch.rand(5, *SHAPE), torch.tensor([0, 1, 2, 3, 0])
    z = model.features(x)
    assert z.shape == (5, 7)
    assert model(x).equal(model.loss.logits(z))
    assert model.loss(z, y).shape == (5,)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_features_reach_every_orthant(backbone: str) -> None:
    """The last layer is linear: some features are negative."""
    torch.manual_seed(0)
    z = build_backbone(backbone, SHAPE, 16)(torch.rand(50, *SHAPE))
    assert (z < 0).any() and (z > 0).any()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_normalisation_is_inside(backbone: str) -> None:
    torch.manual_seed(0)
    inside = build_backbone(backbone, SHAPE, 4, 0.3, 0.4)
    torch.manual_seed(0)
    outside = build_backbone(backbone, SHAPE, 4)
    x = torch.rand(5, *SHAPE)
    torch.testing.assert_close(inside(x), outside((x - 0.3) / 0.4))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_example_depends_on_no_other(backbone: str) -> None:
    model, x = build_backbone(backbone, SHAPE, 4).eval(), torch.rand(6, *SHAPE)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no network 'resnet'; there are: mlp, cnn"):
        build_backbone("resnet", SHAPE, 4)
    with pytest.raises(ValueError, match="multiples of 4"):
        build_backbone("cnn", (1, 9, 8), 4)
    with pytest.raises(ValueError, match="std must be positive"):
        Normalize(0.0, 0.0)
