"""Every loss: contract, gradients, symmetries, and the identities that tie them together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import CosFaceLoss, NormalizedSoftmaxLoss
from torch.func import functional_call

from mmc import losses
from mmc.centers import max_cosine, simplex_centers
from mmc.losses import (
    ETF,
    GCE,
    GSCE,
    HE,
    LGM,
    LOSSES,
    MMC,
    MMLDA,
    PC,
    SCE,
    CenterLoss,
    ElasticMMC,
    LabelSmoothing,
    LogitSquared,
    MirroredSCE,
    MMCHier,
    build,
)
from mmc.losses.hierarchical import consecutive_groups
from mmc.theory import centers, contours, density, flow
from mmc.theory import losses as theory

L, D, N = 4, 6, 9
FIXED = ("MMLDA", "MMC", "MMC (rand)", "MMC (hier)", "Elastic MMC", "ETF")
LINEAR = [name for name in LOSSES if issubclass(LOSSES[name], SCE)]
#: Every loss as the registry builds it, and its other kinds.
KINDS: dict[str, tuple[str, dict[str, object]]] = {name: (name, {}) for name in LOSSES} | {
    "g-SCE, diagonal": ("g-SCE", {"shape": "diagonal"}),
    "g-SCE, full": ("g-SCE", {"shape": "full"}),
    "L-GM, learned variance": ("L-GM", {"learn_variance": True}),
    "MMLDA, precision 1": ("MMLDA", {"precision": 1.0}),
    "Elastic MMC, radius 0": ("Elastic MMC", {"radius": 0.0}),
    "Label smoothing, all": ("Label smoothing", {"convention": "all"}),
    "GCE, others": ("GCE", {"scale": "others"}),
    "Logit-squared, runner-up": ("Logit-squared", {"rivals": "runner-up"}),
    "Mirrored SCE, at infinity": ("Mirrored SCE", {"target": float("inf")}),
}
few = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 10_000)
every = pytest.mark.parametrize("kind", KINDS)


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


def make_kind(kind: str, seed: int = 0) -> losses.Loss:
    name, options = KINDS[kind]
    return make(name, seed, **options)


def gradient_of(loss: losses.Loss, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    z = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(z, y).sum(), z)
    return gradient


@every
def test_contract(kind: str) -> None:
    loss = make_kind(kind)
    z, y = sample(0)
    before = {name: entry.clone() for name, entry in loss.state_dict().items()}
    state = torch.get_rng_state()
    assert loss(z, y).shape == (N,)
    assert loss.logits(z).shape == (N, L)
    assert loss(z, y).isfinite().all()
    assert loss(z[:0], y[:0]).shape == (0,)
    assert torch.get_rng_state().equal(state)  # no random number at call time
    assert all(entry.equal(before[name]) for name, entry in loss.state_dict().items())


@every
@few
@given(seed=seeds, index=st.integers(0, N - 1))
def test_an_example_depends_on_no_other(kind: str, seed: int, index: int) -> None:
    loss = make_kind(kind, seed)
    z, y = sample(seed)
    one = slice(index, index + 1)
    torch.testing.assert_close(loss(z, y)[one], loss(z[one], y[one]))
    torch.testing.assert_close(gradient_of(loss, z, y)[one], gradient_of(loss, z[one], y[one]))


@every
def test_gradient_is_the_finite_difference(kind: str) -> None:
    loss = make_kind(kind)
    z, y = sample(1)
    assert torch.autograd.gradcheck(lambda z: loss(z, y), (z.requires_grad_(),), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if list(make_kind(kind).parameters())])
def test_gradient_in_the_parameters_is_the_finite_difference(kind: str) -> None:
    loss = make_kind(kind)
    z, y = sample(1)
    names, values = zip(*[(n, p.detach().clone()) for n, p in loss.named_parameters() if p.requires_grad], strict=True)

    def at(*entries: torch.Tensor) -> torch.Tensor:
        return functional_call(loss, dict(zip(names, entries, strict=True)), (z, y))

    assert torch.autograd.gradcheck(at, tuple(v.requires_grad_() for v in values), eps=1e-6, atol=1e-5)


@every
@few
@given(seed=seeds)
def test_renaming_the_classes_changes_nothing(kind: str, seed: int) -> None:
    loss = make_kind(kind, seed)
    z, y = sample(seed)
    before, scores = loss(z, y), loss.logits(z)
    order = torch.randperm(L, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for entry in loss.state_dict().values():  # whatever a loss keeps, it keeps by class
            entry.copy_(entry[order])
    torch.testing.assert_close(loss(z, order.argsort()[y]), before)
    torch.testing.assert_close(loss.logits(z), scores[:, order])


@every
@few
@given(seed=seeds)
def test_a_rotation_of_features_and_what_lies_among_them_changes_nothing(kind: str, seed: int) -> None:
    loss, q = make_kind(kind, seed), rotation(seed)
    z, y = sample(seed)
    before = loss(z, y)
    with torch.no_grad():
        for name, entry in loss.state_dict().items():
            if name in ("centers", "rivals", "weight", "linear.weight"):
                entry.copy_(entry @ q.T)
    torch.testing.assert_close(loss(z @ q.T, y), before)


@every
def test_float32_gives_the_values_of_float64(kind: str) -> None:
    exact, (z, y) = make_kind(kind), sample(2)
    single = make_kind(kind).float()
    assert single(z.float(), y).dtype == single.logits(z.float()).dtype == torch.float32
    torch.testing.assert_close(single(z.float(), y).double(), exact(z, y), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        gradient_of(single, z.float(), y).double(), gradient_of(exact, z, y), rtol=1e-4, atol=1e-4
    )


@every
def test_half_precision_features_and_autocast_are_computed_in_float32(kind: str) -> None:
    loss = make_kind(kind).float()
    z, y = sample(2)
    half = z.bfloat16()
    expected, scores = loss(half.float(), y), loss.logits(half.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, half_inside = loss(half.float(), y), loss(half, y)
        assert loss.logits(half).equal(scores)
        loss.observe(half, y)
    assert inside.equal(expected) and half_inside.equal(expected) and expected.dtype == torch.float32
    assert gradient_of(make_kind(kind).float(), half, y).isfinite().all()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_at_the_extremes(kind: str, dtype: torch.dtype) -> None:
    loss = make_kind(kind).to(dtype)
    y = torch.arange(L)
    somewhere = torch.randn(L, D, generator=torch.Generator().manual_seed(3)).to(dtype)
    for home in loss.state_dict().values():
        if home.shape == (L, D):  # centers and weights
            check_finite(loss, home, y)
            check_finite(loss, home, y.roll(1))
    for scale in (0.0, 1e-30, 1e-6, 1.0, 1e3, 1e6):
        check_finite(loss, scale * somewhere, y)


def check_finite(loss: losses.Loss, z: torch.Tensor, y: torch.Tensor) -> None:
    assert loss(z, y).isfinite().all()
    assert loss.logits(z).isfinite().all()
    assert gradient_of(loss, z, y).isfinite().all()


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("gap", [20.0, 500.0, -500.0])
def test_a_logit_gap_of_500_is_no_trouble(name: str, gap: float) -> None:
    loss = make(name).float()
    with torch.no_grad():
        loss.linear.weight.copy_(torch.eye(L, D))
        loss.linear.bias.zero_()
    z = torch.zeros(1, D, dtype=torch.float32)
    z[0, 0] = gap
    check_finite(loss, z, torch.zeros(1).long())


def test_the_registry_knows_every_loss_and_its_look() -> None:
    from mmc.plot import COLORS, LINES, MARKERS

    assert list(COLORS) == list(LINES) == list(MARKERS) == list(LOSSES)
    assert len({(COLORS[name], LINES[name]) for name in LOSSES}) == len(LOSSES)
    assert len({(COLORS[name], MARKERS[name]) for name in LOSSES}) == len(LOSSES)


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
    norm = {"ETF": 1.0, "MMC (hier)": 101**0.5}.get(name, 10.0)
    torch.testing.assert_close(loss.centers.norm(dim=1), torch.full((L,), norm))


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


@few
@given(seed=seeds, precision=st.floats(0.1, 3.0))
def test_another_precision_of_mmlda_is_another_norm(seed: int, precision: float) -> None:
    z, y = sample(seed)
    other = make("MMLDA", norm=20.0 * precision)
    torch.testing.assert_close(make("MMLDA", precision=precision)(z, y), other(z, y))


def test_mmc_is_the_summed_square_of_torch() -> None:
    (z, y), loss = sample(0), make("MMC")
    expected = F.mse_loss(z, loss.centers[y], reduction="none").sum(1) / 2
    torch.testing.assert_close(loss(z, y), expected)


@pytest.mark.parametrize(("count", "groups"), [(2, 2), (3, 2), (4, 2), (5, 3), (10, 4), (100, 10)])
def test_consecutive_groups_are_even(count: int, groups: int) -> None:
    found = consecutive_groups(count)
    sizes = [found.count(group) for group in range(groups)]
    assert found == sorted(found) and sum(sizes) == count and max(sizes) - min(sizes) <= 1


@few
@given(seed=seeds, norm=st.floats(1.0, 20.0), sub_norm=st.floats(0.1, 1.0))
def test_hierarchical_mmc_keeps_a_group_together(seed: int, norm: float, sub_norm: float) -> None:
    groups = [0, 1, 0, 1]
    loss, (z, y) = MMCHier(L, D, groups, norm, sub_norm), sample(seed)
    torch.testing.assert_close(loss(z, y), MMC(L, D, centers=loss.centers)(z, y))
    inside = (loss.centers[0] - loss.centers[2]).norm().item()
    assert inside == pytest.approx(2 * sub_norm)
    assert (loss.centers[0] - loss.centers[1]).norm().item() == pytest.approx(2 * norm)  # same place in both groups


@few
@given(seed=seeds)
def test_hierarchical_mmc_with_one_class_in_a_group_is_mmc(seed: int) -> None:
    z, y = sample(seed)
    torch.testing.assert_close(make("MMC (hier)", groups=range(L))(z, y), make("MMC")(z, y))


@few
@given(seed=seeds, eps=st.floats(0.0, 0.7))
def test_label_smoothing_is_that_of_torch(seed: int, eps: float) -> None:
    z, y = sample(seed)
    for convention, torch_eps in (("others", eps * L / (L - 1)), ("all", eps)):
        loss = make("Label smoothing", seed, eps=eps, convention=convention)
        expected = F.cross_entropy(loss.logits(z), y, reduction="none", label_smoothing=torch_eps)
        torch.testing.assert_close(loss(z, y), expected)
    torch.testing.assert_close(make("Label smoothing", seed, eps=0.0)(z, y), make("SCE", seed)(z, y))


@few
@given(seed=seeds)
def test_one_vs_rest_is_the_binary_cross_entropy_of_torch_summed(seed: int) -> None:
    (z, y), loss = sample(seed), make("OVR", seed)
    expected = F.binary_cross_entropy_with_logits(loss.logits(z), F.one_hot(y, L).to(z.dtype), reduction="none")
    torch.testing.assert_close(loss(z, y), expected.sum(1))


@few
@given(seed=seeds, scale=st.floats(0.5, 30.0), margin=st.floats(0.0, 0.5))
def test_hypersphere_embedding_is_cosface(seed: int, scale: float, margin: float) -> None:
    (z, y), loss = sample(seed), make("HE", seed, scale=scale, margin=margin)
    other = CosFaceLoss(L, D, margin=margin, scale=scale)
    with torch.no_grad():
        other.W.copy_(loss.weight.T)
    torch.testing.assert_close(loss(z, y).mean(), other(z, y))
    torch.testing.assert_close(other.get_logits(z), loss.logits(z))  # no margin in the decision


@few
@given(seed=seeds, stretch=st.floats(1e-3, 1e3))
def test_hypersphere_embedding_sees_directions_only(seed: int, stretch: float) -> None:
    (z, y), loss = sample(seed), make("HE", seed)
    torch.testing.assert_close(loss(stretch * z, y), loss(z, y))
    plain = NormalizedSoftmaxLoss(L, D, temperature=0.1)
    with torch.no_grad():
        plain.W.copy_(loss.weight.T)
    torch.testing.assert_close(make("HE", seed, margin=0.0)(z, y).mean(), plain(z, y))


def test_a_feature_without_direction_has_equal_cosines_and_no_gradient() -> None:
    loss, nothing, y = make("HE", margin=0.0), torch.zeros(L, D), torch.arange(L)
    torch.testing.assert_close(loss(nothing, y).exp(), torch.full((L,), float(L)))
    assert not gradient_of(loss, nothing, y).any()
    assert not gradient_of(make("ETF"), nothing, y).any() and not make("ETF")(nothing, y).any()
    small = 1e-3 * sample(0)[0]
    labels = sample(0)[1]
    torch.testing.assert_close(gradient_of(loss, small, labels), 1e3 * gradient_of(loss, 1e3 * small, labels))


@few
@given(seed=seeds, pull=st.floats(0.0, 2.0), push=st.floats(0.0, 0.1))
def test_prototype_conformity_is_its_parts(seed: int, pull: float, push: float) -> None:
    (z, y), loss = sample(seed), make("PC", seed, pull=pull, push=push)
    plain = SCE.value(loss, z, y)
    expected = [
        plain[i]
        + pull * (z[i] - loss.centers[y[i]]).square().sum()
        - push * sum((z[i] - loss.rivals[k]).square().sum() for k in range(L) if k != y[i]) / (L - 1)
        for i in range(N)
    ]
    torch.testing.assert_close(loss(z, y), torch.stack(expected))


@few
@given(seed=seeds)
def test_prototype_conformity_without_push_is_center_loss(seed: int) -> None:
    (z, y), loss = sample(seed), make("PC", seed, pull=0.15, push=0.0)
    center = make("Center", weight=0.3)
    with torch.no_grad():
        center.centers.copy_(loss.centers)
        center.linear.weight.copy_(loss.linear.weight)
        center.linear.bias.copy_(loss.linear.bias)
    torch.testing.assert_close(loss(z, y), center(z, y))


@few
@given(seed=seeds, length=st.floats(0.01, 100.0))
def test_dot_regression_grows_with_the_length_and_rests_on_a_ray(seed: int, length: float) -> None:
    (z, y), loss = sample(seed), make("ETF")
    torch.testing.assert_close(loss.centers, simplex_centers(L, D, 1.0, dtype=torch.float64))
    assert max_cosine(loss.centers) == pytest.approx(-1 / (L - 1))
    torch.testing.assert_close(loss(length * z, y), length * loss(z, y))
    torch.testing.assert_close(loss(length * loss.centers[y], y), torch.zeros(N))
    product, norm = (z * loss.centers[y]).sum(1), z.norm(dim=1)
    torch.testing.assert_close(loss(z, y), (product - norm).square() / norm / 2)


def test_dot_regression_with_a_constant_length_pulls_along_its_center() -> None:
    (z, y), loss = sample(0), make("ETF", norm=2.0, constant_length=True)
    torch.testing.assert_close(loss(z, y), make("ETF", norm=2.0)(z, y))
    cosine = F.cosine_similarity(z, loss.centers[y])
    torch.testing.assert_close(gradient_of(loss, z, y), -2.0 * (1 - cosine)[:, None] * loss.centers[y])
    check_finite(loss, torch.zeros(L, D), torch.arange(L))
    assert not loss(torch.zeros(L, D), torch.arange(L)).any()
    torch.testing.assert_close(loss(1e-3 * z, y), 1e-3 * loss(z, y))


#: The sources' settings where they are known, the book's own choice where not; each is documented beside its argument.
DEFAULTS = {
    "Center": {"weight": 0.008, "rate": 0.5},
    "L-GM": {"margin": 0.1, "weight": 0.1},
    "MMLDA": {"precision": 0.5},
    "Elastic MMC": {"radius": 1.0},
    "ETF": {"constant_length": False},
    "GCE": {"alpha": 1 / 3, "divisor": 1.3862943611198906},
    "Label smoothing": {"target": 0.9},
    "Logit-squared": {"target": 3.295836866004329, "rivals": "each"},
    "Mirrored SCE": {"target": 3.295836866004329},
    "HE": {"scale": 10.0, "margin": 0.2},
    "PC": {"pull": 1.0, "push": 1e-4},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_the_documented_ones(name: str) -> None:
    loss = make(name)
    assert {key: getattr(loss, key) for key in DEFAULTS[name]} == pytest.approx(DEFAULTS[name])


@pytest.mark.parametrize("name", LOSSES)
def test_the_fewest_classes_and_dimensions(name: str) -> None:
    for num_classes, dim in ((2, 1), (3, 2)):
        if (name, num_classes) == ("GCE", 2):
            continue
        loss = build(name, num_classes, dim)
        check_finite(loss, torch.randn(5, dim, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 2)


@few
@given(seed=seeds, alpha=st.floats(0.05, 2.0))
def test_guided_complement_entropy_is_never_positive_and_its_guide_fades(seed: int, alpha: float) -> None:
    (z, y), loss = sample(seed, 1.0), make("GCE", seed, alpha=alpha)
    p = loss.logits(z).softmax(1)
    wrong = p.clone()
    wrong[range(N), y] = 0
    wrong /= wrong.sum(1, keepdim=True)
    entropy = torch.special.entr(wrong).sum(1)
    torch.testing.assert_close(loss(z, y), -(p[range(N), y] ** alpha) * entropy / torch.tensor(L).log())
    unguided = make("GCE", seed, alpha=1e-9, scale="others")(z, y)
    torch.testing.assert_close(unguided, -entropy / torch.tensor(L - 1.0).log(), atol=1e-6, rtol=1e-6)
    assert (loss(z, y) <= 0).all() and (make("GCE", seed, scale="others")(z, y) >= -1).all()


@few
@given(seed=seeds, target=st.floats(-2.0, 8.0))
def test_logit_squared_rests_at_its_margin(seed: int, target: float) -> None:
    for rivals in ("each", "runner-up"):
        loss = make("Logit-squared", target=target, rivals=rivals)
        with torch.no_grad():
            loss.linear.weight.copy_(torch.eye(L, D))
            loss.linear.bias.zero_()
        y = torch.arange(L)
        at_rest = target * torch.eye(L, D)
        torch.testing.assert_close(loss(at_rest, y), torch.zeros(L))
        assert gradient_of(loss, at_rest, y).abs().max() < 1e-9
    two = [LogitSquared(2, D, target, rivals) for rivals in ("each", "runner-up")]
    two[1].load_state_dict(two[0].state_dict())
    (z, _), y = sample(seed), torch.arange(N) % 2
    torch.testing.assert_close(two[0](z, y), two[1](z, y))
    gap = two[0].logits(z)
    torch.testing.assert_close(two[0](z, y), (gap[range(N), y] - gap[range(N), 1 - y] - target).square())


@few
@given(seed=seeds, target=st.floats(0.1, 12.0))
def test_mirrored_sce_is_the_same_on_both_sides_of_its_margin(seed: int, target: float) -> None:
    loss, y = make("Mirrored SCE", target=target), torch.arange(L)
    with torch.no_grad():
        loss.linear.weight.copy_(torch.eye(L, D))
        loss.linear.bias.zero_()
    at_rest = target * torch.eye(L, D)
    away = sample(seed)[0][:L]
    away[y, y] = 0  # the own logit stays, so the margins move by what the others lose
    torch.testing.assert_close(loss(at_rest + away, y), loss(at_rest - away, y))
    assert gradient_of(loss, at_rest, y).abs().max() < 1e-12
    assert (loss(at_rest + away, y) > loss(at_rest, y)).all()
    torch.testing.assert_close(loss(at_rest, y), 2 * SCE.value(loss, at_rest, y))


@few
@given(seed=seeds)
def test_mirrored_sce_becomes_sce_as_its_margin_goes(seed: int) -> None:
    (z, y), plain = sample(seed), make("SCE", seed)
    expected, slope = plain(z, y), gradient_of(plain, z, y)
    for target, close in ((20.0, 1e-6), (200.0, 0.0), (float("inf"), 0.0)):
        loss = make("Mirrored SCE", seed, target=target)
        torch.testing.assert_close(loss(z, y), expected, rtol=close, atol=close)
        torch.testing.assert_close(gradient_of(loss, z, y), slope, rtol=close, atol=close)


def test_logit_squared_and_label_smoothing_ask_for_one_margin() -> None:
    margin = theory.smoothing_margin(theory.share_others(sp.Rational(1, 10)), sp.Integer(L))
    assert make("Logit-squared").target == make("Mirrored SCE").target == pytest.approx(float(margin))
    smooth = make("Label smoothing")
    with torch.no_grad():
        smooth.linear.weight.copy_(torch.eye(L, D))
        smooth.linear.bias.zero_()
    assert gradient_of(smooth, float(margin) * torch.eye(L, D), torch.arange(L)).abs().max() < 1e-12


def by_theory(loss: losses.Loss, z: torch.Tensor, label: int) -> sp.Expr:
    """The value of one feature by the formula of mmc.theory, from the few numbers it sees."""

    def split(scores: torch.Tensor) -> tuple[sp.Expr, list[sp.Expr]]:
        rest = scores.tolist()
        return sp.Float(rest.pop(label)), [sp.Float(entry) for entry in rest]

    own, rest = split(loss.logits(z[None])[0].detach())
    near, far = split((z - loss.centers).square().sum(1).detach()) if hasattr(loss, "centers") else (None, [])
    match loss:
        case ElasticMMC():
            return centers.elastic_loss(sp.sqrt(near), loss.radius)
        case ETF():
            cosine = own / z.norm().item()
            return theory.dot_regression(z.norm().item(), cosine)
        case MMLDA():
            rivals = [theory.distance_logit(entry, loss.precision) for entry in far]
            return theory.cross_entropy(theory.distance_logit(near, loss.precision), rivals)
        case MMC():
            return theory.mmc(sp.sqrt(near))
        case LGM():
            return theory.lgm(near, far, loss.margin, loss.weight)
        case CenterLoss():
            return theory.center(own, rest, near, loss.weight)
        case PC():
            _, rivals = split((z - loss.rivals).square().sum(1).detach())
            return theory.prototype_conformity(theory.cross_entropy(own, rest), near, rivals, loss.pull, loss.push)
        case HE():
            cosines = [entry / loss.scale for entry in rest]
            return theory.hypersphere(own / loss.scale, cosines, loss.scale, loss.margin)
        case LabelSmoothing():
            return theory.smoothed(own, rest, loss.target)
        case GCE():
            return theory.guided_complement(own, rest, loss.alpha, round(2.718281828459045**loss.divisor))
        case losses.OVR():
            return theory.one_vs_rest(own, rest)
        case LogitSquared(rivals="each"):
            return theory.logit_squared(own, rest, loss.target)
        case LogitSquared():
            return theory.logit_squared(own, [max(rest)], loss.target)
        case MirroredSCE():
            return theory.mirrored(own, rest, sp.oo if loss.target == float("inf") else loss.target)
        case SCE() | GSCE():
            return theory.cross_entropy(own, rest)
    raise AssertionError(f"no formula for {loss}")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "L-GM, learned variance"])
def test_every_loss_is_its_formula(kind: str) -> None:
    loss, (z, y) = make_kind(kind), sample(8, 1.0)
    for feature, label in zip(z[:4], y[:4].tolist(), strict=True):
        expected = float(sp.N(by_theory(loss, feature, label)))
        assert loss(feature[None], torch.tensor([label])).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


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
        (lambda: MMLDA(L, D, precision=0.0), "precision must be > 0, not 0.0"),
        (lambda: MMCHier(L, D, [0, 1]), "each of 4 classes, got 2"),
        (lambda: MMCHier(1, D), "groups must hold every number"),
        (lambda: MMCHier(L, 1), "need feature_dim >= 2, got 1"),
        (lambda: LabelSmoothing(L, D, eps=1.0), r"eps must be in \[0, 1\), not 1.0"),
        (lambda: LabelSmoothing(L, D, convention="torch"), "others, all, not 'torch'"),
        (lambda: HE(L, D, scale=0.0), "scale must be > 0"),
        (lambda: HE(L, D, margin=-0.1), "margin >= 0"),
        (lambda: PC(L, D, push=-1.0), "pull and push must be >= 0"),
        (lambda: GCE(2, D), "num_classes >= 3, not 2"),
        (lambda: GCE(L, D, alpha=0.0), "alpha must be > 0"),
        (lambda: GCE(L, D, scale="K"), "all, others, not 'K'"),
        (lambda: ETF(L, 2), "needs feature_dim >= 3, got 2"),
        (lambda: LogitSquared(L, D, rivals="all"), "each, runner-up, not 'all'"),
        (lambda: LogitSquared(L, D, target=float("inf")), "target must be finite"),
        (lambda: MirroredSCE(L, D, target=0.0), "target must be > 0, not 0.0"),
        (lambda: MirroredSCE(L, D, target=float("nan")), "target must be > 0, not nan"),
        (lambda: MMLDA(L, D)(torch.zeros(3, D + 1), torch.zeros(3).long()), r"shape \(N, 6\), not \(3, 7\)"),
        (lambda: MMC(L, D)(torch.zeros(3, D), torch.zeros(2).long()), "one per feature"),
    ],
)
def test_bad_input_is_refused_by_name(act: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()
