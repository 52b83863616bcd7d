"""One network: train it, attack it."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import click

from mmc.commands.tell import say, table, told, training_progress
from mmc.lab import Evaluation, Spec
from mmc.recipe import AUGMENTATIONS, OPTIMIZERS, PRECISIONS, SCHEDULES, Recipe

CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augmentation": AUGMENTATIONS,
    "precision": PRECISIONS,
}
HELP = {
    "epochs": "Passes over the training images.",
    "batch_size": "Images per step.",
    "optimizer": "SGD with momentum, or Adam.",
    "learning_rate": "The highest learning rate.",
    "momentum": "Of SGD.",
    "nesterov": "Nesterov's form of momentum.",
    "weight_decay": "L2 on weights; not on biases, norms and centers.",
    "schedule": "How the learning rate falls.",
    "warmup": "Share of the steps over which it first rises.",
    "augmentation": "How images are moved at random.",
    "average": "Decay of averaged weights, e.g. 0.999; 0 keeps the last.",
    "clip": "Largest norm of the gradient; 0 leaves it alone.",
    "precision": "Of the network while it trains.",
    "channels_last": "The memory layout processors prefer.",
    "compiled": "Compile the network, on a processor its norms (torch.compile).",
}


def recipe_options(command: Any) -> Any:
    """An option for every field of `Recipe`, with its default."""
    for entry in reversed(dataclasses.fields(Recipe)):
        if entry.name not in HELP:
            continue
        flag, default = "--" + entry.name.replace("_", "-"), entry.default
        if isinstance(default, bool):
            option = click.option(f"{flag}/--no-{flag[2:]}", default=default, show_default=True, help=HELP[entry.name])
        else:
            kind = click.Choice(CHOICES[entry.name]) if entry.name in CHOICES else type(default)
            option = click.option(flag, type=kind, default=default, show_default=True, help=HELP[entry.name])
        command = option(command)
    return command


def _value(text: str) -> Any:
    """A number, truth value or tuple where the text is one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _pairs(given: tuple[tuple[str, str], ...]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, _value(text)) for name, text in given)


def _option(flag: str, name: str, what: str) -> Any:
    return click.option(flag, name, nargs=2, multiple=True, metavar="NAME VALUE", help=what)


@click.command()
@click.option("--dataset", default="digits", show_default=True, help="digits, mnist, cifar10 or cifar100.")
@click.option("--backbone", default="mlp", show_default=True, help="The network: mlp, cnn, resnet32, ...")
@click.option("--loss", default="MMC", show_default=True, help="The loss, by the name that tables print.")
@click.option("--rule", default="standard", show_default=True, help="The training rule: standard, AT, TRADES, ...")
@click.option("--feature-dim", default=64, show_default=True, help="How many features the loss sees.")
@click.option("--seed", default=0, show_default=True, help="Of network, order, augmentation and crafting.")
@_option("--loss-option", "loss_options", "An option of the loss, e.g. norm 100; may be repeated.")
@_option("--rule-option", "rule_options", "An option of the rule, e.g. epsilon 0.1; may be repeated.")
@_option("--backbone-option", "backbone_options", "An option of the network, e.g. width 32; may be repeated.")
@_option("--variant", "variant", "A variant of the data, e.g. long_tailed 100; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to keep weights, checkpoint and record.")
@recipe_options
def train(
    dataset: str,
    backbone: str,
    loss: str,
    rule: str,
    feature_dim: int,
    seed: int,
    loss_options: tuple[tuple[str, str], ...],
    rule_options: tuple[tuple[str, str], ...],
    backbone_options: tuple[tuple[str, str], ...],
    variant: tuple[tuple[str, str], ...],
    out: Path | None,
    **recipe: Any,
) -> None:
    """Train one network and keep it.

    \b
    Examples:
      mmc train
      mmc train --dataset mnist --backbone cnn --loss MMC --epochs 6
      mmc train --dataset cifar10 --backbone resnet32 --loss SCE --rule AT --precision bf16 --average 0.999
      mmc train --dataset mnist --backbone cnn --loss SCE --rule TRADES --rule-option epsilon 0.3

    A training that is broken off goes on where it was when the same command is given again.
    """
    from mmc import experiments, networks
    from mmc.files import write_text
    from mmc.lab import Record
    from mmc.provenance import device
    from mmc.training.precision import advice

    with told():
        spec = Spec(
            "trained",
            "laptop",
            dataset,
            backbone,
            loss,
            _pairs(loss_options),
            feature_dim,
            rule,
            _pairs(rule_options),
            Recipe(**recipe),
            Evaluation(),
            _pairs(variant),
            _pairs(backbone_options),
        )
        if slow := advice(spec.recipe, device()):
            say(slow)
        place = out or experiments.net_folder(spec, seed)
        data = networks.about(spec.dataset, spec.variant)
        with training_progress(spec.slug) as report:
            run = experiments.measure(spec, seed, place=place, report=report)
        write_text(place / "record.json", Record(spec, data, (run,)).dumps())
        validation = run["values"]["curve"]["validation"][-1]
        say(
            f"clean accuracy {run['values']['clean']:.2%} on the test images, {validation:.2%} on the validation images"
        )
        say(f"{run['made']['seconds']:.0f} s, {run['made']['images_per_second']:,.0f} images/s; kept in {place}")
        say(f"Next: mmc evaluate {place} --epsilon 0.1")


