"""The oracles against the theory, dense grids and random search; the harness against attacks that cheat; PGD."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy as sp
import torch
from exact import least_distance, random_piecewise
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_acceptance import (
    Instance,
    check_fixed_radius,
    check_minimum_distance,
    instances,
    lengths,
    piecewise_instances,
)
from torch import nn

from mmc.attacks import OBJECTIVES, cross_entropy, input_gradient, margin, pgd
from mmc.centers import simplex_centers
from mmc.losses import MMC, build
from mmc.models import Classifier, mlp
from mmc.oracle import NORMS, Exact, Oracle, level, random_oracle
from mmc.theory import oracle as theory
from mmc.theory.numeric import numeric

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 10_000)
losses = st.sampled_from(["MMC", "MMLDA", "MMC (rand)", "SCE"])
spreads = st.floats(0.2, 1.9)
in_both_norms = pytest.mark.parametrize("norm", NORMS)


def small(seed: int, dim: int, classes: int, size: float, loss: str, spread: float, **options: object) -> Oracle:
    return random_oracle(seed, dim, classes, classes + 1, size, loss=loss, spread=spread, **{"count": 12} | options)


def least_gap(oracle: Exact, x: torch.Tensor | None = None) -> torch.Tensor:
    """The label's lead over the runner-up, float64."""
    gaps = oracle.gaps(x)
    gaps[range(len(gaps)), oracle.y] = torch.inf
    return gaps.amin(1)


@few
@given(
    seed=seeds,
    dim=st.integers(2, 6),
    classes=st.integers(2, 5),
    size=st.sampled_from([1.0, 10.0, 100.0]),
    loss=losses,
    spread=spreads,
    epsilon=st.floats(0.01, 0.5),
)
def test_distances_and_verdicts_are_those_of_the_theory(seed, dim, classes, size, loss, spread, epsilon):
    oracle = small(seed, dim, classes, size, loss, spread, count=2)
    linear = oracle.exactly.backbone[1]
    jacobian, bias = linear.weight.numpy(), linear.bias.numpy()
    for index, (image, label) in enumerate(zip(oracle.flat.numpy(), oracle.y.tolist(), strict=True)):
        feature, found, gone = sp.Matrix(jacobian @ image + bias), {norm: [] for norm in NORMS}, []
        for rival in set(range(classes)) - {label}:
            if loss == "SCE":
                head = oracle.exactly.loss.linear
                weights, biases = sp.Matrix(head.weight.numpy()), sp.Matrix(head.bias.numpy())
                gap = theory.linear_gap(feature, weights, biases, label, rival)
                normal = sp.Matrix(jacobian).T * (weights.row(rival) - weights.row(label)).T
            else:
                centers = [sp.Matrix(row) for row in oracle.exactly.loss.centers.numpy()]
                gap = theory.center_gap(feature, centers[label], centers[rival])
                normal = theory.pair_normal(sp.Matrix(jacobian), centers[label], centers[rival])
            found["linf"].append(theory.boxed_linf(gap, normal, sp.Matrix(image)))
            found["l2"].append(theory.boxed_l2(gap, normal, sp.Matrix(image)))
            lost = (float(theory.loss_linf(x, w, sp.Float(epsilon))) for x, w in zip(image, normal, strict=True))
            gone.append(sum(lost) >= gap)
        for norm in NORMS:
            exact = float(theory.nearest(found[norm]))
            assert oracle.distances(norm)[index].item() == pytest.approx(exact, rel=1e-7, abs=1e-10)
        assert bool(oracle.robust(epsilon)[index]) == (not any(gone))


@few
@given(seed=seeds, rows=st.integers(1, 5), count=st.integers(1, 6))
def test_level_is_that_of_the_theory(seed, rows, count):
    generator = torch.Generator().manual_seed(seed)
    strength, ceiling = torch.rand(2, rows, count, generator=generator, dtype=torch.float64)
    target = 1.2 * torch.rand(rows, generator=generator, dtype=torch.float64) * (strength * ceiling).sum(1)
    for row, found in enumerate(level(target, strength, ceiling).tolist()):
        pairs = sorted(zip(ceiling[row].tolist(), strength[row].tolist(), strict=True))
        expected = theory.level(target[row].item(), [a for _, a in pairs], [c for c, _ in pairs])
        assert found == pytest.approx(float(expected))


