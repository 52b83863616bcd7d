"""The claims on adversarial training: what they read is what the records hold, on records made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmc import attacked, claims, lab
from mmc.attacks import PRESETS, WORST, Verdicts
from mmc.attacks.verdicts import Attacked
from mmc.claims import adversarial
from mmc.shares import paired_difference

IMAGES = 400


def made(spec: lab.Spec, seed: int, **left: int) -> dict:
    """A run in which the first images stand, as many as are given for the paper's attack, AutoAttack and ours."""
    slugs = {
        f"{adversarial.papers(spec.loss)}-8": left["papers"],
        **dict.fromkeys([f"{slug}-8" for slug in adversarial.SUITE], left["ours"]),
        "autoattack-8": left["auto"],
    }
    count = torch.arange(IMAGES)
    attacks = {slug: Attacked(PRESETS[slug], "", count < stands) for slug, stands in slugs.items()}
    found = Verdicts(count < left["clean"], attacks, {}, seed)
    return {"seed": seed, "values": {"suite": found.to_json()}, "made": {"revision": 1_000}}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty folder of records, and how to put one into it; the undefended twin keeps one image in forty."""
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    twin = {(adversarial.TWIN, 8 / 255): {WORST: torch.arange(IMAGES) < IMAGES // 40}}
    monkeypatch.setattr(attacked, "left", lambda name, epsilon: twin[name, epsilon])

    def put(loss: str, *runs: tuple[int, int, int, int], rule: str = "N-FGSM") -> None:
        spec = adversarial.queue()[loss, rule].spec.with_changes(num_attacked=IMAGES)
        names = ("clean", "papers", "auto", "ours")
        record = lab.Record(
            spec, {}, tuple(made(spec, seed, **dict(zip(names, run, strict=True))) for seed, run in enumerate(runs))
        )
        lab.path(spec).parent.mkdir(parents=True, exist_ok=True)
        lab.path(spec).write_text(record.dumps(), encoding="utf-8")

    return put


def test_each_training_has_a_record_of_its_own() -> None:
    """Toward a target and away from the label are two trainings by one rule."""
    queue = adversarial.queue()
    assert len(queue) == len({job.spec.place for job in queue.values()}) == len(adversarial.jobs("laptop"))
    assert {("SCE", "AT"), ("SCE", "AT, targeted")} <= set(queue)


def test_a_record_that_is_not_there_yet_is_no_record(shelf) -> None:
    assert adversarial.records() == {} and adversarial.pairs() == {}
    shelf("SCE", (300, 200, 180, 190))
    assert list(adversarial.records()) == [("SCE", "N-FGSM")] and adversarial.pairs() == {}
    shelf("MMC", (300, 220, 180, 170))
    assert list(adversarial.pairs()) == ["N-FGSM"]
    mmc, sce = adversarial.pairs()["N-FGSM"]
    assert (mmc.spec.loss, sce.spec.loss) == ("MMC", "SCE")


def test_each_reading_is_its_attacks(shelf) -> None:
    shelf("MMC", (300, 220, 180, 170), (310, 240, 200, 210))
    [record] = adversarial.records().values()
    means = {what: adversarial.standing(record, what).mean(1) * IMAGES for what in ("clean", *adversarial.READ)}
    assert means["clean"] == pytest.approx([300, 310])
    assert means[adversarial.PAPERS] == pytest.approx([220, 240])
    assert means[adversarial.AUTO] == pytest.approx([180, 200])
    assert means[adversarial.OURS] == pytest.approx([170, 210])
    assert means[WORST] == pytest.approx([170, 200])
    assert adversarial.excess(record, WORST).mean() == pytest.approx((50 + 40) / 2 / IMAGES)
    gap, width = adversarial.overstatement(record, adversarial.AUTO)
    assert gap == pytest.approx(40 / IMAGES) and 0 < width < gap


def test_the_findings_follow_the_records(shelf) -> None:
    shelf("SCE", (300, 200, 190, 190))
    shelf("MMC", (300, 220, 180, 170))
    found = adversarial.pairs()
    less = adversarial.not_less(found)
    assert not less.printed and "-2.5" in less.evidence and "N-FGSM" in less.evidence
    over = adversarial.overstated(found)
    assert over.printed and "10.0 points for MMC, 2.5 for SCE, a difference of +7.5" in over.evidence
    assert adversarial.compatible(found).printed
    shelf("MMC", (300, 192, 189, 189))
    assert adversarial.not_less(adversarial.pairs()).printed
    assert not adversarial.overstated(adversarial.pairs()).printed
    for left, holds in ((49, False), (51, True)):  # five times the twin's ten
        shelf("MMC", (300, 60, left, left))
        assert adversarial.compatible(adversarial.pairs()).printed == holds


def test_one_rule_that_fails_is_enough(shelf) -> None:
    for rule, left in (("N-FGSM", 190), ("AT", 100)):
        shelf("SCE", (300, 200, 190, 190), rule=rule)
        shelf("MMC", (300, 200, left, left), rule=rule)
    assert list(adversarial.pairs()) == ["N-FGSM", "AT"]
    assert not adversarial.not_less(adversarial.pairs()).printed
    assert not adversarial.overstated(adversarial.pairs()).printed


def test_claims_are_open_until_both_records_of_a_rule_are_there(shelf, monkeypatch) -> None:
    monkeypatch.setattr(claims, "_REGISTRY", {})
    adversarial._register()
    assert len(claims._REGISTRY) == len(adversarial.TOLD)
    for entry in claims._REGISTRY.values():
        assert entry.check is None and "cnn-mmc-n-fgsm" in entry.missing and adversarial.COMMAND in entry.missing
    shelf("SCE", (300, 200, 190, 190))
    shelf("MMC", (300, 220, 180, 170))
    monkeypatch.setattr(claims, "_REGISTRY", {})
    adversarial._register()
    verdicts = {name: entry.check().verdict for name, entry in claims._REGISTRY.items()}
    assert verdicts == {
        "robust-training-level": claims.FAILS,
        "robust-training-overstatement": claims.HOLDS,
        "robust-training-compatible": claims.HOLDS,
        "robust-training-beaten": claims.FAILS,
    }


def test_one_loss_ahead_is_enough_and_more_losses_ask_for_more(shelf) -> None:
    shelf("SCE", *[(300, 200, 180, 190)] * 2)
    shelf("MMC", *[(300, 220, 180, 170)] * 2)
    assert not adversarial.beaten(adversarial.rivals(adversarial.AUTO)).printed
    shelf("HE", *[(300, 220, 184, 190)] * 2)  # four images ahead: 1.0 points, standard error 0.5
    told = adversarial.beaten({("HE", "N-FGSM"): adversarial.rivals(adversarial.AUTO)["HE", "N-FGSM"]})
    assert told.printed and "HE with N-FGSM +1.0 ± 1.0 points, ahead with 2 of 2 seeds (" in told.evidence
    assert "95.0%" in told.evidence
    found = adversarial.rivals(adversarial.AUTO)
    assert list(found) == [("MMC", "N-FGSM"), ("HE", "N-FGSM")]
    assert not adversarial.beaten(found).printed  # of two tries it is not enough
    shelf("HE", *[(300, 220, 190, 190)] * 2)
    assert adversarial.beaten(adversarial.rivals(adversarial.AUTO)).printed


def test_a_lead_with_one_seed_is_told_and_not_counted(shelf) -> None:
    for loss, left in (("SCE", 180), ("HE", 220)):
        shelf(loss, (300, 230, left, 220))
    told = adversarial.beaten(adversarial.rivals(adversarial.AUTO))
    assert not told.printed and "HE with N-FGSM +10.0" in told.evidence
    assert "ahead with 1 of 1 seeds, too few to count" in told.evidence


@pytest.mark.parametrize(("disagreement", "difference"), [(0.1, 0.01), (0.2, 0.03), (0.05, -0.01)])
def test_so_many_images_just_tell_a_difference(disagreement: float, difference: float) -> None:
    count = adversarial.needed(disagreement, difference)
    for images, told in ((1.1 * count, True), (0.9 * count, False)):
        images = round(images)
        only = [round(images * (disagreement + sign * difference) / 2) for sign in (1, -1)]
        first, second = np.zeros((2, images))
        first[: only[0]], second[only[0] : sum(only)] = 1, 1
        gap, width = paired_difference(first, second)
        assert (abs(gap) > width) == told
