"""The ledger as a reader sees it: a count of verdicts, a card for every claim, and the list of corrections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmc.claims import CORRECTED, FAILS, OPEN, VERDICTS, Claim, Finding, check, ledger
from mmc.table import Table, unbroken

_BADGES = dict(zip(VERDICTS, ("holds", "corrected", "fails", "open"), strict=True))


@dataclass(frozen=True)
class Entry:
    """A claim with what its check found; None where it is open."""

    claim: Claim
    finding: Finding | None

    @property
    def verdict(self) -> str:
        """The computed verdict."""
        return self.finding.verdict if self.finding else OPEN


@dataclass(frozen=True)
class Page:
    """Markdown that a notebook shows."""

    markdown: str

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return self.markdown


def entries(paper: str) -> list[Entry]:
    """Run every check of one paper's claims, in the order of the book.

    Raises:
        ValueError: the ledger holds no claim of that paper; the message lists the papers it has.
    """
    claims = ledger().values()
    papers = sorted({claim.paper for claim in claims})
    if paper not in papers:
        raise ValueError(f"no claims of {paper!r} in the ledger; it has: {', '.join(papers)}")
    return [Entry(claim, claim.check() if claim.check else None) for claim in claims if claim.paper == paper]


def named(*names: str) -> list[Entry]:
    """Run the checks of these claims.

    Raises:
        KeyError: the ledger has no such claim; the message lists the valid names.
    """
    findings = {name: check(name) for name in names}
    return [Entry(ledger()[name], finding) for name, finding in findings.items()]


def waiting(chapter: str) -> list[Entry]:
    """The claims of a chapter that nobody can check yet."""
    return [Entry(claim, None) for claim in ledger().values() if claim.chapter == chapter and not claim.check]


def badge(verdict: str) -> str:
    """A verdict as a colored badge; the words carry the meaning, the color only helps."""
    return f'<span class="verdict verdict-{_BADGES[verdict]}">{verdict}</span>'


def summary(found: Iterable[Entry]) -> Table:
    """How many claims got which verdict."""
    counts = Counter(entry.verdict for entry in found)
    rows = [(badge(verdict), counts[verdict]) for verdict in VERDICTS]
    return Table(["verdict", "claims"], rows, made="`mmc.claims.page.summary`: every check ran on this page.")


def _card(entry: Entry, at: str) -> str:
    claim = entry.claim
    said, source = ("As we read it", claim.source.removeprefix("our ")) if claim.ours else ("As printed", claim.source)
    rows = [f"**{said}** ({source}). {claim.printed}"]
    if claim.exact:
        rows.append(f"**Exact.** {claim.exact}")
    if entry.finding:
        rows.append(f"**Evidence.** {entry.finding.evidence}")
    if claim.missing:
        rows.append(f"**Missing.** {claim.missing}")
    if claim.chapter not in ("", at):
        rows.append(f"[Read the chapter]({claim.chapter}.ipynb)")
    body = unbroken("\n\n".join(rows))
    head = f":::{{card-header}}\n`{claim.name}` {badge(entry.verdict)}\n:::"
    return f"::::{{card}}\n:class-card: claim\n\n{head}\n\n{body}\n::::"


def cards(found: Iterable[Entry], *verdicts: str, at: str = "") -> Page:
    """One card per claim: printed, exact, evidence or what is missing, verdict.

    Args:
        found: the claims.
        verdicts: show these only, where some are named.
        at: the chapter that shows them; a card has no link to its own page.
    """
    chosen = [entry for entry in found if not verdicts or entry.verdict in verdicts]
    return Page("\n\n".join(_card(entry, at) for entry in chosen) or "None.")


def sentences(found: Iterable[Entry], said: Mapping[str, str], *verdicts: str) -> Page:
    """Sentences about claims, each with the verdict computed for its claim and a link to its chapter.

    Args:
        found: entries among which the claims are.
        said: a sentence (Markdown) by name of a claim.
        verdicts: those that the sentences were written for.

    Raises:
        KeyError: no such claim among the entries.
        ValueError: a claim has another verdict by now, so that its sentence must be written anew.
    """
    by_name = {entry.claim.name: entry for entry in found}
    lines = []
    for name, sentence in said.items():
        entry = by_name[name]
        if entry.verdict not in verdicts:
            raise ValueError(f"{name} {entry.verdict!r}: the sentence was written for {' or '.join(verdicts)}")
        link = f" [{name}]({entry.claim.chapter}.ipynb)" if entry.claim.chapter else f" `{name}`"
        lines.append(f"- {badge(entry.verdict)} {unbroken(sentence)}{link}")
    return Page("\n".join(lines))


def corrections(found: Iterable[Entry]) -> list[Entry]:
    """The claims that do not stand as printed."""
    return [entry for entry in found if entry.verdict in (CORRECTED, FAILS)]
