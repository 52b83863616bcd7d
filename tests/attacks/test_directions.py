"""SPSA's directions: signs, orthogonal over iterations, fair coins each, and the example's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc.attacks.directions import directions, hadamard

sizes = st.sampled_from([(1, 1, 1), (1, 2, 2), (3, 2, 2), (1, 5, 7), (3, 4, 4), (1, 8, 8)])


def drawn(shape: tuple[int, ...], numbers: range, streams: tuple[str, ...] = ("a", "b")) -> torch.Tensor:
    return directions(torch.zeros(len(streams), *shape), streams, numbers).flatten(2)


@pytest.mark.parametrize("power", range(9))
def test_rows_of_the_matrix_are_orthogonal_signs(power: int) -> None:
    size = 2**power
    rows = hadamard(size)
    assert rows.shape == (size, size) and rows.abs().eq(1).all()
    assert (rows @ rows.T).equal(size * torch.eye(size))


@settings(deadline=None, max_examples=40)
@given(shape=sizes, start=st.integers(0, 200), count=st.integers(1, 100), cut=st.integers(0, 100))
def test_every_number_has_one_direction_however_they_are_asked_for(
    shape: tuple[int, ...], start: int, count: int, cut: int
) -> None:
    whole = drawn(shape, range(start, start + count))
    assert whole.shape == (2, count, torch.Size(shape).numel()) and whole.abs().eq(1).all()
    middle = start + min(cut, count)
    parts = [drawn(shape, part) for part in (range(start, middle), range(middle, start + count)) if len(part)]
    assert whole.equal(torch.cat(parts, 1))
    assert whole[1:].equal(drawn(shape, range(start, start + count), ("b",)))


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 4, 8), (1, 8, 8)])
@pytest.mark.parametrize("cycle", [0, 1, 5])
def test_as_many_as_there_are_pixels_give_the_gradient_of_a_linear_function(shape: tuple[int, ...], cycle: int) -> None:
    pixels = torch.Size(shape).numel()
    signs = drawn(shape, range(cycle * pixels, (cycle + 1) * pixels))
    gradient = torch.randn(pixels, generator=torch.Generator().manual_seed(cycle))
    torch.testing.assert_close(((signs @ gradient)[..., None] * signs).mean(1), gradient.expand(2, -1))


@settings(deadline=None, max_examples=20)
@given(shape=sizes, tile=st.integers(1, 5), count=st.integers(1, 20))
def test_all_pixels_of_a_tile_have_one_sign(shape: tuple[int, ...], tile: int, count: int) -> None:
    """That of the image of tiles; those at the far edges may be cut."""
    like, streams = torch.zeros(2, *shape), ("a", "b")
    tiled, coarse = (directions(x, streams, range(count), t) for x, t in ((like, tile), (like[..., ::tile, ::tile], 1)))
    assert tiled.shape == (2, count, *shape)
    for row in range(shape[1]):
        for column in range(shape[2]):
            assert tiled[..., row, column].equal(coarse[..., row // tile, column // tile])


def test_another_size_overlaps_less_than_coins_would() -> None:
    """28 x 28 of 1024 columns: what two directions share, squared, is below the one pixel's worth that coins share."""
    signs = drawn((1, 28, 28), range(256), ("a",))[0]
    shared = (signs @ signs.T / 784).square()
    apart = shared[~torch.eye(256, dtype=torch.bool)].mean()
    assert apart < 0.3 / 784


def test_each_alone_is_a_fair_coin_for_every_pair_of_pixels() -> None:
    """Over many streams, the first direction has mean 0 and its pixels are not tied to one another."""
    streams = tuple(map(str, range(4000)))
    signs = drawn((1, 2, 3), range(3, 4), streams)[:, 0]
    assert signs.mean(0).abs().max() < 5 / 4000**0.5
    ties = signs.T @ signs / 4000 - torch.eye(6)
    assert ties.abs().max() < 5 / 4000**0.5


def test_no_pixel_has_one_sign_in_all_of_them() -> None:
    """Where it had, one-sided slopes would take it for the level of the objective, and never learn it."""
    signs = drawn((1, 2, 4), range(3, 5), tuple(map(str, range(4000))))
    assert (signs[:, 0] * signs[:, 1]).mean(0).abs().max() < 5 / 4000**0.5
