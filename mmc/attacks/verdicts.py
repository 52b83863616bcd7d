"""What a suite of attacks found: a verdict for each example and attack, and what follows from them."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmc.attacks.preset import Preset
from mmc.shares import wilson

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Attacked:
    """One attack's verdicts.

    Attributes:
        preset: what was run.
        label: what the verdict is worth against this model, see `mmc.attacks.preset.LABELS`.
        correct: which examples are classified correctly before the attack and after it.
        distances: for an attack that looks for the nearest image: how far each example had to be moved, zero where it
            was wrong already, infinite where it still stands. Correct is then who lies farther than epsilon.
        notes: what the attack warned of.
        seconds: of wall time, crafting and judging.
        forward, backward: images that went through the network, and back.
    """

    preset: Preset
    label: str
    correct: Bool[Tensor, " N"]
    distances: Float[Tensor, " N"] | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    forward: int = 0
    backward: int = 0


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What a suite found, example by example, on the processor.

    Attributes:
        clean: which examples are classified correctly as they are.
        attacks: by slug, in the order in which they were run.
        not_applicable: by slug, why an attack that was asked for was not run.
        seed: of all chance.
    """

    clean: Bool[Tensor, " N"]
    attacks: Mapping[str, Attacked]
    not_applicable: Mapping[str, str]
    seed: int

    @functools.cached_property
    def threats(self) -> dict[str, tuple[str, ...]]:
        """The attacks of each threat; only they have a worst case in common."""
        found: dict[str, tuple[str, ...]] = {}
        for slug, attacked in self.attacks.items():
            threat = attacked.preset.threat
            found[threat] = (*found.get(threat, ()), slug)
        return found

    @functools.cached_property
    def worst(self) -> dict[str, Bool[Tensor, " N"]]:
        """By threat: which examples stay correct under each of its attacks."""
        return {
            threat: torch.stack([self.clean, *(self.attacks[slug].correct for slug in slugs)]).all(0)
            for threat, slugs in self.threats.items()
        }

    def added(self, slug: str) -> Bool[Tensor, " N"]:
        """The examples that this attack felled and no earlier one of its threat."""
        slugs = self.threats[self.attacks[slug].preset.threat]
        return self._felled_by_none_of(slugs[: slugs.index(slug)]) & ~self.attacks[slug].correct

    def alone(self, slug: str) -> Bool[Tensor, " N"]:
        """The examples that this attack felled and no other one of its threat."""
        slugs = self.threats[self.attacks[slug].preset.threat]
        return self._felled_by_none_of([other for other in slugs if other != slug]) & ~self.attacks[slug].correct

    def _felled_by_none_of(self, slugs: Any) -> Bool[Tensor, " N"]:
        return torch.stack([self.clean, *(self.attacks[slug].correct for slug in slugs)]).all(0)

    def to_json(self) -> dict[str, Any]:
        """Plain values: one string of 0 and 1 for each attack, with shares, 95 % intervals and what was run.

        `cost` alone differs from run to run: leave it out where the same bits are wanted.
        """
        attacks, cost = {}, {}
        for slug, found in self.attacks.items():
            attacks[slug] = {
                "name": found.preset.name,
                "threat": found.preset.threat,
                "label": found.label,
                **summary(found.correct),
                "added": int(self.added(slug).sum()),
                "alone": int(self.alone(slug).sum()),
                "correct": bits(found.correct),
                **({} if found.distances is None else {"distances": _finite(found.distances)}),
                **({"notes": list(found.notes)} if found.notes else {}),
                "preset": dataclasses.asdict(found.preset) | {"options": dict(found.preset.options)},
            }
            cost[slug] = {"seconds": round(found.seconds, 2), "forward": found.forward, "backward": found.backward}
        return {
            "seed": self.seed,
            "num_examples": len(self.clean),
            "clean": {**summary(self.clean), "correct": bits(self.clean)},
            "attacks": attacks,
            "worst": {threat: {**summary(mask), "correct": bits(mask)} for threat, mask in self.worst.items()},
            "not_applicable": dict(self.not_applicable),
            "cost": cost,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Verdicts:
        """The inverse of `to_json`; shares, worst cases and what was added follow from the verdicts.

        Raises:
            KeyError, TypeError: something is missing or unknown.
            ValueError: a string of verdicts holds something else than 0 and 1, or has another length.
        """
        attacks, count = {}, values["num_examples"]
        for slug, found in values["attacks"].items():
            preset = Preset(**found["preset"] | {"options": tuple(found["preset"]["options"].items())})
            away = found.get("distances")
            distances = None if away is None else _from_finite(away)
            notes, cost = tuple(found.get("notes", ())), values.get("cost", {}).get(slug, {})
            attacks[slug] = Attacked(preset, found["label"], mask_of(found["correct"], count), distances, notes, **cost)
        return cls(mask_of(values["clean"]["correct"], count), attacks, values["not_applicable"], values["seed"])


def summary(mask: Bool[Tensor, " N"]) -> dict[str, Any]:
    """The share that is true, and its 95 % interval."""
    hits, count = int(mask.sum()), len(mask)
    return {"accuracy": round(hits / count, 6), "interval": [round(end, 6) for end in wilson(hits, count)]}


def bits(mask: Bool[Tensor, " N"]) -> str:
    """Truth values as a string of 0 and 1."""
    return "".join("1" if value else "0" for value in mask.tolist())


def mask_of(text: str, count: int) -> Bool[Tensor, " N"]:
    """The inverse of `bits`.

    Raises:
        ValueError: the text holds something else, or has another length.
    """
    if len(text) != count or set(text) - {"0", "1"}:
        raise ValueError(f"{count} verdicts must be a string of as many 0 and 1, not {text[:40]!r} of {len(text)}")
    return torch.tensor([character == "1" for character in text], dtype=torch.bool)


def _from_finite(distances: list[float | None]) -> Float[Tensor, " N"]:
    return torch.tensor([math.inf if distance is None else distance for distance in distances], dtype=torch.float64)


def _finite(distances: Float[Tensor, " N"]) -> list[float | None]:
    return [None if math.isinf(distance) else distance for distance in distances.tolist()]
