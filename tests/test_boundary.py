"""Distances and crossings: against oracles and planes where they are known, and as records keep them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc import boundary, catalogue, experiments, lab, networks, oracle, plane
from mmc.attacks import correct, margin
from mmc.catalogue.boundary import DIAL, LOSSES, digits, specs
from mmc.claims import boundary as recorded
from mmc.data import Split
from mmc.networks import training_part

torch.set_num_threads(1)


def first_tie(exact: oracle.Oracle, ends: torch.Tensor) -> torch.Tensor:
    """The share of each way at which another class draws level, solved by hand from the affine gaps."""
    gaps, far = exact.gaps(), exact.gaps(ends)
    rivals = (torch.arange(gaps.shape[1]) != exact.y[:, None]) & (far < 0)
    return torch.where(rivals, gaps / (gaps - far), torch.inf).amin(1).clamp_max(1)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["SCE", "MMC"]), st.integers(2, 5))
def test_crossings_of_affine_models_are_exact(seed, loss, num_classes):
    exact = oracle.random_oracle(seed, num_classes=num_classes, loss=loss, count=24, correct_share=0.8, reach=0.3)
    ends = exact.x[boundary.nearest_of_another_class(exact.x, exact.y)]
    found = boundary.crossings(exact.model, exact.x, exact.y, ends).double()
    wrong = ~correct(exact.model, exact.x, exact.y)
    assert (found[wrong] == 0).all()
    assert (found[~wrong] - first_tie(exact, ends)[~wrong]).abs().max() < 2e-3
    # Affine differences: once left, a class never comes back, so a step short of the crossing is still right.
    short = torch.lerp(exact.x, ends, (found.float() - 2e-3).clamp_min(0)[:, None, None, None])
    assert correct(exact.model, short, exact.y)[~wrong].all()


@pytest.mark.parametrize("loss", ["SCE", "MMC"])
def test_distances_are_those_of_the_oracle(loss):
    exact = oracle.random_oracle(3, loss=loss, count=20, correct_share=0.9, reach=0.3)
    found, truth = boundary.nearest_found(exact.model, exact.x, exact.y), exact.distances("l2")
    for name, away in found.items():
        assert (away[truth == 0] == 0).all()
        ratio = away[truth > 0].double() / truth[truth > 0]
        assert ratio.min() > 0.999, f"{name} is nearer than the nearest"
        assert ratio.median() < 1.05
    both = torch.stack(list(found.values())).amin(0)[truth > 0].double() / truth[truth > 0]
    assert both.max() < 1.1


def test_every_image_falls_within_its_own_exact_distance_and_none_within_less():
    """A perfect attacker's shares, on models whose margin is affine: everything is felled, and nothing too early."""
    exact = oracle.random_oracle(5, num_classes=2, loss="SCE", count=24, reach=0.3)
    truth = exact.distances("l2")
    assert boundary.felled(exact.model, exact.x, exact.y, truth)["margin"] == 1
    assert set(boundary.felled(exact.model, exact.x, exact.y, truth / 2).values()) == {0.0}
    nowhere = torch.full_like(truth, torch.inf)
    assert set(boundary.felled(exact.model, exact.x, exact.y, nowhere).values()) == {None}


@pytest.mark.parametrize("loss", ["SCE", "Mirrored SCE", "Logit-squared"])
def test_the_training_loss_leads_inward_exactly_beyond_its_stationary_margin(loss):
    """Two classes: the loss is a function of one margin, so the sign of its slope decides."""
    x, y = plane.moons(20, seed=1)
    [model] = plane.follow(loss, x, y, (150,), seed=1).values()
    model, x = model.float(), x.float()
    right = correct(model, x, y)
    target = getattr(model.loss, "target", np.inf)
    beyond = (-margin(model, x, y)[right] > target).float().mean().item()
    found = boundary.outward(model, x, y)
    assert found["inward"] == pytest.approx(beyond, abs=1e-5) and found["zero"] == 0
    assert (found["inward"] == 0) == (loss == "SCE")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_images_are_taken_class_by_class_and_partners_are_of_another_class(seed, count):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (30,), generator=generator)
    split = Split(torch.rand(30, 1, 2, 2, generator=generator), y)
    some = boundary.some_of_each(split, count, 3)
    assert some.y.tolist() == sorted(some.y.tolist())
    assert torch.bincount(some.y, minlength=3).tolist() == [min(count, int((y == k).sum())) for k in range(3)]
    if len(some.y.unique()) > 1:
        toward = boundary.nearest_of_another_class(some.x, some.y)
        assert (some.y[toward] != some.y).all()
        flat = some.x.flatten(1)
        for i, j in enumerate(toward.tolist()):
            foes = flat[some.y != some.y[i]]
            assert (flat[i] - flat[j]).norm() <= (flat[i] - foes).norm(dim=1).min() + 1e-6


