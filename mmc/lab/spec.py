"""A Spec names everything that determines a result but the seed."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from mmc.recipe import Recipe

SCALES = ("smoke", "laptop", "gpu")
# Options as (name, value) pairs, so that a Spec can be compared and hashed.
Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Evaluation:
    """How a trained network is attacked, and what else is measured.

    Attributes:
        epsilons: L-inf radii in units of a pixel's range [0, 1]; none where the network is not attacked.
        steps: gradient steps of PGD, for each objective and radius.
        restarts: random starts of PGD.
        num_attacked: how many test images, from the first.
        features: are the statistics of the training features measured?
        margins: of how many training and test images are the margins kept, see `mmc.margins`; at the first radius.
        suite: attacks and suites by name, see `mmc.attacks.presets`; every verdict is kept.
        radii: L-inf radii in place of those in the attacks' names; empty leaves them.
        l2: an L2 radius likewise; 0 leaves it.
        per_class: images of each class at which the boundary is measured, see `mmc.boundary`; 0 where it is not.
        sources: other networks on which the suite's images are crafted, each trained from the next seed; where there
            are none, they are crafted on the network itself.
    """

    epsilons: tuple[float, ...] = ()
    steps: int = 50
    restarts: int = 1
    num_attacked: int = 1000
    features: bool = False
    margins: int = 0
    suite: tuple[str, ...] = ()
    radii: tuple[float, ...] = ()
    l2: float = 0.0
    per_class: int = 0
    sources: tuple[Spec, ...] = ()


@dataclass(frozen=True)
class Spec:
    """Everything that determines a result but the seed.

    Attributes:
        experiment: the folder of its record.
        scale: `smoke`, `laptop` or `gpu`.
        dataset: a name in `mmc.data.DATASETS`.
        backbone: a name in `mmc.models.BACKBONES`.
        loss: a printed name in `mmc.losses.LOSSES`.
        loss_options: what the loss takes besides its sizes.
        feature_dim: d.
        rule: a printed name in `mmc.training.RULES`.
        rule_options: what the rule takes.
        recipe: how it is trained.
        evaluation: how it is measured.
        variant: of the data set, see `mmc.data.load`.
        backbone_options: what the network takes besides.
        tag: tells apart records that would otherwise share a name, e.g. two schedules.

    Raises:
        ValueError: an unknown scale, or a name that could leave the folder of records.
    """

    experiment: str
    scale: str
    dataset: str
    backbone: str
    loss: str
    loss_options: Options = ()
    feature_dim: int = 64
    rule: str = "standard"
    rule_options: Options = ()
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: Evaluation = field(default_factory=Evaluation)
    variant: Options = ()
    backbone_options: Options = ()
    tag: str = ""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"scale must be smoke, laptop or gpu, not {self.scale!r}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.experiment):
            raise ValueError(f"an experiment is named by small letters, digits and dashes, not {self.experiment!r}")

    @property
    def slug(self) -> str:
        """The record's file name without its ending: data, network, loss, rule, and the options that were set."""
        options = [
            f"{name} {value}"
            for pairs in (self.variant, self.backbone_options, self.loss_options, self.rule_options)
            for name, value in pairs
        ]
        rule = [] if self.rule == "standard" else [self.rule]
        words = " ".join([self.dataset, self.backbone, self.loss, *rule, *options, self.tag])
        return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-.")

    @property
    def training(self) -> str:
        """The rule in words, and whether it aims at a class drawn for each image."""
        return f"{self.rule}, targeted" if dict(self.rule_options).get("targeted") else self.rule

    @property
    def place(self) -> str:
        """The record's path below the folder of records, without its ending."""
        return f"{self.experiment}/{self.scale}/{self.slug}"

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Spec:
        """The spec in a record; its inverse is `dataclasses.asdict` and JSON.

        Raises:
            TypeError: a field is missing or unknown.
            ValueError: a value is out of its range.
        """
        values = dict(values)
        if sources := values.get("evaluation", {}).get("sources"):
            values["evaluation"] = values["evaluation"] | {"sources": [cls.from_json(source) for source in sources]}
        for name, kind in (("recipe", Recipe), ("evaluation", Evaluation)):
            if name in values:
                values[name] = kind(**{key: _frozen(value) for key, value in values[name].items()})
        return cls(**{key: _frozen(value) for key, value in values.items()})

    def with_changes(self, **changes: Any) -> Spec:
        """The spec with fields set otherwise; fields of its recipe and evaluation may be named directly.

        Raises:
            TypeError: no such field.
        """
        for part in ("recipe", "evaluation"):
            inner = getattr(self, part)
            names = {field.name for field in dataclasses.fields(inner)} & set(changes)
            if names:
                changes[part] = dataclasses.replace(inner, **{name: changes.pop(name) for name in names})
        return dataclasses.replace(self, **changes)


def _frozen(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