@in_both_norms
@few
@given(seed=seeds, dim=st.sampled_from([2, 5, 40]), classes=st.integers(2, 8), loss=losses, spread=spreads)
def test_the_nearest_image_ties_at_its_distance_inside_all_is_correct_and_outside_something_fools(
    norm, seed, dim, classes, loss, spread
):
    oracle = small(seed, dim, classes, 10.0, loss, spread)
    distances, near = oracle.distances(norm), oracle.nearest(norm)
    reached = distances.isfinite()
    scale = oracle.gaps().abs().max().item()
    assert reached.any() and (distances > 0).all()
    torch.testing.assert_close(lengths(near - oracle.x.double(), norm), torch.where(reached, distances, 0))
    assert (least_gap(oracle, near)[reached].abs() < 1e-9 * scale).all()
    inside = oracle.x.double() + 0.9999 * (near - oracle.x.double())
    assert (least_gap(oracle, inside)[reached] > 0).all()
    beyond, outside = oracle.find(norm, -1e-6 * scale)
    outside, there = outside.view_as(near), reached & beyond.isfinite()
    assert (least_gap(oracle, outside)[there] < 0).all()
    assert (beyond[there] > distances[there]).all() and torch.allclose(beyond[there], distances[there], atol=1e-3)
    assert near.min() >= 0 and near.max() <= 1