def test_one_class_alone_has_no_way_to_another():
    with pytest.raises(ValueError, match="two classes at least"):
        boundary.nearest_of_another_class(torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64))


def test_a_factor_on_the_logits_moves_nothing():
    x, y = plane.moons(20, seed=2)
    [model] = plane.follow("SCE", x, y, (100,), seed=2).values()
    ends = x[boundary.nearest_of_another_class(x, y)]
    before = boundary.crossings(model, x, y, ends)
    with torch.no_grad():
        for parameter in model.loss.parameters():
            parameter.mul_(8.0)  # a power of two: the same bits
    assert boundary.crossings(model, x, y, ends).equal(before)
    assert ((before > 0) & (before < 1)).any()


def test_a_smoke_spec_from_end_to_end(tmp_path, monkeypatch):
    """Trained, measured, written, read: what the record holds is what its network has."""
    monkeypatch.setenv("MMC_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("MMC_RUNS", str(tmp_path / "runs"))
    spec = digits().with_changes(loss="Mirrored SCE", epochs=3, epsilons=(), per_class=3)
    record = experiments.record(spec)
    assert lab.read(lab.path(spec)) == record
    found = record.runs[0]["values"]["boundary"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    model = networks.opened(spec, 0, networks.net_folder(spec, 0) / "weights.safetensors")
    data = networks.dataset("digits")
    some = boundary.some_of_each(data.test, 3, 10)
    for k in range(10):
        chosen = data.test[data.test.y == k]
        share = correct(model, chosen.x, chosen.y).float().mean().item()
        assert found["class accuracy"][k] == pytest.approx(share, abs=1e-6)
    margins = np.concatenate(boundary.by_class(found, "margins"))
    assert np.allclose(margins, -margin(model, some.x, some.y).detach().numpy(), atol=1e-4)
    nearest = np.concatenate(boundary.by_class(found, "nearest"))
    parts = [np.concatenate(boundary.by_class(found, n)) for n in ("carlini-wagner", "auto-pgd", "crossing")]
    assert np.array_equal(nearest, np.minimum.reduce(parts))
    assert ((nearest == 0) == (margins <= 0)).all()
    assert [len(v) for v in boundary.by_class(found, "crossings", "train")] == [3] * 10


def test_the_catalogue_shares_networks_and_dials_one_family():
    for scale in lab.SCALES:
        jobs = catalogue.jobs("boundary", scale)
        assert {job.spec.loss for job in jobs} == set(LOSSES)
        assert all(job.spec.evaluation.per_class for job in jobs)
    smoke = specs(digits(), DIAL)
    assert [spec.loss for spec in smoke] == [*LOSSES, *["Mirrored SCE"] * len(DIAL)]
    first = catalogue.FIRST["digits"]
    assert training_part(smoke[0]) == training_part(first), "one network for both experiments"


def test_what_chapter_and_claims_read_is_what_the_files_hold():
    files = sorted((lab.folder() / "boundary" / "laptop").glob("*.json"))
    wanted = {job.spec for job in catalogue.jobs("boundary", "laptop")}
    assert len(recorded.records()) == len(files) == len(wanted), "one record for each spec, each under its own name"
    for (scene, loss), record in recorded.records().items():
        assert record.spec in wanted
        raw = json.loads(lab.path(record.spec).read_text(encoding="utf-8"))
        for row, run in enumerate(raw["runs"]):
            kept = run["values"]["boundary"]
            away = np.array([np.inf if v is None else v for v in kept["test"]["nearest"]])
            labels, crossed = np.array(kept["train"]["labels"]), np.array(kept["train"]["crossings"])
            assert recorded.pooled(scene, loss, "nearest")[row] == np.median(away)
            assert recorded.balanced(scene, loss)[row] == pytest.approx(np.mean(kept["class accuracy"]))
            if max(labels) == 1:
                offset = (crossed[labels == 0].mean() - crossed[labels == 1].mean()) / 2
                assert recorded.offset(scene, loss)[row] == pytest.approx(offset)


@given(st.lists(st.floats(0.1, 0.9), min_size=5, max_size=5))
def test_one_member_below_cross_entropy_is_enough(numbers):
    scene = recorded.scenes(recorded.EVEN)[0]
    by_loss = dict(zip(LOSSES, numbers, strict=True))
    held, said = recorded.beside_plain(lambda where, loss: np.array([by_loss[loss]]), [scene])
    assert len(held) == 4 and f"{sum(held)} of 4" in said
    assert all(held) == (min(numbers[1:]) > numbers[0])


@given(st.floats(-1, 1), st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=5))
def test_a_difference_counts_beyond_the_spread_of_its_seeds_only(gap, noise):
    base = np.arange(len(noise), dtype=float)  # what the seeds share drops out
    worse = base - gap - np.array(noise)
    differences = base - worse
    expected = differences.mean() > np.std(differences, ddof=1)
    assert recorded.beyond_spread(base, worse) == expected
    assert not recorded.beyond_spread(base[:1], worse[:1])
