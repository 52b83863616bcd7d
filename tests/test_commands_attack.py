"""`mmc attack`: what it prints and keeps, what it opens, and what it refuses."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from rich.console import Console

from mmc import experiments, lab, weights
from mmc.attacks import PRESETS, SUITES, Preset, Verdicts, run_suite
from mmc.commands import attack, cli, nets, tell
from mmc.lab import Evaluation, Spec
from mmc.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
TINY = Recipe(epochs=3, batch_size=64, optimizer="adam", learning_rate=3e-3)
SPEC = Spec("tiny", "smoke", "digits", "mlp", "SCE", recipe=TINY, evaluation=Evaluation())


def mmc(*arguments: str, fails: bool = False) -> Result:
    result = CliRunner().invoke(cli, ["attack", *arguments], terminal_width=110)
    assert (result.exit_code != 0) == fails, result.output
    return result


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `mmc train` leaves it."""
    place = tmp_path_factory.mktemp("nets") / "mine"
    run = experiments.measure(SPEC, 3, place=place)
    (place / "record.json").write_text(lab.Record(SPEC, {}, (run,)).dumps())
    return place


def test_it_explains_itself_and_lists_what_there_is() -> None:
    text = mmc("--help").output
    assert all(word in text for word in ("NET", "ATTACK", "8/255", "mmc attack mnist-cnn-mmc", "same threat"))
    for line in text.splitlines():
        assert not line.strip().startswith("--") or len(line.split()) > 3
    listed = mmc("--list").output
    words = set(re.findall(r"[\w./-]+", listed))
    assert set(PRESETS) | set(SUITES) <= words
    assert max(map(len, listed.splitlines())) <= 120
    for one in PRESETS.values():
        assert one.source in listed and one.title in listed


