"""The commands, as a user gives them: what they print, what they keep, what they refuse."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmc import catalogue, experiments, lab, networks
from mmc.catalogue import Job
from mmc.commands import cli
from mmc.lab import Evaluation, Spec
from mmc.recipe import Recipe
from mmc.sweep import slots
from mmc.worker import duration

TINY = Recipe(epochs=2, batch_size=64, optimizer="adam", learning_rate=1e-3)
BASE = Spec("tiny", "smoke", "digits", "mlp", "MMC", recipe=TINY, evaluation=Evaluation((0.1,), 2, 1, 30))


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv(networks.RUNS, str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv(lab.TRACE, raising=False)
    shelf = {"tiny": lambda scale: [Job(BASE.with_changes(loss=loss), (0, 1)) for loss in ("SCE", "MMC")]}
    monkeypatch.setattr(catalogue, "CATALOGUE", shelf)
    return tmp_path


def mmc(*arguments: str, fails: bool = False) -> Result:
    result = CliRunner().invoke(cli, list(arguments), terminal_width=110)
    assert (result.exit_code != 0) == fails, result.output
    return result


@pytest.fixture
def recorded(places: Path) -> None:
    for job in catalogue.jobs("tiny", "smoke"):
        experiments.record(job.spec, job.seeds)


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "sweep", "records", "bench", "book", "store", "normalise", "ledger"]
)
def test_every_command_explains_itself(command: str) -> None:
    text = mmc(command, "--help").output
    assert "Usage:" in text and len(text.splitlines()) > 5
    undocumented = [line for line in text.splitlines() if line.strip().startswith("--") and len(line.split()) < 3]
    following = text.splitlines()
    for line in undocumented:
        assert following[following.index(line) + 1].strip(), f"{line} has no help"


def test_every_setting_of_the_recipe_is_an_option() -> None:
    text = mmc("train", "--help").output
    for entry in dataclasses.fields(Recipe):
        if entry.name != "milestones":
            assert "--" + entry.name.replace("_", "-") in text


def test_train_then_evaluate(places: Path) -> None:
    out = str(places / "mine")
    arguments = ["--epochs", "3", "--optimizer", "adam", "--learning-rate", "0.003", "--rule", "AT", "--out", out]
    said = mmc("train", "--loss", "MMC", "--loss-option", "norm", "5", "--rule-option", "steps", "2", *arguments).output
    assert "clean accuracy" in said and "images/s" in said and f"mmc evaluate {out}" in said
    record = lab.read(places / "mine" / "record.json")
    assert record.spec.loss_options == (("norm", 5),) and record.spec.rule_options == (("steps", 2),)
    assert not (places / "mine" / "checkpoint").exists()
    said = mmc("evaluate", out, "--epsilon", "0.05", "--epsilon", "0.1", "--steps", "3", "--count", "40").output
    assert "own center" in said and "worst case" in said and "zero gradient" in said
    found = lab.read(places / "mine" / "record.json")
    assert found.values("clean") == record.values("clean")
    assert found.values("robust", "0.1", "worst case") <= found.values("robust", "0.05", "worst case")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--loss", "MCM"], "no loss 'MCM'; there are: SCE"),
        (["train", "--rule", "PGD"], "no training rule 'PGD'; there are: standard, AT"),
        (["train", "--dataset", "svhn"], "no data set 'svhn'; there are: digits"),
        (["train", "--backbone", "vgg"], "no network 'vgg'; there are: mlp"),
        (["train", "--epochs", "0"], "epochs must be >= 1, not 0"),
        (["train", "--loss-option", "size", "3"], "size"),
        (["train", "--schedule", "linear"], "'linear' is not one of"),
        (["evaluate", "."], "Missing option '--epsilon'"),
        (["evaluate", ".", "--epsilon", "0.1"], "holds no record.json"),
        (["sweep", "tables"], "no catalogue 'tables'; there are: tiny, all"),
        (["sweep", "tiny", "--scale", "huge"], "unknown scale 'huge'; there are: smoke, laptop, gpu"),
        (["sweep", "tiny", "--workers", "0"], "at least one run at once, not 0"),
        (["sweep", "tiny", "--executor", "slurm", "--minutes", "5"], "at least 11 minutes, not 5"),
        (["sweep", "tiny", "--budget", "-3"], "a budget is a positive number of minutes, not -3"),
        (["sweep", "tiny", "--executor", "slurm", "--budget", "9"], "a budget is for one machine"),
        (["records", "status", "tables"], "no catalogue 'tables'; there are: tiny, all"),
        (["records", "status", "--scale", "huge"], "unknown scale 'huge'"),
        (["records", "show", "nothing"], "no record with 'nothing' in its name"),
    ],
)
def test_bad_input_is_refused_in_one_message(arguments: list[str], message: str) -> None:
    output = mmc(*arguments, fails=True).output
    assert message in " ".join(output.split())
    assert "Traceback" not in output


def test_slurm_where_there_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "run the sweep without --executor slurm" in mmc("sweep", "tiny", "--executor", "slurm", fails=True).output


def test_a_sweep_runs_what_is_missing_and_then_nothing() -> None:
    assert "tiny" in mmc("sweep", "--list").output
    dry = mmc("sweep", "tiny", "--dry-run").output
    assert "0 runs recorded, 4 to run" in dry and dry.count("seed") == 4
    said = mmc("sweep", "tiny").output
    assert "4 done, 0 stopped, 0 failed" in said and said.count("step 36/36") == 4
    assert "4 runs recorded, 0 to run" in mmc("sweep", "tiny").output
    record = lab.read(lab.path(BASE))
    assert record.seeds == (0, 1)
    alone = experiments.measure(BASE, 1)["values"]
    assert alone == record.runs[1]["values"], "a sweep gives what a single run gives"


def test_a_budget_takes_what_fits_and_the_status_says_what_is_left() -> None:
    said = mmc("records", "status", "--scale", "smoke", "--missing").output
    assert "tiny" in said and "of one core" in said and said.count(" seed ") == 4
    assert "0 of them fit into 1e-09 minutes" in mmc("sweep", "tiny", "--budget", "1e-9").output
    dry = mmc("sweep", "tiny", "--budget", "30", "--workers", "1", "--dry-run").output
    assert "4 of them fit into 30 minutes, 1 at once" in dry and dry.splitlines()[-4].endswith("seed 0")
    for job in catalogue.jobs("tiny", "smoke"):
        experiments.record(job.spec, job.seeds)
    row = next(line.split() for line in mmc("records", "status", "tiny", "--scale", "smoke").output.splitlines()[1:])
    assert row[:5] == ["tiny", "smoke", "4", "0", "0"]


def test_a_failing_run_is_named_with_its_reason_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = BASE.with_changes(learning_rate=1e18, optimizer="sgd", epochs=9, tag="wild")
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": lambda scale: [Job(wild, (0,)), Job(BASE, (0,))]})
    output = mmc("sweep", "tiny", fails=True).output
    assert "1 done, 0 stopped, 1 failed" in output
    assert "NonFiniteLossError: MMC became" in output and "likely cause" in output
    assert lab.path(BASE).exists() and not lab.path(wild).exists()


def test_stale_records_are_named_and_run_again_only_when_told(recorded: None) -> None:
    file = lab.path(BASE)
    file.write_text(file.read_text().replace('"schema": 2', '"schema": 1'))
    said = mmc("sweep", "tiny").output
    assert "2 runs recorded, 0 to run" in said and "its schema is 1" in said and "--replace-stale" in said
    assert "stale" in mmc("records", "list").output
    dry = mmc("sweep", "tiny", "--replace-stale", "--dry-run").output
    assert "2 runs recorded, 2 to run" in dry and dry.count(" seed ") == 2
    assert '"schema": 1' in file.read_text(), "a dry run moves nothing"
    said = mmc("sweep", "tiny", "--replace-stale").output
    assert "stale, put aside" in said and "2 done" in said
    assert lab.read(file).seeds == (0, 1)


def test_records_are_listed_shown_compared_and_exported(recorded: None, places: Path) -> None:
    listed = mmc("records", "list").output
    assert "tiny/smoke/digits-mlp-mmc" in listed and "tiny/smoke/digits-mlp-sce" in listed and "0, 1" in listed
    shown = mmc("records", "show", "mlp-mmc").output
    for word in ("commit", "hardware", "robust/0.1/margin", "curve/validation/last", "±", "learning_rate"):
        assert word in shown
    assert "several records match" in mmc("records", "show", "tiny", fails=True).output
    compared = mmc("records", "compare", "mlp-sce", "mlp-mmc", "--value", "clean", "--value", "own center").output
    rows = [line.split() for line in compared.splitlines()]
    assert rows[0] == ["value", "tiny/smoke/digits-mlp-sce", "tiny/smoke/digits-mlp-mmc"]
    assert any(row[0] == "clean" for row in rows) and any("-" in row for row in rows)
    mmc("records", "export", "--csv", str(places / "all.csv"))
    table = list(csv.DictReader(io.StringIO((places / "all.csv").read_text())))
    clean = [float(row["measured"]) for row in table if row["value"] == "clean" and row["loss"] == "MMC"]
    assert clean == lab.read(lab.path(BASE)).values("clean").tolist()
    assert mmc("records", "export").output == (places / "all.csv").read_text()
    assert all(row["commit"] and row["hardware"] for row in table)


def test_slots_share_the_cores_or_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert slots() == [{"OMP_NUM_THREADS": "1"}] * 8
    assert slots(3) == [{"OMP_NUM_THREADS": "2"}] * 3
    for allowed, taken in (("1", "1"), ("4", "2"), ("none", "2")):
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
        assert slots(3) == [{"OMP_NUM_THREADS": taken}] * 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [s["CUDA_VISIBLE_DEVICES"] for s in slots(per_gpu=2)] == ["0", "1", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [s["CUDA_VISIBLE_DEVICES"] for s in slots()] == ["5", "7"]
    assert len(slots(1, per_gpu=3)) == 1


def test_times_are_told_in_words() -> None:
    assert [duration(s) for s in (3.2, 80, 600, 9000)] == ["3 s", "80 s", "10 min", "2.5 h"]
