"""Oracles for mmc.theory.underflow: NumPy's own floating-point types, and a simplex built by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from mmc.theory import underflow

TYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16}
formats = pytest.mark.parametrize("name", TYPES)
JUST = (1 - 1e-6, 1 + 1e-6)


def exp_of(gap: float) -> sp.Expr:
    """exp(-gap), beyond the range of float64."""
    return sp.exp(-sp.Float(gap, 30))


def rounded(number: sp.Expr, kind: type) -> float:
    """A number rounded to a format, once: an exact ratio to the nearest multiple of the format's spacing there."""
    info, number = np.finfo(kind), sp.Rational(sp.Float(number, 60))
    exact = Fraction(int(number.p), int(number.q))
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > exact  # now it is the integer part of the logarithm
    spacing = Fraction(2) ** (max(exponent, info.minexp) - info.nmant)
    return float(round(exact / spacing) * spacing)  # Python rounds ties to even


@formats
def test_formats_are_those_of_numpy(name):
    info = np.finfo(TYPES[name])
    assert underflow.FORMATS[name] == (info.nmant + 1, info.minexp)


def test_bfloat16_is_the_upper_half_of_float32():
    bits, least = underflow.FORMATS["bfloat16"]
    assert (bits + 16, least) == underflow.FORMATS["float32"]


@formats
def test_what_is_absorbed_by_one(name):
    kind, largest = TYPES[name], float(underflow.absorbed(underflow.FORMATS[name][0]))
    one, above = kind(1), np.nextafter(kind(largest), kind(1))
    assert one + kind(largest) == one and one + above > one


@formats
def test_the_least_positive_number(name):
    kind, least = TYPES[name], underflow.least_positive(*underflow.FORMATS[name])
    assert float(least) == np.finfo(kind).smallest_subnormal
    assert rounded(least / 2, kind) == 0 and rounded(least * sp.Rational(51, 100), kind) == float(least)


@formats
@pytest.mark.parametrize("rivals", [1, 9])
def test_beyond_the_value_gap_the_label_has_all_of_the_probability(name, rivals):
    gap = float(underflow.value_gap(underflow.FORMATS[name][0], sp.Integer(rivals)))
    alive, silent = (rounded(1 + rivals * exp_of(gap * factor), TYPES[name]) for factor in JUST)
    assert alive > 1 == silent


@formats
@pytest.mark.parametrize("factor", [sp.S.One, sp.Rational(1, 128)])
def test_beyond_the_gradient_gap_the_rival_has_none(name, factor):
    gap = float(underflow.gradient_gap(*underflow.FORMATS[name], factor))
    alive, silent = (rounded(factor * exp_of(gap * share), TYPES[name]) for share in JUST)
    assert alive > 0 == silent


@formats
def test_one_value_for_both_where_nothing_is_said(name):
    bits, least = underflow.FORMATS[name]
    assert underflow.value_gap(bits) == underflow.value_gap(bits, sp.S.One)
    assert underflow.gradient_gap(bits, least) == underflow.gradient_gap(bits, least, sp.S.One)


@formats
def test_the_flushed_gap_is_that_of_the_least_normal_number(name):
    gap = underflow.flushed_gap(underflow.FORMATS[name][1])
    assert math.isclose(float(gap), -math.log(np.finfo(TYPES[name]).tiny))
    assert gap < underflow.gradient_gap(*underflow.FORMATS[name])


@pytest.mark.parametrize(("classes", "norm", "precision"), [(10, 10.0, None), (3, 2.0, 1.0), (2, 1.5, 0.25)])
def test_the_home_gap_is_that_of_a_simplex(classes, norm, precision):
    corners = np.eye(classes) - 1 / classes
    corners *= norm / np.linalg.norm(corners[0])
    given = [] if precision is None else [sp.Float(precision)]
    gap = float(underflow.home_gap(sp.Float(norm), classes, *given))
    assert math.isclose(gap, (precision or 0.5) * np.square(corners[0] - corners[1]).sum())
    largest = underflow.largest_norm(sp.Float(7), classes, *given)
    assert math.isclose(float(underflow.home_gap(largest, classes, *given)), 7)
