"""Mutants of mmc.theory: one flipped sign, exponent, operator or constant each, and whether the tests notice.

`python tests/mutation.py MODULE [--sample N]` runs tests/theory/test_MODULE.py against each mutant of
mmc/theory/MODULE.py in a forked process (imports are paid once) and prints the survivors as JSON.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import json
import os
import random
import signal
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
THEORY = ROOT / "mmc" / "theory"
SECONDS = 120


@dataclass(frozen=True)
class Mutant:
    """One change: where, what, and the source that results."""

    function: str
    line: int
    change: str
    source: str

    def __str__(self) -> str:
        return f"{self.function}: {self.change}"


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """Every one-step change of a node."""
    match node:
        case ast.BinOp(op=ast.Add()):
            yield ast.BinOp(node.left, ast.Sub(), node.right)
        case ast.BinOp(op=ast.Sub()):
            yield ast.BinOp(node.left, ast.Add(), node.right)
        case ast.BinOp(op=ast.Mult()):
            yield ast.BinOp(node.left, ast.Div(), node.right)
        case ast.BinOp(op=ast.Div()):
            yield ast.BinOp(node.left, ast.Mult(), node.right)
        case ast.BinOp(op=ast.Pow()):
            yield ast.BinOp(node.left, ast.Pow(), ast.BinOp(node.right, ast.Add(), ast.Constant(1)))
        case ast.UnaryOp(op=ast.USub()):
            yield node.operand
        case ast.Constant(value=value) if type(value) in (int, float):
            yield ast.Constant(value + 1)


def mutants(path: Path) -> list[Mutant]:
    """All mutants of the functions in one file: bodies only, not docstrings, annotations or error messages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[Mutant] = []
    for number, function in enumerate(tree.body):
        if not isinstance(function, ast.FunctionDef):
            continue
        outside = _not_formula(function)
        for place, node in enumerate(ast.walk(function)):
            if any(node is other for other in outside):
                continue
            for option, new in enumerate(_changed(node)):
                mutated = copy.deepcopy(tree)
                target = list(ast.walk(mutated.body[number]))[place]
                replacement = list(_changed(target))[option]
                _replace(mutated, target, replacement)
                ast.fix_missing_locations(mutated)
                change = f"{ast.unparse(node)} -> {ast.unparse(new)}"
                found.append(Mutant(function.name, node.lineno, change, ast.unparse(mutated)))
    return found


def _not_formula(function: ast.FunctionDef) -> list[ast.AST]:
    """Nodes of a function that are no formula: decorators, annotations, and what leads to an error message."""
    parts: list[ast.AST | None] = [*function.decorator_list, function.returns]
    parts += [argument.annotation for argument in function.args.args]
    parts += [node for node in ast.walk(function) if isinstance(node, ast.Raise)]
    return [node for part in parts if part is not None for node in ast.walk(part)]


def _replace(tree: ast.AST, target: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is target for item in value):
                value[[item is target for item in value].index(True)] = new


def sample(found: list[Mutant], size: int, seed: int = 0) -> list[Mutant]:
    """A sample that takes from every function in turn, so each formula is hit."""
    draw = random.Random(seed)
    by_function: dict[str, list[Mutant]] = {}
    for mutant in draw.sample(found, len(found)):
        by_function.setdefault(mutant.function, []).append(mutant)
    chosen: list[Mutant] = []
    while by_function and len(chosen) < size:
        for name in list(by_function):
            chosen.append(by_function[name].pop())
            if not by_function[name]:
                del by_function[name]
    return chosen[: max(size, 0)]


def _install(name: str, source: str) -> None:
    package = importlib.import_module("mmc.theory")
    module = types.ModuleType(f"mmc.theory.{name}")
    module.__file__ = str(THEORY / f"{name}.py")
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    exec(compile(source, f"<mutant of {name}>", "exec"), module.__dict__)


def survives(name: str, mutant: Mutant) -> bool:
    """Run the module's tests in a fork with the mutant in place; True where they all pass."""
    process = os.fork()
    if process == 0:
        code = 1
        with contextlib.suppress(BaseException):
            signal.alarm(SECONDS)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            import pytest

            _install(name, mutant.source)
            tests = str(ROOT / "tests" / "theory" / f"test_{name}.py")
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:nbval"]
            code = int(pytest.main([*options, "-o", "addopts=", f"--rootdir={ROOT}", tests]))
        os._exit(code)
    _, status = os.waitpid(process, 0)
    return status == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("--sample", type=int, default=0, help="run only so many; 0 means all")
    arguments = parser.parse_args()
    for heavy in ("pytest", "sympy", "numpy", "scipy.integrate", "scipy.special", "hypothesis", "mmc.theory"):
        importlib.import_module(heavy)
    path = THEORY / f"{arguments.module}.py"
    if not survives(arguments.module, Mutant("", 0, "unchanged", path.read_text(encoding="utf-8"))):
        sys.exit(f"the tests of {arguments.module} fail without any mutation")
    found = mutants(path)
    chosen = sample(found, arguments.sample) if arguments.sample else found
    survivors = []
    for mutant in chosen:
        if survives(arguments.module, mutant):
            survivors.append(str(mutant))
            print(f"line {mutant.line}: {mutant}", file=sys.stderr, flush=True)
    print(json.dumps({"all": len(found), "run": len(chosen), "survivors": survivors}))


if __name__ == "__main__":
    main()
