"""One source of dependencies, a light core, and nothing in the tree that belongs to one machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mmc

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]


def requirements() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = [Requirement(text) for group in groups for text in group]
    return [requirement for requirement in found if requirement.name != "mmc"]


def test_constraints_are_versions_only_and_sorted_once():
    names = []
    for line in PINS:
        name, _, version = line.partition("==")
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name), line
        Version(version)
        names.append(canonicalize_name(name))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_a_range_here_and_a_version_in_constraints(requirement):
    assert requirement.specifier, "a dependency without a range"
    assert not any(part.operator in ("==", "===") for part in requirement.specifier), "versions belong in constraints"
    pins = {canonicalize_name(pin.split("==")[0]): pin.split("==")[1] for pin in PINS}
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_conda_environment_reads_the_same_source():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[dev]"]
    assert f"python{PROJECT['requires-python']}" in plain
    assert {re.split(r"[<>=!~]", entry)[0] for entry in plain} == {"python", "pip", "git", "make"}, (
        "no package of its own"
    )


def test_makefile_installs_what_conda_installs():
    makefile = (ROOT / "Makefile").read_text()
    assert "--constraint constraints.txt --editable '.[dev]'" in makefile


def test_core_needs_torch_and_numpy_alone():
    assert sorted(Requirement(text).name for text in PROJECT["dependencies"]) == ["numpy", "torch"]


CORE = ("centers", "density", "losses", "models", "data", "attacks", "training", "chance", "oracle", "lab", "files")
CORE += (
    "features",
    "boundary",
    "shares",
    "weights",
    "experiments",
    "catalogue",
    "worker",
    "sweep",
    "slurm",
    "bench",
    "claims",
)
CORE += ("ladder", "attacked", "diagnosed", "parts", "reported")

BLOCKER = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"refused: {name}", name=name)
sys.meta_path.insert(0, Refuse())
import importlib
for name in MODULES:
    importlib.import_module("mmc." + name)
import mmc.cli
try:
    mmc.cli.main()
except SystemExit as stop:
    print(stop)
"""


def test_core_imports_without_the_extras_and_the_command_line_says_what_it_needs():
    """torch itself imports SymPy and others where they are there, so torch comes first, then they are refused."""
    refused = {"scipy", "matplotlib", "sklearn", "pooch", "click", "rich", "papermill", "nbformat", "yaml", "jaxtyping"}
    modules = [name for name in CORE if (ROOT / "mmc" / name).exists() or (ROOT / "mmc" / f"{name}.py").exists()]
    script = f"REFUSED = {refused!r}\nMODULES = {modules!r}\n{BLOCKER}"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "pip install 'mmc[book]'" in result.stdout


def test_theory_imports_no_torch():
    script = "import sys, pkgutil, importlib, mmc.theory\n"
    script += "[importlib.import_module('mmc.theory.' + m.name) for m in pkgutil.iter_modules(mmc.theory.__path__)]\n"
    script += "assert 'torch' not in sys.modules and 'mmc.losses' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == mmc.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if names.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in names.stdout.split("\n") if name and (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry():
    forbidden = ["/ro" + "ot/", "/wo" + "rk/", "pypi" + ".org", "pythonhosted" + ".org", "/home" + "/"]
    for path in tracked():
        if path.suffix in (".png", ".safetensors", ".svg"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for word in forbidden:
            assert word not in text, f"{path.relative_to(ROOT)} holds {word!r}"


def test_repository_stays_small_enough_to_travel():
    assert sum(path.stat().st_size for path in tracked()) < 30e6