@click.command()
@click.argument("place", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--epsilon", "epsilons", type=float, multiple=True, required=True, help="L-inf radius; may be repeated.")
@click.option("--steps", default=50, show_default=True, help="Gradient steps of each attack.")
@click.option("--restarts", default=1, show_default=True, help="Random starts of each attack.")
@click.option("--count", default=1000, show_default=True, help="How many test images, from the first.")
@click.option("--features", is_flag=True, help="Measure the training features too.")
def evaluate(place: Path, epsilons: tuple[float, ...], steps: int, restarts: int, count: int, features: bool) -> None:
    """Attack a trained network with every objective that it allows, and take the worst case image by image.

    PLACE is a folder that `mmc train` or `mmc sweep` made. An epsilon is in units of a pixel's range [0, 1]: 8/255 is
    0.0314. The result is added to the record in PLACE.
    """
    from mmc import experiments, lab
    from mmc.files import write_text
    from mmc.lab.revisions import current

    with told():
        found = _opened(place)
        (run,) = found.runs
        changes = {"steps": steps, "restarts": restarts, "num_attacked": count, "features": features}
        spec = found.spec.with_changes(epsilons=epsilons, **changes)
        model = experiments.opened(spec, run["seed"], place / "weights.safetensors")
        data = experiments.dataset(spec.dataset, spec.variant)
        values = experiments.evaluate(model, data, spec.evaluation, run["seed"])
        made = {**run["made"], "revision": current(spec).number}  # what is new was measured by this code
        result = lab.Record(spec, found.data, ({**run, "values": {**run["values"], **values}, "made": made},))
        write_text(place / "record.json", result.dumps())
        names = list(next(iter(values["robust"].values())))
        images = min(count, len(data.test))
        say(f"{spec.slug}, seed {run['seed']}: clean accuracy {values['clean']:.2%}")
        say(f"accuracy under PGD-{steps}, {images} test images:")
        rows = [["epsilon", *names]]
        for epsilon, row in values["robust"].items():
            rows.append([epsilon, *("-" if row[n] is None else f"{row[n]:.1%}" for n in names)])
        rows.append(
            ["zero gradient", *("-" if (v := values["zero_gradients"].get(n)) is None else f"{v:.1%}" for n in names)]
        )
        table(rows)
        say("A plain PGD is a weak judge: it can show that a network is not robust, never that it is.")


def _opened(place: Path) -> Any:
    from mmc import lab

    if not (place / "record.json").exists():
        raise FileNotFoundError(f"{place} holds no record.json: train a network there with  mmc train --out {place}")
    return lab.read(place / "record.json")


COMMANDS = (train, evaluate)
