"""Distances, queries and corruptions: what is read is what the records hold, and from none nothing is read."""

from __future__ import annotations

import numpy as np
import pytest

from mmc import claims, lab
from mmc.claims import other_attacks as measured
from mmc.experiments import outcome

FOUND = {tag: measured.records(tag) for tag in measured.TAGS}
SEARCHES = {"distances": measured.PRINTED, "nearest": measured.FITTED}
EACH = [(tag, key) for tag, found in FOUND.items() for key in found]


@pytest.mark.parametrize(("tag", "key"), EACH, ids=str)
def test_what_stands_and_how_far_it_was_moved_is_as_recorded(tag: str, key: measured.Key) -> None:
    record = FOUND[tag][key]
    assert (record.spec.loss, record.spec.training) == key and record.spec.tag == tag
    clean = measured.stands(record, "clean")
    assert len(clean) == record.spec.evaluation.num_attacked
    for name, attack in outcome(record.runs[0]).attacks.items():
        stands = measured.stands(record, name)
        assert not (stands & ~clean).any() and stands.mean() == pytest.approx(attack.correct.float().mean().item())
    if attack := SEARCHES.get(tag):
        away = measured.away(record, attack)
        assert ((away == 0) == ~clean).all() and (away >= 0).all()
        assert (np.isinf(away) == measured.stands(record, attack)).all()


@pytest.mark.parametrize("key", FOUND["distances"], ids=str)
def test_both_searches_met_one_network_and_ours_comes_at_least_as_near(key: measured.Key) -> None:
    printed, nearest = FOUND["distances"][key], FOUND["nearest"][key]
    assert printed.spec.with_changes(tag="", evaluation=nearest.spec.evaluation) == nearest.spec.with_changes(tag="")
    count = printed.spec.evaluation.num_attacked
    clean = [measured.stands(record, "clean")[:count] for record in (printed, nearest)]
    assert (clean[0] == clean[1]).all()
    over = measured.excess(printed, nearest)
    assert len(over) <= clean[0].sum() and (over >= 0).all()
    ours = measured.away(nearest, measured.FITTED)[:count]
    assert np.median(ours[clean[0]] / measured.away(printed)[clean[0]]) < 1.02


@pytest.mark.parametrize(("tag", "key"), EACH, ids=str)
def test_a_network_leads_itself_by_nothing_and_a_lead_turns_with_the_order(tag: str, key: measured.Key) -> None:
    attack = SEARCHES.get(tag) or {"corruptions": "noise", "spsa": "spsa10-margin"}[tag]
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


@pytest.mark.parametrize("name", ["noise", "rotation", "carlini-wagner", "nearest", "spsa"])
def test_every_column_has_a_settled_claim_beside_the_open_one_of_the_paper(name: str) -> None:
    entry = claims.ledger()[f"{name}-laptop"]
    assert entry.chapter == "distances" and entry.check
    assert "laptop scale" in entry.check().evidence


def test_without_records_there_are_none(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    assert not measured.records("spsa") and not measured.recorded("spsa", "mmc")


@pytest.mark.parametrize("missing", ["mmc", "sce-at-x"])
def test_a_claim_is_open_until_all_networks_it_reads_are_there(
    missing: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    place, names = tmp_path / "other-attacks" / "laptop", ("mmc", "sce", "mmc-at-x", "sce-at-x")
    place.mkdir(parents=True)
    for name in names:
        (place / f"mnist-cnn-{name}-nearest.json").touch()
    asked = ("nearest", "mmc", "sce", "mmc-at-*", "sce-at-*")
    assert measured.recorded(*asked)
    (place / f"mnist-cnn-{missing}-nearest.json").unlink()
    assert not measured.recorded(*asked)
