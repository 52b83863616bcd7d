"""The presets: the paper's attacks and ours, made from a few families and radii; and suites of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmc.attacks.objectives import TARGETED
from mmc.attacks.preset import CENTERS, CROSS_ENTROPY, PRINTED, Preset

#: The settings of Pang et al. 2020, and in no other place. The radii are those printed. The authors' code divides by
#: 256 where the paper divides by 255, in radii and steps. The step does not grow with the radius.
PAPER: dict[str, Any] = {
    "epsilons": PRINTED,
    "steps": (10, 50),
    "pgd": {"step_size": 2 / 255, "restarts": 1},
    "carlini_wagner": {"search_steps": 9, "iterations": 1000, "learning_rate": 5e-3, "first_constant": 0.01},
    "spsa": {"iterations": 10, "samples": 128, "delta": 0.01, "learning_rate": 0.01},
    "gaussian_noise": {"sigma": 0.05},
    "rotation": {"degrees": 30.0},
    "images": {"carlini_wagner": 500, "spsa": 1000},
}
SOURCE = "Pang et al. 2020"
#: L-inf radii of the paper, and the usual one in L2.
BALLS = (*(("linf", epsilon) for epsilon in PRINTED), ("l2", 0.5))

#: Objectives by what is typed: cross-entropy, the paper's for centers, and ours, without a target and with one.
RUNGS = {
    "ce": "cross-entropy",
    "own-center": "own center",
    "margin": "margin",
    "target-ce": "target cross-entropy",
    "target-center": "target center",
    "pairwise": "pairwise margin",
}


def _label(objective: str) -> str:
    return "weak" if objective in CROSS_ENTROPY else "the paper's" if objective in CENTERS else "adaptive"


def _options(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(options.items())


def _rungs(short: str, title: str, attack: str, source: str, **rest: Any) -> Iterator[Preset]:
    """One attack of the paper under each objective, at each of its radii."""
    for rung, objective in RUNGS.items():
        targeted = objective in TARGETED
        how = "targeted" if targeted else "untargeted"
        for epsilon in PAPER["epsilons"]:
            yield Preset(
                f"{short}-{rung}",
                f"{title} {how} {objective.removeprefix('target ').replace(' ', '-')}",
                attack,
                _label(objective),
                source,
                objective=objective,
                targeted=targeted,
                norm="linf",
                epsilon=epsilon,
                **rest,
            )


def _papers() -> Iterator[Preset]:
    """The settings of the paper; the objectives where it names none are ours, and labelled so."""
    for steps in PAPER["steps"]:
        source = f"{SOURCE}; random start, no restarts; as coded epsilon k/256 and step 2/256"
        options = _options({"steps": steps, **PAPER["pgd"]})
        yield from _rungs(f"pgd{steps}", f"pgd-{steps}", "pgd", source, options=options)
    source = f"{SOURCE}; its steps are not stated: those of PGD-10; climbs on when its own model is fooled"
    options = _options({"steps": 10, "step_size": PAPER["pgd"]["step_size"], "active_set": False})
    yield from _rungs("mim10", "mim-10", "mim", source, options=options)
    options, images = _options(PAPER["spsa"]), PAPER["images"]["spsa"]
    yield from _rungs("spsa10", "spsa-10", "spsa", f"{SOURCE}; Adam", options=options, images=images)
    for targeted in (False, True):
        yield Preset(
            "cw-target" if targeted else "cw",
            f"carlini-wagner {'targeted' if targeted else 'untargeted'}",
            "carlini_wagner",
            "adaptive",
            f"{SOURCE}; the nearest image that fools, by the margin between logits",
            _options(PAPER["carlini_wagner"]),
            targeted=targeted,
            norm="l2",
            images=PAPER["images"]["carlini_wagner"],
        )
    noise, turn = _options(PAPER["gaussian_noise"]), _options(PAPER["rotation"])
    yield Preset("noise", "gaussian noise", "gaussian_noise", "weak", f"{SOURCE}; one draw", noise)
    yield Preset("rotation", "rotation", "rotation", "weak", f"{SOURCE}; one random angle", turn)


def _ours() -> Iterator[Preset]:
    """What the book holds against every head, whatever it was trained with."""
    for norm, epsilon in BALLS:
        ball = {"norm": norm, "epsilon": epsilon}
        options = _options({"steps": 50, "step_size": "cosine", "restarts": 5})
        source = "ours: steps fall like a cosine from epsilon to zero, five random starts"
        yield Preset("margin-pgd", "margin PGD", "pgd", "adaptive", source, options, "margin", **ball)
        source, options = "ours: Auto-PGD toward each other class in turn", _options({"steps": 100})
        each = {"attack": "apgd_all_targets", "label": "adaptive", "source": source, "options": options, **ball}
        yield Preset("apgd-targets", "all-targets pairwise APGD", objective="pairwise margin", **each)
        yield Preset("apgd-targets-dlr", "all-targets DLR APGD", objective="target DLR", **each)
        source = "Croce and Hein 2020"
        yield Preset("apgd-dlr", "APGD on DLR", "apgd", "adaptive", source, options, "DLR", **ball)
    for epsilon in PRINTED:
        ball = {"norm": "linf", "epsilon": epsilon}
        options = _options({"steps": 25, "step_size": "cosine"})
        source = "ours: what falls easily, before costlier attacks"
        yield Preset("margin-pgd25", "margin PGD-25", "pgd", "adaptive", source, options, "margin", **ball)
        source = "ours: the three most likely classes alone, in a ball that shrinks"
        options = _options({"steps": 50, "most": 3, "shrink": True})
        title, attack = "three-targets pairwise APGD", "apgd_all_targets"
        yield Preset("apgd-three-targets", title, attack, "adaptive", source, options, "pairwise margin", **ball)
        source = "ours: few steps for every class, also in a ball that shrinks as in Croce and Hein 2021"
        for shrink, slug in enumerate(("apgd60-targets-dlr", "apgd60-shrinking")):
            title = f"all-targets DLR APGD-60{', shrinking' * shrink}"
            options = _options({"steps": 60, "shrink": bool(shrink)})
            yield Preset(slug, title, attack, "adaptive", source, options, "target DLR", **ball)
        options = _options({**PAPER["spsa"], "iterations": 100})
        source = "ours: ten times the paper's iterations, on the margin"
        yield Preset("spsa100-margin", "spsa-100 margin", "spsa", "adaptive", source, options, "margin", **ball)
        corner = {"iterations": 10, "samples": 256, "delta": 0.01, "update": "corner", "two_sided": False}
        source, options = "ours: at the paper's queries, one-sided, to the corner along all slopes", _options(corner)
        yield Preset("spsa-corner", "spsa corner margin", "spsa", "adaptive", source, options, "margin", **ball)
        source, options = "ours: uniform in the ball, the worst of a thousand", _options({"draws": 1000})
        yield Preset("random", "random search", "random_search", "weak", source, options, "margin", **ball)
        source, options = "Croce and Hein 2020, through pyautoattack", _options({"version": "standard"})
        yield Preset("autoattack", "standard AutoAttack", "autoattack", "standard", source, options, **ball)
    options = _options({**PAPER["rotation"], "angles": 61})
    source = "ours: every degree that the paper's rotation may draw"
    yield Preset("worst-rotation", "worst rotation", "worst_rotation", "adaptive", source, options)
    options = _options({"search_steps": 4, "iterations": 200, "rivals": 2, "steps": 25})
    source = "ours: classes and constants fitted to each image, from the image and from where a walk met the boundary"
    yield Preset("cw-fitted", "carlini-wagner fitted", "carlini_wagner", "adaptive", source, options, norm="l2")
    options = _options({"steps": 20, "queries": 100})
    source = "Chen et al. 2020, through foolbox; sees decisions only"
    yield Preset("hop-skip-jump", "hop-skip-jump", "hop_skip_jump", "weak", source, options, norm="l2")


#: Every preset by what is typed.
PRESETS: dict[str, Preset] = {preset.slug: preset for preset in (*_papers(), *_ours())}


def _of(attack: str, source: str = SOURCE) -> tuple[str, ...]:
    return tuple(slug for slug, p in PRESETS.items() if p.attack == attack and p.source.startswith(source))


#: Named presets that answer a question together.
SUITES: dict[str, tuple[str, ...]] = {
    "quick": ("pgd10-ce-8", "pgd10-own-center-8", "pgd10-margin-8"),
    "paper-white-box": _of("pgd"),
    "paper-gradient-free": (*_of("carlini_wagner"), *_of("spsa"), "noise", "rotation"),
    "paper-transfer": _of("mim"),
    "ours": ("margin-pgd-8", "apgd-targets-8", "apgd-targets-dlr-8"),
    # One after another on what still stands, in less than a third of AutoAttack's time.
    "swift": ("margin-pgd25-8", "apgd-three-targets-8", "apgd60-targets-dlr-8", "apgd60-shrinking-8"),
    "ours-l2": ("margin-pgd-l2-0.5", "apgd-targets-l2-0.5", "apgd-targets-dlr-l2-0.5"),
    "autoattack": ("autoattack-8",),
}


def chosen(names: Iterable[str | Preset], epsilon: float | None = None, l2: float | None = None) -> tuple[Preset, ...]:
    """The presets of some names, each once, in their order.

    Args:
        names: slugs in `PRESETS`, names of `SUITES`, or presets themselves.
        epsilon: another radius for every attack in L-inf; presets that differ by their radius alone are then one.
        l2: likewise in L2; it gives attacks that look for the nearest image a radius to be judged at.

    Raises:
        ValueError: an unknown name, a radius that is no radius, or one that none of the attacks takes.
    """
    found: dict[str, Preset] = {}
    for name in names:
        if isinstance(name, Preset):
            presets = [name]
        elif name in SUITES or name in PRESETS:
            presets = [PRESETS[slug] for slug in SUITES.get(name, (name,))]
        else:
            raise ValueError(
                f"no preset or suite {name!r}; suites are {', '.join(SUITES)}; presets are {', '.join(PRESETS)}"
            )
        for preset in presets:
            other = {"linf": epsilon, "l2": l2}.get(preset.norm)
            preset = preset if other is None else preset.at(other)
            found.setdefault(preset.slug, preset)
    for norm, ball, other in (("linf", "L-inf", epsilon), ("l2", "L2", l2)):
        if other is not None and all(preset.norm != norm for preset in found.values()):
            raise ValueError(f"there is a radius {other:g} in {ball}, but no attack in {ball}: {', '.join(found)}")
    return tuple(found.values())
