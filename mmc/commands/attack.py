"""Attack a trained network with named attacks, and tell what each is worth."""

from __future__ import annotations

import dataclasses
import json
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmc.commands.nets import Radius, find
from mmc.commands.tell import console, counter, duration, say, table, told

if TYPE_CHECKING:
    from mmc.attacks import Verdicts

#: Seconds between two lines of progress where there is no terminal.
TELL_EVERY = 10.0
#: Characters in a line of the list.
WIDTH = 110


@click.command()
@click.argument("net", required=False)
@click.argument("attacks", nargs=-1, metavar="[ATTACK]...")
@click.option("--list", "listed", is_flag=True, help="List the attacks and suites there are, and stop.")
@click.option("--epsilon", "epsilons", type=Radius(), multiple=True, help="Another L-inf radius; may be repeated.")
@click.option("--l2", type=Radius(), help="Another L2 radius, also for Carlini-Wagner to be judged at.")
@click.option("--num", default=200, show_default=True, type=click.IntRange(1), help="How many test images.")
@click.option("--seed", default=0, show_default=True, help="Of random starts, draws and target classes.")
@click.option("--batch-size", default=250, show_default=True, type=click.IntRange(1), help="Images at once.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep every verdict in this JSON file.")
def attack(
    net: str | None,
    attacks: tuple[str, ...],
    listed: bool,
    epsilons: tuple[float, ...],
    l2: float | None,
    num: int,
    seed: int,
    batch_size: int,
    out: Path | None,
) -> None:
    """Attack a trained network with named attacks, and take the worst case image by image.

    NET is a folder that `mmc train` or `mmc sweep` made, a file of weights, or the name of one of the book's networks
    in book/weights, such as mnist-cnn-mmc. ATTACK is an attack or a suite of attacks from `mmc attack --list`; without
    one it is `quick`.

    \b
    Examples:
      mmc attack mine
      mmc attack mnist-cnn-mmc ours --epsilon 0.1 --epsilon 0.2
      mmc attack cifar10-resnet32-mmc paper-white-box ours --num 100 --out verdicts.json
      mmc attack mnist-cnn-sce cw noise rotation

    A radius is in units of a pixel's range [0, 1], as 0.1 or 8/255. An attack has the radius in its name; --epsilon
    puts another one in its place, and the attack's steps grow with it. The first test images are attacked.

    The table tells for each attack which share of the images is still classified correctly, with its 95 % interval;
    how many images it felled that no attack above it had felled; and how many that no other attack felled. Both
    compare attacks of the same threat: the same norm and the same radius.

    The file of --out is written as each attack ends. The same command goes on from there if it was broken off; under
    other settings, on another network, or by other code the file is written anew.
    """
    from mmc import networks
    from mmc.attacks import run_suite
    from mmc.attacks.preset import num_classes
    from mmc.attacks.presets import chosen
    from mmc.files import digest_files, write_text

    if listed:
        _list()
        return
    if net is None:
        raise click.UsageError("Missing argument 'NET': the network to attack; `mmc attack --list` names the attacks.")
    with told():
        names = attacks or ("quick",)
        presets = chosen([p for epsilon in epsilons or (None,) for p in chosen(names, epsilon, l2)])
        spec, trained_seed, file = find(net)
        model = networks.opened(spec, trained_seed, file)
        data = networks.dataset(*networks.data_of(spec))
        test = data.test.first(num)
        classes = num_classes(model, test.x)
        fitting = sum(not preset.misfit(model, classes) for preset in presets)
        head = {
            "net": {
                "weights": file.name,
                "digest": digest_files(file.parent, [file]),
                "seed": trained_seed,
                "spec": dataclasses.asdict(spec),
            },
            "data": networks.about(*networks.data_of(spec)) | {"attacked": f"the first {len(test)} test images"},
            "made": networks.provenance() | {"batch_size": batch_size},
        }
        before = _kept(out, head, seed)

        def keep(found: Verdicts) -> None:
            if out:
                content = head | {"outcome": found.to_json()}
                write_text(out, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

        with _progress(len(test), fitting) as report:
            options = {"seed": seed, "batch_size": batch_size, "report": report, "before": before, "keep": keep}
            found = run_suite(model, test.x, test.y, presets, **options)
        keep(found)
        say(f"{net}: {spec.loss} on {spec.dataset}, the first {len(test)} test images, attacked with seed {seed}")
        _tell(found)
        if out:
            say(f"every verdict is kept in {out}")


def _kept(out: Path | None, head: dict[str, Any], seed: int) -> Verdicts | None:
    """What a run that was broken off left in a file: verdicts on the same network and images, by the same code."""
    from mmc.attacks import Verdicts

    if not out or not out.exists():
        return None
    kept = json.loads(out.read_text(encoding="utf-8"))
    same = all(kept.get(key) == json.loads(json.dumps(value)) for key, value in head.items())
    return Verdicts.from_json(kept["outcome"]) if same and kept["outcome"]["seed"] == seed else None


@contextmanager
def _progress(images: int, attacks: int) -> Iterator[Callable[[Any, int], None]]:
    """A `report` for `run_suite`: a bar on a terminal, a line now and then elsewhere."""
    if console.is_terminal:
        with counter() as progress:
            bar = progress.add_task("attacking", total=attacks * images)
            before: dict[str, int] = {}

            def report(preset: Any, done: int) -> None:
                before[preset.slug] = done
                progress.update(bar, description=preset.name, completed=sum(before.values()))

            yield report
        return
    started = last = time.monotonic()
    finished = 0

    def tell(preset: Any, done: int) -> None:
        nonlocal last, finished
        finished += done == images
        if done == images and time.monotonic() - last > TELL_EVERY:
            last = time.monotonic()
            say(f"{preset.name}: done, {finished} of {attacks} attacks after {duration(last - started)}")

    yield tell


def _share(values: dict[str, Any]) -> list[str]:
    low, high = values["interval"]
    return [f"{values['accuracy']:.1%}", f"{100 * low:.1f} to {100 * high:.1f}"]


def _tell(found: Any) -> None:
    """The table, the worst case of each threat, and what to bear in mind."""
    from mmc.attacks.preset import LABELS

    values = found.to_json()
    rows = [["attack", "threat", "correct", "95 % interval", "added", "alone", "worth"]]
    rows.append(["none", "", *_share(values["clean"]), "", "", ""])
    for slug, one in values["attacks"].items():
        rows.append([slug, one["threat"], *_share(one), str(one["added"]), str(one["alone"]), one["label"]])
    for threat, one in values["worst"].items():
        rows.append(["worst case", threat, *_share(one), "", "", ""])
    table(rows)
    for slug, one in found.attacks.items():
        if one.distances is not None:
            moved = one.distances[one.distances > 0]
            median = f"{moved.median().item():.3g}" if len(moved) else "unknown"
            say(f"{slug}: median distance {median} of the images that were right, in L2")
        for note in one.notes:
            say(f"{slug} warned: {note}")
    for reason in dict.fromkeys(found.not_applicable.values()):
        say(f"not run, {reason}: {', '.join(slug for slug, why in found.not_applicable.items() if why == reason)}")
    labels = {one.label for one in found.attacks.values()}
    for label, meaning in LABELS.items():
        if label in labels:
            say(f"{label}: {meaning}")
    for threat, slugs in found.threats.items():
        if all(found.attacks[slug].label == "weak" for slug in slugs):
            say(f"{threat}: only weak attacks were run, so the worst case is no evidence of robustness")
    say(
        f"{duration(sum(one.seconds for one in found.attacks.values()))}. An attack shows what falls, never what holds."
    )


def _list() -> None:
    """Suites, and attacks by whose setting they are; the radii of one attack on one line."""
    from mmc.attacks import PRESETS, SUITES

    for name, slugs in SUITES.items():
        say(f"suite {name}")
        say(textwrap.fill(", ".join(slugs), WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    families: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for slug, preset in PRESETS.items():
        ball = preset.threat.split(",")[0] if preset.epsilon is None else preset.threat.split()[0]
        rows = families.setdefault(preset.source, {})
        rows.setdefault((preset.title, ball, preset.label), []).append(slug)
    widths = [max(len(row[k]) for rows in families.values() for row in rows) for k in range(3)]
    for source, rows in families.items():
        say(f"\n{source}")
        for row, slugs in rows.items():
            words = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            say(f"  {words}  {', '.join(slugs)}")
    say("\nweak: but where a head trains with cross-entropy, cross-entropy counts as the paper's.")


COMMANDS = (attack,)
