"""Records: written whole, resumed by seed, refused when stale, and never read behind the book's back."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc import catalogue, experiments, features, lab, networks
from mmc.attacks import PRESETS, correct
from mmc.attacks.preset import NEAREST
from mmc.attacks.presets import chosen
from mmc.lab import SCALES, Evaluation, Record, Spec, StaleRecordError, revisions
from mmc.lab.revisions import Revision
from mmc.losses import LOSSES
from mmc.recipe import AUGMENTATIONS, SCHEDULES
from mmc.training import RULES, Recipe

SPEC = Spec("trial", "smoke", "digits", "mlp", "MMC (rand)", (("norm", 5.0),), evaluation=Evaluation((0.1, 0.25)))
DATA = {"digest": "abc", "train": 3}


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv(networks.RUNS, str(tmp_path / "runs"))
    monkeypatch.delenv(lab.TRACE, raising=False)
    return tmp_path / "records"


def run(seed: int, **values: object) -> dict:
    made = {"revision": 2, "commit": "abc", "hardware": "x", "seconds": 2.0, "epoch_seconds": [1.0, 2.0]}
    found = {"clean": 0.5 + seed / 10, "robust": {"0.1": {"margin": 0.25, "own center": None}}, **values}
    return {"seed": seed, "values": found, "made": made}


def write(*seeds: int, spec: Spec = SPEC, data: dict = DATA, folder: Path | None = None) -> Record:
    for seed in seeds:
        record = lab.add(spec, data, run(seed), lab.folder() / "locks")
    return record


def test_a_record_survives_the_file() -> None:
    record = write(1, 0)
    (loaded,) = lab.load("trial/smoke/*.json")
    assert loaded == record and loaded.spec == SPEC and loaded.seeds == (0, 1)
    assert loaded.values("clean").tolist() == [0.5, 0.6]
    assert math.isnan(loaded.values("robust", "0.1", "own center")[0])
    assert loaded.times("epoch_seconds").tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert loaded.made("commit") == ["abc"]
    assert lab.path(SPEC).name == "digits-mlp-mmc-rand-norm-5.0.json"


def test_a_record_is_readable_text_with_each_curve_on_one_line() -> None:
    curve = [round(1 / (k + 1), 6) for k in range(50)]
    record = Record(SPEC, DATA, (run(0, curve=curve, note='a list in words: [\\n 1,\\n 2] "stays"'),))
    text = record.dumps()
    assert json.loads(text)["runs"][0]["values"]["curve"] == curve
    assert json.loads(text)["runs"][0]["values"]["note"] == 'a list in words: [\\n 1,\\n 2] "stays"'
    assert any(str(curve[-1]) in line and str(curve[0]) in line for line in text.splitlines())


@settings(max_examples=30, deadline=None)
@given(
    dim=st.integers(1, 500),
    rate=st.floats(1e-6, 1.0),
    epsilons=st.lists(st.floats(0, 1), max_size=3),
    options=st.dictionaries(st.text("abc", min_size=1), st.floats(0, 1) | st.integers() | st.text() | st.booleans()),
    variant=st.sampled_from([(), (("two_classes", (3, 5)), ("ratio", 10.0))]),
    schedule=st.sampled_from(SCHEDULES),
    augmentation=st.sampled_from(AUGMENTATIONS),
    loss=st.sampled_from(list(LOSSES)),
    rule=st.sampled_from(list(RULES)),
)
def test_every_spec_survives_json(
    dim: int,
    rate: float,
    epsilons: list,
    options: dict,
    variant: tuple,
    schedule: str,
    augmentation: str,
    loss: str,
    rule: str,
) -> None:
    spec = SPEC.with_changes(
        feature_dim=dim,
        learning_rate=rate,
        epsilons=tuple(epsilons),
        loss_options=tuple(options.items()),
        variant=variant,
        schedule=schedule,
        augmentation=augmentation,
        loss=loss,
        rule=rule,
    )
    assert spec.recipe.learning_rate == rate and spec.evaluation.epsilons == tuple(epsilons)
    assert Spec.from_json(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec
    assert hash(spec) == hash(dataclasses.replace(spec))
    assert "/" not in spec.slug and not spec.slug.startswith(".")


def test_slugs_tell_losses_rules_and_options_apart() -> None:
    plain = Spec("trial", "smoke", "digits", "mlp", "MMC")
    specs = [plain.with_changes(loss=name) for name in LOSSES]
    specs += [plain.with_changes(rule=name) for name in RULES if name != "standard"]
    specs += [
        plain.with_changes(loss_options=(("norm", 100.0),)),
        plain.with_changes(rule="AT", rule_options=(("targeted", True),)),
        plain.with_changes(backbone_options=(("linear", False),)),
        plain.with_changes(variant=(("long_tailed", 100.0),)),
        plain.with_changes(tag="paper"),
    ]
    assert len({spec.slug for spec in specs}) == len(specs)


def test_training_tells_who_aims_at_a_target() -> None:
    plain = Spec("trial", "smoke", "digits", "mlp", "MMC")
    options = ((), (("targeted", False),), (("epsilon", 0.1), ("targeted", True)))
    told = [plain.with_changes(rule="AT", rule_options=chosen).training for chosen in options]
    assert [plain.training, *told] == ["standard", "AT", "AT", "AT, targeted"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [*catalogue.CATALOGUE, "all"])
def test_every_catalogue_has_one_place_for_each_record(name: str, scale: str) -> None:
    jobs = catalogue.jobs(name, scale)
    assert len({job.spec.place for job in jobs}) == len(jobs) > 0
    assert all(job.spec.scale == scale and job.seeds for job in jobs)


def test_unknown_catalogues_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="no catalogue 'tables'; there are: first-experiment, convergence"):
        catalogue.jobs("tables", "smoke")
    with pytest.raises(ValueError, match="unknown scale 'huge'; there are: smoke, laptop, gpu"):
        catalogue.jobs("convergence", "huge")
    with pytest.raises(ValueError, match="no first experiment on 'svhn'; there are: digits, mnist"):
        catalogue.first_experiment("svhn")


def test_every_load_leaves_its_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv(lab.TRACE, str(trace))
    lab.load("trial/smoke/*.json")
    lab.load("other/laptop/a.json")
    assert trace.read_text() == "trial/smoke/*.json\nother/laptop/a.json\n"


def test_the_digest_follows_the_content() -> None:
    empty = lab.digest("trial/*/*")
    write(0)
    one = lab.digest("trial/*/*")
    write(1)
    assert len({empty, one, lab.digest("trial/*/*")}) == 3
    assert lab.digest("other/*/*") == empty


def test_another_spec_or_other_data_is_not_mixed_in_and_the_difference_is_named() -> None:
    write(0)
    with pytest.raises(StaleRecordError, match=r"norm-5\.0\.json was made from another spec \(feature_dim: 64"):
        write(1, spec=SPEC.with_changes(feature_dim=9))
    with pytest.raises(StaleRecordError, match=r"another data \(digest: 'abc' there, 'xyz' here\)"):
        write(1, data=DATA | {"digest": "xyz"})


def test_a_revision_makes_stale_what_it_concerns_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SPEC.with_changes(loss="SCE", loss_options=())
    write(0)
    write(0, spec=other)
    newer = Revision(99, "MMC (rand) drew its centers twice", lambda spec: spec.loss == "MMC (rand)")
    monkeypatch.setattr(revisions, "REVISIONS", (*revisions.REVISIONS, newer))
    with pytest.raises(StaleRecordError, match=r"stale record trial/.*seeds \[0\].*revision 99 \(MMC \(rand\) drew"):
        lab.load("trial/smoke/*rand*.json")
    assert lab.load("trial/smoke/*sce*.json")[0].spec == other


def test_revisions_count_up_and_give_reasons() -> None:
    assert [r.number for r in revisions.REVISIONS] == list(range(1, len(revisions.REVISIONS) + 1))
    assert all(len(r.reason) > 20 for r in revisions.REVISIONS)


@pytest.mark.parametrize("scale", SCALES)
def test_the_nearest_point_of_ball_and_box_concerns_climbs_in_l2(scale: str) -> None:
    climbs = {slug for slug, preset in PRESETS.items() if preset.norm == "l2" and preset.attack not in NEAREST}
    assert climbs
    for job in catalogue.jobs("all", scale):
        evaluation = job.spec.evaluation
        expected = evaluation.per_class > 0 or any(preset.slug in climbs for preset in chosen(evaluation.suite))
        assert revisions.REVISIONS[2].concerns(job.spec) == expected, job.spec.place


@given(
    st.lists(
        st.tuples(st.sampled_from(SCALES), st.integers(1, 5000), st.sets(st.integers(0, 3), min_size=1)), max_size=3
    ),
    st.booleans(),
)
def test_what_made_some_records_is_told_once_each(drawn: list[tuple[str, int, set[int]]], attacked: bool) -> None:
    """Every answer of every record is in it, none twice, and images under attack only where there was one."""
    found = [
        Record(
            SPEC.with_changes(
                scale=scale, evaluation=Evaluation((0.1,) if attacked else (), num_attacked=count if attacked else 1000)
            ),
            DATA,
            tuple(
                {"seed": seed, "made": {"hardware": f"machine {seed % 2}", "commit": f"c{seed}"}}
                for seed in sorted(seeds)
            ),
        )
        for scale, count, seeds in drawn
    ]
    said = lab.made(*found)
    if not found:
        assert said == "nothing is recorded yet"
        return
    parts = said.split("; ")
    assert len(set(parts)) == len(parts) and lab.made(*found, *found) == said
    assert ("under attack" in said) == attacked
    assert lab.made(*found, between="\n").splitlines() == parts
    for record in found:
        assert record.spec.scale in parts[0] and ", ".join(map(str, record.seeds)) in said
        assert all(machine in parts for machine in record.made("hardware"))
        assert all(commit in parts[-1] for commit in record.made("commit"))
        assert not attacked or f"{record.spec.evaluation.num_attacked:,}" in parts[1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace('"schema": 2', '"schema": 1'), "stale record .*its schema is 1, this code reads 2"),
        (lambda text: text.replace('"epochs"', '"epoch"'), "stale record .*its spec does not fit.*epoch"),
        (lambda text: text.replace('"cosine"', '"cosin"'), "stale record .*its spec does not fit.*cosin"),
        (lambda text: text.replace('"revision": 2', '"revision": 0'), r"stale record .*seeds \[0\] are older"),
        (lambda text: text[: len(text) // 2], r"damaged record trial/smoke/digits-mlp-mmc-rand-norm-5\.0\.json"),
        (lambda text: "[]", "damaged record"),
        (lambda text: text.replace('"runs"', '"run"'), "damaged record"),
    ],
)
def test_stale_and_damaged_records_are_refused_by_name(damage: object, message: str) -> None:
    write(0)
    file = lab.path(SPEC)
    file.write_text(damage(file.read_text()))
    with pytest.raises(StaleRecordError, match=message):
        lab.load("trial/smoke/*.json")


def test_unknown_paths_scales_and_fields_are_refused() -> None:
    with pytest.raises(KeyError, match=r"seed 0, holds no robust/0\.2"):
        Record(SPEC, DATA, (run(0),)).values("robust", "0.2")
    with pytest.raises(ValueError, match="smoke, laptop or gpu"):
        dataclasses.replace(SPEC, scale="huge")
    with pytest.raises(ValueError, match=r"small letters, digits and dashes, not '\.\./up'"):
        dataclasses.replace(SPEC, experiment="../up")
    with pytest.raises(TypeError, match="epoch"):
        SPEC.with_changes(epoch=3)


TINY = Recipe(epochs=2, batch_size=64, optimizer="adam", learning_rate=1e-3)


def test_asking_for_a_spec_runs_what_is_missing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec("trial", "smoke", "digits", "mlp", "SCE", recipe=TINY, evaluation=Evaluation((0.1,), 2, 1, 20))
    measure, calls = experiments.measure, []

    def counted(spec: Spec, seed: int, **options: object) -> dict:
        calls.append(seed)
        if seed == 1 and calls.count(1) == 1:
            raise KeyboardInterrupt
        return measure(spec, seed, **options)

    monkeypatch.setattr(experiments, "measure", counted)
    with pytest.raises(KeyboardInterrupt):
        experiments.record(spec, (2, 1, 0))
    assert lab.read(lab.path(spec)).seeds == (2,)
    record = experiments.record(spec, (2, 1, 0))
    assert calls == [2, 1, 1, 0] and record.seeds == (0, 1, 2)
    assert experiments.record(spec, (0, 1, 2)) == record and len(calls) == 4
    for key in ("commit", "code", "versions", "hardware", "device", "dtype", "threads", "repeatable", "revision"):
        assert record.made(key)
    assert record.times("seconds").min() >= 0 and record.times("epoch_seconds").shape == (3, 2)
    assert record.values("curve", "validation").shape == (3, 2)


def test_kept_weights_are_the_measured_network() -> None:
    from mmc import weights

    spec = Spec("trial", "smoke", "digits", "mlp", "MMC (rand)", recipe=TINY)
    record = experiments.record(spec, (3,))
    place = experiments.net_folder(spec, 3)
    assert lab.read(place / "record.json") == record
    model = experiments.initial(spec, 99).eval()
    weights.load(place / "weights.safetensors", model)
    test = experiments.dataset("digits").test
    assert correct(model, test.x, test.y).float().mean().item() == pytest.approx(record.values("clean")[0], abs=1e-6)
    weights.save(place / "half.safetensors", model, half=True)
    assert (place / "half.safetensors").stat().st_size < 0.6 * (place / "weights.safetensors").stat().st_size
    weights.load(place / "half.safetensors", model)
    assert correct(model, test.x, test.y).float().mean().item() == pytest.approx(record.values("clean")[0], abs=0.01)
    (place / "half.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"half\.safetensors are damaged"):
        weights.load(place / "half.safetensors", model)
    with pytest.raises(ValueError, match="do not fit this model"):
        weights.load(place / "weights.safetensors", experiments.initial(spec.with_changes(feature_dim=12), 0))


def test_the_first_experiment_measures_every_loss_and_repeats_itself() -> None:
    changes = {"epochs": 2, "epsilons": (0.1,), "steps": 2, "num_attacked": 50}
    state = torch.get_rng_state()
    for spec in catalogue.first_experiment("digits", **changes):
        values = experiments.measure(spec, 0)["values"]
        assert 0 <= values["robust"]["0.1"]["worst case"] <= values["clean"] + 0.1
        assert (values["robust"]["0.1"]["own center"] is None) == (spec.loss == "SCE")
        json.dumps(values, allow_nan=False)
        if spec.loss in ("MMC", "MMC (rand)"):
            assert experiments.measure(spec, 0)["values"] == values
    assert torch.get_rng_state().equal(state), "measuring leaves torch's own generator alone"


def test_direction_dim_is_d_for_even_directions_and_1_for_a_line() -> None:
    generator = torch.Generator().manual_seed(0)
    even = torch.randn(20_000, 6, generator=generator).double().numpy()
    assert abs(features.direction_dim(even, even.mean(0)) - 6) < 0.05
    line = even.copy()
    line[:, 1:] = 0
    assert abs(features.direction_dim(line, 0 * line[0]) - 1) < 1e-9


def test_experiments_that_ask_for_the_same_network_train_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other attacks, another experiment, another scale: the network is opened and gives the same numbers."""
    spec = Spec(
        "trial", "smoke", "digits", "mlp", "MMC", recipe=TINY, evaluation=Evaluation((0.1,), 3, num_attacked=40)
    )
    first = experiments.record(spec, (0,))
    place = experiments.net_folder(spec, 0)
    assert not (place / "checkpoint").exists()
    monkeypatch.setattr(networks, "fit", lambda *_, **__: pytest.fail("the network is there, and was trained again"))
    again = experiments.record(spec.with_changes(experiment="other", scale="laptop"), (0,))
    assert again.runs[0]["values"] == first.runs[0]["values"]
    assert again.times("epoch_seconds").tolist() == first.times("epoch_seconds").tolist()
    assert again.runs[0]["made"]["measured"]["commit"] == again.runs[0]["made"]["commit"]
    assert experiments.net_folder(spec.with_changes(steps=9, tag="x"), 0) == place


