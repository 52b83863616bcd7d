"""Model cards of the networks that travel with the book, written from their records."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmc import weights
from mmc.files import digest_files
from mmc.lab import Record, Spec
from mmc.shares import wilson
from mmc.shelf import SHELF, names, place, record_of


def card(name: str, shelf: Path = SHELF) -> str:
    """One network's card, in Markdown: what it is, how it was trained, what is known of it, and how to attack it.

    Raises:
        FileNotFoundError: there is no such network.
        ValueError: its file does not say which record it belongs to.
    """
    file = place(name, shelf)
    words, (record, seed) = weights.about(file), record_of(file)
    (run,) = [run for run in record.runs if run["seed"] == seed]
    rows = {
        "data": f"{record.data['name']}, {record.data['train']:,} training images, digest `{record.data['digest']}`",
        "network": f"{record.spec.backbone}, {_numbers(file):,} numbers in {words.get('precision', '32 bits')}, "
        f"{record.spec.feature_dim} features",
        "loss": _with(record.spec.loss, record.spec.loss_options),
        "rule": _with(record.spec.rule, record.spec.rule_options),
        "recipe": _recipe(record.spec),
        "seed": str(seed),
        "clean accuracy": _share(run["values"]["clean"], record.data["test"]),
        **_robust(record, run),
        "record": f"`book/records/{words['record']}.json`, commit {run['made']['commit']}, {run['made']['hardware']}",
        "file": f"`{file.name}`, {file.stat().st_size:,} bytes, digest `{digest_files(shelf, [file])}`",
        "attack it": f"`mmc attack {name} ours`",
    }
    body = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"## {name}\n\n| | |\n|---|---|\n{body}\n"


def cards(shelf: Path = SHELF) -> str:
    """All cards, in the order of the files' names."""
    return "\n".join(card(name, shelf) for name in names(shelf))


def _numbers(file: Path) -> int:
    from safetensors import safe_open

    with safe_open(file, "pt") as content:
        return sum(math.prod(content.get_slice(key).get_shape()) for key in content.keys())  # noqa: SIM118


def _with(name: str, options: Any) -> str:
    told = ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in options)
    return f"{name} ({told})" if told else name


def _recipe(spec: Spec) -> str:
    recipe = spec.recipe
    return (
        f"{recipe.epochs} epochs in batches of {recipe.batch_size}, {recipe.optimizer} at {recipe.learning_rate:g}, "
        f"{recipe.schedule}, weight decay {recipe.weight_decay:g}, augmentation {recipe.augmentation}, "
        f"{recipe.precision}"
    )


def _share(share: float, count: int) -> str:
    low, high = wilson(round(share * count), count)
    return f"{share:.1%} of {count:,} test images (95 % interval {low:.1%} to {high:.1%})"


def _robust(record: Record, run: dict[str, Any]) -> dict[str, str]:
    """The worst case at each radius that its record was attacked at."""
    values, found = run["values"], {}
    for epsilon, row in values.get("robust", {}).items():
        count = min(record.spec.evaluation.num_attacked, record.data["test"])
        share = min(share for share in row.values() if share is not None)
        found[f"worst case at {epsilon}"] = _share(share, count)
    for threat, worst in values.get("suite", {}).get("worst", {}).items():
        found[f"worst case, {threat}"] = _share(worst["accuracy"], values["suite"]["num_examples"])
    return found
