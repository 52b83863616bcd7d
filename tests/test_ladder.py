"""The ladder: every rung has the same budget, heads where it is meant to, and the last one is exact on the oracle."""

from __future__ import annotations

import pytest
import torch

from mmc import ladder
from mmc.attacks.objectives import LADDER
from mmc.oracle import random_oracle
from mmc.theory import underflow

CLASSES, STEPS, EPSILON = 6, 5, 0.15


@pytest.fixture(scope="module", params=[0, 1, 2])
def oracle(request):
    return random_oracle(request.param, 24, CLASSES, 7, epsilon=EPSILON, count=40)


def test_a_rung_spends_its_budget_on_who_stands_and_no_more(oracle):
    slugs, found = ladder.climb(oracle.model, oracle.x, oracle.y, epsilon=EPSILON, steps=STEPS)
    assert set(slugs) == {*ladder.RUNGS, *ladder.RELATIVES}
    budget = (CLASSES - 1) * STEPS
    for name, slug in slugs.items():
        attacked = found.attacks[slug]
        standing, clean = int(attacked.correct.sum()), int(found.clean.sum())
        assert standing * budget <= attacked.backward <= clean * budget, name


def test_the_last_rung_is_exact_and_none_goes_below_the_truth(oracle):
    slugs, found = ladder.climb(oracle.model, oracle.x, oracle.y, epsilon=EPSILON, steps=STEPS, only=ladder.RUNGS)
    truth = oracle.robust(EPSILON)
    assert set(slugs) == set(ladder.RUNGS)
    for name, slug in slugs.items():
        assert (found.attacks[slug].correct | ~truth).all(), name
    assert torch.equal(found.attacks[slugs[ladder.EVERY_PAIR]].correct, truth)
    assert not torch.equal(found.attacks[slugs["own center"]].correct, truth)


def test_headings_of_the_pair_and_of_the_own_center(oracle):
    """Toward the runner-up the margin heads straight; at features made isotropic the own center's sign is the gap's."""
    found = ladder.headings(LADDER, oracle.model, oracle.x, oracle.y)
    right = oracle.model(oracle.x).argmax(1) == oracle.y
    torch.testing.assert_close(found["margin"][0, right], torch.ones(int(right.sum())))
    for cosines in found.values():
        assert cosines.shape == (CLASSES - 1, len(oracle.y)) and cosines.abs().max() < 1 + 1e-5
    backbone = torch.nn.Flatten()  # features are pixels: isotropic
    model = type(oracle.model)(backbone, random_oracle(0, CLASSES, CLASSES, CLASSES).model.loss).eval()
    generator = torch.Generator().manual_seed(0)
    x, y = 8 * torch.randn(50, 1, 1, CLASSES, generator=generator), torch.randint(CLASSES, (50,), generator=generator)
    cosines = ladder.headings({"own center": LADDER["own center"]}, model, x, y)["own center"]
    gaps = (model(x).gather(1, y[:, None]) - model(x)).sort(1).values
    others = gaps[gaps != 0].view(50, -1)  # without the label's own gap, the most likely class first
    assert torch.equal(cosines > 0, (others < float(underflow.home_gap(10, CLASSES))).T)


def test_without_centers_only_the_rungs_that_need_none():
    plain = random_oracle(0, 16, 5, 4, loss="SCE", count=8)
    slugs, _ = ladder.climb(plain.model, plain.x, plain.y, epsilon=0.1, steps=2)
    assert set(slugs) == {"cross-entropy", "margin", ladder.EVERY_PAIR, ladder.DLR, ladder.EVERY_DLR}


def test_fewer_starts_leave_more_standing(oracle):
    options = {"epsilon": EPSILON, "steps": 3, "only": ("margin",)}
    few, many = (
        ladder.climb(oracle.model, oracle.x, oracle.y, starts=starts, **options)[1].worst["L-inf 0.15"]
        for starts in (1, 8)
    )
    assert (few | ~many).all()
