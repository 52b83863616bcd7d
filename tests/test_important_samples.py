"""Important samples: the dip against its definition, margins against closed forms, and what the records say twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from mmc import catalogue, claims, experiments, lab
from mmc import overlooked as read
from mmc.attacks.verdicts import mask_of
from mmc.catalogue import important_samples as plan
from mmc.claims import important_samples as told
from mmc.data import Dataset, Split
from mmc.dip import dip, dip_p_value
from mmc.margins import PARTS, margins_of
from mmc.training import RULES

NUMBERS = st.lists(st.integers(-6, 6) | st.floats(-4, 4, allow_subnormal=False).map(lambda v: round(v, 2)), min_size=1)


def distance_with_peak(x: np.ndarray, above: np.ndarray, below: np.ndarray, peak: int) -> float:
    """The least of the largest |F - G| over all G that are convex left of a value, concave right of it, and may jump.

    Unknown are G at the values up to the peak, seen from the left, from it on, from the right, and the distance.
    """
    size, last = len(x) + 2, len(x) - 1
    rows: list[np.ndarray] = []
    bounds: list[float] = []

    def at_most(bound: float, *terms: tuple[int, float]) -> None:
        row = np.zeros(size)
        for place, factor in terms:
            row[place] += factor
        rows.append(row)
        bounds.append(bound)

    for i in range(len(x)):
        left = [below[i]] if i == peak else [below[i], above[i]] if i < peak else []
        right = [above[i]] if i == peak else [below[i], above[i]] if i > peak else []
        for place, heights in ((i, left), (i + 1, right)):
            for height in heights:
                at_most(height, (place, 1), (-1, -1))
                at_most(-height, (place, -1), (-1, -1))
    at_most(0, (peak, 1), (peak + 1, -1))
    for shift, side, sign in ((0, range(peak + 1), 1), (1, range(peak, last + 1), -1)):
        for i, j in itertools.pairwise(side):
            at_most(0, (shift + i, 1), (shift + j, -1))
        for i, j, k in zip(side, side[1:], side[2:], strict=False):
            one, two = 1 / (x[j] - x[i]), 1 / (x[k] - x[j])
            at_most(0, (shift + j, sign * (one + two)), (shift + i, -sign * one), (shift + k, -sign * two))
    found = linprog(np.eye(size)[-1], np.array(rows), bounds, bounds=[(0, 1)] * size)
    return found.fun if found.status == 0 else 1.0


def dip_by_definition(sample: list[float]) -> float:
    """The dip as a linear program for each place of the peak."""
    x, counts = np.unique(sample, return_counts=True)
    above = np.cumsum(counts) / len(sample)
    return min(distance_with_peak(x, above, above - counts / len(sample), peak) for peak in range(len(x)))


@settings(max_examples=25, deadline=None)
@given(NUMBERS.filter(lambda values: len(values) <= 9))
def test_dip_is_what_its_definition_says(sample: list[float]) -> None:
    assert dip(sample) == pytest.approx(dip_by_definition(sample), abs=1e-7)


@settings(max_examples=50, deadline=None)
@given(NUMBERS, st.integers(-5, 5), st.sampled_from([-4.0, -0.5, 0.25, 2.0]))
def test_dip_does_not_know_units(sample: list[float], shift: int, factor: float) -> None:
    found = dip(sample)
    assert 0 <= found <= 0.25 + 1e-12
    assert dip(np.array(sample) * factor) == pytest.approx(found, abs=1e-9)
    assert dip(np.round(sample, 2) + shift) == pytest.approx(found, abs=1e-9)
    assert dip(sample * 3) == pytest.approx(found, abs=1e-9), "a sample thrice is the same distribution"


@given(st.integers(1, 40), st.integers(1, 40))
def test_two_heaps_dip_by_half_the_smaller(one: int, other: int) -> None:
    assert dip([0.0] * one + [1.0] * other) == pytest.approx(min(one, other) / (one + other) / 2)


@pytest.mark.parametrize(("apart", "two_peaks"), [(0.0, False), (1.0, False), (2.0, False), (5.0, True), (8.0, True)])
def test_the_test_tells_mixtures_of_normals_apart(apart: float, two_peaks: bool) -> None:
    """Two normals of equal weight and deviation 1 make two peaks exactly if their means are more than 2 apart."""
    rng = np.random.default_rng(3)
    sample = rng.normal(size=300) + apart * rng.integers(0, 2, 300)
    assert (dip_p_value(sample, draws=99) <= 0.02) == two_peaks


def test_a_lone_value_has_no_dip_and_bad_samples_are_refused() -> None:
    assert dip([3.0]) == dip([3.0, 3.0]) == 0
    for bad in ([], [1.0, np.nan], [np.inf]):
        with pytest.raises(ValueError, match="finite"):
            dip(bad)


class Affine(nn.Module):
    """Two logits that are affine in the pixels; the first says nothing."""

    def __init__(self, slopes: torch.Tensor, offset: float) -> None:
        super().__init__()
        self.slopes, self.offset = nn.Parameter(slopes), offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.flatten(1) @ self.slopes + self.offset
        return torch.stack([torch.zeros_like(h), h], 1)


def test_margins_are_those_of_the_closed_form() -> None:
    """One logit gap s.x + b: the worst image in the ball lowers it by epsilon ||s||_1, and its slope is ||s||_1."""
    generator = torch.Generator().manual_seed(0)
    slopes, epsilon = torch.randn(12, generator=generator), 0.07
    pixels = 0.3 + 0.4 * torch.rand(8, 3, 2, 2, generator=generator)
    y = torch.tensor([0, 1] * 4)
    images = Split(pixels, y)
    model = Affine(slopes, 0.1).eval()
    found = margins_of(model, Dataset("two", 2, images, images, images[:5]), 6, epsilon)
    gap = (pixels.flatten(1) @ slopes + 0.1) * (2 * y - 1)
    norm = slopes.abs().sum()
    for part, count in zip(PARTS, (6, 5), strict=True):
        clean, adversarial, slope = (torch.tensor(found[part][k]) for k in ("clean", "adversarial", "slope"))
        torch.testing.assert_close(clean, gap[:count], atol=6e-4, rtol=0)
        torch.testing.assert_close(adversarial, gap[:count] - epsilon * norm, atol=6e-4, rtol=0)
        torch.testing.assert_close(slope, norm.expand(count), atol=6e-4, rtol=0)
    assert model.slopes.requires_grad and model.slopes.grad is None, "the model is left as it was"


def test_every_rule_runs_from_spec_to_record(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv("MMC_RUNS", str(tmp_path / "runs"))
    for job in catalogue.jobs("important-samples", "smoke"):
        assert job.spec.rule == "SOVR" or job.spec in [plan.spec_of("smoke", rule) for rule in plan.RULES]
        if not dict(job.spec.rule_options).get("share"):
            few = {"epochs": 1, "num_attacked": 20, "margins": 30, "suite": ("pgd50-ce-8", "margin-pgd-8")}
            experiments.record(job.spec.with_changes(**few))
    found = read.records("important-samples/smoke/digits-*.json")
    assert set(found) == set(plan.RULES)
    for record in found.values():
        usual, worst = read.stands(record)
        assert len(usual) == 20 and not (worst & ~usual).any()
        assert all(len(read.margins(record, part, kind)) == 30 for part in PARTS for kind in ("adversarial", "slope"))
        assert (read.margins(record, kind="adversarial") <= read.margins(record, kind="clean") + 0.5).mean() > 0.8


@pytest.mark.parametrize(
    ("scale", "data"), [("smoke", "digits"), ("laptop", "mnist"), ("laptop", "cifar10"), ("gpu", "cifar10")]
)
def test_one_recipe_for_all_rules(scale: str, data: str) -> None:
    specs = [job.spec for job in catalogue.jobs("important-samples", scale) if job.spec.dataset == data]
    assert len({spec.place for spec in specs}) == len(specs)
    assert len({(spec.recipe, spec.dataset, spec.backbone, spec.variant, spec.loss) for spec in specs}) == 1
    assert {spec.rule for spec in specs} == set(plan.RULES) <= set(RULES)
    radii = {dict(spec.rule_options)["epsilon"] for spec in specs if spec.rule != "MMA"}
    assert radii == set(specs[0].evaluation.radii), "trained and attacked within one ball"


def recorded() -> list[lab.Record]:
    return [*lab.load(read.PATTERN), *lab.load(read.COLORS)]


def test_the_records_agree_with_themselves() -> None:
    """Margins and verdicts are measured by different code on the same images."""
    for record in recorded():
        for seed in record.seeds:
            run = read.run_of(record, seed)
            suite = run["values"]["suite"]
            right = mask_of(suite["clean"]["correct"], suite["num_examples"]).numpy()
            clean = read.margins(record, "test", "clean", seed)[: len(right)]
            assert ((clean > 0) == right)[np.abs(clean) > 0.001].all()
            usual, worst = read.stands(record, seed)
            climbed = read.margins(record, "test", "adversarial", seed)[: len(right)] > 0
            assert abs(usual.mean() - climbed.mean()) < 0.1, "two climbs of one objective"
            assert not (worst & ~usual).any() and not (usual & ~right).any()
            if read.by_auto(record):
                assert not (worst & ~read.under(record, read.AUTO, seed)).any()


def test_records_are_from_clean_commits_and_of_specs_in_the_catalogue() -> None:
    listed = {job.spec.place: job for job in catalogue.jobs("important-samples", "laptop")}
    for record in recorded():
        assert record.spec == listed[record.spec.place].spec
        assert not [commit for commit in record.made("commit") if "+" in commit or commit == "unknown"]


@pytest.mark.parametrize("claim", ["weighting-falls", "sovr-robust"])
def test_a_claim_on_color_images_is_the_one_on_digits_read_from_other_records(
    claim: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the digits' records in place of the others both say the same; their correction names other rules."""
    for file in (lab.folder() / "important-samples" / "laptop").glob("mnist-*.json"):
        place = tmp_path / "important-samples" / "laptop" / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    monkeypatch.setattr(told, "COLORS", read.PATTERN)
    one, other = (claims.check(name) for name in (f"{claim}-laptop", f"{claim}-colors-laptop"))
    assert one.printed == other.printed and one.evidence == other.evidence
    assert "MNIST" in one.evidence and r"\epsilon = 0.2$" in one.evidence


