"""Models whose exact robust accuracy is known: what an attack is tested against.

Where all differences of logits are affine in the image, the images that fool the model are a union of half-spaces, and
the exact distance to each, in the box [0, 1], has a closed form; `mmc.theory.oracle` derives it. All distances are
computed in float64 from the model's own weights, whatever precision the model computes in.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmc.losses import build
from mmc.losses.fixed import FixedCenters
from mmc.losses.softmax import SCE
from mmc.models import Classifier

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

#: The norms that distances are known in.
NORMS = ("linf", "l2")


def level(
    target: Float[Tensor, " N"], strength: Float[Tensor, "N n"], ceiling: Float[Tensor, "N n"]
) -> Float[Tensor, " N"]:
    """The least s >= 0 with sum_i strength_i min(s, ceiling_i) = target; see `mmc.theory.oracle.level`.

    Args:
        target: negative ones count as 0.
        strength: >= 0; where it is 0 the ceiling does not matter.
        ceiling: >= 0.

    Returns:
        One level per row, infinite where the target is out of reach.
    """
    ceiling, order = torch.where(strength > 0, ceiling, 0).sort(dim=1)
    strength = strength.gather(1, order)
    filled = (strength * ceiling).cumsum(1)
    before = torch.nn.functional.pad(filled, (1, 0))[:, :-1]
    free = strength.flip(1).cumsum(1).flip(1)
    some = free > 0
    candidates = torch.where(some, (target[:, None] - before) / torch.where(some, free, 1), 0)
    return torch.where(target > filled[:, -1], torch.inf, candidates.amax(1).clamp_min(0))


def _check_norm(norm: str) -> None:
    if norm not in NORMS:
        raise ValueError(f"no norm {norm!r}; there are: {', '.join(NORMS)}")


def _rooms(x: Float[Tensor, "N n"], normal: Float[Tensor, "N n"]) -> tuple[Tensor, Tensor]:
    """How far each pixel may move in the box in the normal's direction, and the normal's absolute entries."""
    return torch.where(normal > 0, 1 - x, x), normal.abs()


def _onto(
    gap: Float[Tensor, " N"], normal: Float[Tensor, "N n"], x: Float[Tensor, "N n"], norm: str
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N n"]]:
    """Distance to a half-space in the box, infinite where the box holds none of it, and the step there."""
    room, size = _rooms(x, normal)
    if norm == "linf":
        distance = level(gap, size, room)
        return distance, normal.sign() * torch.minimum(distance[:, None], room)
    multiplier = level(gap, size.square(), room / size)
    reach = torch.where(size > 0, multiplier[:, None] * size, 0)
    step = torch.minimum(reach, room)
    distance = torch.where(multiplier.isfinite(), torch.linalg.vector_norm(step, dim=1), torch.inf)
    return distance, normal.sign() * step


def _farthest(radius: float, normal: Float[Tensor, "N n"], x: Float[Tensor, "N n"], norm: str) -> Float[Tensor, "N n"]:
    """The step in ball and box that goes farthest along the normal."""
    room, size = _rooms(x, normal)
    if norm == "linf":
        return normal.sign() * room.clamp_max(radius)
    squared = level(torch.full_like(x[:, 0], radius**2), size.square(), (room / size).square())
    reach = torch.where(size > 0, squared.sqrt()[:, None] * size, 0)
    return normal.sign() * torch.minimum(reach, room)


def _nearest(
    affine: tuple[Tensor, Tensor], x: Float[Tensor, "N n"], y: Int[Tensor, " N"], norm: str, slack: float = 0.0
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N n"]]:
    """Distance to the nearest image that fools affine logits, their gaps less the slack, and that image."""
    weight, bias = affine
    logits = x @ weight.T + bias
    gaps = (logits.gather(1, y[:, None]) - logits - slack).clamp_min(0)
    # The distance without the box is never larger. Classes come in its order, as long as they can still be nearest.
    # (Expanding the square would be faster for many classes, and inexact.)
    mode = "donot_use_mm_for_euclid_dist"
    slopes = torch.cdist(weight, weight, p=1.0 if norm == "linf" else 2.0, compute_mode=mode)[y]
    least = torch.where(slopes > 0, gaps / slopes, torch.where(gaps > 0, torch.inf, 0))
    least = least.scatter(1, y[:, None], torch.inf)
    best, step = torch.full_like(x[:, 0], torch.inf), torch.zeros_like(x)
    for rival in least.argsort(1).T:
        rows = (least.gather(1, rival[:, None])[:, 0] < best).nonzero()[:, 0]
        if not len(rows):
            break
        normal = weight[rival[rows]] - weight[y[rows]]
        distance, way = _onto(gaps[rows, rival[rows]], normal, x[rows], norm)
        nearer = distance < best[rows]
        best[rows[nearer]], step[rows[nearer]] = distance[nearer], way[nearer]
    return best, (x + step).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Exact:
    """A model, images and labels whose every distance and verdict is exact; a subclass says how the distance is found.

    Distances are in units of a pixel's range, in L-inf ("linf") or Euclidean ("l2"), within the box [0, 1]. They are 0
    for an image that is misclassified as it is, and infinite where no image in the box fools the model.

    Args:
        model: in eval mode.
        x: images in [0, 1], shape (N, C, H, W).
        y: labels, shape (N,).
    """

    model: nn.Module
    x: Float[Tensor, "N C H W"]
    y: Int[Tensor, " N"]

    def find(self, norm: str, slack: float = 0.0) -> tuple[Float[Tensor, " N"], Float[Tensor, "N n"]]:
        """Exact distance to the nearest image in the box with h_y - h_t <= slack for some t, and that image, float64.

        Args:
            norm: one of `NORMS`.
            slack: 0 for where the model ties.
        """
        raise NotImplementedError

    @property
    def flat(self) -> Float[Tensor, "N n"]:
        """The images as rows, float64."""
        return self.x.flatten(1).double()

    @functools.cached_property
    def exactly(self) -> nn.Module:
        """The model in float64."""
        return copy.deepcopy(self.model).double().eval().requires_grad_(False)

    def differences(self, model: nn.Module, flat: Float[Tensor, "M n"]) -> Float[Tensor, "M L"]:
        """A model's logits minus the first one, float64: what all classes share drops out."""
        logits = model(flat.reshape(-1, *self.x.shape[1:]))
        return (logits - logits[:, :1]).double()

    def gaps(self, x: Float[Tensor, "N C H W"] | None = None) -> Float[Tensor, "N L"]:
        """h_y - h_t for every class t in float64, at the images or at others of the same labels."""
        logits = self.differences(self.exactly, self.flat if x is None else x.flatten(1).double())
        return logits.gather(1, self.y[:, None]) - logits

    @functools.cached_property
    def _found(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {}

    def _in(self, norm: str) -> tuple[Float[Tensor, " N"], Float[Tensor, "N n"]]:
        _check_norm(norm)
        if norm not in self._found:
            self._found[norm] = self.find(norm)
        return self._found[norm]

    def distances(self, norm: str) -> Float[Tensor, " N"]:
        """Exact distance to the nearest image in the box that ties or fools, float64."""
        return self._in(norm)[0].clone()

    def distances_linf(self) -> Float[Tensor, " N"]:
        """Exact L-inf distances, see `distances`."""
        return self.distances("linf")

    def distances_l2(self) -> Float[Tensor, " N"]:
        """Exact L2 distances, see `distances`."""
        return self.distances("l2")

    def nearest(self, norm: str) -> Float[Tensor, "N C H W"]:
        """The image at exactly that distance, float64; where no image fools, x itself."""
        return self._in(norm)[1].view(self.x.shape).clone()

    def robust(self, epsilon: float, norm: str = "linf") -> Bool[Tensor, " N"]:
        """Is every image in the box within epsilon classified correctly? Exactly at its distance an image is not."""
        return self._in(norm)[0] > epsilon

    def robust_accuracy(self, epsilon: float, norm: str = "linf") -> float:
        """The share of `robust` images: no attack may report less."""
        return self.robust(epsilon, norm).double().mean().item()

    def radius(self, robust_accuracy: float, norm: str = "linf") -> float:
        """A radius at which this share of the images is robust, halfway between two distances: no verdict is close.

        Raises:
            ValueError: the share, rounded to whole images, is not strictly between 0 and 1, or no radius has it.
        """
        return _radius(self._in(norm)[0], robust_accuracy)

    @functools.cached_property
    def rounding(self) -> float:
        """How far the model's own precision may move a difference of two logits: 4 times the largest error measured.

        Measured at the images, at the nearest ones that fool, and at 256 random images in the box: no proven bound.
        """
        generator = torch.Generator().manual_seed(1)
        anywhere = torch.rand(256, self.flat.shape[1], generator=generator, dtype=torch.float64)
        flat = torch.cat([self.flat, *(self._in(norm)[1] for norm in NORMS), anywhere]).to(self.x.dtype)
        with torch.no_grad():
            error = self.differences(self.model, flat) - self.differences(self.exactly, flat.double())
        return 4 * (error.amax(1) - error.amin(1)).max().item()

    def safe_distances(self, norm: str) -> Float[Tensor, " N"]:
        """The distance below which not even the model's `rounding` lets an image fool it."""
        _check_norm(norm)
        return self.find(norm, self.rounding)[0]


@dataclass(frozen=True, eq=False)
class Oracle(Exact):
    """A model with affine differences of logits, e.g. a `Classifier` of Flatten and Linear with fixed centers or SCE.

    Raises:
        ValueError: the model's differences of logits are not affine in the image.
    """

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        probes = torch.cat([self.flat, torch.rand(64, self.flat.shape[1], generator=generator, dtype=torch.float64)])
        weight, bias = self.affine
        exact, found = self.differences(self.exactly, probes), probes @ weight.T + bias
        worst, scale = (exact - found).abs().max().item(), exact.abs().max().item()
        if not worst <= 1e-9 * scale:
            raise ValueError(f"the differences of logits are not affine in the image: they miss by {worst:g}")

    @functools.cached_property
    def affine(self) -> tuple[Float[Tensor, "L n"], Float[Tensor, " L"]]:
        """W and c in float64: the logits are W x + c, up to a term that all classes share."""
        origin = torch.zeros(1, self.flat.shape[1], dtype=torch.float64)
        weight = torch.autograd.functional.jacobian(lambda image: self.differences(self.exactly, image)[0], origin)
        return weight[:, 0], self.differences(self.exactly, origin)[0]

    def find(self, norm: str, slack: float = 0.0) -> tuple[Float[Tensor, " N"], Float[Tensor, "N n"]]:
        _check_norm(norm)
        return _nearest(self.affine, self.flat, self.y, norm, slack)

    def worst(self, epsilon: float, norm: str = "linf") -> Float[Tensor, "N C H W"]:
        """The image in box and ball with the largest margin over the label: the perfect attack at a fixed radius.

        Found without `distances`, and in the type of x, whose rounding may take it 1e-6 out of the ball.
        """
        _check_norm(norm)
        weight, _ = self.affine
        gaps, flat = self.gaps(), self.flat
        best, step = torch.full_like(gaps[:, 0], torch.inf), torch.zeros_like(flat)
        for rival in range(len(weight)):
            normal = weight[rival] - weight[self.y]
            way = _farthest(epsilon, normal, flat, norm)
            gap = gaps[:, rival] - (normal * way).sum(1)
            worse = (gap < best) & (self.y != rival)
            best, step = torch.where(worse, gap, best), torch.where(worse[:, None], way, step)
        return (flat + step).clamp(0, 1).view(self.x.shape).to(self.x)


def _radius(distances: Float[Tensor, " N"], robust_accuracy: float) -> float:
    """Halfway between the two neighbouring distances that part this share from the rest."""
    fallen = round((1 - robust_accuracy) * len(distances))
    if not 0 < fallen < len(distances):
        raise ValueError(f"a robust accuracy of {robust_accuracy:g} of {len(distances)} images is 0 or 1")
    below, above = distances.sort().values[fallen - 1 : fallen + 1].tolist()
    if not below < above < float("inf"):
        raise ValueError(f"no radius leaves a robust accuracy of {robust_accuracy:g}: distances go from {below:g} on")
    return (below + above) / 2


def random_oracle(
    seed: int,
    dim: int = 16,
    num_classes: int = 4,
    feature_dim: int = 6,
    norm: float = 10.0,
    *,
    loss: str = "MMC",
    count: int = 64,
    reach: float = 1.0,
    spread: float = 1.0,
    epsilon: float | None = None,
    robust_accuracy: float = 0.5,
    median_distance: float | None = None,
    threat: str = "linf",
    correct_share: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Oracle:
    """A random affine model and random images, at distances of the wanted size.

    All logits tie at one random image near the middle of the box. The other images are drawn in the box and then moved
    toward that one, or, where larger distances are wanted, toward their class's corner of the box.

    Args:
        seed: of everything drawn.
        dim: pixels of an image.
        num_classes: L >= 2.
        feature_dim: d; L - 1 or more for simplex centers.
        norm: of the centers, or of SCE's weights.
        loss: a loss on fixed centers, or "SCE", by its printed name.
        count: N, images.
        reach: median feature norm over `norm`: at 1 features reach the centers and cross-entropy saturates as on a
            trained network. It changes no distance.
        spread: from 0, where all logits tie, over 1, random images in the box, to below 2, the corners of the classes;
            found anew where a radius is given.
        epsilon: radius at which `robust_accuracy` is to be exactly that share of the images, no distance close to it.
        robust_accuracy: see `epsilon`; misclassified images count as not robust.
        median_distance: the same as this `epsilon` with a robust accuracy of 0.5.
        threat: norm of `epsilon` and `median_distance`.
        correct_share: share of the images whose label is the model's.
        dtype: of model and images.

    Raises:
        ValueError: a loss without affine differences of logits, two classes that share a center, or a radius that no
            images in the box have with this model; the message says what can be reached.
    """
    _check_norm(threat)
    if median_distance is not None:
        if epsilon is not None:
            raise ValueError("median_distance is an epsilon with robust accuracy 0.5: give one of the two")
        epsilon, robust_accuracy = median_distance, 0.5
    generator = torch.Generator().manual_seed(seed)
    draw: Any = functools.partial(torch.randn, generator=generator, dtype=torch.float64)
    even: Any = functools.partial(torch.rand, generator=generator, dtype=torch.float64)
    head, directions = _head(loss, num_classes, feature_dim, norm, seed, draw)
    jacobian, middle = draw(feature_dim, dim) / dim**0.5, 0.4 + 0.2 * even(dim)
    weight = directions @ jacobian
    corners = (1 + (weight - weight.mean(0)).sign()) / 2
    noise, corner = even(count, dim), corners[torch.randint(num_classes, (count,), generator=generator)]
    shift = torch.randint(1, num_classes, (count,), generator=generator)
    shift[torch.randperm(count, generator=generator)[: round(correct_share * count)]] = 0

    def images(spread: float) -> tuple[Tensor, Tensor]:
        signal = max(spread - 1, 0)
        x = middle + min(spread, 1) * ((1 - signal) * noise + signal * corner - middle)
        x = x.to(dtype).double()
        return x, (((x - middle) @ weight.T).argmax(1) + shift) % num_classes

    def radius(spread: float) -> float:
        x, y = images(spread)
        return _radius(_nearest((weight, -weight @ middle), x, y, threat)[0], robust_accuracy)

    if not 0 < spread < 2:
        raise ValueError(f"spread must lie between 0 and 2, not {spread:g}")
    if epsilon is not None:
        low, spread = 0.0, 2 - 1e-6
        reachable = radius(spread)
        if not 0 < epsilon <= reachable:
            raise ValueError(f"epsilon must lie in (0, {reachable:.3g}] for this model, not {epsilon:g}")
        for _ in range(24):
            half = (low + spread) / 2
            low, spread = (low, half) if radius(half) > epsilon else (half, spread)
    x, y = images(spread)
    scale = reach * norm / ((x - middle) @ jacobian.T).norm(dim=1).median()
    side = max(height for height in range(1, int(dim**0.5) + 1) if dim % height == 0)
    linear = nn.Linear(dim, feature_dim, dtype=torch.float64)
    linear.load_state_dict({"weight": scale * jacobian, "bias": -scale * jacobian @ middle})
    model = Classifier(nn.Sequential(nn.Flatten(), linear), head).to(dtype).eval().requires_grad_(False)
    return Oracle(model, x.to(dtype).reshape(count, 1, side, dim // side), y)


def _head(loss: str, num_classes: int, feature_dim: int, norm: float, seed: int, draw: Any) -> tuple[Any, Tensor]:
    """A loss whose logits tie at z = 0, and the directions whose differences are those of its logits."""
    if loss == "SCE":
        linear = SCE(num_classes, feature_dim)
        directions = norm * nn.functional.normalize(draw(num_classes, feature_dim))
        linear.linear.load_state_dict({"weight": directions, "bias": torch.zeros(num_classes)})
        return linear, linear.linear.weight.detach().double()
    made = build(loss, num_classes, feature_dim, norm=norm, **({"center_seed": seed} if loss == "MMC (rand)" else {}))
    if not isinstance(made, FixedCenters):
        raise ValueError(f"loss {loss!r} has no affine differences of logits by construction")
    centers = made.centers.double()
    if len(centers.unique(dim=0)) < num_classes:
        raise ValueError(f"two of the {num_classes} classes share a center: take a larger feature_dim or another seed")
    return made, centers
