"""The report of a diagnosis: one page for a reader, one JSON for a record."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmc.attacks.preset import radius
from mmc.diagnose.finding import FAILED, VERDICTS, WARNING, Observation, percent
from mmc.files import write_text

#: Of a page, in columns and lines.
WIDTH, LINES = 88, 60
#: Raised when the layout of the file changes.
SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """What a diagnosis found.

    Attributes:
        about: what was diagnosed: model, epsilon, norm, attack, seed, effort.
        accuracy: `clean`, `reported` (under the attack under evaluation) and `worst case`, with the number of `images`
            and the worst case's 95 % `interval`. The worst case, pointwise over everything that was run, is the number
            to report; it is an upper bound.
        findings: of every check, in their order.
        made: what made it: commit, versions, hardware, seconds. No rerun repeats it.
    """

    about: dict[str, Any]
    accuracy: dict[str, Any]
    findings: tuple[Observation, ...]
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Did no check fail?"""
        return all(finding.verdict != FAILED for finding in self.findings)

    @property
    def raised(self) -> tuple[Observation, ...]:
        """The findings with something to do, failed before warnings."""
        return tuple(f for verdict in (FAILED, WARNING) for f in self.findings if f.verdict == verdict)

    def __getitem__(self, name: str) -> Observation:
        """The finding of a check, by its name."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no check {name!r}; there are: {', '.join(finding.name for finding in self.findings)}")

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same again for the same seed on the same machine: what a Record may hold."""
        findings = [dataclasses.asdict(finding) for finding in self.findings]
        return {"schema": SCHEMA, "about": self.about, "accuracy": self.accuracy, "findings": findings}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """The inverse of `to_json`, and of what `save` writes.

        Raises:
            ValueError: another schema, or something missing or unknown; the message says what.
        """
        if values.get("schema") != SCHEMA:
            raise ValueError(f"the report's schema is {values.get('schema')!r}, this code reads {SCHEMA}")
        try:
            findings = tuple(Observation(**finding) for finding in values["findings"])
            return cls(dict(values["about"]), dict(values["accuracy"]), findings, dict(values.get("made", {})))
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no report: {error}") from None

    def save(self, path: Path | str) -> None:
        """Write the report with what made it, atomically, as readable JSON.

        Raises:
            OSError: it could not be written; a file that was there still is.
        """
        content = self.to_json() | {"made": self.made}
        write_text(Path(path), json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path | str) -> Report:
        """Read what `save` wrote.

        Raises:
            ValueError: it is no report; the message names the file.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def summary(self) -> list[str]:
        """The number to report, how far the evaluation is from it, and the verdict: a sentence each."""
        accuracy, images = self.accuracy, self.accuracy["images"]
        left, low, high = accuracy["worst case"], *accuracy["interval"]
        over = 100 * (accuracy["reported"] - left)
        verdicts = [finding.verdict for finding in self.findings]
        counted = ", ".join(f"{verdicts.count(v)} {v}" for v in reversed(VERDICTS[:3]))
        rest = verdicts.count(VERDICTS[3])
        verdict = "Sound, with warnings" if self.raised else "Nothing speaks against it"
        verdict = verdict if self.sound else "Not sound"
        return [
            f"Report at most {percent(left)} robust accuracy: {round(left * images)} of {images} stand in the worst"
            f" case over everything run (95 % interval {100 * low:.1f} to {percent(high)}).",
            f"The attack under evaluation ({self.about['attack']}) says {percent(accuracy['reported'])}: "
            + (f"{over:.1f} points too many." if over > 0 else "the same.")
            + f" Clean accuracy {percent(accuracy['clean'])}.",
            f"{verdict}: of {len(verdicts) - rest} checks {counted}; {rest} not applicable.",
        ]

    def heading(self) -> str:
        """What was diagnosed, in a line."""
        about, size = self.about, radius(self.about["epsilon"])
        size = size if "/" in size else f"{about['epsilon']:.4g}"
        return f"{about['model']}, {about['norm']} epsilon {size}, effort {about['effort']}"

    def footing(self) -> str:
        """What made it, in a line."""
        return "; ".join(str(self.made[key]) for key in ("versions", "hardware", "commit") if key in self.made)

    def __str__(self) -> str:
        """One page of plain text; where much is raised, in shorter words."""
        pages = (self._page(seen, remedy) for seen, remedy in ((3, 2), (2, 2), (2, 1), (1, 1)))
        return "\n".join(next((page for page in pages if len(page) <= LINES), []) or self._page(1, 1))

    def _page(self, seen: int, remedy: int) -> list[str]:
        """The page's lines, with so many at most for what a check saw and for a remedy."""
        lines = ["IS THE EVALUATION SOUND?", *_wrapped(self.heading()), "=" * WIDTH]
        for sentence in self.summary():
            lines += _wrapped(sentence)
        lines.append("-" * WIDTH)
        for finding in self.findings:
            start = f"{finding.check} {finding.name:<25.25} {MARKS[finding.verdict]:<8}"
            lines += _wrapped(finding.seen, start, seen)
        if self.raised:
            lines += ["-" * WIDTH, "WHAT TO DO"]
            for words, names in self._remedies().items():
                lines += _wrapped(f"{words} ({', '.join(names)})", "- ", remedy)
        if self.made:
            seconds = f"{self.made['seconds']:.0f} s; " if "seconds" in self.made else ""
            lines += ["-" * WIDTH, *_wrapped(seconds + self.footing(), most=2)]
        return lines

    def markdown(self) -> str:
        """The same page as Markdown."""
        rows = [["", "check", "verdict", "seen"], ["---"] * 4]
        rows += [[str(f.check), f.name, f.verdict, f.seen.replace("|", r"\|")] for f in self.findings]
        parts = [
            f"**Is the evaluation sound?** {self.heading()}",
            "\n".join(f"- {sentence}" for sentence in self.summary()),
            "\n".join(f"| {' | '.join(row)} |" for row in rows),
        ]
        if self.raised:
            remedies = [f"- {remedy} *({', '.join(names)})*" for remedy, names in self._remedies().items()]
            parts.append("\n".join(["What to do:", "", *remedies]))
        return "\n\n".join(parts) + "\n"

    def _remedies(self) -> dict[str, list[str]]:
        """Each remedy once, with the checks that ask for it."""
        found: dict[str, list[str]] = {}
        for finding in self.raised:
            found.setdefault(finding.remedy, []).append(finding.name)
        return found


MARKS = dict(zip(VERDICTS, ("sound", "warning", "FAILED", "-"), strict=True))


def _wrapped(text: str, start: str = "", most: int = 3) -> list[str]:
    """Text in so many lines at most, later ones indented as far as the first."""
    wrap = textwrap.TextWrapper(
        WIDTH, initial_indent=start, subsequent_indent=" " * len(start), max_lines=most, placeholder=" ..."
    )
    return wrap.wrap(text)
