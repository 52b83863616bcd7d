"""`mmc report`: a reader's own loss end to end, what it keeps, which losses it finds, and what it refuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import textwrap
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from report_cases import MY_LOSS

from mmc import files
from mmc.commands import cli
from mmc.experiments import fit
from mmc.losses import LOSSES
from mmc.report import COLUMNS, TRIED, loss_class, trial
from mmc.report.trial import SPEC, TRAINING_LOSS, WORST

trial_module = importlib.import_module("mmc.report.trial")
TINY = SPEC.with_changes(epochs=4)


def mmc(*arguments: str, fails: bool = False) -> Result:
    result = CliRunner().invoke(cli, ["report", *arguments], terminal_width=110)
    assert (result.exit_code != 0) == fails, result.output
    return result


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few epochs, one radius, and no AutoAttack."""
    monkeypatch.setattr(trial_module, "SPEC", TINY)
    monkeypatch.setattr(trial_module, "EPSILONS", (0.1,))
    monkeypatch.setattr(trial_module.importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "my_loss.py"
    file.write_text(MY_LOSS)
    return file


def test_it_explains_itself() -> None:
    text = mmc("--help").output
    assert all(word in text for word in ("LOSS", "value(z, y)", "logits(z)", "my_loss.py:Squared", "refused", "trust"))
    [example] = re.findall(r"^ +from mmc.losses import SCE\n.*?mean\(1\)", text, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(textwrap.dedent(example), names)
    assert issubclass(names["Squared"], LOSSES["SCE"])
    assert "report" in CliRunner().invoke(cli, ["--help"]).output


def test_a_loss_of_ten_lines_gets_its_row_and_its_page(brief: None, mine: Path, tmp_path: Path) -> None:
    card, values = tmp_path / "deep" / "card.html", tmp_path / "values.json"
    said = mmc(f"{mine}:Squared", "--num", "30", "--out", str(card), "--json", str(values)).output
    content, html = json.loads(values.read_text()), card.read_text()
    assert list(content["entries"]) == [*COLUMNS.values(), *TRIED.values()]
    for name, entry in content["entries"].items():
        assert entry["how"] in ("exact", "measured")
        assert re.search(rf"{re.escape(name)} +{re.escape(entry['text'])} +{entry['how']}", said)
        assert f"<td class='{entry['how']}'>" in html and name in html
    assert content["entries"]["stationary margin m*"]["number"] == pytest.approx(4, rel=1e-6)
    assert content["entries"]["stationary margin m*"]["how"] == "measured"
    [one] = content["trials"]
    assert one["images"] == 30 and one["seed"] == 0
    assert one["notes"] == ["AutoAttack was not run: pyautoattack is not installed."] and one["notes"][0] in html
    linked = [link[:30] for link in re.findall(r"""(?:src|href)\s*=\s*["']?([^"' >]*)""", html)]
    assert linked == ["data:image/png;base64,iVBORw0KG"[:30]] and html.count("<script") == 0, (
        "it needs nothing beside it"
    )
    assert len(re.search(r'alt="([^"]*)"', html)[1]) > 100 and html.count('lang="en"') == 1
    assert {"commit", "hardware", "versions"} <= set(content["made"])


def test_the_worst_case_is_pointwise_and_its_suite_adaptive(brief: None) -> None:
    found = trial(LOSSES["MMC"], seed=1, images=16)
    ladder = found.robust["0.1"]
    assert ladder[WORST] <= min(ladder.values()) <= found.clean and found.headline == ladder[WORST]
    assert {TRAINING_LOSS, "own center, PGD-50", "each class, APGD-100", "no gradients, SPSA-20"} <= set(ladder)
    assert found.margins == sorted(found.margins) and len(found.margins) == 21
    assert set(found.zero_gradients) == {
        "cross-entropy",
        "own center",
        "margin",
        "training loss",
        *found.zero_gradients,
    }
    assert dataclasses.asdict(trial(LOSSES["MMC"], seed=1, images=16)) | {"seconds": 0} == dataclasses.asdict(found) | {
        "seconds": 0
    }


@pytest.mark.parametrize("name", ["MMC (rand)", "SCE"])
def test_the_network_is_that_of_the_first_experiment(brief: None, name: str) -> None:
    ours = trial_module.network(LOSSES[name], 2).state_dict()
    theirs = fit(TINY.with_changes(loss=name), 2)[0].state_dict()
    assert all(torch.equal(entry, theirs[key]) for key, entry in ours.items()) and set(ours) == set(theirs)


def test_losses_are_found_by_name_and_in_files(mine: Path, tmp_path: Path) -> None:
    assert loss_class("Label smoothing") == ("Label smoothing", LOSSES["Label smoothing"])
    assert loss_class(str(mine))[0] == loss_class(f"{mine}:Squared")[0] == "Squared"
    two = tmp_path / "two.py"
    two.write_text(MY_LOSS + "\n\nclass Other(Squared):\n    pass\n\nclass Plain:\n    pass\n")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    for text, said in {
        "mmc": "Did you mean 'MMC'",
        "nothing": "The registry has: SCE, g-SCE",
        f"{two}": "defines 2 losses .Squared, Other.: say which",
        f"{two}:Third": "defines no class 'Third'; its losses are: Squared, Other",
        f"{two}:Plain": "Plain in .* is no loss: it must be a subclass",
        f"{broken}:X": "cannot be run: ZeroDivisionError",
    }.items():
        with pytest.raises(ValueError, match=said):
            loss_class(text)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        loss_class("absent.py:X")


def test_what_it_refuses_is_one_message_and_leaves_no_page(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    lines = ("from mmc.losses import MMC", "class Mean(MMC):", "  def value(self, z, y):", "    return z.mean()")
    file.write_text("\n".join(lines))
    out = tmp_path / "card.html"
    said = mmc(f"{file}:Mean", "--out", str(out), fails=True).output
    assert said.startswith("Error: Mean is refused: value() must return shape (40,)") and "Traceback" not in said
    assert not out.exists()
    assert "unexpected keyword argument 'colour'" in mmc("SCE", "--loss-option", "colour", "1", fails=True).output
    assert "eps must be in [0, 1)" in mmc("Label smoothing", "--loss-option", "eps", "2", fails=True).output


def test_a_disk_that_fails_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmc.report import card

    out = tmp_path / "card.html"
    out.write_text("old")
    monkeypatch.setattr(card, "page", lambda report: "new")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(OSError, match="could not write"):
        card.write(None, out)
    assert out.read_text() == "old" and list(tmp_path.iterdir()) == [out]
