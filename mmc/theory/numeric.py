"""From a formula to a NumPy function: the only door between SymPy and arrays.

Every formula of the book is a Python function that returns a SymPy expression. `numeric` compiles it,
so no formula is ever typed a second time.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from sympy.printing.numpy import SciPyPrinter


class _Printer(SciPyPrinter):
    """Two functions that SymPy prints in a form that fails on some numbers."""

    def _print_betainc_regularized(self, expr: sp.Expr) -> str:
        # Printed as a difference; inside a product it needs brackets.
        return f"({super()._print_betainc_regularized(expr)})"

    def _print_LambertW(self, expr: sp.Expr) -> str:
        # Late in a flow the exponential in its argument overflows; Wright's omega is W(e^x) of x itself.
        inside = expr.args[0]
        if not inside.has(sp.exp) or inside.could_extract_minus_sign():
            return super()._print_LambertW(expr)
        return f"wrightomega({self._print(sp.expand_log(sp.log(inside), force=True))})"


_SETTINGS = {"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True}


@functools.cache
def numeric(formula: Callable[..., sp.Expr]) -> Callable[..., Any]:
    """Compile a formula into a NumPy function with the same arguments and defaults.

    Args:
        formula: a function that takes SymPy scalars and returns a SymPy expression of them.

    Returns:
        A function of floats or broadcastable arrays; float64 out.

    >>> from mmc.theory.density import sphere_area
    >>> float(numeric(sphere_area)(3).round(4))
    12.5664
    """
    signature = inspect.signature(formula)
    symbols = [sp.Symbol(name, real=True) for name in signature.parameters]
    compiled = sp.lambdify(symbols, formula(*symbols), modules=["scipy", "numpy"], printer=_Printer(_SETTINGS))

    @functools.wraps(formula)
    def evaluate(*args: Any, **kwargs: Any) -> np.ndarray:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        # SciPy's Lambert W is complex even where its imaginary part is zero.
        return np.real_if_close(compiled(*(np.asarray(value, dtype=float) for value in bound.args)))

    return evaluate
