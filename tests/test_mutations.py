"""Flip a sign, an exponent or a constant in a formula, and a test must notice.

Every run draws the same sample, which takes from every function in turn; `make mutants` runs them all.
"""

from __future__ import annotations

import json
import subprocess
import sys

import mutation
import pytest

SAMPLE = 16
MODULES = sorted(path.stem for path in mutation.THEORY.glob("*.py") if path.stem not in ("__init__", "numeric"))
#: Mutants that change nothing a test could see, each with the reason.
EQUIVALENT: dict[str, dict[str, str]] = {}


@pytest.mark.parametrize("module", MODULES)
def test_every_mutant_of_a_formula_is_noticed(module, request):
    size = 0 if request.config.getoption("--all-mutants") else SAMPLE
    command = [sys.executable, mutation.__file__, module, "--sample", str(size)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=mutation.ROOT)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["run"] > 0
    survivors = [mutant for mutant in found["survivors"] if mutant not in EQUIVALENT.get(module, {})]
    assert not survivors, f"no test of mmc.theory.{module} notices: {survivors}"


def test_mutants_differ_from_the_formula_and_from_each_other():
    for module in MODULES:
        sources = [mutant.source for mutant in mutation.mutants(mutation.THEORY / f"{module}.py")]
        assert len(set(sources)) == len(sources)


def test_mutation_that_nothing_checks_is_reported(tmp_path, monkeypatch):
    """The mutation check is itself checked: without oracles every mutant survives."""
    (tmp_path / "tests" / "theory").mkdir(parents=True)
    (tmp_path / "tests" / "theory" / "test_density.py").write_text("def test_nothing():\n    pass\n")
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    mutant = mutation.mutants(mutation.THEORY / "density.py")[0]
    assert mutation.survives("density", mutant)
