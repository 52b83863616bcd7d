"""Oracles for mmc.theory.distances: draws of noise, Python's own normal distribution, and float32 itself."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import sympy as sp
import torch

from mmc.theory import distances
from mmc.theory.numeric import numeric

PHI = NormalDist().cdf


@pytest.mark.parametrize(("distance", "sigma"), [(0.0, 1.0), (0.5, 1.0), (0.7, 0.4), (3.0, 2.0)])
def test_noise_keeps_the_share_of_draws_on_the_image_s_side(distance, sigma):
    rng = np.random.default_rng(0)
    normal = rng.normal(size=5)
    normal /= np.linalg.norm(normal)
    stays = (sigma * rng.normal(size=(200_000, 5)) @ normal < distance).mean()
    kept = float(numeric(distances.noise_accuracy)(distance, sigma))
    assert kept == pytest.approx(stays, abs=0.005)
    assert kept == pytest.approx(PHI(distance / sigma))


def test_it_rises_and_is_concave_so_the_mean_distance_gives_the_most():
    r, sigma = sp.symbols("r sigma", positive=True)
    law = distances.noise_accuracy(r, sigma)
    assert sp.simplify(sp.diff(law, r, 2) / sp.diff(law, r) + r / sigma**2) == 0
    away = np.random.default_rng(1).exponential(0.7, size=1000)
    compiled = numeric(distances.noise_accuracy)
    assert compiled(away, 0.5).mean() < compiled(away.mean(), 0.5)


@pytest.mark.parametrize("reach", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("below", [0.0, 0.2, 0.9])
def test_the_bounds_are_attained_by_images_at_two_distances(reach, below):
    law = numeric(distances.noise_accuracy)
    far = 40.0
    on_or_at = below * law(0.0, 1) + (1 - below) * law(reach, 1)
    assert float(numeric(distances.least_share_below)(on_or_at, reach)) == pytest.approx(below)
    before_or_out = below * law(reach, 1) + (1 - below) * law(far, 1)
    assert float(numeric(distances.most_share_below)(before_or_out, reach)) == pytest.approx(below)


def test_the_bounds_enclose_any_images_and_never_leave_zero_to_one():
    rng = np.random.default_rng(2)
    for scale in (0.1, 1.0, 5.0):
        away = rng.exponential(scale, size=500)
        kept = float(numeric(distances.noise_accuracy)(away, 1.0).mean())
        for reach in (0.3, 1.0, 2.0, 4.0):
            least, most = (
                float(numeric(bound)(kept, reach))
                for bound in (distances.least_share_below, distances.most_share_below)
            )
            assert 0 <= least <= (away < reach).mean() <= most <= 1


@pytest.mark.parametrize("count", [3, 100, 1000, 10_000])
def test_one_image_of_so_many_falls_at_the_horizon(count):
    reach = float(numeric(distances.horizon)(count))
    assert count * (1 - PHI(reach)) == pytest.approx(1)


@pytest.mark.parametrize(("pixels", "share"), [(1, 0.1), (64, 0.01), (3072, 0.3)])
def test_noise_of_that_length_fools_so_often(pixels, share):
    sigma = float(numeric(distances.length_ratio)(pixels, share)) / np.sqrt(pixels)  # the plane lies at distance 1
    assert 1 - PHI(1 / sigma) == pytest.approx(share)


@pytest.mark.parametrize("rivals", [1, 9])
def test_beyond_the_silent_gap_float32_has_no_loss_at_any_image_of_a_pair(rivals):
    generator = torch.Generator().manual_seed(0)
    slope, delta = torch.rand(20, generator=generator) + 0.1, 0.01
    threshold = float(numeric(distances.silent_gap)(24, slope.sum().item(), delta, rivals))

    def values(gap):
        """Cross-entropy at pairs around an image with this gap, the worst signs among them."""
        signs = torch.randint(0, 2, (64, 20), generator=generator) * 2.0 - 1
        signs[0] = -1.0
        leads = gap + delta * torch.cat([signs, -signs]) @ slope
        logits = torch.cat([torch.zeros(len(leads), 1), -leads[:, None].expand(-1, rivals)], 1)
        return torch.nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long), reduction="none")

    assert (values(threshold + 0.01) == 0).all()
    # Several rivals that are added to 1 one by one vanish sooner than their sum does.
    assert (values(threshold - 0.01 - np.log(rivals)) > 0).any()
