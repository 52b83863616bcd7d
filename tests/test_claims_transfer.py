"""The claims on white-box and transfer records: what they read is what the records hold, attack by attack."""

from __future__ import annotations

import numpy as np
import pytest

from mmc import lab
from mmc.attacks import WORST
from mmc.attacks.verdicts import Verdicts
from mmc.claims import transfer, white_box


def test_a_network_stands_where_every_carrier_of_every_source_leaves_it() -> None:
    for record in transfer.records().values():
        found = record.runs[0]["values"]["transfer"]
        every = transfer.under(record, None)
        by_source = [transfer.under(record, name) for name in transfer.sources(record)]
        assert np.array_equal(every, np.all(by_source, axis=0))
        assert every.mean() <= min(
            attack["accuracy"] for s in transfer.sources(record).values() for attack in found[s].values()
        )
        assert (every <= np.array([mark == "1" for mark in found["clean"]["correct"]])).all()


def test_targets_are_named_apart_and_sources_are_among_them() -> None:
    records = transfer.records()
    assert {"SCE", "MMC", "MMC, norm 100", "SCE, AT", "MMC, AT"} <= set(records)
    assert set(transfer.sources(records["SCE"])) <= set(records)
    assert transfer.alone(records["MMC, norm 100"]) is None
    own = white_box.standing(white_box.records()["SCE", "standard"], WORST, transfer.RADIUS)[0]
    assert np.array_equal(transfer.alone(records["SCE"]), own)


@pytest.mark.parametrize(
    ("loss", "kind", "slug"), [("MMC", "un", "pgd50-own-center"), ("SCE", "tar", "pgd50-target-ce")]
)
def test_the_papers_attack_follows_the_loss(loss: str, kind: str, slug: str) -> None:
    assert white_box.papers(loss, kind) == slug
    record = white_box.records()[loss, "standard"]
    shares = white_box.standing(record, slug, white_box.PLAIN).mean(1)
    attack = f"{slug}-{white_box.PLAIN:g}"
    kept = [run["values"]["suite"]["attacks"][attack]["accuracy"] for run in record.runs]
    assert shares == pytest.approx(kept)
    worst = [Verdicts.from_json(run["values"]["suite"]).worst["L-inf 0.1"].numpy() for run in record.runs]
    assert np.array_equal(white_box.standing(record, WORST, 0.1), worst)


def test_a_lead_is_signed_and_zero_against_itself() -> None:
    first, second = np.array([[1, 1, 0, 1]]), np.array([[0, 1, 0, 1], [0, 1, 1, 1]])
    assert white_box.lead(first, first) == (0, 0)
    gap, width = white_box.lead(first, second)
    assert gap == pytest.approx(0.125) and white_box.lead(second, first) == pytest.approx((-gap, width))
    assert white_box.points((0.125, 0.05)) == "+12.5 ± 5.0"


def test_without_records_it_says_what_makes_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    for module, command in ((white_box, "white-box"), (transfer, "transfer")):
        with pytest.raises(ValueError, match=f"mmc sweep {command} --scale laptop"):
            module.records()
