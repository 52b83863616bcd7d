"""What the diagnosis says of evaluations of the book's networks on MNIST; chapters read it.

`python -m mmc.diagnosed NAME` measures what is missing. It opens the weights in `book/weights`, so nothing is trained.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from mmc import lab, parts
from mmc.catalogue import jobs
from mmc.diagnose import BROKEN, Report, diagnose
from mmc.files import digest_files
from mmc.lab import Spec
from mmc.networks import about, data_of, dataset, opened
from mmc.shelf import SHELF

if TYPE_CHECKING:
    from torch import nn

SEED = 0


@dataclass(frozen=True)
class Plan:
    """What is diagnosed.

    Attributes:
        spec: of the network.
        weights: the name of its weights.
        twin: the name of the weights of a network that nothing defends, with its spec.
        broken: how the network is broken before it is diagnosed, a key of `mmc.diagnose.BROKEN`; not at all if empty.
        images: test images, from the first.
        epsilons: L-inf radii, in units of a pixel's range [0, 1].
        attacks: under evaluation, by name; see `mmc.diagnose.evaluation`.
        effort: how much is run.
    """

    spec: Spec
    weights: str
    twin: tuple[str, Spec]
    broken: str = ""
    images: int = 200
    epsilons: tuple[float, ...] = (0.1, 0.2, 0.3)
    attacks: tuple[str, ...] = ("pgd50-ce", "apgd-targets")
    effort: str = "default"


def plans() -> dict[str, Plan]:
    """Everything that is diagnosed, by name."""
    specs = {(job.spec.loss, job.spec.training): job.spec for job in jobs("white-box", "laptop")}
    plain = {f"mnist-cnn-{loss.lower()}": specs[loss, "standard"] for loss in ("SCE", "MMC", "Center")}
    trained = {f"mnist-cnn-at-{loss.lower()}": specs[loss, "AT"] for loss in ("SCE", "MMC")}
    twin, other = ((name, plain[name]) for name in ("mnist-cnn-sce", "mnist-cnn-center"))
    found = {name: Plan(spec, name, twin) for name, spec in (plain | trained).items() if name != other[0]}
    found[twin[0]] = Plan(twin[1], twin[0], other)
    found["mnist-cnn-at-mmc"] = replace(found["mnist-cnn-at-mmc"], attacks=("pgd50-ce",))
    found[f"{twin[0]}-detached"] = Plan(twin[1], twin[0], other, "detached image", attacks=("pgd50-ce",))
    return found


def plan(name: str) -> Plan:
    """The plan of one name.

    Raises:
        ValueError: no such name; the message lists those there are.
    """
    if name not in (known := plans()):
        raise ValueError(f"nothing to diagnose is called {name!r}; there are: {', '.join(known)}")
    return known[name]


def network(name: str, spec: Spec) -> nn.Module:
    """A network with the weights that travel with the book, in eval mode; its parameters are fixed."""
    return opened(spec, SEED, SHELF / f"{name}.safetensors").requires_grad_(False)


def part(attack: str, epsilon: float) -> str:
    """What a report is called in its file."""
    return f"{attack} {epsilon:.6g}"


def sections(name: str) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is to be diagnosed, report by report."""
    todo = plan(name)
    model, twin = network(todo.weights, todo.spec), network(*todo.twin)
    if todo.broken:
        model = BROKEN[todo.broken](model)
    images = dataset(*data_of(todo.spec)).test.first(todo.images)
    options = {"twin": twin, "effort": todo.effort, "seed": SEED, "name": name}

    def run(attack: str, epsilon: float) -> dict[str, Any]:
        return diagnose(model, images.x, images.y, epsilon=epsilon, attack=attack, **options).to_json()

    return {
        part(attack, epsilon): functools.partial(run, attack, epsilon)
        for attack in todo.attacks
        for epsilon in todo.epsilons
    }


def place(name: str) -> str:
    """Where the reports of a name lie below the folder of records."""
    return f"diagnosis/{name}.json"


def head(name: str) -> dict[str, Any]:
    """What decides the values of a name's reports, beside the data."""
    todo = plan(name)
    files = [SHELF / f"{weights}.safetensors" for weights in (todo.weights, todo.twin[0])]
    return {
        "diagnosed": name,
        "broken": todo.broken,
        "spec": todo.spec.place,
        "twin": todo.twin[0],
        "images": todo.images,
        "effort": todo.effort,
        "seed": SEED,
        "weights": digest_files(SHELF, files),
    }


def measure(name: str, report: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Diagnose what was not yet; see `mmc.parts.measure`."""
    data = {"data": about(*data_of(plan(name).spec))}
    return parts.measure(place(name), head(name) | data, sections(name), report)


def found(name: str, epsilon: float, attack: str = "pgd50-ce") -> Report:
    """The report on a network under an attack, with what made it.

    Raises:
        FileNotFoundError: nothing was diagnosed under this name.
        KeyError: not this attack or radius; the message lists what there is.
    """
    reports = lab.table(place(name), f"`python -m mmc.diagnosed {name}`")["parts"]
    if (key := part(attack, epsilon)) not in reports:
        raise KeyError(f"no report {key!r} on {name}; there are: {', '.join(reports)}")
    return Report.from_json(reports[key])


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or plans():
        measure(chosen, lambda part, name=chosen: print(f"{name}: {part}", flush=True))
