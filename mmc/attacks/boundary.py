"""An attack that sees decisions only: HopSkipJump, through foolbox, one example at a time.

Foolbox divides the directions it measures by a norm over the whole batch, and draws from torch's global generator.
With one example at a time, and a generator of its own, neither lets examples meddle with each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mmc.attacks.balls import check_norm, content, lengths
from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.chance import draw_seed, seeded

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

#: Images of noise to start from, besides black and white, where none are given.
STARTS = 64


def hop_skip_jump(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float = math.inf,
    norm: str = "l2",
    steps: int = 20,
    queries: int = 100,
    pool: Float[Tensor, "M C H W"] | None = None,
    seed: int = 0,
) -> Float[Tensor, "N C H W"]:
    """Walk along the decision boundary toward each image, asking for decisions only. Source: Chen et al. 2020.

    Args:
        model: maps images in [0, 1] to logits, of which only the largest one's place is used; in eval mode.
        x: images in [0, 1].
        y: labels.
        epsilon: radius in units of a pixel's range [0, 1], >= 0: an image found beyond it is not returned.
        norm: `l2` or `linf`, the distance that is made small.
        steps: >= 1.
        queries: decisions for the first step's direction, >= 1; step k asks for sqrt(k) times as many.
        pool: images in [0, 1] to start from; each example starts at the nearest one of another class. Noise, black and
            white where not given, which a trained network may put into one class.
        seed: of all draws; those of an example depend on its image and the seed alone.

    Returns:
        One image for each of x: the nearest one found; the image itself where none was found within epsilon, where no
        start was of another class, or where it was wrong already.

    Raises:
        ImportError: foolbox is not installed.
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    try:
        import foolbox
    except ImportError as error:
        raise ImportError("the decision-based attack needs foolbox: pip install foolbox") from error
    refuse_bad_input(model, x, y, epsilon)
    check_norm(norm)
    if steps < 1 or queries < 1:
        raise ValueError(f"steps and queries must be at least 1, not {steps} and {queries}")
    starts = _noise(x, seed) if pool is None else pool
    if starts.shape[1:] != x.shape[1:] or not bool(((starts >= 0) & (starts <= 1)).all()):
        raise ValueError(f"the pool must hold images of shape {tuple(x.shape[1:])} in [0, 1]")
    result = x.detach().clone()
    with torch.no_grad():
        classes = model(starts).argmax(1)
    attack = foolbox.attacks.HopSkipJumpAttack(steps=steps, initial_gradient_eval_steps=queries, constraint=norm)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
    for index in correct(model, x, y).nonzero().flatten().tolist():
        image, label = result[index : index + 1].clone(), y[index : index + 1]
        others = starts[classes != label]
        if not len(others):
            continue
        begin = others[lengths(others - image, norm).argmin()][None]
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            torch.manual_seed(draw_seed(seed, "hop-skip-jump", content(image)))
            found = attack.run(wrapped, image, foolbox.criteria.Misclassification(label), starting_points=begin)
        found = found.detach().clamp(0, 1)
        if not bool(correct(model, found, label)) and lengths(found - image, norm).item() <= epsilon:
            result[index] = found[0]
    confirm(x, result, epsilon, norm)
    return result


def _noise(x: Float[Tensor, "N C H W"], seed: int) -> Float[Tensor, "M C H W"]:
    """The same starts whatever x holds: noise, black, white."""
    generator = seeded(torch.Generator(), seed, "hop-skip-jump", "starts")
    noise = torch.rand(STARTS, *x.shape[1:], generator=generator).to(x)
    return torch.cat([noise, torch.zeros_like(noise[:1]), torch.ones_like(noise[:1])])
