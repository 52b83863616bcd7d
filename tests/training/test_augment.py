"""Augmentation: whole pixels move, nothing is made up, and chance comes from the generator alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc.chance import draw_seed, seeded
from mmc.recipe import AUGMENTATIONS
from mmc.training.augment import PADDING, augment

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 10_000)


def pixels(count: int = 12, side: int = 20) -> torch.Tensor:
    """Bytes; no two pixels of an image are alike in both channels."""
    places = torch.arange(side * side).reshape(1, 1, side, side)
    return torch.cat([places % 251 + 1, places // 251 + 1], 1).to(torch.uint8).expand(count, -1, -1, -1).contiguous()


def generator(seed: int) -> torch.Generator:
    return seeded(torch.Generator(), "test", seed)


def every_outcome(image: torch.Tensor, kind: str) -> list[torch.Tensor]:
    """All images that a kind may make of one, by slices of the padded image."""
    side = image.shape[-1]
    reach = PADDING if kind == "crop-flip" else side // 10
    mode = {"mode": "constant"} if kind == "crop-flip" else {"mode": "replicate"}
    padded = F.pad(image[None].float(), [reach] * 4, **mode)[0].to(image.dtype)
    found = [padded[:, i : i + side, j : j + side] for i in range(2 * reach + 1) for j in range(2 * reach + 1)]
    return found + [one.flip(2) for one in found if kind.endswith("flip")]


@pytest.mark.parametrize("kind", AUGMENTATIONS)
@few
@given(seed=seeds)
def test_each_image_becomes_one_of_its_outcomes(kind: str, seed: int) -> None:
    x = pixels()
    before = x.clone()
    moved = augment(x, kind, generator(seed))
    assert x.equal(before) and moved.shape == x.shape and moved.dtype == torch.uint8
    if kind == "none":
        assert moved.equal(x)
        return
    outcomes = torch.stack(every_outcome(x[0], kind))
    for image in moved:
        assert (outcomes == image).flatten(1).all(1).any()


@pytest.mark.parametrize("kind", ["shift", "shift-flip", "crop-flip"])
def test_all_outcomes_come_up_equally_often(kind: str) -> None:
    x = pixels(20_000)
    outcomes = torch.stack(every_outcome(x[0], kind)).flatten(1).float()
    moved = augment(x, kind, generator(0)).flatten(1).float()
    counts = torch.cdist(moved, outcomes).argmin(1).bincount(minlength=len(outcomes)).double()
    expected = len(x) / len(outcomes)
    assert (counts - expected).abs().max() < 6 * expected**0.5


@few
@given(seed=seeds)
def test_same_generator_same_images_and_images_move_apart(seed: int) -> None:
    x = pixels(32)
    first, again, other = (augment(x, "crop-flip", generator(s)) for s in (seed, seed, seed + 1))
    assert first.equal(again) and not first.equal(other)
    assert len({image.numpy().tobytes() for image in first}) > 16


def test_small_images_are_not_shifted_further_than_a_tenth() -> None:
    x = pixels(64, side=8)
    assert augment(x, "shift", generator(0)).equal(x)


def test_floats_and_noncontiguous_batches_are_moved_alike() -> None:
    x = pixels()
    moved = augment(x, "crop-flip", generator(3))
    floats = augment(x.float().contiguous(memory_format=torch.channels_last), "crop-flip", generator(3))
    assert floats.equal(moved.float())


def test_seeds_of_neighbours_are_unrelated() -> None:
    drawn = {draw_seed(purpose, seed, step) for purpose in "ab" for seed in range(10) for step in range(100)}
    assert len(drawn) == 2000 and all(0 <= value < 2**63 for value in drawn)
    first = [torch.rand(1, generator=generator(s)).item() for s in range(2000)]
    assert abs(torch.tensor(first).mean() - 0.5) < 0.03
    assert abs(torch.corrcoef(torch.tensor([first[:-1], first[1:]]))[0, 1]) < 0.08