@pytest.mark.parametrize("changes", [{"loss": "SCE"}, {"epochs": 3}, {"rule": "AT"}, {"feature_dim": 7}])
def test_what_decides_training_decides_the_network(changes: dict[str, object]) -> None:
    spec = Spec("trial", "smoke", "digits", "mlp", "MMC", recipe=TINY)
    other = spec.with_changes(**changes)
    assert networks.identity(spec, 0) != networks.identity(other, 0)
    assert experiments.net_folder(spec, 0) != experiments.net_folder(other, 0)
    assert networks.identity(spec, 0) != networks.identity(spec, 1)


def test_an_option_that_is_added_later_leaves_networks_as_they_are() -> None:
    """What is told of a spec holds nothing that stands at its default."""
    told = networks.identity(Spec("trial", "smoke", "digits", "mlp", "MMC", recipe=TINY), 0)
    assert "feature_dim" not in told and "momentum" not in told and "evaluation" not in told
    assert all(word in told for word in ("'MMC'", "'epochs': 2", "'digits'", "'optimizer': 'adam'"))


def test_a_network_folder_of_another_identity_is_trained_anew_and_damage_is_named() -> None:
    spec = Spec("trial", "smoke", "digits", "mlp", "MMC", recipe=TINY)
    place = experiments.net_folder(spec, 0)
    experiments.trained(spec, 0, place=place)
    told = json.loads((place / "training.json").read_text())
    (place / "training.json").write_text(json.dumps(told | {"identity": "another"}))
    _, history, _ = experiments.trained(spec, 0, place=place)
    assert json.loads((place / "training.json").read_text())["identity"] == networks.identity(spec, 0)
    assert history.loss == told["history"]["loss"]
    (place / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="damaged"):
        experiments.trained(spec, 0, place=place)


def test_a_suite_in_an_evaluation_keeps_every_verdict() -> None:
    evaluation = Evaluation(suite=("quick", "noise"), radii=(0.1, 0.2), num_attacked=60)
    spec = Spec("trial", "smoke", "digits", "mlp", "MMC", recipe=TINY, evaluation=evaluation)
    (run,) = lab.read(lab.path(experiments.record(spec, (0,)).spec)).runs
    found = experiments.outcome(run)
    assert len(found.attacks) == 2 * 3 + 1 and set(found.worst) == {"L-inf 0.1", "L-inf 0.2", "noise 0.05"}
    assert "cost" not in run["values"]["suite"] and set(run["made"]["measured"]["cost"]) == set(found.attacks)
    model = experiments.opened(spec, 0, experiments.net_folder(spec, 0) / "weights.safetensors")
    test = experiments.dataset("digits").test.first(60)
    assert found.clean.equal(correct(model, test.x, test.y))
    assert experiments.measure(spec, 0)["values"] == run["values"]
    with pytest.raises(ValueError, match="no preset or suite 'pgd'"):
        experiments.record(spec.with_changes(suite=("pgd",), tag="other"), (0,))
