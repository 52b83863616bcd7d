"""The catalogue: every row can be built and taken a step, is put beside what was printed, and has a price."""

from __future__ import annotations

import math

import pytest
import torch

from mmc import catalogue, experiments, lab, networks, reported
from mmc.catalogue import cost, printed
from mmc.lab import SCALES, Spec
from mmc.losses import build
from mmc.models import Classifier, build_backbone
from mmc.training import build_rule
from mmc.training.rules import Moment

ROWS = {(name, scale): catalogue.jobs(name, scale) for name in catalogue.CATALOGUE for scale in SCALES}
QUEUE = [job.spec for job in catalogue.jobs("all", "gpu")]


def made_of(spec: Spec) -> tuple:
    """What a step of training is made of; the numbers in a rule and a recipe change nothing about whether it runs."""
    parts = (spec.dataset, spec.backbone, spec.backbone_options, spec.feature_dim, spec.loss, spec.loss_options)
    return (*parts, spec.rule, tuple(name for name, _ in spec.rule_options))


NETS = list({made_of(spec): spec for spec in QUEUE}.values())
KNOWN = cost.Speed("cpu", {"": 1000.0}, {"standard": 0.1})


def small(spec: Spec) -> Spec:
    """The same row with one inner step, so that one step of training is quick."""
    options = dict(spec.rule_options)
    steps = {"steps": 1} if spec.rule not in ("standard", "FGSM-RS", "N-FGSM") else {}
    return spec.with_changes(rule_options=tuple((options | steps).items()))


@pytest.mark.parametrize("spec", NETS, ids=lambda spec: f"{spec.slug}-{spec.feature_dim}")
def test_every_network_of_the_gpu_queue_takes_a_step(spec: Spec) -> None:
    """One command runs the whole queue: here each of its networks, losses and rules meets two images."""
    shape, classes, *_ = cost.SIZES[spec.dataset]
    spec = small(spec)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    backbone = build_backbone(spec.backbone, shape, spec.feature_dim, 0.5, 0.25, **dict(spec.backbone_options))
    model = Classifier(backbone, build(spec.loss, classes, spec.feature_dim, **dict(spec.loss_options)))
    x, y = torch.rand(2, *shape), torch.randint(classes, (2,))
    moment = Moment(0, spec.recipe.epochs, torch.Generator().manual_seed(0))
    _, values = build_rule(spec.rule, **dict(spec.rule_options))(model.train(), x, y, moment)
    values.mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert values.isfinite().all() and any(g.abs().sum() > 0 for g in gradients)
    assert model.eval()(x).shape == (2, classes)


@pytest.mark.parametrize("spec", {spec.evaluation: spec for spec in QUEUE}.values(), ids=lambda spec: spec.slug)
def test_every_attack_of_the_gpu_queue_is_known_and_one_of_each_list_fits(spec: Spec) -> None:
    if not spec.evaluation.suite:
        return
    model = Classifier(torch.nn.Flatten(), build(spec.loss, 10, 16))
    presets = experiments.asked(spec.evaluation)
    assert len({preset.slug for preset in presets}) == len(presets)
    assert any(not preset.misfit(model, 10) for preset in presets)


@pytest.mark.parametrize("table", ["white-box-cifar10", "white-box-architectures", "other-attacks-cifar10"])
def test_every_printed_row_has_a_row_in_the_gpu_queue(table: str) -> None:
    """Each printed cell has one place where it is measured at least, at the paper's scale."""
    found: dict[tuple, set[str]] = {}
    for spec in QUEUE:
        beside = printed.counterpart(spec)
        if beside and beside.cells and beside.table == table:
            row = reported.table(table).row(**dict(beside.row))
            found.setdefault(tuple(row.values()), set()).update(column for column, _ in beside.cells)
            assert set(row) > {column for column, _ in beside.cells}
    for row in reported.table(table).rows:
        if table == "white-box-architectures" and (row["dataset"], row["architecture"]) == ("CIFAR-10", "ResNet-32"):
            continue  # the table of white-box attacks has these
        assert found[tuple(row.values())] == set(row) - {"method", "dataset", "architecture"}


