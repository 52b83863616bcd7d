"""The page of attacks beside their peers, written from the kept table."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from mmc.attacks.preset import radius
from mmc.bench import attacks
from mmc.bench.attacks import GROWTH, Table
from mmc.bench.contest import DISTANCE, Comparison
from mmc.bench.ratio import Ratio
from mmc.table import markdown


def page(table: Table | None = None, asked: Iterable[str] | None = None) -> str:
    """What was measured, what misses its goal, and what was not measured, in Markdown.

    Args:
        table: the kept one by default.
        asked: the names of all parts that `mmc bench attacks` measures; see `mmc.bench.attacks.names`.

    Raises:
        FileNotFoundError: none is given, and none was kept.
    """
    table = attacks.kept() if table is None else table
    asked = attacks.names() if asked is None else list(asked)
    outcomes = sorted(table.outcomes, key=lambda one: asked.index(_part(one)))
    pieces = [_sum(outcomes), _contests(outcomes)]
    if table.growth:
        pieces.append(_growth(table))
    there = {_part(one) for one in outcomes} | {GROWTH + name for name in table.growth}
    if missing := [name.replace(" | ", ", ") for name in asked if name not in there]:
        pieces.append("**Not measured here:** " + "; ".join(missing) + ".")
    return "\n\n".join([*pieces, _made(table)]) + "\n"


def _part(one: Comparison) -> str:
    return f"{one.name} | {one.peer} | {one.network}"


def _values(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2g}"


def _time(time: Ratio) -> str:
    # A word joiner on either side: a browser may break a line at the dash.
    spread = f" ({time.low:.2f}\u2060–\u2060{time.high:.2f})" if time.pairs > 1 else ""
    return f"{time.median:.2f}{spread}"


def _contests(outcomes: Sequence[Comparison]) -> str:
    found = []
    for network in dict.fromkeys(one.network for one in outcomes):
        mine = [one for one in outcomes if one.network == network]
        [epsilon] = {one.epsilon for one in mine if one.epsilon} or {0.0}
        rows = []
        for one in mine:
            goal = f"≤\u00a0{one.time.goal:.2g}: {'met' if one.met else '**missed**'}" if one.time.goal else ""
            strong = "yes" if one.as_strong else "**no**"
            values = [_values(one.ours), _values(one.theirs)]
            what = f"{one.name}, {one.peer}" + (f" ({one.measure})" if one.measure == DISTANCE else "")
            rows.append([what, str(one.images), *values, strong, _time(one.time), goal])
        heading = ["attack, peer", "images", "ours", "theirs", "as strong", "our time over theirs", "goal"]
        ball = f", $\\epsilon$ = {radius(epsilon)}" if epsilon else ""
        found.append(f"## {network}{ball}\n\n{markdown(heading, rows)}")
    return "\n\n".join([*found, "Budgets. " + "; ".join(_budgets(outcomes)) + "."])


def _budgets(outcomes: Sequence[Comparison]) -> list[str]:
    """What both sides may spend, attack by attack; with the networks where it differs between them."""
    networks: dict[tuple[str, str], list[str]] = {}
    for one in outcomes:
        networks.setdefault((one.name, one.budget), []).append(one.network)
    often = Counter(name for name, _ in networks)
    return [
        f"{name}: {budget}" + (f" ({', '.join(dict.fromkeys(there))})" if often[name] > 1 else "")
        for (name, budget), there in networks.items()
    ]


def _sum(outcomes: Sequence[Comparison]) -> str:
    """How many contests and goals are won, and those that are not, by name."""
    weaker = [one for one in outcomes if not one.as_strong]
    slower = [one for one in outcomes if one.as_strong and not one.met]
    goals = sum(bool(one.time.goal) for one in outcomes)
    met = sum(bool(one.time.goal) and one.met for one in outcomes)
    said = [f"Ours is as strong as the peer in {len(outcomes) - len(weaker)} of {len(outcomes)} contests"]
    said[0] += "." if not weaker else f", and weaker in {_names(weaker, _gap)}."
    said.append(f"Of {goals} goals on time {met} are met" + ("." if not slower else f"; too slow in {_names(slower)}."))
    return "## In sum\n\n" + " ".join(said)


def _names(outcomes: Iterable[Comparison], more: Callable[[Comparison], str] = lambda one: "") -> str:
    return "; ".join(f"{one.name} beside {one.peer} on {one.network}{more(one)}" for one in outcomes)


def _gap(one: Comparison) -> str:
    """How far ours lies above, and how far chance alone may put it: the standard error of the difference of means."""
    above = statistics.fmean(one.ours) - statistics.fmean(one.theirs)
    if one.measure == DISTANCE:
        return f" (by {above / statistics.fmean(one.theirs):.1%} of the distance, {one.images} images)"
    pairs = len(one.ours)
    error = sum(statistics.variance(values) / pairs for values in (one.ours, one.theirs)) ** 0.5 if pairs > 1 else 0.0
    known = f", standard error {error:.2f}" if pairs > 1 else ""
    return f" (by {above:.2f} points{known}; an image is {100 / one.images:.2f})"


def _growth(table: Table) -> str:
    heading = ["attack", "images", "exponent of time", "MiB at both ends", "goal"]
    rows = []
    for one in table.growth.values():
        counts = f"{one['counts'][0]} to {one['counts'][-1]}"
        memory = " and ".join(f"{value:.0f}" for value in one["MiB"])
        rows.append([one["preset"], counts, f"{one['exponent']:.2f}", memory, "met" if one["met"] else "**missed**"])
    return f"## Cost against the number of images\n\n{markdown(heading, rows)}"


def _made(table: Table) -> str:
    def each(key: str) -> str:
        return "; ".join(sorted({str(made[key]) for made in table.made.values()}))

    places: dict[str, list[str]] = {}
    for name, made in table.made.items():
        places.setdefault(f"commit {made['commit']}, {made['hardware']}", []).append(name.replace(" | ", ", "))
    made = "\n".join(f"- At {place}: {'; '.join(names)}." for place, names in places.items())
    peers = ", ".join(f"{name} {version}" for name, version in table.peers.items())
    load = [value for one in table.outcomes for value in one.load]
    busy = f"Others shared the machine: its load was {min(load):.1f} to {max(load):.1f}. " if load else ""
    return (
        ":::{dropdown} How these numbers were made\n"
        "`mmc bench attacks --keep`: both sides attack the first test images in turns, in one process, each pair with "
        "a seed of its own; mean ± standard deviation over seeds, time as the median of the ratios of neighbours with "
        f"their range, in seconds of the processor. {busy}{each('threads')} thread; {each('versions')}; {peers}.\n\n"
        f"{made}\n:::"
    )
