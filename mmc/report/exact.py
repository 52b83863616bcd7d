"""What the theory says of a loss in the scene: one function for each column, by the loss's own class.

A subclass is another loss, so it is looked up by its exact type. A loss that is not listed is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import sympy as sp
import torch

from mmc import losses
from mmc.losses import Loss
from mmc.report.quantity import EXACT, Quantity
from mmc.report.scene import FEATURE_DIM, NORM, NUM_CLASSES
from mmc.theory import contours, density, flow, gsce_density, stationary, switching, underflow
from mmc.theory import losses as formulas
from mmc.theory.numeric import numeric

Exact = Callable[[Any], Quantity]
M, T, C = sp.symbols("m t C", positive=True)
L, D = sp.Integer(NUM_CLASSES), sp.Integer(FEATURE_DIM)
ZEROS = [sp.S.Zero] * (NUM_CLASSES - 1)
PLACES = (losses.MMC, losses.MMCRand, losses.MMCHier)


def _rational(number: float) -> sp.Rational:
    return sp.nsimplify(number, rational=True)


def _margin(formula: sp.Expr, name: str, variable: sp.Symbol = M) -> Quantity:
    """The stationary margins of a loss of one margin, by isolating the roots of its slope."""
    found = [float(root) for root in stationary.stationary_margins(formula, variable)]
    source = f"roots of the slope of mmc.theory.{name}"
    if not found:
        return Quantity("none", EXACT, None, source)
    return Quantity(f"{found[0]:.4g}", EXACT, found[0], source)


def _none(name: str) -> Exact:
    return lambda loss: _margin(flow.softmax_loss(M, L), name)


def _complement(loss: losses.GCE) -> Quantity:
    even = formulas.guided_complement_even(M, L, _rational(loss.alpha))
    return _margin(sp.expand_log(sp.log(-even), force=True), "losses.guided_complement_even")


def _smoothing(loss: losses.LabelSmoothing) -> Quantity:
    return _margin(formulas.smoothed(M, ZEROS, _rational(loss.target)), "losses.smoothed")


def _one_vs_rest(loss: losses.OVR) -> Quantity:
    return _margin(formulas.one_vs_rest(M, [-M for _ in ZEROS]), "losses.one_vs_rest")


def _squared(loss: losses.LogitSquared) -> Quantity:
    return _margin(formulas.logit_squared(M, ZEROS, _rational(loss.target)), "losses.logit_squared")


def _mirrored(loss: losses.MirroredSCE) -> Quantity:
    if loss.target == float("inf"):
        return _none("flow.softmax_loss")(loss)
    target = sp.log(_rational(float(sp.exp(loss.target))))
    return _margin(stationary.mirrored_even(M, L, target), "stationary.mirrored_even")


def _home(loss: losses.FixedCenters) -> Quantity:
    """The margin at the own center: half the squared distance to the nearest other one, class by class."""
    between = torch.cdist(loss.centers, loss.centers).square() / 2
    gaps = between.masked_fill(torch.eye(len(between), dtype=torch.bool), torch.inf).amin(1)
    low, high = gaps.min().item(), gaps.max().item()
    source = "z = mu_y, and half the squared distance to the nearest other center"
    return Quantity(f"{low:.4g}" if high - low < 1e-6 else f"{low:.3g} to {high:.3g}", EXACT, low, source)


def _sphere(loss: losses.ElasticMMC) -> Quantity:
    gap = _home(loss).number
    low = gap - loss.radius * (2 * gap) ** 0.5
    source = "the sphere of radius tau around mu_y, where it is nearest to the boundary"
    return Quantity(f"from {low:.4g} on a sphere", EXACT, low, source)


def _balance(loss: losses.CenterLoss) -> Quantity:
    """Beyond the own center, where softmax and pull cancel; the center is where the scene puts it."""
    place, slope = sp.Symbol("s"), switching.free_slope(L)
    velocity = flow.center_velocity(place, slope, L, sp.Float(loss.weight), sp.Float(NORM))
    margin = float(slope * sp.nsolve(velocity, place, NORM))
    return Quantity(f"{margin:.4g}", EXACT, margin, "root of mmc.theory.flow.center_velocity")


def _sphere_contours(text: str) -> Exact:
    return lambda loss: Quantity(text, EXACT, None, "the loss is a function of ||z - mu_y||")


def _pair_contours(loss: Loss) -> Quantity:
    """Two classes with the scene's weights, as members of the quadratic family with one precision for both."""
    weights = [sp.Matrix([1, 0]), sp.Matrix([0, 1])]
    centers, precisions, _ = zip(*(contours.sce_member(weight, sp.S.Zero) for weight in weights), strict=True)
    full = tuple(precision * sp.eye(2) for precision in precisions)
    kind = contours.quadric_kind(*contours.pair_quadric(sp.log(sp.Rational(3, 2)), tuple(centers), full, sp.S.Zero))
    return Quantity(f"{kind}s between two classes", EXACT, None, "mmc.theory.contours.quadric_kind")


