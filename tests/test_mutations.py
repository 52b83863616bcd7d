"""Flip a sign in a formula, drop a projection in an attack, and a test must notice.

Every run draws the same sample, which takes from every function in turn; `make mutants` runs them all.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import mutation
import pytest

#: How many mutants of each module a run takes. An attack's tests take longer than a formula's: without the flag its
#: mutants are those in tests/attacks, made by hand.
SAMPLE = {"theory": 4, "attacks": 0}
CASES = [(room.name, module) for room in mutation.ROOMS.values() for module in room.modules()]
#: Mutants that change nothing a test could see, by module, each with the reason.
EQUIVALENT: dict[str, dict[str, str]] = {
    "balls": {
        "steepest: return scaled / lengths(scaled, norm).clamp_min(1e-30)[:, None, None, None] -> "
        "return scaled / lengths(scaled, norm).clamp_min(1.0)[:, None, None, None]": (
            "the largest entry is one by then, or all are zero"
        ),
    },
    "mim": {
        "share: return scaled / scaled.flatten(1).abs().sum(1).clamp_min(1e-30)[:, None, None, None] -> "
        "return scaled / scaled.flatten(1).abs().sum(1).clamp_min(1.0)[:, None, None, None]": (
            "the largest entry is one by then, or all are zero"
        ),
    },
    "walk": {
        "walk: break -> pass": "with no image left the rest of the loop does nothing",
        "walk: for step in range(steps + 1): -> for step in range(steps + 2):": "one more look, and no step after it",
        "walk: low, high = (torch.zeros_like(x[:, 0, 0, 0]), torch.ones_like(x[:, 0, 0, 0])) -> "
        "low, high = (torch.zeros_like(x[:, 0, 0, 1]), torch.ones_like(x[:, 0, 0, 0]))": "only the shape counts",
        "walk: low, high = (torch.zeros_like(x[:, 0, 0, 0]), torch.ones_like(x[:, 0, 0, 0])) -> "
        "low, high = (torch.zeros_like(x[:, 0, 0, 0]), torch.ones_like(x[:, 0, 0, 1]))": "only the shape counts",
        "walk: image = torch.where((there & (high < 1))[WIDE], torch.lerp(x, here, high[WIDE]), "
        "here.where(there[WIDE], x)) -> "
        "image = torch.where((there & (high < 2))[WIDE], torch.lerp(x, here, high[WIDE]), "
        "here.where(there[WIDE], x))": "the same place, but for rounding",
        "walk: moved = now + (length / slope.where(slope > 0, 1))[WIDE] * free -> "
        "moved = now + (length / slope.where(slope > 0, 2))[WIDE] * free": "a length of zero is divided",
    },
}


@functools.cache
def checked(room, size, *modules):
    """What became of the mutants of some modules; a process of its own, which loads the libraries once."""
    command = [sys.executable, mutation.__file__, room, *modules, "--sample", str(size)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=mutation.ROOT)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(("room", "module"), CASES)
def test_every_mutant_is_noticed(room, module, request):
    everything = request.config.getoption("--all-mutants")
    if not everything and not SAMPLE[room]:
        pytest.skip(f"the mutants of mmc.{room} take long: make mutants runs them")
    # All mutants of a module take minutes, and make mutants shares the modules out; a sample of each takes seconds.
    found = (checked(room, 0, module) if everything else checked(room, SAMPLE[room]))[module]
    assert found["run"] > 0
    survivors = [mutant for mutant in found["survivors"] if mutant not in EQUIVALENT.get(module, {})]
    assert not survivors, f"no test of mmc.{room}.{module} notices: {survivors}"


@pytest.mark.parametrize("module", EQUIVALENT)
def test_what_is_passed_over_is_a_mutant_that_there_is(module):
    assert EQUIVALENT[module].keys() <= {str(one) for one in mutation.mutants(mutation.ROOMS["attacks"], module)}


@pytest.mark.parametrize(("room", "module"), CASES)
def test_mutants_differ_from_the_source_and_from_each_other(room, module):
    sources = [mutant.source for mutant in mutation.mutants(mutation.ROOMS[room], module)]
    assert sources and len(set(sources)) == len(sources)


def test_mutation_that_nothing_checks_is_reported(tmp_path, monkeypatch):
    """The mutation check is itself checked: without oracles every mutant survives."""
    (tmp_path / "tests" / "theory").mkdir(parents=True)
    (tmp_path / "tests" / "theory" / "test_density.py").write_text("def test_nothing():\n    pass\n")
    room = mutation.ROOMS["theory"]
    mutant = mutation.mutants(room, "density")[0]
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    assert mutation.survives(room, "density", mutant)
