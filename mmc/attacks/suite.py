"""Several attacks against one model, and what is left when the attacker may pick the best one per example."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from mmc.attacks.checks import correct, refuse_bad_input
from mmc.attacks.cw import distances
from mmc.attacks.objectives import OBJECTIVES
from mmc.attacks.pgd import pgd
from mmc.attacks.preset import CENTERS, Preset, has_centers, num_classes
from mmc.attacks.presets import chosen
from mmc.attacks.verdicts import Attacked, Verdicts

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

WORST = "worst case"
#: AutoAttack's draws belong to a batch: its batches are always these, whatever batch size is asked for.
AUTOATTACK_BATCH = 250
#: Digits that are kept of a distance.
DIGITS = 6


def run_suite(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    presets: Iterable[str | Preset],
    *,
    epsilon: float | None = None,
    l2: float | None = None,
    seed: int = 0,
    batch_size: int = 250,
    report: Callable[[Preset, int], None] | None = None,
    before: Verdicts | None = None,
    keep: Callable[[Verdicts], None] | None = None,
) -> Verdicts:
    """Run every attack on every example, and keep each verdict.

    An example's verdict depends on its image, its label and the seed, not on its neighbours or the batch size, up to
    the rounding of a batched forward pass. AutoAttack alone draws for a batch; its batches are always cut alike.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        presets: slugs, names of suites, or presets; see `mmc.attacks.presets.chosen`.
        epsilon: another radius for every attack in L-inf, in units of a pixel's range [0, 1].
        l2: likewise in L2. Attacks that look for the nearest image are judged at it; without it, at any distance.
        seed: of random starts, of draws and of target classes.
        batch_size: images attacked at once, and the most in one forward pass: it bounds the memory. Not bound by it are
            AutoAttack, with batches of 250, and HopSkipJump, which asks for hundreds of decisions on one image at once.
        report: called with the preset and how many images it has done, after each batch.
        before: verdicts of the same model, images and seed, say from a run that was broken off: its attacks are taken
            from there.
        keep: called after each attack that was run with all verdicts so far.

    Returns:
        The verdicts. An attack that is not defined for the model is named among `not_applicable` with the reason.

    Raises:
        ValueError: an unknown name, no attack at all or none that applies, no images, verdicts from before of another
            seed or other images, or bad input, named; see `refuse_bad_input`.
        ImportError: an attack needs a library that is not installed.
    """
    asked = chosen(presets, epsilon, l2)
    if not asked:
        raise ValueError("there are no attacks to run")
    if not len(x) or batch_size < 1:
        raise ValueError(f"there must be images, and a batch size of at least 1, not {len(x)} and {batch_size}")
    clean = []
    for images, labels in _batches(x, y, batch_size):
        refuse_bad_input(model, images, labels, 0.0)
        clean.append(correct(model, images, labels).cpu())
    stands, classes = torch.cat(clean), num_classes(model, x)
    reasons = {preset.slug: preset.misfit(model, classes) for preset in asked}
    fitting = [preset for preset in asked if not reasons[preset.slug]]
    if not fitting:
        raise ValueError(f"no attack applies: {'; '.join(f'{slug}: {reason}' for slug, reason in reasons.items())}")
    if before and (before.seed != seed or not before.clean.equal(stands)):
        raise ValueError(f"the verdicts from before are of seed {before.seed} or of other images")
    attacks: dict[str, Attacked] = {}
    found = Verdicts(stands, attacks, {slug: reason for slug, reason in reasons.items() if reason}, seed)
    for preset in fitting:
        known = before.attacks.get(preset.slug) if before else None
        if known and known.preset == preset:
            attacks[preset.slug] = known
            continue
        attacks[preset.slug] = _attacked(preset, model, x, y, stands, seed, batch_size, report)
        if keep:
            keep(dataclasses.replace(found, attacks=dict(attacks)))
    return found


def _attacked(
    preset: Preset,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    clean: Tensor,
    seed: int,
    batch_size: int,
    report: Callable[[Preset, int], None] | None,
) -> Attacked:
    """One attack on all examples, batch by batch."""
    verdicts, away, notes, done, started = [], [], [], 0, time.monotonic()
    with _counted(model) as counts:
        for images, labels in _batches(x, y, AUTOATTACK_BATCH if preset.attack == "autoattack" else batch_size):
            x_adv, heard = preset.craft(model, images, labels, seed=seed, budget=batch_size)
            notes.extend(heard)
            if preset.nearest:
                away.append(distances(model, images, labels, x_adv).cpu())
            else:
                verdicts.append(correct(model, x_adv, labels).cpu())
            done += len(images)
            if report:
                report(preset, done)
    far = torch.cat(away).double().mul(10**DIGITS).round().div(10**DIGITS) if away else None
    left = torch.cat(verdicts) if far is None else far.isinf() if preset.epsilon is None else far > preset.epsilon
    seconds = time.monotonic() - started
    label = preset.label_for(model)
    return Attacked(preset, label, left & clean, far, tuple(dict.fromkeys(notes)), seconds, **counts)


def _batches(x: Tensor, y: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(x.split(size), y.split(size), strict=True)


@contextmanager
def _counted(model: nn.Module) -> Iterator[Counter[str]]:
    """Count the images that go through the network, and those whose gradient comes back."""
    counts: Counter[str] = Counter(forward=0, backward=0)

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        counts["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: counts.update(backward=len(gradient)))

    # A classifier's features are asked for without its logits, but never without its backbone.
    handle = getattr(model, "backbone", model).register_forward_hook(count)
    try:
        yield counts
    finally:
        handle.remove()


def applicable(model: nn.Module) -> tuple[str, ...]:
    """The names of the objectives that this model allows: the own center needs centers."""
    return tuple(name for name in OBJECTIVES if name not in CENTERS or has_centers(model))


def survivors(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    objectives: Sequence[str] | None = None,
    **options: object,
) -> dict[str, Bool[Tensor, " N"]]:
    """Which examples stay correct under PGD with each objective, and under all of them.

    Args:
        model: in eval mode.
        x: images in [0, 1].
        y: labels.
        epsilon: radius of the L-inf ball.
        objectives: names in `OBJECTIVES`; by default all that the model allows.
        options: steps, step_size, restarts and seed of `pgd`.

    Returns:
        By objective: correct after the attack. Under `worst case`: correct after every attack, example by example.

    Raises:
        ValueError: an unknown objective, or what `pgd` refuses.
    """
    names = applicable(model) if objectives is None else tuple(objectives)
    if not names or (unknown := [name for name in names if name not in OBJECTIVES]):
        raise ValueError(f"no objective {unknown if names else names}; there are: {', '.join(OBJECTIVES)}")
    found = {}
    for name in names:
        x_adv = pgd(model, x, y, objective=OBJECTIVES[name], epsilon=epsilon, **options)
        found[name] = correct(model, x_adv, y)
    return {**found, WORST: torch.stack([correct(model, x, y), *found.values()]).all(0)}
