"""What is measured of a loss is what the theory says of it: margins, flows and exponents, each by its own formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from report_cases import Farther, Power

from mmc import losses
from mmc.losses import LOSSES
from mmc.report import EXACT, MEASURED, row
from mmc.report.exact import FORMULAS, blind_from, exact
from mmc.report.exponent import rise, thinning
from mmc.report.growth import Flow, flow
from mmc.report.quantity import Quantity
from mmc.report.scene import FEATURE_DIM, NORM, NUM_CLASSES, placed
from mmc.report.shape import contours
from mmc.report.stationary import rest
from mmc.theory import density, switching, underflow
from mmc.theory import flow as flow_theory
from mmc.theory import losses as formulas
from mmc.theory.numeric import numeric

few = settings(max_examples=5, deadline=None)
#: Losses without a stationary margin, and what their margin grows like: a in a log t.
ENDLESS = {"SCE": 1, "g-SCE": 1, "MMLDA": 1, "GCE": 1, "OVR": 2}
HOME = float(underflow.home_gap(sp.Integer(10), sp.Integer(NUM_CLASSES)))
SMOOTH = float(formulas.smoothing_margin(sp.Rational(9, 10), sp.Integer(NUM_CLASSES)))
RESTS = {"Label smoothing": SMOOTH, "Logit-squared": SMOOTH, "Mirrored SCE": SMOOTH, "MMC": HOME, "MMC (hier)": 1.5}


@pytest.fixture(scope="module")
def followed() -> dict[str, tuple[losses.Loss, Flow]]:
    """Every loss in the scene, with the flow of its first class."""
    scene = {name: placed(make) for name, make in LOSSES.items()}
    return {name: (loss, flow(loss)) for name, loss in scene.items()}


@pytest.mark.parametrize("name", LOSSES)
def test_theory_and_measurement_agree_where_there_are_both(name: str, followed: dict) -> None:
    loss, path = followed[name]
    end = rest(loss, path)
    assert end.margin > 0
    assert end.found == (name not in ENDLESS)
    if (asked := exact("stationary", loss)) and name not in ("MMC (rand)", "MMC (hier)", "Elastic MMC"):
        assert asked.how == EXACT and (asked.number is None) == (name in ENDLESS)
        assert asked.number is None or end.margin == pytest.approx(asked.number, rel=1e-6)
    if growth := exact("growth", loss):
        assert path.growth == pytest.approx(growth.number, abs=1e-3)
    power = rise(loss, end).exponent if end.found else thinning(loss, path)
    if law := exact("exponent", loss):
        assert power == pytest.approx(law.number, abs=1e-2)


@pytest.mark.parametrize("name", ENDLESS)
def test_losses_without_a_stationary_margin_grow_like_a_logarithm(name: str, followed: dict) -> None:
    loss, path = followed[name]
    assert path.growth == pytest.approx(ENDLESS[name], abs=1e-3) and path.power < 0.1
    assert not contours(loss, rest(loss, path).z).closed
    assert exact("stationary", loss).number is None


@pytest.mark.parametrize("name", RESTS)
def test_known_stationary_margins(name: str, followed: dict) -> None:
    loss, path = followed[name]
    assert rest(loss, path).margin == pytest.approx(RESTS[name], rel=1e-6)
    assert path.growth == 0
    assert contours(loss, rest(loss, path).z).closed


def test_flows_are_those_of_the_theory(followed: dict) -> None:
    laws = {
        "SCE": numeric(switching.cross_entropy_margin)(followed["SCE"][1].times, NUM_CLASSES),
        "OVR": numeric(switching.one_vs_rest_margin)(followed["OVR"][1].times),
        "MMLDA": numeric(flow_theory.softmax_margin)(
            followed["MMLDA"][1].times, float(flow_theory.simplex_slope(sp.Integer(10), NUM_CLASSES)), NUM_CLASSES
        ),
        "MMC": HOME * (1 - numeric(flow_theory.mmc_distance)(followed["MMC"][1].times, 1.0)),
    }
    for name, law in laws.items():
        assert np.allclose(followed[name][1].margins, law, rtol=1e-5, atol=1e-5), name


def test_directions_that_no_linear_softmax_sees(followed: dict) -> None:
    from mmc.theory.curse import free_directions

    unseen = int(free_directions(sp.Integer(FEATURE_DIM), sp.Integer(NUM_CLASSES)))
    for name, missing in {
        "SCE": unseen,
        "MMLDA": unseen,
        "Label smoothing": unseen,
        "OVR": unseen - 1,
        "MMC": 0,
    }.items():
        loss, path = followed[name]
        assert contours(loss, rest(loss, path).z).seen == FEATURE_DIM - missing, name


def test_shapes_that_have_names(followed: dict) -> None:
    found = {name: contours(loss, rest(loss, path).z) for name, (loss, path) in followed.items()}
    assert {name for name, one in found.items() if one.round} == {"MMC", "MMC (rand)", "MMC (hier)", "Elastic MMC"}
    assert {name for name, one in found.items() if one.conical} == {"HE"}


@few
@given(power=st.sampled_from([1.5, 2.0, 3.0, 4.0]))
def test_the_exponent_of_a_power_of_the_distance(power: float) -> None:
    c = sp.Symbol("C", positive=True)
    law = density.log_slope(density.power_density(c, sp.S.One, sp.Integer(FEATURE_DIM), sp.nsimplify(power)), c)
    loss = placed(Power, power=power)
    found = rise(loss, rest(loss, flow(loss)))
    assert found.directions == FEATURE_DIM and found.power == pytest.approx(power, abs=0.02)
    assert found.exponent == pytest.approx(float(law), rel=0.02)


@few
@given(target=st.floats(0.5, 7))
def test_the_dial_of_mirrored_cross_entropy_is_read_off(target: float) -> None:
    loss = placed(losses.MirroredSCE, target=target)
    assert exact("stationary", loss).number == pytest.approx(target, rel=1e-9)
    assert rest(loss, flow(loss)).margin == pytest.approx(target, rel=1e-6)


@pytest.mark.parametrize("convention", ["others", "all"])
@pytest.mark.parametrize("eps", [0.02, 0.1, 0.3])
def test_both_conventions_of_label_smoothing(convention: str, eps: float) -> None:
    share = {"others": formulas.share_others(eps), "all": formulas.share_all(eps, NUM_CLASSES)}[convention]
    loss = placed(losses.LabelSmoothing, eps=eps, convention=convention)
    expected = float(formulas.smoothing_margin(sp.Float(share), NUM_CLASSES))
    assert exact("stationary", loss).number == pytest.approx(expected, rel=1e-9)


def test_a_subclass_is_not_taken_for_what_it_comes_from() -> None:
    assert all(exact(column, placed(Farther)) is None for column in FORMULAS)
    found = row("mine", Farther).entries
    assert found["stationary"].how == MEASURED and found["stationary"].number == pytest.approx(2 * HOME, rel=1e-4)


def test_other_precisions_are_another_landscape() -> None:
    """The label's precision is the largest, so there is a stationary feature; no flow gets there in this time."""
    loss = placed(losses.GSCE, sigma=[2.0] + [1.0] * (NUM_CLASSES - 1))
    assert all(exact(column, loss) is None for column in FORMULAS)
    path = flow(loss)
    assert path.growth > 0.5 and not rest(loss, path).found
    assert (
        row("mine", losses.GSCE, sigma=[2.0] + [1.0] * (NUM_CLASSES - 1)).entries["stationary"].text == "none by 10^6"
    )


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_a_kink_is_a_place_to_rest_and_does_not_keep_the_flow_for_ever(power: float) -> None:
    loss = placed(Power, power=power)
    end = rest(loss, flow(loss))
    assert end.found and end.margin == pytest.approx(HOME, rel=1e-6)


