"""Every loss: contract, gradients, symmetries, and the identities that tie them together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc import losses
from mmc.losses import GSCE, LGM, LOSSES, MMC, MMLDA, SCE, CenterLoss, ElasticMMC, build
from mmc.theory import centers, contours, density, flow

L, D, N = 4, 6, 9
FIXED = ("MMLDA", "MMC", "MMC (rand)", "Elastic MMC")
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 10_000)


@pytest.fixture(autouse=True, scope="module")
def in_double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def sample(seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(N, D, generator=generator)
    return z, torch.randint(L, (N,), generator=generator)


def make(name: str, seed: int = 0, **options: object) -> losses.Loss:
    torch.manual_seed(seed)
    return build(name, L, D, **options)


def rotation(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(D, D, generator=generator)).Q


@pytest.mark.parametrize("name", LOSSES)
def test_contract(name: str) -> None:
    loss = make(name)
    z, y = sample(0)
    assert loss(z, y).shape == (N,)
    assert loss.logits(z).shape == (N, L)
    assert loss(z, y).isfinite().all()
    torch.testing.assert_close(loss(z, y)[3:4], loss(z[3:4], y[3:4]))  # an example depends on no other


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_the_finite_difference(name: str) -> None:
    loss = make(name)
    z, y = sample(1)
    assert torch.autograd.gradcheck(lambda z: loss(z, y), (z.requires_grad_(),), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@few
@given(seed=seeds)
def test_permuting_the_examples_permutes_the_values(name: str, seed: int) -> None:
    loss = make(name, seed)
    z, y = sample(seed)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(loss(z, y)[order], loss(z[order], y[order]))


@pytest.mark.parametrize("name", ["MMLDA", "MMC", "MMC (rand)", "Elastic MMC", "L-GM"])
@few
@given(seed=seeds)
def test_a_rotation_of_features_and_centers_changes_nothing(name: str, seed: int) -> None:
    loss, q = make(name, seed), rotation(seed)
    z, y = sample(seed)
    before = loss(z, y)
    with torch.no_grad():
        loss.centers.copy_(loss.centers @ q.T)
    torch.testing.assert_close(loss(z @ q.T, y), before)


@few
@given(seed=seeds)
def test_sce_is_its_member_of_the_quadratic_family(seed: int) -> None:
    sce = make("SCE", seed)
    member = GSCE.from_linear(sce.linear.weight, sce.linear.bias)
    z, y = sample(seed)
    torch.testing.assert_close(member(z, y), sce(z, y))
    gap = member.logits(z) - sce.logits(z)
    torch.testing.assert_close(gap, -z.square().sum(1, keepdim=True).expand_as(gap))


@few
@given(seed=seeds)
def test_mmlda_is_softmax_of_inner_products(seed: int) -> None:
    loss = make("MMLDA")
    z, y = sample(seed)
    torch.testing.assert_close(loss(z, y), F.cross_entropy(z @ loss.centers.T, y, reduction="none"))


@few
@given(seed=seeds)
def test_mmlda_and_lgm_are_members_of_the_quadratic_family(seed: int) -> None:
    z, y = sample(seed)
    mmlda = make("MMLDA")
    member = GSCE(L, D, centers=mmlda.centers, sigma=torch.full((L,), 0.5))
    torch.testing.assert_close(member(z, y), mmlda(z, y))
    lgm = make("L-GM", seed, margin=0.0, weight=0.0)
    with torch.no_grad():
        lgm.log_variance.copy_(torch.randn(L, D, generator=torch.Generator().manual_seed(seed)))
    sigma, bias = torch.exp(-lgm.log_variance) / 2, -lgm.log_variance.sum(1) / 2
    member = GSCE(L, D, "diagonal", lgm.centers.detach(), sigma.detach(), bias.detach())
    torch.testing.assert_close(member(z, y), lgm(z, y))


@few
@given(seed=seeds)
def test_the_three_shapes_of_sigma_agree_where_they_meet(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    s = 0.1 + torch.rand(L, generator=generator)
    mu, b = torch.randn(L, D, generator=generator), torch.randn(L, generator=generator)
    z, y = sample(seed)
    isotropic = GSCE(L, D, "isotropic", mu, s, b)
    diagonal = GSCE(L, D, "diagonal", mu, s[:, None].expand(L, D), b)
    full = GSCE(L, D, "full", mu, s[:, None, None] * torch.eye(D), b)
    torch.testing.assert_close(diagonal(z, y), isotropic(z, y))
    torch.testing.assert_close(full(z, y), isotropic(z, y))
    torch.testing.assert_close(full.sigma, (s[:, None, None] * torch.eye(D)))


def test_full_sigma_is_the_quadratic_form_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(L, D, D, generator=generator)
    sigma, mu = root.mT @ root + torch.eye(D), torch.randn(L, D, generator=generator)
    loss, (z, _) = GSCE(L, D, "full", mu, sigma), sample(0)
    for i in range(L):
        difference = z - mu[i]
        expected = -torch.stack([v @ sigma[i] @ v for v in difference])
        torch.testing.assert_close(loss.logits(z)[:, i], expected)


@few
@given(seed=seeds)
def test_mmc_pulls_straight_to_its_center(seed: int) -> None:
    loss = make("MMC")
    z, y = sample(seed)
    (gradient,) = torch.autograd.grad(loss(z.requires_grad_(), y).sum(), z)
    torch.testing.assert_close(gradient, z.detach() - loss.centers[y])
    torch.testing.assert_close(loss(loss.centers, torch.arange(L)), torch.zeros(L))


def column(vector: torch.Tensor) -> sp.Matrix:
    return sp.Matrix(vector.tolist())


def test_logits_and_cross_entropy_are_the_formulas_of_the_theory() -> None:
    (z, y), generator = sample(5), torch.Generator().manual_seed(5)
    root = torch.randn(L, D, D, generator=generator)
    full = GSCE(L, D, "full", sigma=root.mT @ root / D + torch.eye(D), bias=torch.randn(L, generator=generator))
    sce = make("SCE")
    for feature, label in zip(z[:3], y[:3], strict=True):
        quadratic = [
            contours.logit(
                column(feature), column(full.centers[i]), sp.Matrix(full.sigma[i].tolist()), full.bias[i].item()
            )
            for i in range(L)
        ]
        linear = [
            contours.linear_logit(column(feature), column(w), sce.linear.bias[i].item())
            for i, w in enumerate(sce.linear.weight)
        ]
        for loss, h in ((full, quadratic), (sce, linear)):
            assert loss.logits(feature[None])[0].tolist() == pytest.approx([float(value) for value in h])
            rival = contours.log_sum_exp([value for i, value in enumerate(h) if i != label])
            assert loss(feature[None], label[None]).item() == pytest.approx(float(contours.loss(h[label], rival)))


def test_lgm_is_the_member_of_the_theory_margin_included() -> None:
    loss, (z, y) = make("L-GM", margin=0.3, weight=0.0), sample(7)
    with torch.no_grad():
        loss.log_variance.copy_(torch.randn(L, D, generator=torch.Generator().manual_seed(7)))
    for feature, label in zip(z[:3], y[:3], strict=True):
        h = []
        for i in range(L):
            sigma, bias = contours.lgm_member(loss.log_variance[i].exp().tolist(), sp.Float(0.3 if i == label else 0))
            h.append(contours.logit(column(feature), column(loss.centers[i]), sigma, bias))
        rival = contours.log_sum_exp([value for i, value in enumerate(h) if i != label])
        assert loss(feature[None], label[None]).item() == pytest.approx(float(contours.loss(h[label], rival)))


@few
@given(seed=seeds, value=st.floats(0.01, 20.0), radius=st.floats(0.1, 5.0))
def test_contours_of_mmc_and_elastic_mmc_are_the_spheres_of_the_theory(seed: int, value: float, radius: float) -> None:
    z, y = sample(seed)
    mmc, elastic, away = make("MMC"), make("Elastic MMC", radius=radius), F.normalize(z, dim=1)
    on_contour = mmc.centers[y] + float(density.mmc_radius(value)) * away
    torch.testing.assert_close(mmc(on_contour, y), torch.full((N,), value))
    torch.testing.assert_close(
        elastic(elastic.centers[y] + value * away, y), torch.full((N,), float(centers.elastic_loss(value, radius)))
    )


def test_mmlda_on_the_ray_to_its_center_is_the_softmax_loss_of_the_flow() -> None:
    loss, y = make("MMLDA"), torch.arange(L)
    for share in (0.05, 0.3, 0.6):
        margin = share * 10 * flow.simplex_slope(10, L)
        expected = torch.full((L,), float(flow.softmax_loss(margin, L)))
        torch.testing.assert_close(loss(share * loss.centers, y), expected)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_centers_decide_by_the_nearest(name: str) -> None:
    loss = make(name)
    z, _ = sample(2)
    nearest = torch.cdist(z, loss.centers).argmin(1)
    assert loss.logits(z).argmax(1).equal(nearest)
    assert list(loss.parameters()) == []
    torch.testing.assert_close(loss.centers.norm(dim=1), torch.full((L,), 10.0))


def test_random_centers_differ_by_seed_and_only_by_seed() -> None:
    first, again, other = (make("MMC (rand)", center_seed=s).centers for s in (1, 1, 2))
    assert first.equal(again) and not first.equal(other)


@few
@given(seed=seeds, radius=st.floats(0.1, 5.0))
def test_elastic_mmc_is_zero_on_its_sphere_and_mmc_at_radius_zero(seed: int, radius: float) -> None:
    z, y = sample(seed)
    elastic = make("Elastic MMC", radius=radius)
    on_sphere = elastic.centers[y] + radius * F.normalize(z, dim=1)
    torch.testing.assert_close(elastic(on_sphere, y), torch.zeros(N), atol=1e-12, rtol=0)
    torch.testing.assert_close(make("Elastic MMC", radius=0.0)(z, y), make("MMC")(z, y))


def test_center_loss_moves_its_centers_by_the_printed_rule() -> None:
    loss = make("Center", rate=0.3)
    z, y = sample(3)
    before = loss.centers.clone()
    for j in range(L):
        mine = z[y == j]
        before[j] -= 0.3 * sum((before[j] - f for f in mine), torch.zeros(D)) / (1 + len(mine))
    loss.observe(z, y)
    torch.testing.assert_close(loss.centers, before)
    assert "centers" not in dict(loss.named_parameters())


def test_center_loss_settles_on_the_class_means() -> None:
    loss = make("Center")
    z, y = sample(4)
    for _ in range(300):
        loss.observe(z, y)
    for j in y.unique():
        torch.testing.assert_close(loss.centers[j], z[y == j].mean(0))
    assert (loss(z, y) >= SCE.value(loss, z, y)).all()


def test_lgm_margin_and_likelihood_are_what_they_say() -> None:
    z, y = sample(6)
    plain, margin, likely = (make("L-GM", margin=m, weight=w) for m, w in ((0, 0), (0.3, 0), (0, 0.1)))
    torch.testing.assert_close(plain(z, y), F.cross_entropy(plain.logits(z), y, reduction="none"))
    half = (z - plain.centers[y]).square().sum(1) / 2
    torch.testing.assert_close(likely(z, y) - plain(z, y), 0.1 * half)
    shifted = plain.logits(z).clone()
    shifted[range(N), y] *= 1.3
    torch.testing.assert_close(margin(z, y), F.cross_entropy(shifted, y, reduction="none"))
    torch.testing.assert_close(margin.logits(z), plain.logits(z))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: build("MCM", L, D), "no loss 'MCM'; there are: SCE, g-SCE, Center"),
        (lambda: build("MMC", L, D, margin=1), "margin"),
        (lambda: build("SCE", 1, D), "num_classes must be at least 2, not 1"),
        (lambda: build("SCE", L, 0), "feature_dim must be at least 1, not 0"),
        (lambda: GSCE(L, D, "round"), "isotropic, diagonal, full"),
        (lambda: GSCE(L, D, sigma=-torch.ones(L)), "positive"),
        (lambda: GSCE(L, D, "full", sigma=-torch.eye(D).expand(L, D, D)), "positive definite"),
        (lambda: GSCE(L, D, centers=torch.zeros(L, D + 1)), r"\(4, 6\), not \(4, 7\)"),
        (lambda: MMC(L, D, centers=torch.zeros(L + 1, D)), r"\(4, 6\), not \(5, 6\)"),
        (lambda: ElasticMMC(L, D, radius=-1.0), "radius must be >= 0"),
        (lambda: CenterLoss(L, D, rate=2.0), "rate in"),
        (lambda: LGM(L, D, margin=-1.0), "must be >= 0"),
        (lambda: MMLDA(L, D)(torch.zeros(3, D + 1), torch.zeros(3).long()), r"shape \(N, 6\), not \(3, 7\)"),
        (lambda: MMC(L, D)(torch.zeros(3, D), torch.zeros(2).long()), "one per feature"),
    ],
)
def test_bad_input_is_refused_by_name(act: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()
