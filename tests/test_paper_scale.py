"""Claims at the paper's scale: open with the exact record that is missing, and settled once the records are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mmc import catalogue, claims, lab
from mmc.attacks.presets import PRESETS
from mmc.attacks.verdicts import Attacked, Verdicts
from mmc.catalogue import printed
from mmc.claims import paper_scale
from mmc.lab import Record, Spec

OPEN = [c for c in claims.ledger().values() if c.missing and c.missing.startswith("The records")]


@pytest.mark.parametrize("entry", OPEN, ids=lambda entry: entry.name)
def test_an_open_claim_names_records_that_are_missing_and_commands_that_make_them(entry: claims.Claim) -> None:
    places = re.findall(r"`([a-z-]+/gpu/[^`]+)` \(seeds ([0-9, ]+)\)", entry.missing)
    commands = re.findall(r"`mmc sweep ([a-z-]+) --scale gpu`", entry.missing)
    assert places and set(commands) == {place.split("/")[0] for place, _ in places}
    made = {job.spec.place: job.seeds for name in commands for job in catalogue.jobs(name, "gpu")}
    for place, seeds in places:
        assert not (lab.folder() / f"{place}.json").exists()
        assert made[place] == tuple(map(int, seeds.split(", ")))


def record(spec: Spec, column: str, stands: str, distances: list[float] | None = None, seeds: int = 1) -> Record:
    """A record in which a printed column's attack left these images."""
    slug = printed.slug(column, spec.loss)
    mask = torch.tensor([mark == "1" for mark in stands])
    away = None if distances is None else torch.tensor(distances, dtype=torch.float64)
    verdicts = Verdicts(
        torch.ones(len(mask), dtype=torch.bool), {slug: Attacked(PRESETS[slug], "x", mask, away)}, {}, 0
    )
    runs = ({"seed": seed, "values": {"clean": 1.0, "suite": verdicts.to_json()}, "made": {}} for seed in range(seeds))
    return Record(spec, {}, tuple(runs))


MMC, SCE = (paper_scale.needed("white-box", f"cifar10-resnet32-{loss}")[0].spec for loss in ("mmc", "sce"))


@pytest.mark.parametrize(
    ("first", "second", "more"),
    [("1" * 40 + "0" * 10, "0" * 50, True), ("0" * 50, "1" * 50, False), ("1" + "0" * 49, "0" * 50, False)],
)
def test_a_loss_keeps_more_only_beyond_the_interval(first: str, second: str, more: bool) -> None:
    found = [record(MMC, "pgd50_un_8", first, seeds=2), record(SCE, "pgd50_un_8", second)]
    finding = paper_scale.keeps_more("pgd50_un_8", found)
    assert finding.printed == more and "`pgd50_un_8`" in finding.evidence and "SCE" in finding.evidence


def test_distances_are_compared_by_image_and_what_was_never_found_counts_as_the_farthest() -> None:
    far = record(MMC, "cw_un_l2", "01", [0.5, float("inf")])
    near = record(SCE, "cw_un_l2", "00", [0.2, 0.3])
    assert paper_scale.per_image(far, "cw_un_l2").tolist() == [0.5, 0.5]
    assert paper_scale.keeps_more("cw_un_l2", [far, near]).printed
    assert not paper_scale.keeps_more("cw_un_l2", [near, far]).printed


def test_a_claim_is_settled_once_its_records_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_REGISTRY", {})
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    jobs = paper_scale.needed("white-box", "cifar10-resnet32-mmc", "cifar10-resnet32-sce")
    told = {"check": paper_scale.more_under("pgd50_un_8"), "besides": "And more."}
    paper_scale._waiting("first", "a table", "MMC keeps more.", jobs, **told)
    assert claims._REGISTRY["first"].missing.endswith("`mmc sweep white-box --scale gpu`. And more.")
    for job, stands in zip(jobs, ("1" * 50, "0" * 50), strict=True):
        run = record(job.spec, "pgd50_un_8", stands).runs[0] | {"made": {"revision": 9}}
        lab.add(job.spec, {}, run, tmp_path / "locks")
    paper_scale._waiting("second", "a table", "MMC keeps more.", jobs, **told)
    assert claims._REGISTRY["second"].check().verdict == claims.HOLDS
    paper_scale._waiting("third", "a table", "Both have 32 layers.", jobs)
    assert claims._REGISTRY["third"].missing == "A check that reads the records, which are there."


def test_a_record_that_no_queue_makes_is_refused() -> None:
    with pytest.raises(KeyError, match="white-box/gpu/cifar10-vgg-mmc"):
        paper_scale.needed("white-box", "cifar10-vgg-mmc")