@pytest.mark.parametrize("name", ["white-box", "other-attacks"])
def test_every_printed_method_is_measured_at_laptop_scale_too(name: str) -> None:
    ours = {printed.method(job.spec) for job in catalogue.jobs(name, "laptop")}
    assert {row["method"] for row in reported.table(f"{name}-cifar10").rows} <= ours


def test_only_the_papers_scale_fills_a_printed_cell() -> None:
    for (_, scale), jobs in ROWS.items():
        for job in jobs:
            beside = printed.counterpart(job.spec)
            if beside is None:
                continue
            reported.table(beside.table).row(**dict(beside.row))
            assert not beside.cells or (scale == "gpu" and job.spec.dataset.startswith("cifar"))
            for _, path in beside.cells:
                if path[0] == "suite":
                    assert path[2] in {preset.slug for preset in experiments.asked(job.spec.evaluation)}


@pytest.mark.parametrize(("name", "scale"), ROWS, ids=lambda part: part)
def test_every_row_has_a_price_and_a_worth(name: str, scale: str) -> None:
    for job in ROWS[name, scale]:
        whole, rest = (cost.minutes(job.spec, KNOWN, trained=there) for there in (False, True))
        assert 0 < rest < whole < math.inf and job.worth > 0
        assert whole == pytest.approx(rest + cost.network_minutes(job.spec, KNOWN))


def test_what_takes_longer_costs_more() -> None:
    base = catalogue.jobs("white-box", "laptop")[0].spec

    def price(**changes: object) -> float:
        return cost.minutes(base.with_changes(**changes), KNOWN)

    plain = price()
    assert price(epochs=2 * base.recipe.epochs) - plain == pytest.approx(cost.network_minutes(base, KNOWN))
    assert price(rule="AT") > 5 * plain > 5 * price(variant=(("train_size", 1000),))
    assert price(rule="AT", rule_options=(("steps", 20),)) > price(rule="AT") > price(rule="N-FGSM") > plain
    assert price(suite=(*base.evaluation.suite, "cw")) > plain > price(num_attacked=10) > price(suite=(), radii=())
    assert price(backbone="resnet110") > price(backbone="resnet32") > price(backbone="resnet8")
    assert price(sources=(base,), suite=("mim10-ce-8",)) > price(suite=("mim10-ce-8",))


def test_multiply_adds_are_those_counted_by_hand() -> None:
    base = catalogue.jobs("white-box", "smoke")[0].spec
    assert cost.size(base) == (pytest.approx((64 * 128 + 128 * 128 + 128 * 16) / 1e6), 3)
    assert 69.0 < cost.size(base.with_changes(dataset="cifar10", backbone="resnet32", feature_dim=64))[0] < 69.3
    with pytest.raises(ValueError, match="nothing is known of the size of 'svhn'"):
        cost.size(base.with_changes(dataset="svhn"))


def test_sizes_are_those_of_the_data() -> None:
    digits = networks.dataset("digits")
    assert cost.SIZES["digits"] == (digits.shape, digits.num_classes, len(digits.train), len(digits.test))
    for record in lab.load("*/laptop/*.json"):
        if not record.spec.variant:
            assert cost.SIZES[record.spec.dataset][2:] == (record.data["train"], record.data["test"])


def test_estimates_of_training_come_near_what_recorded_runs_took() -> None:
    """Half of the recorded runs within a factor of two, in processor time: others shared the machine.

    What measuring took is kept by the wall clock only, so it is not compared.
    """
    records = list(lab.load("*/laptop/*.json"))
    speed, ratios = cost.speed("cpu", records), []
    for record in records:
        for run in record.runs:
            spent = sum(run["made"]["epoch_processor_seconds"])
            ratios.append(60 * cost.network_minutes(record.spec, speed) / spent)
    near = [0.5 < ratio < 2 for ratio in ratios]
    assert sum(near) >= len(near) / 2, sorted(ratios)


def test_without_a_record_of_a_device_its_speed_is_assumed() -> None:
    gpu = cost.speed("cuda", [])
    assert gpu.records == 0 and gpu.launch > 0 and gpu.standing == {}
    spec = catalogue.jobs("white-box", "gpu")[0].spec
    assert cost.minutes(spec, gpu) > cost.minutes(spec, cost.Speed("cuda", gpu.rates, {"standard": 0.1}, gpu.launch))
