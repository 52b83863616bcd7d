"""Mutants of a room's source: one small change each, and whether the room's tests notice.

`python tests/mutation.py theory density [--sample N]` runs tests/theory/test_density.py against each mutant of
mmc/theory/density.py in a forked process (imports are paid once) and prints the survivors as JSON. In a formula a
mutant flips one sign, exponent, operator or constant. In an attack it may also drop a projection, a clamp, a copy or a
check, turn a comparison around, forget restarts, seed or target, or give the images back as they were.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """One change: where, what, and the source that results."""

    function: str
    line: int
    change: str
    source: str

    def __str__(self) -> str:
        return f"{self.function}: {self.change}"


def formula(node: ast.AST) -> Iterator[ast.AST]:
    """Every one-step change of a formula's node."""
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


#: What a comparison turns into: its negation.
NEGATED = {ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
#: Methods that give their object back when they are dropped, and functions that give their first argument.
METHODS = {"abs", "clamp", "clamp_max", "clamp_min", "clone", "sign"}
FUNCTIONS = {"project"}
#: Whose bookkeeping is dropped when they stand alone.
CHECKS = {"refuse_bad_input", "confirm", "check_norm"}
#: Names of what a draw hangs on.
STREAMS = {"seed", "restart", "draw"}


def climb(node: ast.AST) -> Iterator[ast.AST]:
    """Every one-step change of an attack's node."""
    match node:
        case ast.BinOp(op=ast.BitAnd()):
            yield ast.BinOp(node.left, ast.BitOr(), node.right)
        case ast.BinOp(op=ast.BitOr()):
            yield ast.BinOp(node.left, ast.BitAnd(), node.right)
            yield node.left
            yield node.right
        case ast.UnaryOp(op=ast.Invert() | ast.Not()):
            yield node.operand
        case ast.Compare(ops=[operator]) if type(operator) in NEGATED:
            yield ast.Compare(node.left, [NEGATED[type(operator)]()], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
            yield node.func.value
        case ast.Call(func=ast.Name(id="range"), args=[_]):
            yield ast.Call(node.func, [ast.Constant(1)], [])
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            yield node.args[0]
        case ast.Name(id=name, ctx=ast.Load()) if name in STREAMS:
            yield ast.Constant(0)
        case ast.Return(value=ast.Name(id="result")):
            yield ast.Return(ast.Name("x", ast.Load()))
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))) if name in CHECKS:
            yield ast.Pass()
        case ast.Assign(targets=[ast.Subscript() | ast.Tuple()]) | ast.AugAssign() | ast.Break() | ast.Continue():
            if not isinstance(node, ast.Assign) or _kept(node.targets[0]):
                yield ast.Pass()
    yield from formula(node)


def _kept(target: ast.AST) -> bool:
    """Is every part of an assignment's target an entry of something that is there already?"""
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return all(isinstance(part, ast.Subscript) for part in parts)


