"""What the prose pages say is so: their examples run, and what they cite exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mmc import claims
from mmc.losses import base

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
MADE = (BOOK / "how-it-is-made.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", MADE, re.DOTALL)


def text_of_the_book() -> str:
    """All prose and all chapters, as written."""
    files = [*BOOK.rglob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_REGISTRY", dict(claims._REGISTRY))
    exec(compile(example, "how-it-is-made.md", "exec"), {"__name__": "example"})


def test_the_loss_one_is_told_to_add_is_a_loss() -> None:
    [example] = [text for text in EXAMPLES if "class " in text]
    names: dict[str, object] = {}
    exec(compile(example, "how-it-is-made.md", "exec"), names)
    [made] = [found for found in names.values() if isinstance(found, type) and found.__module__ == "builtins"]
    loss = made(3, 4)
    assert isinstance(loss, base.Loss)
    torch.testing.assert_close(loss(loss.centers, torch.arange(3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert loss.logits(loss.centers).argmax(1).tolist() == [0, 1, 2]


def test_the_claim_one_is_told_to_add_gets_the_verdict_it_is_meant_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_REGISTRY", {})
    [example] = [text for text in EXAMPLES if "@claim" in text]
    exec(compile(example, "how-it-is-made.md", "exec"), {})
    [entry] = claims._REGISTRY.values()
    assert entry.check is not None
    assert entry.check().verdict == claims.CORRECTED


def test_every_verdict_is_explained() -> None:
    for verdict in claims.VERDICTS:
        assert f"[{verdict}]{{.verdict-" in MADE


def test_citations_have_entries_and_keys_are_unique() -> None:
    entries = re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(entries) == len(set(entries))
    cited = {
        key.strip() for keys in re.findall(r"\{cite[a-z:]*\}`([^`<]+)`", text_of_the_book()) for key in keys.split(",")
    }
    assert cited <= set(entries), cited - set(entries)


def test_the_names_on_the_notation_page_are_in_the_code() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "mmc").rglob("*.py"))
    words = set(re.findall(r"\w+", source))
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|", (BOOK / "notation.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = {name for cell in rows for code in re.findall(r"`([^`]+)`", cell) for name in re.findall(r"\w+", code)}
    assert len(names) > 15
    assert not names - words - {"j"}, names - words