def test_what_is_not_recorded_on_color_images_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [job for job in catalogue.jobs("important-samples", "laptop") if job.spec.dataset == "cifar10"]
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    said = told.missing(wanted, "The small CNNs")
    assert all(f"`{job.spec.place}`" in said for job in wanted)
    assert {job.spec.rule for job in wanted} == set(plan.RULES)
    assert said.endswith("`mmc sweep important-samples --scale laptop`.")


@given(st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=2).filter(lambda v: len({b for _, b in v}) == 2))
def test_ranked_below_counts_pairs(pairs: list[tuple[float, bool]]) -> None:
    values, chosen = np.array([v for v, _ in pairs]), np.array([b for _, b in pairs])
    wins = [(a < b) + (a == b) / 2 for a in values[chosen] for b in values[~chosen]]
    assert read.ranked_below(values, chosen) == pytest.approx(np.mean(wins))


@given(st.integers(0, 12), st.integers(0, 12))
def test_sign_test_is_fair(wins: int, losses: int) -> None:
    one, other = np.array([1] * wins + [0] * losses + [5]), np.array([0] * wins + [1] * losses + [5])
    assert read.more(one, other) + read.more(other, one) >= 1 - 1e-9
    assert wins <= losses or read.more(one, other) < 0.5 + 0.5**wins