@dataclass(frozen=True)
class Room:
    """A package whose modules are mutated.

    Attributes:
        name: below `mmc`.
        changes: of one node.
        tests: files that must notice a mutant of a module, the quickest first.
        heavy: imported once, before all forks.
        passed_over: modules that are not mutated here.
        defaults: are the defaults of arguments part of what is tested?
        seconds: of the processor that a mutant may take; one that hangs is noticed, one on a busy machine is not.
    """

    name: str
    changes: Callable[[ast.AST], Iterator[ast.AST]]
    tests: Callable[[str], list[str]]
    heavy: tuple[str, ...]
    passed_over: tuple[str, ...] = ("__init__",)
    seconds: int = 120
    defaults: bool = True

    @property
    def folder(self) -> Path:
        return ROOT / "mmc" / self.name

    def modules(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.py") if path.stem not in self.passed_over)


def _tests_of_attacks(module: str) -> list[str]:
    own = [name for name in (f"test_{module}.py", *SHARED.get(module, ())) if (ROOT / "tests/attacks" / name).exists()]
    return [f"tests/attacks/{name}" for name in (*own, "test_properties.py", "test_acceptance.py")]


#: Files besides its own that look at a module.
SHARED = {
    "apgd": ("test_climbs.py", "test_bisection.py"),
    "autoattack": ("test_peers.py",),
    "balls": ("test_climbs.py", "test_simple.py", "test_bisection.py"),
    "boundary": ("test_peers.py",),
    "checks": ("test_climbs.py", "test_objectives.py", "test_bisection.py"),
    "climb": ("test_climbs.py", "test_simple.py"),
    "objectives": ("test_climbs.py",),
    "penalty": ("test_cw.py",),
    "pgd": ("test_climbs.py",),
}
ROOMS = {
    "theory": Room(
        "theory",
        formula,
        lambda module: [f"tests/theory/test_{module}.py"],
        ("sympy", "numpy", "scipy.integrate", "scipy.special", "hypothesis", "mmc.theory"),
        ("__init__", "numeric"),
    ),
    "attacks": Room(
        "attacks",
        climb,
        _tests_of_attacks,
        ("torch", "hypothesis", "scipy.optimize", "mmc.oracle", "mmc.theory.attacks", "mmc.book.site", "nbformat"),
        ("__init__", "preset", "presets", "suite", "verdicts"),
        300,
        defaults=False,
    ),
}


def mutants(room: Room, module: str) -> list[Mutant]:
    """All mutants of a module's functions and methods: no decorators, annotations or messages."""
    tree = ast.parse((room.folder / f"{module}.py").read_text(encoding="utf-8"))
    before = ast.unparse(tree).splitlines()
    found: list[Mutant] = []
    for place, function in enumerate(ast.walk(tree)):
        if not isinstance(function, ast.FunctionDef) or function not in _outermost(tree):
            continue
        outside = {id(node) for node in _aside(function, room.defaults)}
        for number, node in enumerate(ast.walk(function)):
            for option in range(0 if id(node) in outside else len(list(room.changes(node)))):
                mutated = copy.deepcopy(tree)
                target = list(ast.walk(list(ast.walk(mutated))[place]))[number]
                _replace(mutated, target, list(room.changes(target))[option])
                ast.fix_missing_locations(mutated)
                source = ast.unparse(mutated)
                if source != "\n".join(before):
                    found.append(Mutant(function.name, node.lineno, _difference(before, source.splitlines()), source))
    return found


def _outermost(tree: ast.Module) -> list[ast.AST]:
    """Functions of the module and methods of its classes; what is defined inside a function is part of it."""
    return [node for body in (tree, *(c for c in tree.body if isinstance(c, ast.ClassDef))) for node in body.body]


def _difference(before: list[str], after: list[str]) -> str:
    """The first line that differs, as it was and as it is."""
    for one, other in zip(before, after, strict=False):
        if one != other:
            return f"{one.strip()} -> {other.strip()}"
    return f"{before[-1].strip()} -> nothing"


def _aside(function: ast.FunctionDef, defaults: bool) -> Iterator[ast.AST]:
    """Nodes that are asked for or said, not done: decorators, annotations, error messages, and defaults if you like."""
    for node in ast.walk(function):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            parts = [*node.decorator_list, node.returns]
            parts += [a.annotation for a in (*node.args.args, *node.args.kwonlyargs, node.args.vararg) if a]
            parts += [] if defaults else [*node.args.defaults, *node.args.kw_defaults]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.Raise):
            parts = [node]
        for part in parts:
            yield from ast.walk(part) if part is not None else ()


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


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module: types.ModuleType) -> None:
        module.__file__ = str(self.path)
        exec(compile(self.source, f"<mutant of {self.name}>", "exec"), module.__dict__)


def _install(room: Room, module: str, source: str) -> None:
    """Forget the room, and let its next import find the mutant: whoever uses the module uses the mutant."""
    package = f"mmc.{room.name}"
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Mutated(f"{package}.{module}", room.folder / f"{module}.py", source))


def survives(room: Room, module: str, mutant: Mutant) -> bool:
    """Run the module's tests in a fork with the mutant in place; True where they all pass."""
    process = os.fork()
    if process == 0:
        code = 1
        with contextlib.suppress(BaseException):
            signal.setitimer(signal.ITIMER_PROF, room.seconds)
            signal.alarm(20 * room.seconds)  # what waits for ever spends no processor time
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            import pytest

            _install(room, module, mutant.source)
            tests = [str(ROOT / path) for path in room.tests(module)]
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:nbval"]
            code = int(pytest.main([*options, "-o", "addopts=--import-mode=importlib", f"--rootdir={ROOT}", *tests]))
        os._exit(code)
    _, status = os.waitpid(process, 0)
    return status == 0


def check(room: Room, module: str, size: int) -> dict[str, object]:
    """Run all mutants of a module, or a sample: how many there are, how many ran, and who survived."""
    path = room.folder / f"{module}.py"
    os.environ["MUTATED"] = module
    if not survives(room, module, Mutant("", 0, "unchanged", path.read_text(encoding="utf-8"))):
        sys.exit(f"the tests of {module} fail without any mutation")
    found = mutants(room, module)
    chosen = sample(found, size) if size else found
    survivors = []
    for mutant in chosen:
        if survives(room, module, mutant):
            survivors.append(str(mutant))
            print(f"{module}, line {mutant.line}: {mutant}", file=sys.stderr, flush=True)
    return {"all": len(found), "run": len(chosen), "survivors": survivors}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", choices=list(ROOMS))
    parser.add_argument("module", nargs="*", help="all of the room where none is named")
    parser.add_argument("--sample", type=int, default=0, help="run only so many of each; 0 means all")
    asked = parser.parse_args(arguments)
    room = ROOMS[asked.room]
    os.environ["CI"] = "1"  # two runs draw the same examples
    for heavy in ("pytest", *room.heavy):
        importlib.import_module(heavy)
    print(json.dumps({module: check(room, module, asked.sample) for module in asked.module or room.modules()}))


if __name__ == "__main__":
    main()