def test_the_table_the_file_and_the_library_agree(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brief = tuple((dict(PRESETS["cw-target"].options) | {"search_steps": 2, "iterations": 50}).items())
    monkeypatch.setitem(PRESETS, "cw-target", dataclasses.replace(PRESETS["cw-target"], options=brief))
    out = tmp_path / "deep" / "verdicts.json"
    arguments = ["quick", "noise", "cw-target", "--epsilon", "0.1", "--epsilon", "16/255", "--l2", "0.5"]
    said = mmc(str(net), *arguments, "--num", "40", "--seed", "5", "--out", str(out)).output
    content = json.loads(out.read_text())
    assert content["net"]["spec"]["loss"] == "SCE" and content["net"]["seed"] == 3
    assert content["net"]["weights"] == "weights.safetensors" and len(content["net"]["digest"]) == 20
    assert content["data"]["name"] == "digits" and content["data"]["attacked"] == "the first 40 test images"
    assert {"commit", "hardware", "versions", "device", "batch_size"} <= set(content["made"])
    found = Verdicts.from_json(content["outcome"])
    model = experiments.opened(SPEC, 3, net / "weights.safetensors")
    test = experiments.dataset("digits").test.first(40)
    again = run_suite(model, test.x, test.y, [one.preset for one in found.attacks.values()], seed=5)
    rows = {line.split()[0]: line.rstrip() for line in said.splitlines() if "%" in line}
    for slug, one in found.attacks.items():
        assert one.correct.equal(again.attacks[slug].correct)
        counts = [str(int(mask.sum())) for mask in (found.added(slug), found.alone(slug))]
        words = rf"{one.preset.threat} +{one.correct.float().mean():.1%} .* {counts[0]} +{counts[1]} +{one.label}$"
        assert re.search(words, rows[slug]), rows[slug]
    assert [slug for slug in found.attacks if slug.startswith("pgd")] == [
        f"pgd10-{rung}-{radius}" for radius in ("0.1", "16") for rung in ("ce", "margin")
    ]
    assert said.count("worst case") == len(found.worst) + 1 == 5  # each threat, and the warning of a weak one
    assert "not run, the model's loss has no centers: pgd10-own-center-0.1, pgd10-own-center-16\n" in said
    assert "noise 0.05: only weak attacks were run" in said and "L-inf 0.1: only weak" not in said
    assert "cw-target-l2-0.5: median distance" in said


def test_a_run_that_was_broken_off_goes_on(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, attacks = tmp_path / "verdicts.json", ["pgd10-ce-8", "noise", "rotation"]
    ran, craft = [], Preset.craft

    def crafting(preset: Preset, *arguments: object, **options: object) -> object:
        if preset.slug == "rotation" and not ran.count("rotation"):
            ran.append("rotation")
            raise KeyboardInterrupt
        ran.append(preset.slug)
        return craft(preset, *arguments, **options)

    monkeypatch.setattr(Preset, "craft", crafting)
    command = [str(net), *attacks, "--num", "20", "--out", str(out)]
    mmc(*command, fails=True)
    assert list(json.loads(out.read_text())["outcome"]["attacks"]) == attacks[:2]
    said = mmc(*command).output
    assert ran == [*attacks, "rotation"], "what was there is not run again"
    whole = json.loads(out.read_text())
    assert list(whole["outcome"]["attacks"]) == attacks and "noise" in said
    mmc(*command)
    assert len(ran) == 4 and json.loads(out.read_text()) == whole
    for other in (["--seed", "1"], ["--num", "21"], ["--batch-size", "20"]):
        ran[4:] = []
        mmc(*command, *other)
        assert ran[4:] == attacks, f"{other} is another run"
        mmc(*command)


def test_a_file_of_weights_will_do(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One beside its record, and one that names its record among all of them, as the book's do."""
    said = mmc(str(net / "weights.safetensors"), "noise", "--num", "20").output
    shelf, records = tmp_path / "shelf", tmp_path / "records"
    shelf.mkdir()
    monkeypatch.setenv(lab.RECORDS, str(records))
    model = experiments.opened(SPEC, 3, net / "weights.safetensors")
    weights.save(shelf / "mine.safetensors", model, about={"record": SPEC.place, "seed": "3"})
    (records / SPEC.place).parent.mkdir(parents=True)
    shutil.copy(net / "record.json", records / f"{SPEC.place}.json")
    other = mmc(str(shelf / "mine.safetensors"), "noise", "--num", "20").output
    table = [line for line in said.splitlines() if "%" in line and "first" not in line]
    assert table and table == [line for line in other.splitlines() if "%" in line and "first" not in line]
    (records / f"{SPEC.place}.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"no {records / SPEC.place}.json and no .*: the record of .*mine"):
        nets.find(str(shelf / "mine.safetensors"))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the book's records", "one's own"])
def test_every_network_of_the_book_is_found_by_its_name(
    elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one's own records are kept in a folder of their own."""
    kept = {record.spec.place: record.seeds for record in map(lab.read, lab.folder().glob("*/laptop/*.json"))}
    if elsewhere:
        monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    files = sorted((ROOT / "book" / "weights").glob("*.safetensors"))
    assert files
    for file in files:
        spec, seed, found = nets.find(file.stem)
        # A network's short name says its rule, its record's also the options of the rule and of the backbone.
        plain = spec.with_changes(backbone_options=())
        short = plain.with_changes(rule="standard", rule_options=()).slug if spec.rule == "AT" else plain.slug
        assert (
            found == file and file.stem.replace("-at-", "-") == short and ("-at-" in file.stem) == (spec.rule == "AT")
        )
        assert seed in kept[spec.place]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'NET'"),
        (["nobody"], "no network 'nobody': it is no folder, no file, and none of the book's: cifar10-cnn-at-mmc"),
        (["NET", "pgd11"], "no preset or suite 'pgd11'; suites are quick"),
        (["NET", "--epsilon", "0"], "'0' is no radius > 0, such as 0.1 or 8/255"),
        (["NET", "--epsilon", "8/0"], "'8/0' is no radius"),
        (["NET", "--epsilon", "nan"], "'nan' is no radius"),
        (["NET", "--l2", "large"], "'large' is no radius"),
        (["NET", "noise", "--epsilon", "0.1"], "no attack in L-inf"),
        (["NET", "--num", "0"], "0 is not in the range x>=1"),
        (["NET", "pgd10-own-center-8"], "no attack applies: pgd10-own-center-8: the model's loss has no centers"),
        (["EMPTY"], "holds no record.json"),
        (["DAMAGED"], "are damaged"),
        (["NAMELESS"], "does not say which record it belongs to"),
    ],
)
def test_bad_input_is_refused_in_one_message(arguments: list[str], message: str, net: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing of the kind")
    weights.save(tmp_path / "nameless.safetensors", torch.nn.Linear(1, 1))
    places = {"NET": net, "EMPTY": tmp_path / "empty"}
    places |= {word: tmp_path / f"{word.lower()}.safetensors" for word in ("DAMAGED", "NAMELESS")}
    output = mmc(*(str(places.get(word, word)) for word in arguments), fails=True).output
    assert message in " ".join(output.split())
    assert "Traceback" not in output


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = io.StringIO()
    for module in (attack, tell):
        monkeypatch.setattr(module, "console", Console(file=heard, force_terminal=True, width=100))
    with attack._progress(20, 2) as report:
        for slug in ("noise", "rotation"):
            report(PRESETS[slug], 10)
            report(PRESETS[slug], 20)
    assert "rotation" in heard.getvalue() and "40/40" in heard.getvalue()
    heard = io.StringIO()
    for module in (attack, tell):
        monkeypatch.setattr(module, "console", Console(file=heard, force_terminal=False, width=100))
    monkeypatch.setattr(attack, "TELL_EVERY", -1.0)
    with attack._progress(20, 2) as report:
        report(PRESETS["noise"], 10)
        report(PRESETS["noise"], 20)
    assert heard.getvalue().split(" after")[0] == "gaussian noise: done, 1 of 2 attacks"
