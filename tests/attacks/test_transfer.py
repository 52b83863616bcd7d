"""Transfer: the diagonal is the white-box attack, twins fall together, and what never stood does not survive."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from attack_cases import few, images, network, seeds
from hypothesis import given

from mmc.attacks import correct, pgd
from mmc.attacks.mim import mim
from mmc.attacks.objectives import margin
from mmc.attacks.transfer import transfer_matrix


def zoo(seed: int):
    """Three models, of which two are the same, and labels that the first gives."""
    models = {"one": network(seed), "twin": network(seed), "other": network(seed + 1, "SCE")}
    x = images(seed, 20)
    return models, x, models["one"](x).argmax(1)


@few
@given(seed=seeds)
def test_every_cell_is_what_it_says(seed: int) -> None:
    models, x, y = zoo(seed)
    attack = partial(mim, epsilon=0.1, active_set=False)
    found = transfer_matrix(models, x, y, attack)
    assert list(found) == [(source, target) for source in models for target in models]
    for (source, target), standing in found.items():
        x_adv = attack(models[source], x, y)
        assert standing.equal(correct(models[target], x, y) & correct(models[target], x_adv, y))
    assert found["one", "one"].equal(found["one", "twin"]) and found["one", "other"].equal(found["twin", "other"])


@few
@given(seed=seeds)
def test_what_was_wrong_does_not_survive_and_doing_nothing_changes_nothing(seed: int) -> None:
    models, x, y = zoo(seed)
    clean = {name: correct(model, x, y) for name, model in models.items()}
    for (_, target), standing in transfer_matrix(models, x, y, lambda model, x, y: x.clone()).items():
        assert standing.equal(clean[target])
    attack = partial(pgd, objective=margin, epsilon=0.2, steps=5)
    for (_, target), standing in transfer_matrix(models, x, y, attack).items():
        assert not (standing & ~clean[target]).any()


def test_climbing_on_crosses_over_better() -> None:
    """Over several sources: an image that has just fooled its source fools others less often."""
    left = {True: 0.0, False: 0.0}
    for seed in range(6):
        models = {"source": network(seed), "target": network(seed)}
        # The target is the source, a little changed.
        with torch.no_grad():
            for parameter in models["target"].backbone.parameters():
                noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
                parameter.add_(0.2 * parameter.std() * noise)
        x = images(seed, 100)
        y = models["source"](x).argmax(1)
        for active in left:
            found = transfer_matrix(models, x, y, partial(mim, epsilon=0.15, active_set=active))
            left[active] += found["source", "target"].sum().item()
    assert left[False] < 0.9 * left[True]


def test_bad_attacks_are_refused() -> None:
    models, x, y = zoo(0)
    with pytest.raises(ValueError, match="left the box"):
        transfer_matrix(models, x, y, lambda model, x, y: x + 0.5)
    with pytest.raises(ValueError, match="the attack returned"):
        transfer_matrix(models, x, y, lambda model, x, y: x[:3])
    with pytest.raises(ValueError, match="no models"):
        transfer_matrix({}, x, y, mim)
    with pytest.raises(ValueError, match="training mode"):
        transfer_matrix({"one": network(0).train()}, x, y, partial(mim, epsilon=0.1))
