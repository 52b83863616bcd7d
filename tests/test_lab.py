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

from mmc import experiments, lab
from mmc.lab import Record, Spec, StaleRecordError
from mmc.losses import LOSSES

SPEC = Spec("trial", "smoke", "digits", "mlp", "MMC (rand)", (("norm", 5.0),), epsilons=(0.1, 0.25))
DATA = {"digest": "abc", "train": 3}


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.delenv(lab.TRACE, raising=False)
    return tmp_path / "records"


def measure(spec: Spec, seed: int) -> dict:
    return {"clean": 0.5 + seed / 10, "robust": {"0.1": {"margin": 0.25, "own center": None}}}


def test_a_record_survives_the_file() -> None:
    record = lab.run(SPEC, [0, 1], measure, DATA)
    (loaded,) = lab.load("trial/*.json")
    assert loaded == record and loaded.spec == SPEC and loaded.seeds == (0, 1)
    assert loaded.values("clean").tolist() == [0.5, 0.6]
    assert math.isnan(loaded.values("robust", "0.1", "own center")[0])
    assert lab.path(SPEC).name == "digits-mlp-mmc-rand.json"
    for key in ("commit", "code", "versions", "hardware", "device", "dtype", "threads", "seconds"):
        assert loaded.made(key)


@settings(max_examples=20, deadline=None)
@given(
    dim=st.integers(1, 500),
    rate=st.floats(1e-6, 1.0),
    epsilons=st.lists(st.floats(0, 1), max_size=3),
    options=st.dictionaries(st.text("abc", min_size=1), st.floats(0, 1)),
)
def test_every_spec_survives_json(dim: int, rate: float, epsilons: list, options: dict) -> None:
    spec = dataclasses.replace(
        SPEC, feature_dim=dim, learning_rate=rate, epsilons=tuple(epsilons), loss_options=tuple(options.items())
    )
    assert Spec.from_json(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec
    assert hash(spec) == hash(dataclasses.replace(spec))


def test_slugs_tell_the_losses_apart() -> None:
    slugs = {dataclasses.replace(SPEC, loss=name).slug for name in LOSSES}
    assert len(slugs) == len(LOSSES)


def test_only_missing_seeds_are_run_and_nothing_is_lost_when_one_fails() -> None:
    calls = []

    def failing(spec: Spec, seed: int) -> dict:
        calls.append(seed)
        if seed == 1 and calls.count(1) == 1:
            raise KeyboardInterrupt
        return measure(spec, seed)

    with pytest.raises(KeyboardInterrupt):
        lab.run(SPEC, [2, 1, 0], failing, DATA)
    assert lab.load("trial/*")[0].seeds == (2,)
    lab.run(SPEC, [2, 1, 0], failing, DATA)
    assert calls == [2, 1, 1, 0]
    assert lab.load("trial/*")[0].seeds == (0, 1, 2)


def test_every_load_leaves_its_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv(lab.TRACE, str(trace))
    lab.load("trial/*.json")
    lab.load("other/a.json")
    assert trace.read_text() == "trial/*.json\nother/a.json\n"


def test_the_digest_follows_the_content(records: Path) -> None:
    empty = lab.digest("trial/*")
    lab.run(SPEC, [0], measure, DATA)
    one = lab.digest("trial/*")
    lab.run(SPEC, [1], measure, DATA)
    assert len({empty, one, lab.digest("trial/*")}) == 3
    assert lab.digest("other/*") == empty


def test_another_spec_or_other_data_is_not_mixed_in() -> None:
    lab.run(SPEC, [0], measure, DATA)
    with pytest.raises(StaleRecordError, match=r"digits-mlp-mmc-rand\.json in trial was made from another spec"):
        lab.run(dataclasses.replace(SPEC, epochs=9), [1], measure, DATA)
    with pytest.raises(StaleRecordError, match="other data"):
        lab.run(SPEC, [1], measure, DATA | {"digest": "xyz"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace('"schema": 1', '"schema": 0'), "stale record .*its schema is 0, this code reads 1"),
        (lambda text: text.replace('"epochs"', '"epoch"'), "stale record .*its spec does not fit.*epoch"),
        (lambda text: text[: len(text) // 2], "damaged record digits-mlp-mmc-rand.json in trial"),
        (lambda text: "[]", "damaged record"),
        (lambda text: text.replace('"runs"', '"run"'), "damaged record"),
    ],
)
def test_stale_and_damaged_records_are_refused_by_name(damage: object, message: str) -> None:
    lab.run(SPEC, [0], measure, DATA)
    file = lab.path(SPEC)
    file.write_text(damage(file.read_text()))
    with pytest.raises(StaleRecordError, match=message):
        lab.load("trial/*.json")


def test_an_unknown_path_and_an_unknown_scale_are_refused() -> None:
    record = Record(SPEC, DATA, ({"seed": 0, "values": {"clean": 1.0}, "made": {}},))
    with pytest.raises(KeyError, match=r"seed 0, holds no robust/0\.1"):
        record.values("robust", "0.1")
    with pytest.raises(ValueError, match="smoke, laptop or gpu"):
        dataclasses.replace(SPEC, scale="huge")


def test_the_first_experiment_measures_every_loss_and_repeats_itself() -> None:
    changes = {"epochs": 2, "epsilons": (0.1,), "steps": 2, "num_attacked": 50}
    state = torch.get_rng_state()
    for spec in experiments.specs("digits", **changes):
        values = experiments.measure(spec, 0)
        assert 0 <= values["robust"]["0.1"]["worst case"] <= values["clean"] + 0.1
        assert (values["robust"]["0.1"]["own center"] is None) == (spec.loss == "SCE")
        json.dumps(values, allow_nan=False)
        if spec.loss in ("MMC", "MMC (rand)"):
            assert experiments.measure(spec, 0) == values
    assert torch.get_rng_state().equal(state), "measuring leaves torch's own generator alone"
    with pytest.raises(ValueError, match="no first experiment on 'svhn'; there are: digits, mnist"):
        experiments.specs("svhn")


def test_direction_dim_is_d_for_even_directions_and_1_for_a_line() -> None:
    generator = torch.Generator().manual_seed(0)
    even = torch.randn(20_000, 6, generator=generator).double().numpy()
    assert abs(experiments.direction_dim(even, even.mean(0)) - 6) < 0.05
    line = even.copy()
    line[:, 1:] = 0
    assert abs(experiments.direction_dim(line, 0 * line[0]) - 1) < 1e-9
