"""What attacks found on the networks that travel with the book, image by image; chapters and claims read it.

`python -m mmc.attacked NAME` measures what is missing. It opens the weights in `book/weights`, so nothing is trained.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmc import lab, parts
from mmc.attacks import PRESETS, WORST, Verdicts, correct, run_suite, transfer_matrix, zero_gradient_share
from mmc.attacks.objectives import LADDER
from mmc.attacks.preset import has_centers
from mmc.attacks.verdicts import bits, mask_of
from mmc.catalogue import jobs
from mmc.data import Split
from mmc.files import digest_files
from mmc.lab import Spec
from mmc.ladder import CENTERED, climb, headings
from mmc.models import Classifier
from mmc.networks import about, data_of, dataset, opened
from mmc.shelf import SHELF

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

SEED, BATCH = 0, 100
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Plan:
    """What is measured on a network.

    Attributes:
        spec: of the network.
        images: test images, from the first.
        epsilons: L-inf radii of the ladder, in units of a pixel's range [0, 1].
        steps: of one climb of the ladder.
        presets: attacks that are run besides, by slug.
        costly: the same, on the first `few` images alone.
        few: see `costly`.
        sources: networks on which images for this one are crafted.
        carrier: the attack that crafts them.
    """

    spec: Spec
    images: int
    epsilons: tuple[float, ...]
    steps: int = 20
    presets: tuple[str, ...] = ()
    costly: tuple[str, ...] = ()
    few: int = 200
    sources: tuple[str, ...] = ()
    carrier: str = "mim10-margin-8"


def plans() -> dict[str, Plan]:
    """Every network that is measured, by the name of its weights."""
    mnist = {job.spec.loss: job.spec for job in jobs("first-experiment", "laptop")}
    cifar = {job.spec.loss: job.spec for job in jobs("convergence", "laptop")}
    found = [Plan(mnist[loss], 1000, (0.1, 0.2)) for loss in ("SCE", "MMLDA", "MMC")]
    rungs = {"SCE": ("ce", "target-ce", "margin"), "MMC": ("ce", "own-center", "target-center", "margin")}
    for loss, other in (("SCE", "MMC"), ("MMC", "SCE")):
        found.append(
            Plan(
                cifar[loss],
                500,
                (2 / 255, 8 / 255),
                presets=tuple(f"pgd{steps}-{rung}-8" for steps in (10, 50) for rung in rungs[loss]),
                costly=("spsa10-margin-8",) if loss == "MMC" else (),
                sources=(cifar[other].slug,),
            )
        )
    return {plan.spec.slug: plan for plan in found}


def network(name: str) -> Classifier:
    """A network of `plans`, in eval mode, with the weights that travel with the book; its parameters are fixed."""
    spec = plan(name).spec
    return opened(spec, SEED, SHELF / f"{spec.slug}.safetensors").requires_grad_(False)


def plan(name: str) -> Plan:
    """The plan of one network.

    Raises:
        ValueError: no such network; the message lists those there are.
    """
    if name not in (known := plans()):
        raise ValueError(f"no network {name!r}; there are: {', '.join(known)}")
    return known[name]


def _headings(model: Classifier, images: Split) -> dict[str, Any]:
    """Where each untargeted objective heads at the correctly classified images: see `mmc.ladder.headings`.

    `runner-up`: quantiles of the cosine with the way to the most likely wrong class. `none ahead`: share of the images
    from which a small step brings no class nearer. `zero`: share of all images with an exactly zero gradient.
    """
    objectives = {n: o for n, o in LADDER.items() if n not in CENTERED or has_centers(model)}
    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    right = torch.cat([correct(model, part.x, part.y) for part in parts])
    seen = [headings(objectives, model, part.x, part.y) for part in parts]
    found: dict[str, Any] = {"images": int(right.sum())}
    for name, objective in objectives.items():
        cosines = torch.cat([part[name] for part in seen], 1)[:, right].double()
        zero = sum(len(part) * zero_gradient_share(objective, model, part.x, part.y) for part in parts)
        found[name] = {
            "runner-up": [round(v, 4) for v in np.quantile(cosines[0].cpu().numpy(), QUANTILES)],
            "none ahead": round((cosines <= 0).all(0).double().mean().item(), 6),
            "zero": round(zero / len(images), 6),
        }
    return found


def sections(name: str) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is to be measured on a network, part by part; each part is plain values once it is called."""
    todo, model = plan(name), network(name)
    images = dataset(*data_of(todo.spec)).test.first(todo.images)
    few = images.first(todo.few)
    found: dict[str, Callable[[], dict[str, Any]]] = {"headings": functools.partial(_headings, model, images)}
    for epsilon in todo.epsilons:
        options = {"epsilon": epsilon, "steps": todo.steps, "seed": SEED, "batch_size": BATCH}
        found[ladder_at(epsilon)] = functools.partial(_ladder, model, images, options)
    for title, presets, some in (("presets", todo.presets, images), ("costly", todo.costly, few)):
        if presets:
            found[title] = functools.partial(_suite, model, some, presets)
    if todo.sources:
        found["transfer"] = lambda: _transfer(name, todo, images)
    return found