def _exponent(law: sp.Expr, source: str) -> Exact:
    number = float(sp.limit(density.log_slope(law, C), C, 0))
    return lambda loss: Quantity(f"{number:+.4g}", EXACT, number, f"log slope of mmc.theory.{source} at constant p(C)")


def _elastic_exponent(loss: losses.ElasticMMC) -> Quantity:
    law, least = numeric(density.emc_density), 1e-10
    near, far = (float(law(value, 1, FEATURE_DIM, loss.radius)) for value in (least, 4 * least))
    number = round(math.log(far / near) / math.log(4), 3)
    source = "log slope of mmc.theory.density.emc_density at constant p(C)"
    return Quantity(f"{number:+.4g}", EXACT, number, source)


def _growing(time: sp.Expr, source: str) -> Exact:
    """a in m = a log t, from the time at which each margin is reached."""
    number = float(1 / sp.limit(sp.diff(sp.log(time), M), M, sp.oo))
    return lambda loss: Quantity(f"{number:.3g} log t", EXACT, number, f"mmc.theory.{source}")


def _settling(loss: Loss) -> Quantity:
    assert sp.limit(flow.mmc_distance(T, 1), T, sp.oo) == 0
    return Quantity("settles", EXACT, 0.0, "mmc.theory.flow.mmc_distance")


MMC_LAW = _exponent(density.mmc_density(C, sp.S.One, D), "density.mmc_density")
DEPTH_LAW = _exponent(gsce_density.depth_density(C, sp.S.One, sp.S.One), "gsce_density.depth_density")
SOFTMAX = _growing(switching.cross_entropy_time(M, L), "switching.cross_entropy_time")
DISTANCES = _growing(flow.softmax_time(M, flow.simplex_slope(sp.S.One, L), L), "flow.softmax_time")

FORMULAS: dict[str, dict[type[Loss], Exact]] = {
    "stationary": {
        losses.SCE: _none("flow.softmax_loss"),
        losses.GSCE: _none("flow.softmax_loss"),
        losses.MMLDA: _none("flow.softmax_loss"),
        losses.GCE: _complement,
        losses.OVR: _one_vs_rest,
        losses.LabelSmoothing: _smoothing,
        losses.LogitSquared: _squared,
        losses.MirroredSCE: _mirrored,
        losses.ElasticMMC: _sphere,
        losses.CenterLoss: _balance,
        **dict.fromkeys(PLACES, _home),
    },
    "contours": {
        **dict.fromkeys((losses.SCE, losses.GSCE, losses.MMLDA), _pair_contours),
        **dict.fromkeys(PLACES, _sphere_contours("spheres")),
        losses.ElasticMMC: _sphere_contours("pairs of spheres"),
    },
    "exponent": {
        **dict.fromkeys((losses.SCE, losses.GSCE, losses.MMLDA), DEPTH_LAW),
        **dict.fromkeys(PLACES, MMC_LAW),
        losses.ElasticMMC: _elastic_exponent,
    },
    "growth": {
        losses.SCE: SOFTMAX,
        losses.MMLDA: DISTANCES,
        losses.GSCE: DISTANCES,
        losses.OVR: _growing(switching.one_vs_rest_time(M), "switching.one_vs_rest_time"),
        **dict.fromkeys(PLACES, _settling),
    },
}


def exact(column: str, loss: Loss) -> Quantity | None:
    """The theory's entry of a column for a loss in the scene; None where the theory has no formula for it."""
    if type(loss) is losses.GSCE and not bool((loss.sigma == loss.sigma.flatten()[0]).all()):
        return None  # with other precisions contours are spheres, and they close where the label's is the largest
    found = FORMULAS[column].get(type(loss))
    return found(loss) if found else None


def blind_from() -> float:
    """The margin from which on the gradient of cross-entropy is exactly zero in float32."""
    bits, least = underflow.FORMATS["float32"]
    return float(underflow.gradient_gap(sp.Integer(bits), sp.Integer(least)))
