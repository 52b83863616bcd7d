"""The kept reports of all losses: complete, from clean commits, and in agreement with today's theory."""

from __future__ import annotations

import pytest

from mmc.losses import LOSSES
from mmc.report import COLUMNS
from mmc.report.exact import FORMULAS, exact
from mmc.report.figure import draw
from mmc.report.record import IMAGES, SEEDS, Kept, head, kept, place
from mmc.report.scene import placed
from mmc.report.trial import EPSILONS, WORST


@pytest.fixture(scope="module")
def found() -> dict[str, Kept]:
    return {name: kept(name) for name in LOSSES}


def test_every_loss_has_its_own_file() -> None:
    assert len({place(name) for name in LOSSES}) == len(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_record_is_whole_and_of_a_clean_commit(name: str, found: dict[str, Kept]) -> None:
    one = found[name]
    assert tuple(trial.seed for trial in one.trials) == SEEDS and list(one.entries) == list(COLUMNS)
    assert len(one.times) == len(one.margins) and one.times == sorted(one.times)
    for part in one.made:
        assert "+" not in part["commit"] and part["commit"] != "unknown"
    for trial in one.trials:
        assert trial.images == IMAGES and list(trial.worst) == list(EPSILONS)
        falling = [trial.clean, *trial.worst.values()]
        assert falling == sorted(falling, reverse=True)
        for ladder in trial.robust.values():
            assert ladder[WORST] <= min(ladder.values())


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_exact_in_a_record_is_what_the_theory_says_now(name: str, found: dict[str, Kept]) -> None:
    loss = placed(LOSSES[name])
    for column in FORMULAS:
        theory, entry = exact(column, loss), found[name].entries[column]
        assert entry.how == ("exact" if theory else "measured")
        if theory:
            assert (entry.text, entry.number) == (theory.text, pytest.approx(theory.number))


def test_the_head_decides_the_values() -> None:
    assert head("MMC")["loss"] == "MMC" and head("MMC") != head("SCE")


def test_a_figure_has_two_columns_or_three() -> None:
    with pytest.raises(ValueError, match="columns must be 2 or 3, not 4"):
        draw(None, (), columns=4)