def ball(oracle: Exact, radii: torch.Tensor, norm: str, seed: int, draws: int = 400) -> torch.Tensor:
    """Random images in the box within a radius of each image, many of them at the radius: shape (draws, N, n)."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.randn(draws, *oracle.flat.shape, generator=generator, dtype=torch.float64)
    step = step.sign() if norm == "linf" else step / step.norm(dim=2, keepdim=True)
    return (oracle.flat + radii[:, None] * step).clamp(0, 1)


@in_both_norms
@few
@given(seed=seeds, piecewise=st.booleans(), dim=st.integers(2, 5), loss=st.sampled_from(["MMC", "SCE"]))
def test_no_random_image_within_the_distance_fools(norm, seed, piecewise, dim, loss):
    made = random_piecewise(seed, dim, 3, loss=loss, count=8) if piecewise else small(seed, dim, 4, 10.0, loss, 1.0)
    distances = made.distances(norm)
    radii = torch.where(distances.isfinite(), distances, 1)
    for images in (ball(made, 0.999 * radii, norm, seed), ball(made, 0.7 * radii, norm, seed)):
        for draw in images:
            assert (least_gap(made, draw) > 0).all()


def on_a_grid(oracle: Exact, norm: str, steps: int) -> torch.Tensor:
    """The distance to the nearest point of a grid over the unit square that is misclassified."""
    axis = torch.linspace(0, 1, steps, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    labels = oracle.differences(oracle.exactly, grid).argmax(1)
    found = []
    for image, label in zip(oracle.flat, oracle.y, strict=True):
        step = grid[labels != label] - image
        found.append(lengths(step, norm).min() if len(step) else torch.tensor(torch.inf, dtype=torch.float64))
    return torch.stack(found)


@in_both_norms
@pytest.mark.parametrize("kind", ["MMC", "SCE", "piecewise MMC", "piecewise SCE"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_distances_in_the_plane_are_those_of_a_grid(norm, kind, seed):
    loss, steps = kind.split()[-1], 701
    if "piecewise" in kind:
        oracle = random_piecewise(seed, 2, 3, width=7, loss=loss, count=12)
        assert len(oracle.regions) > 4
    else:
        oracle = small(seed, 2, 4, 10.0, loss, 1.5)
    found, exact = on_a_grid(oracle, norm, steps), oracle.distances(norm)
    reached = found.isfinite()
    assert reached.equal(exact.isfinite())
    # The nearest grid point that fools lies beyond the boundary, by a few grid steps where two boundaries meet.
    excess = (found - exact)[reached]
    assert (excess > -1e-12).all() and (excess < 6 / steps).all() and excess.median() < 1.5 / steps


@in_both_norms
@pytest.mark.parametrize(("dim", "loss"), [(2, "MMC"), (4, "SCE"), (6, "MMC")])
def test_the_nearest_image_of_a_network_ties_at_its_distance(norm, dim, loss):
    oracle = random_piecewise(7, dim, 3, loss=loss)
    distances, near = oracle.distances(norm), oracle.nearest(norm)
    reached = distances.isfinite()
    assert reached.float().mean() > 0.8
    assert (least_gap(oracle, near)[reached].abs() < 1e-9 * least_gap(oracle).max()).all()
    torch.testing.assert_close(lengths(near - oracle.x.double(), norm)[reached], distances[reached])
    _, outside = oracle.find(norm, -1e-4)
    assert (least_gap(oracle, outside.view_as(near))[reached] < 0).all()


def test_least_distance_by_hand():
    np.testing.assert_allclose(least_distance(np.array([[3.0, 4.0]]), np.array([10.0])), [1.2, 1.6])
    corner = least_distance(np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]), np.array([1.0, 4.0, -1.0]))
    np.testing.assert_allclose(corner, [1, 2])
    assert least_distance(np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])) is None
    assert least_distance(np.array([[0.0]]), np.array([1.0])) is None


@in_both_norms
@few
@given(seed=seeds, dim=st.sampled_from([3, 30]), loss=losses, spread=spreads, share=st.sampled_from([0.3, 0.5, 0.8]))
def test_the_perfect_attack_finds_the_exact_verdict(norm, seed, dim, loss, spread, share):
    """The worst image in a ball is found on another way than the distance, and the two agree."""
    oracle = small(seed, dim, 5, 10.0, loss, spread, count=20)
    for epsilon in (oracle.radius(share, norm), 0.3, 2.0):
        assert (least_gap(oracle, oracle.worst(epsilon, norm)) > 0).equal(oracle.robust(epsilon, norm))
        assert lengths(oracle.worst(epsilon, norm) - oracle.x, norm).max() < epsilon + 1e-6
    assert oracle.robust_accuracy(oracle.radius(share, norm), norm) == pytest.approx(share)


def test_where_the_box_is_far_the_dual_norm_alone_decides():
    oracle = random_oracle(0, dim=16, spread=0.05)
    weight, _ = oracle.affine
    gaps = oracle.gaps()
    for norm, p in (("linf", 1), ("l2", 2)):
        slopes = torch.linalg.vector_norm(weight[None] - weight[oracle.y][:, None], ord=p, dim=2)
        expected = torch.where(slopes > 0, gaps / slopes, torch.inf).amin(1)
        torch.testing.assert_close(oracle.distances(norm), expected)


def test_cross_entropy_is_blind_beyond_the_blind_distance():
    oracle = random_oracle(0, 16, 2, 2, loss="SCE", reach=2.0)
    weight, _ = oracle.affine
    slope = torch.linalg.vector_norm(weight[1] - weight[0]).item()
    blind = float(numeric(theory.blind_distance)(slope, 150))
    share = (oracle.gaps().abs().amax(1) / slope)[:, None] / blind  # without the box, as shares of that distance
    zero = (input_gradient(cross_entropy, oracle.model, oracle.x, oracle.y).flatten(1) == 0).all(1, keepdim=True)
    assert zero[share > 1].all() and (share > 1).any()
    assert not zero[share < 0.9].any() and (share < 0.9).any()


@few
@given(seed=seeds, share=st.sampled_from([0.2, 0.3, 0.75]), epsilon=st.floats(0.001, 0.08), loss=losses)
def test_a_random_oracle_has_the_robust_accuracy_asked_for(seed, share, epsilon, loss):
    oracle = random_oracle(seed, 36, 4, 5, loss=loss, count=40, epsilon=epsilon, robust_accuracy=share)
    assert oracle.robust_accuracy(epsilon) == pytest.approx(share)
    assert oracle.radius(share) == pytest.approx(epsilon, rel=1e-3)
    assert (oracle.model(oracle.x).argmax(1) == oracle.y).all()
    assert oracle.x.shape == (40, 1, 6, 6) and oracle.x.dtype == torch.float32


@in_both_norms
def test_a_random_oracle_has_the_median_distance_asked_for(norm):
    oracle = random_oracle(1, 16, count=41, median_distance=0.07, threat=norm)
    assert oracle.distances(norm).median().item() == pytest.approx(0.07, rel=0.2)
    assert oracle.robust_accuracy(0.07, norm) == pytest.approx(0.5, abs=0.03)


def test_a_random_oracle_is_reproducible_and_its_options_do_what_they_say():
    first, again, other = (random_oracle(seed, 12) for seed in (3, 3, 4))
    assert first.x.equal(again.x) and first.affine[0].equal(again.affine[0]) and not first.x.equal(other.x)
    near, far = (random_oracle(3, 12, reach=reach) for reach in (0.1, 10.0))
    torch.testing.assert_close(near.distances_l2(), far.distances_l2(), rtol=1e-4, atol=1e-5)
    for oracle, expected in ((near, 1.0), (far, 100.0)):
        assert oracle.model.features(oracle.x).norm(dim=1).median().item() == pytest.approx(expected, rel=1e-4)
    mixed = random_oracle(3, 12, correct_share=0.75)
    wrong = mixed.model(mixed.x).argmax(1) != mixed.y
    assert wrong.float().mean() == 0.25
    for norm in NORMS:
        assert (mixed.distances(norm) == 0).equal(wrong)
        assert not (mixed.robust(0.0, norm) & wrong).any()
    double = random_oracle(3, 12, dtype=torch.float64)
    assert double.model(double.x).dtype == torch.float64 and double.rounding < 1e-9
    assert random_oracle(3, 12, spread=1.9).distances_l2().median() > first.distances_l2().median()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.9}, r"epsilon must lie in \(0, 0\.\d+\] for this model, not 0\.9"),
        ({"epsilon": 0.1, "median_distance": 0.1}, "give one of the two"),
        ({"epsilon": 0.01, "robust_accuracy": 1.0}, "is 0 or 1"),
        ({"loss": "HE"}, "'HE'"),
        ({"loss": "nothing"}, "no loss 'nothing'"),
        ({"threat": "l1"}, "no norm 'l1'; there are: linf, l2"),
        ({"loss": "MMC (rand)", "feature_dim": 1}, "share a center"),
        ({"spread": 2.0}, "spread must lie between 0 and 2"),
    ],
)
def test_what_cannot_be_made_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        random_oracle(0, **options)


def test_any_affine_model_is_an_oracle_and_no_other_is():
    torch.manual_seed(0)
    x, y = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    linear = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    oracle = Oracle(linear, x, y)
    torch.testing.assert_close(
        oracle.affine[0] - oracle.affine[0][:1], (linear[1].weight - linear[1].weight[:1]).double()
    )
    unequal = MMC(3, 4, centers=simplex_centers(3, 4) * torch.tensor([[1.0], [2.0], [3.0]]))
    oracle = Oracle(Classifier(linear[:1].append(nn.Linear(4, 4)), unequal).eval(), x, y)
    flat = torch.rand(5, 4, dtype=torch.float64)
    torch.testing.assert_close(
        oracle.differences(oracle.exactly, flat),
        flat @ oracle.affine[0].T + oracle.affine[1],
    )
    for model in (
        Classifier(mlp((1, 2, 2), 6, width=5), build("MMC", 3, 6)).eval(),
        Classifier(nn.Flatten(), build("HE", 3, 4)).eval(),
        random_piecewise(0, 4).model,
    ):
        with pytest.raises(ValueError, match="not affine"):
            Oracle(model, x, y)


def test_where_nothing_fools_the_distance_is_infinite():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval().requires_grad_(False)
    model[1].load_state_dict({"weight": torch.zeros(3, 4), "bias": torch.tensor([1.0, 0.0, 0.0])})
    model[1].weight[1, 0] = 0.5
    oracle = Oracle(model, torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1]))
    for norm in NORMS:
        assert oracle.distances(norm).tolist() == [float("inf"), 0.0]
        assert oracle.robust_accuracy(1e9, norm) == 0.5
        assert oracle.nearest(norm).equal(oracle.x.double())
        with pytest.raises(ValueError, match="no radius"):
            oracle.radius(0.5, norm)
        assert oracle.worst(1.0, norm)[0, 0, 0, 0].item() == 1
    assert check_minimum_distance(idle, Instance(oracle, 1.0), "l2").tolist() == [1.0]


# The harness, and the attack that is there.


def test_instances_are_varied_and_stay_the_same():
    found = list(instances(15))
    sizes, classes = {i.oracle.x[0].numel() for i in found}, {i.oracle.model.loss.num_classes for i in found}
    assert {8, 784} <= sizes and {2, 20} <= classes and len({type(i.oracle.model.loss) for i in found}) == 4
    for instance, again in zip(found, instances(15), strict=True):
        assert instance is again
        assert 0 < instance.oracle.robust_accuracy(instance.epsilon) < 1
    radii = [instance.epsilon for instance in found]
    assert min(radii) < 0.01 and max(radii) > 0.1
    assert next(instances(1, seed=1)).epsilon != found[0].epsilon


@in_both_norms
def test_the_perfect_attacks_pass_with_full_marks(norm):
    for instance in itertools.chain(instances(5, 0, norm), piecewise_instances(3, 0, norm)):
        oracle = instance.oracle

        def closest(model, x, y, oracle=oracle):
            """Just so far beyond the boundary that rounding does not undo it."""
            return oracle.find(norm, -oracle.rounding)[1].view(x.shape).to(x)

        def within(model, x, y, epsilon, oracle=oracle):
            fell = ~oracle.robust(epsilon, norm)
            return torch.where(fell[:, None, None, None], closest(model, x, y, oracle), x)

        reported, exact = check_fixed_radius(within, instance, norm)
        assert reported == exact
        if isinstance(oracle, Oracle):
            perfect = check_fixed_radius(lambda m, x, y, epsilon, o=oracle: o.worst(epsilon, norm), instance, norm)
            assert perfect == (exact, exact)
        ratios = check_minimum_distance(closest, instance, norm)
        assert len(ratios) and (ratios >= 1 - 1e-4).all() and ratios.median() < 1.001


def idle(model, x, y, epsilon=0.0):
    return x


@pytest.mark.parametrize("build_instances", [instances, piecewise_instances])
def test_an_idle_attack_gets_no_marks(build_instances):
    instance = next(build_instances(1))
    assert check_fixed_radius(idle, instance)[0] == 1
    assert check_minimum_distance(idle, instance).isinf().all()


CHEATS = {
    "its radius": (lambda m, x, y, epsilon: (x + 1.01 * epsilon).clamp(0, 1), "from its original"),
    "the box": (lambda m, x, y, epsilon: x + epsilon, "left the box"),
    "numbers": (lambda m, x, y, epsilon: x * torch.nan, "left the box"),
    "the type": (lambda m, x, y, epsilon: x.double(), "another shape or type"),
    "the shape": (lambda m, x, y, epsilon: x[:1], "another shape or type"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_an_attack_that_leaves_what_it_must_keep_is_caught(name):
    attack, message = CHEATS[name]
    model, x, y = (oracle := next(instances(1)).oracle).model, oracle.x.clone(), oracle.y
    x[0, 0, 0, 0] = 1
    instance = Instance(Oracle(model, x, y), 0.1)
    with pytest.raises(AssertionError, match=message):
        check_fixed_radius(attack, instance)


@in_both_norms
def test_an_oracle_whose_distances_are_too_large_is_caught(norm):
    """The harness measures: were the truth wrong by one percent, the perfect attacks would expose it."""

    class Inflated(Oracle):
        def find(self, norm, slack=0.0):
            distances, images = super().find(norm, slack)
            return 1.01 * distances, images

    true = random_oracle(5, 16, 4, 5, count=40)
    epsilon = true.distances(norm).sort().values[20].item() * 1.005
    wrong = Inflated(true.model, true.x, true.y)
    closest = true.find(norm, -true.rounding)[1].view_as(true.x).float()
    with pytest.raises(AssertionError, match="exactly robust"):
        check_fixed_radius(lambda m, x, y, epsilon: true.worst(epsilon, norm), Instance(wrong, epsilon), norm)
    with pytest.raises(AssertionError, match="less than their exact distance"):
        check_minimum_distance(lambda m, x, y: closest, Instance(wrong, epsilon), norm)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "own center"])
def test_pgd_never_reports_less_than_the_truth(name):
    for instance in itertools.chain(instances(5), piecewise_instances(3)):
        check_fixed_radius(pgd, instance, objective=OBJECTIVES[name], steps=20)


def test_margin_pgd_finds_the_truth_of_two_classes():
    """With two classes the margin is affine: sign steps end in the worst corner."""
    for seed in range(3):
        oracle = random_oracle(seed, 32, 2, 3, count=40)
        instance = Instance(oracle, oracle.radius(0.3))
        reported, exact = check_fixed_radius(pgd, instance, objective=margin, steps=20)
        assert reported == exact == pytest.approx(0.3)
