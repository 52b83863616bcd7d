"""The ledger: verdicts follow from findings, every entry is complete, and every check is repeatable."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from mmc import claims
from mmc.book.project import Project
from mmc.claims import page

LEDGER = claims.ledger()
SETTLED = [name for name, entry in LEDGER.items() if entry.check]


@pytest.mark.parametrize(
    ("printed", "exact", "verdict"),
    [
        (True, None, claims.HOLDS),
        (True, True, claims.HOLDS),
        (True, False, claims.HOLDS),
        (False, True, claims.CORRECTED),
        (False, False, claims.FAILS),
        (False, None, claims.FAILS),
    ],
)
def test_verdict_follows_from_what_was_found(printed, exact, verdict):
    assert claims.Finding(printed, "evidence", exact).verdict == verdict


@pytest.mark.parametrize("name", LEDGER)
def test_entry_is_complete(name):
    entry = LEDGER[name]
    assert entry.paper in ("MMC", "SP", "SOVR") and entry.source and entry.printed
    assert bool(entry.check) != bool(entry.missing), "a claim has a check, or says what is missing"
    if entry.chapter:
        assert entry.chapter in Project.find().chapters()


def test_order_of_the_ledger_does_not_hang_on_what_was_imported_first():
    backward = "".join(f"import mmc.claims.{topic}\n" for topic in claims.TOPICS[::-1])
    tell = "from mmc import claims\nprint(*claims.ledger(), sep='\\n')"
    told = subprocess.run([sys.executable, "-c", backward + tell], capture_output=True, text=True, check=True).stdout
    assert told.split() == list(LEDGER)
    rooms = [entry.module.rsplit(".", 1)[-1] for entry in LEDGER.values()]
    assert [room for room, _ in itertools.groupby(rooms)] == list(claims.TOPICS)


@pytest.mark.parametrize("name", SETTLED)
def test_check_gives_the_same_finding_twice(name):
    first, second = claims.check(name), claims.check(name)
    assert first == second
    assert first.evidence and type(first.printed) is bool and first.exact in (True, False, None)
    if not first.printed and first.exact:
        assert LEDGER[name].exact, "a correction states what is right"


def test_unknown_claim_is_refused_with_the_valid_names():
    with pytest.raises(KeyError, match="theorem-2"):
        claims.check("theorem-99")
    with pytest.raises(ValueError, match="MMC"):
        page.entries("XYZ")


def test_claim_cannot_be_registered_twice():
    name = next(iter(LEDGER))
    with pytest.raises(ValueError, match="twice"):
        claims.open_claim(name, paper="MMC", source="", printed="", missing="")


def test_page_shows_every_claim_once_and_counts_them():
    entries = page.entries("MMC")
    shown = "".join(page.cards(entries, verdict).markdown for verdict in claims.VERDICTS)
    for entry in entries:
        assert shown.count(f"`{entry.claim.name}` ") == 1
    assert sum(row[1] for row in page.summary(entries).rows) == len(entries)
    for left, right in itertools.pairwise(page.corrections(entries)):
        assert left.claim.name != right.claim.name


def test_a_chapter_shows_the_claims_that_it_names_and_those_that_wait() -> None:
    by_name = {entry.claim.name: entry for entry in page.entries("MMC")}
    names = list(by_name)[::9]
    assert page.named(*names) == [by_name[name] for name in names]
    with pytest.raises(KeyError, match="theorem-99"):
        page.named(*names, "theorem-99")
    for chapter in Project.find().chapters():
        waiting = page.waiting(chapter)
        assert {entry.verdict for entry in waiting} <= {claims.OPEN}
        shown = page.cards(waiting, at=chapter).markdown
        assert f"({chapter}.ipynb)" not in shown
        assert all(entry.claim.missing in shown for entry in waiting)
        assert not waiting or f"({chapter}.ipynb)" in page.cards(waiting).markdown


def test_only_what_a_paper_prints_is_shown_as_printed() -> None:
    for claim in LEDGER.values():
        shown = page.cards([page.Entry(claim, None)]).markdown
        assert ("**As we read it**" in shown) == claim.ours != ("**As printed**" in shown)
        assert "** (our " not in shown


def test_a_sentence_that_no_longer_fits_its_verdict_is_refused() -> None:
    entries = page.entries("MMC")
    by_verdict = {entry.verdict: entry.claim for entry in entries}
    for verdict, claim in by_verdict.items():
        said = page.sentences(entries, {claim.name: "So it is."}, verdict).markdown
        assert page.badge(verdict) in said and "So it is." in said and f"({claim.chapter}.ipynb)" in said
        others = [other for other in claims.VERDICTS if other != verdict]
        with pytest.raises(ValueError, match=claim.name):
            page.sentences(entries, {claim.name: "So it is."}, *others)
    with pytest.raises(KeyError, match="no-such-claim"):
        page.sentences(entries, {"no-such-claim": "It is not."}, claims.HOLDS)
