"""`mmc diagnose`, as a user gives it: the page, the file, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmc import lab, networks
from mmc.commands import cli
from mmc.diagnose import EFFORTS, Report


def mmc(*arguments: str, fails: bool = False) -> Result:
    result = CliRunner().invoke(cli, list(arguments), terminal_width=110)
    assert (result.exit_code != 0) == fails, result.output
    return result


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network on the embedded digits."""
    place = tmp_path_factory.mktemp("net")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(lab.RECORDS, str(place / "records"))
        patch.setenv(networks.RUNS, str(place / "runs"))
        mmc("train", "--epochs", "5", "--optimizer", "adam", "--learning-rate", "0.003", "--out", str(place / "mine"))
    return str(place / "mine")


def test_the_command_explains_itself() -> None:
    text = mmc("diagnose", "--help").output
    assert "Usage:" in text and "mmc diagnose mnist-cnn-mmc --epsilon 0.1" in text
    assert all(name in text for name in EFFORTS)


def test_a_page_is_printed_and_the_report_kept(net: str, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    options = ["--num", "20", "--effort", "quick", "--out", str(out), "--attack", "pgd10-margin"]
    said = mmc("diagnose", net, "--epsilon", "8/255", *options).output
    kept = Report.read(out)
    assert str(kept) in said and "pgd10-margin" in said and "epsilon 8/255" in said
    assert kept.accuracy["images"] == 20 and kept.about["effort"] == "quick" and kept.made["seconds"] > 0
    assert kept["undefended twin"].verdict == "not applicable"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epsilon", "8"], "epsilon must lie between 0 and 1"),
        (["--epsilon", "x"], "'x' is no radius"),
        (["--epsilon", "0.1", "--attack", "nonsense"], "no attack 'nonsense'"),
        (["--epsilon", "0.1", "--effort", "much"], "effort must be one of"),
        (["--epsilon", "0.1", "--twin", "nowhere"], "no network 'nowhere'"),
    ],
)
def test_bad_input_is_refused_in_one_message(net: str, arguments: list[str], message: str) -> None:
    result = mmc("diagnose", net, *arguments, fails=True)
    assert message in " ".join(result.output.split()) and "Traceback" not in result.output


def test_strict_ends_with_an_error_where_a_check_failed(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Report({"model": "m", "norm": "L-inf", "epsilon": 0.1, "attack": "a", "effort": "quick"}, {}, ())
    for sound in (True, False):
        monkeypatch.setattr("mmc.diagnose.diagnose", lambda *_, **__: made)
        monkeypatch.setattr(Report, "__str__", lambda self: "page")
        monkeypatch.setattr(Report, "sound", sound)
        mmc("diagnose", net, "--epsilon", "0.1", "--strict", fails=not sound)
        mmc("diagnose", net, "--epsilon", "0.1")