def ladder_at(epsilon: float) -> str:
    """The name of the ladder's section at a radius."""
    return f"ladder {epsilon:.6g}"


def _ladder(model: Classifier, images: Split, options: dict[str, Any]) -> dict[str, Any]:
    slugs, found = climb(model, images.x, images.y, **options)
    return {"rungs": slugs, **found.to_json()}


def _suite(model: Classifier, images: Split, presets: tuple[str, ...]) -> dict[str, Any]:
    return run_suite(model, images.x, images.y, presets, seed=SEED, batch_size=BATCH).to_json()


def _transfer(name: str, todo: Plan, images: Split) -> dict[str, Any]:
    models = {name: network(name), **{source: network(source) for source in todo.sources}}
    attack = functools.partial(PRESETS[todo.carrier], seed=SEED)
    found = transfer_matrix(models, images.x, images.y, attack)
    return {"carrier": todo.carrier, "correct": {source: bits(found[source, name]) for source in models}}


def place(name: str) -> str:
    """Where a network's findings lie below the folder of records."""
    return f"attacked/{name}.json"


def measure(name: str, report: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measure what is not there yet of a network, part by part, and keep each part at once.

    What was measured by another plan, or on other weights or data, is measured anew.

    Args:
        name: see `plans`.
        report: called with the name of each part before it is measured.
    """
    todo = plan(name)
    head = {
        "network": name,
        "plan": asdict(todo) | {"spec": todo.spec.place},
        "seed": SEED,
        "weights": digest_files(SHELF, [SHELF / f"{name}.safetensors"]),
        "data": about(*data_of(todo.spec)),
    }
    return parts.measure(place(name), head, sections(name), report)


def found(name: str) -> dict[str, Any]:
    """What was measured on a network, by part.

    Raises:
        FileNotFoundError: nothing was.
    """
    return lab.table(place(name), f"`python -m mmc.attacked {name}`")["parts"]


def suite(name: str, part: str) -> Verdicts:
    """What the attacks of one part found on a network: a suite's outcome.

    Args:
        name: see `plans`.
        part: `presets`, `costly`, or `ladder_at` of a radius.
    """
    return Verdicts.from_json(found(name)[part])


def left(name: str, epsilon: float) -> dict[str, Bool[Tensor, " N"]]:
    """Which images stay correct on each rung of a network's ladder, and on all of them, under `WORST`.

    Args:
        name: see `plans`.
        epsilon: one of the radii of the plan.
    """
    slugs, outcome = found(name)[ladder_at(epsilon)]["rungs"], suite(name, ladder_at(epsilon))
    [worst] = outcome.worst.values()
    return {rung: outcome.attacks[slug].correct for rung, slug in slugs.items()} | {WORST: worst}


def transferred(name: str) -> dict[str, Bool[Tensor, " N"]]:
    """Which images stay correct by the network on which they were crafted; its own name is the white-box attack."""
    return {source: mask_of(text, len(text)) for source, text in found(name)["transfer"]["correct"].items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or plans():
        measure(chosen, lambda part, name=chosen: print(f"{name}: {part}", flush=True))
