"""Networks: the contract between pixels, features and logits, and the layers that their names promise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmc.losses import LOSSES, build
from mmc.models import BACKBONES, Classifier, Normalize, build_backbone
from mmc.models.norm import Rectified
from mmc.models.resnet import resnet_v1, resnet_v2

SHAPE = (1, 8, 8)
RESIDUAL = [name for name in BACKBONES if "res" in name]
#: A network of each kind that is quick enough to run often.
QUICK = ("mlp", "cnn", "vgg8", "resnet8", "resnet20")


@pytest.mark.parametrize("backbone", QUICK)
@pytest.mark.parametrize("loss", LOSSES)
def test_contract(backbone: str, loss: str) -> None:
    model = Classifier(build_backbone(backbone, SHAPE, 7, 0.3, 0.4), build(loss, 4, 7)).eval()
    x, y = torch.rand(5, *SHAPE), torch.tensor([0, 1, 2, 3, 0])
    z = model.features(x)
    assert z.shape == (5, 7)
    assert model(x).equal(model.loss.logits(z))
    assert model.loss(z, y).shape == (5,)


def layers(network: nn.Module) -> int:
    """Convolutions and linear layers on the main path: projections of a shortcut do not count."""
    named = dict(network.named_modules())
    counted = [name for name, m in named.items() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in name]
    return len(counted)


@pytest.mark.parametrize(
    ("name", "depth", "pooled"),
    [
        ("resnet8", 8, 64),
        ("resnet20", 20, 64),
        ("resnet32", 32, 64),
        ("resnet110", 110, 64),
        ("resnet47-v2", 47, 256),
        ("resnet110-v2", 110, 256),
        ("preactresnet18", 18, 512),
    ],
)
def test_a_residual_network_has_the_layers_its_name_says(name: str, depth: int, pooled: int) -> None:
    network = build_backbone(name, (3, 32, 32), 64)
    assert layers(network) == depth
    assert network[-1].linear.in_features == pooled and network[-1].linear.out_features == 64
    bare = build_backbone(name, (3, 32, 32), pooled, linear=False)
    assert layers(bare) == depth - 1
    with pytest.raises(ValueError, match=f"z is the {pooled} pooled channels, not 65"):
        build_backbone(name, (3, 32, 32), 65, linear=False)


@pytest.mark.parametrize("width", [4, 32])
def test_vgg8_has_eight_layers_and_halves_an_image_three_times(width: int) -> None:
    network = build_backbone("vgg8", (3, 32, 32), 10, width=width).eval()
    assert layers(network) == 8 and network[-1].in_features == 4 * width
    seen = []
    for module in network.modules():
        if isinstance(module, Rectified):
            module.register_forward_hook(lambda m, i, output: seen.append(tuple(output.shape[1:])))
    with torch.no_grad():
        network(torch.rand(2, 3, 32, 32))
    wide = [width, width, width, 2 * width, 2 * width, 4 * width, 4 * width]
    assert seen == [(c, side, side) for c, side in zip(wide, (32, 16, 16, 8, 8, 4, 4), strict=True)]
    with pytest.raises(ValueError, match=r"multiples of 8, not \(1, 12, 8\)"):
        build_backbone("vgg8", (1, 12, 8), 4)


@pytest.mark.parametrize("name", RESIDUAL)
def test_residual_networks_pool_over_what_the_paper_pools(name: str) -> None:
    """An image of 32 by 32 arrives at the pooling as 8 by 8 (4 by 4 for PreActResNet-18)."""
    network = build_backbone(name, (3, 32, 32), 10).eval()
    seen = []
    network[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    with torch.no_grad():
        network(torch.rand(2, 3, 32, 32))
    assert seen[0][2:] == ((4, 4) if name == "preactresnet18" else (8, 8))


@pytest.mark.parametrize("name", RESIDUAL)
def test_without_batch_norm_there_is_none(name: str) -> None:
    network = build_backbone(name, SHAPE, 10, batch_norm=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert all(module.bias is not None for module in network.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("name", RESIDUAL)
def test_a_residual_network_starts_near_the_scale_of_its_input(name: str) -> None:
    """In training mode, at the start, features are neither vanished nor blown up, and every weight has a gradient."""
    torch.manual_seed(0)
    network = build_backbone(name, (3, 16, 16), 32, (0.5,) * 3, (0.3,) * 3)
    z = network(torch.rand(8, 3, 16, 16))
    assert 1e-2 < z.std() < 1e2
    z.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    assert all(bool((p.grad != 0).any()) for n, p in network.named_parameters() if n.endswith("weight"))


@pytest.mark.parametrize("backbone", QUICK)
def test_features_reach_every_orthant(backbone: str) -> None:
    """The last layer is linear: some features are negative."""
    torch.manual_seed(0)
    z = build_backbone(backbone, SHAPE, 16)(torch.rand(50, *SHAPE))
    assert (z < 0).any() and (z > 0).any()


@pytest.mark.parametrize("name", [n for n in RESIDUAL if n != "preactresnet18"][:2])
def test_without_the_linear_layer_no_feature_is_negative(name: str) -> None:
    """Why MMC needs the extra linear layer: pooled rectified channels cannot reach a center with negative entries."""
    torch.manual_seed(0)
    assert (build_backbone(name, SHAPE, 64, linear=False)(torch.rand(20, *SHAPE)) >= 0).all()


@pytest.mark.parametrize("backbone", QUICK)
def test_normalisation_is_inside(backbone: str) -> None:
    torch.manual_seed(0)
    inside = build_backbone(backbone, SHAPE, 4, 0.3, 0.4).eval()
    torch.manual_seed(0)
    outside = build_backbone(backbone, SHAPE, 4).eval()
    x = torch.rand(5, *SHAPE)
    torch.testing.assert_close(inside(x), outside((x - 0.3) / 0.4))


def test_channels_are_normalised_one_by_one() -> None:
    x = torch.rand(4, 3, 5, 5)
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 4.0)
    expected = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    torch.testing.assert_close(Normalize(mean, std)(x), expected)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_example_depends_on_no_other(backbone: str) -> None:
    torch.manual_seed(0)
    model, x = build_backbone(backbone, SHAPE, 4).double().eval(), torch.rand(3, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


def test_autocast_computes_in_16_bits_and_hands_out_floats() -> None:
    torch.manual_seed(0)
    model = Classifier(build_backbone("resnet8", SHAPE, 6), build("MMC", 4, 6)).eval()
    x = torch.rand(5, *SHAPE)
    plain = model.features(x)
    model.autocast = torch.bfloat16
    low = model.features(x)
    assert low.dtype == torch.float32 and not low.equal(plain)
    torch.testing.assert_close(low, plain, rtol=0.1, atol=0.1 * plain.abs().max().item())


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no network 'resnet'; there are: mlp, cnn, vgg8, resnet8"):
        build_backbone("resnet", SHAPE, 4)
    with pytest.raises(ValueError, match=r"network 'cnn'.*depth"):
        build_backbone("cnn", SHAPE, 4, depth=3)
    with pytest.raises(ValueError, match="multiples of 4"):
        build_backbone("cnn", (1, 9, 8), 4)
    with pytest.raises(ValueError, match="std must be positive"):
        Normalize(0.0, 0.0)
    with pytest.raises(ValueError, match=r"6n \+ 2 layers, not 33"):
        resnet_v1(33)
    with pytest.raises(ValueError, match=r"9n \+ 2 layers, not 32"):
        resnet_v2(32)
