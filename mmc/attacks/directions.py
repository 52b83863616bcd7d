"""Random directions of signs, orthogonal to one another as far as that goes.

SPSA adds up slopes along random directions. Where two of them overlap, the slope along one is counted in the other:
this is its noise. Orthogonal directions do not overlap, and as many of them as there are pixels give the whole gradient
of a linear function. Rows of a Hadamard matrix are orthogonal. In random order, and with a random sign for each row and
each column, each of them by itself is what SPSA draws: every pixel +1 or -1 by a coin of its own. Source: Bhatnagar et
al. 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mmc.chance import seeded

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def directions(
    like: Float[Tensor, "N C H W"], streams: Sequence[str], numbers: range, tile: int = 1
) -> Float[Tensor, "N count C H W"]:
    """Directions for each example, by their numbers in the example's own stream; each is +1 or -1 in every pixel.

    With tiles, all pixels of one have one sign: there are fewer directions to tell apart, and what the slope does
    within a tile is lost. Slopes of networks are smooth enough to gain by it. Source: Ilyas et al. 2019.

    The matrix has the next power of two at or above the number of pixels for its size M. Directions from a multiple of
    M to the next are its rows, without their last columns: orthogonal where M is the number of pixels, and nearly so
    else. The next M are drawn anew.

    Args:
        like: the images; only their shape, type and device count.
        streams: the stream of each example.
        numbers: which directions, in order, from 0.
        tile: side of the squares of pixels that have one sign, >= 1; those at the far edges may be cut.
    """
    if tile > 1:
        coarse = directions(like[..., ::tile, ::tile], streams, numbers)
        fine = coarse.repeat_interleave(tile, -1).repeat_interleave(tile, -2)
        return fine[..., : like.shape[-2], : like.shape[-1]]
    pixels = like[0].numel()
    height, width = _sides(pixels)
    cycle = height * width
    found = []
    for number in range(numbers.start // cycle, -(-numbers.stop // cycle)):
        part = slice(max(numbers.start - number * cycle, 0), min(numbers.stop - number * cycle, cycle))
        rows, flips, turns = _drawn(streams, number, cycle, pixels, part)
        rows, flips, turns = rows.to(like.device), flips.to(like), turns.to(like)
        # A Hadamard matrix of size M is the Kronecker product of two small ones.
        tall, wide = hadamard(height).to(like)[rows // width], hadamard(width).to(like)[rows % width]
        tall = tall * turns[..., None]
        found.append((tall[..., :, None] * wide[..., None, :]).flatten(2)[:, :, :pixels].mul_(flips[:, None]))
    signs = found[0] if len(found) == 1 else torch.cat(found, 1)
    return signs.view(len(like), len(numbers), *like.shape[1:])


def hadamard(size: int) -> Float[Tensor, "M M"]:
    """Sylvester's matrix of signs with orthogonal rows; its size is a power of two."""
    found = torch.ones(1, 1)
    while len(found) < size:
        found = torch.cat([torch.cat([found, found], 1), torch.cat([found, -found], 1)])
    return found


def _sides(pixels: int) -> tuple[int, int]:
    """Two powers of two, as near as they go, whose product is the least that holds all pixels."""
    power = max(pixels - 1, 0).bit_length()
    return 2 ** (power // 2), 2 ** (power - power // 2)


def _drawn(streams: Sequence[str], number: int, cycle: int, pixels: int, part: slice) -> tuple[Tensor, ...]:
    """For each stream: some of the matrix's rows in random order, a sign for each column, and one for each such row.

    Without the last a pixel of the first column would have one sign in all rows.
    """
    generator, rows, flips, turns = torch.Generator(), [], [], []
    for stream in streams:
        seeded(generator, stream, number)
        rows.append(torch.randperm(cycle, generator=generator)[part])
        flips.append(torch.randint(0, 2, (pixels,), generator=generator, dtype=torch.int8))
        turns.append(torch.randint(0, 2, (cycle,), generator=generator, dtype=torch.int8)[part])
    return torch.stack(rows), *(2 * torch.stack(signs) - 1 for signs in (flips, turns))
