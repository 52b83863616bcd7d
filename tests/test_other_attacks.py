"""Distances, queries and corruptions: what is read is what the records hold, and from none nothing is read."""

from __future__ import annotations

import numpy as np
import pytest

from mmc import claims, lab
from mmc.claims import other_attacks as measured
from mmc.experiments import outcome

FOUND = {tag: measured.records(tag) for tag in measured.TAGS}
EACH = [(tag, key) for tag, found in FOUND.items() for key in found]


@pytest.mark.parametrize(("tag", "key"), EACH, ids=str)
def test_what_stands_and_how_far_it_was_moved_is_as_recorded(tag: str, key: measured.Key) -> None:
    record = FOUND[tag][key]
    assert (record.spec.loss, record.spec.rule) == key and record.spec.tag == tag
    clean = measured.stands(record, "clean")
    assert len(clean) == record.spec.evaluation.num_attacked
    for name, attack in outcome(record.runs[0]).attacks.items():
        stands = measured.stands(record, name)
        assert not (stands & ~clean).any() and stands.mean() == pytest.approx(attack.correct.float().mean().item())
    if tag == "distances":
        away = measured.away(record)
        assert ((away == 0) == ~clean).all() and (away >= 0).all()
        assert (np.isinf(away) == measured.stands(record, "cw")).all()


@pytest.mark.parametrize(("tag", "key"), EACH, ids=str)
def test_a_network_leads_itself_by_nothing_and_a_lead_turns_with_the_order(tag: str, key: measured.Key) -> None:
    attack = {"corruptions": "noise", "distances": "cw", "spsa": "spsa10-margin"}[tag]
    one, other = FOUND[tag][key], FOUND[tag]["SCE", "standard"]
    assert measured.difference(one, one, attack)[0] == 0
    gap, width = measured.difference(one, other, attack)
    back, same = measured.difference(other, one, attack)
    assert gap == pytest.approx(-back) and width == pytest.approx(same)
    assert measured.beyond((gap, width)) == (gap > width)


def test_what_was_not_run_is_none_and_what_needs_it_says_so() -> None:
    noisy = FOUND["corruptions"]["MMC", "standard"]
    assert measured.stands(noisy, "cw") is None
    with pytest.raises(ValueError, match=r"no distances by cw.*mmc sweep other-attacks"):
        measured.away(noisy)
    with pytest.raises(ValueError, match="spsa10-margin is not recorded"):
        measured.difference(noisy, noisy, "spsa10-margin")


@pytest.mark.parametrize("name", ["noise", "rotation", "carlini-wagner", "spsa"])
def test_every_column_has_a_settled_claim_beside_the_open_one_of_the_paper(name: str) -> None:
    entry = claims.ledger()[f"{name}-laptop"]
    assert entry.chapter == "distances" and entry.check
    assert "laptop scale" in entry.check().evidence


def test_without_records_there_are_none(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    assert not measured.records("spsa") and not measured.recorded("spsa", "mmc")