def test_a_whole_row_says_what_is_exact_and_what_is_measured() -> None:
    found = row("Label smoothing", LOSSES["Label smoothing"])
    assert {key: entry.how for key, entry in found.entries.items()} == {
        "stationary": EXACT,
        "contours": MEASURED,
        "exponent": MEASURED,
        "growth": MEASURED,
        "blind": EXACT,
    }
    assert found.entries["stationary"].measured == pytest.approx(SMOOTH, rel=1e-6)
    assert found.entries["exponent"].number == pytest.approx(-(NUM_CLASSES - 1 - 2) / 2, abs=0.01)
    assert found.entries["blind"].number == pytest.approx(0.1, rel=1e-6)  # the share that smoothing takes away
    assert {end.label for end in found.ends} == set(range(NUM_CLASSES)) and not found.notes


def test_where_cross_entropy_goes_blind() -> None:
    assert 103 < blind_from() < HOME < 112
    assert math.isclose(NORM, 10)


@pytest.mark.parametrize(
    "given", [{"how": "guessed"}, {"how": EXACT, "number": math.nan}, {"how": EXACT, "measured": math.inf}]
)
def test_an_entry_is_exact_or_measured_and_finite(given: dict) -> None:
    with pytest.raises(ValueError, match=r"exact or measured|must be finite"):
        Quantity("x", **given)
