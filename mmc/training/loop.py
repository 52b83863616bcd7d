"""The training loop: whole, resumable at any step, and the same bits again for the same seed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmc.chance import seeded
from mmc.recipe import Recipe, rate
from mmc.training import checkpoint
from mmc.training.augment import augment
from mmc.training.prepare import prepare
from mmc.training.rules import Moment, Rule, Standard

if TYPE_CHECKING:
    from torch import Tensor

    from mmc.data import Split
    from mmc.models import Classifier

#: On a GPU the losses are looked at every so many steps: looking makes the processor wait for the card.
LOOK_EVERY = 50
#: The decay of averaged weights starts low, so that the first steps are forgotten: (1 + t) / (10 + t) at step t.
WARM_AVERAGE = 10


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or not a number; the message says when and why it may have."""


class Interrupted(RuntimeError):
    """Training was asked to stop; the checkpoint is written, and the same call goes on from there."""


@dataclass
class History:
    """What a training run leaves beside the weights, one entry per epoch.

    Attributes:
        loss: mean training loss, as seen while training.
        validation: accuracy on the validation images; empty where none were given.
        seconds: of training alone, without validation and checkpoints.
        processor: seconds of processor time in the same span, all threads together.
        images: how many were trained on in an epoch.
    """

    loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    images: int = 0

    @property
    def images_per_second(self) -> float:
        """Over all epochs."""
        return self.images * len(self.seconds) / sum(self.seconds) if self.seconds else math.nan


@dataclass(frozen=True)
class Progress:
    """What `report` is told after each step that it may show.

    Attributes:
        epoch: from 1.
        epochs: in all.
        step: how many are done.
        steps: in all.
        history: up to here.
        left: seconds that the rest will take, if it goes on like this; NaN at first.
        images_per_second: since the start of this call.
        epoch_ended: was this the last step of an epoch?
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    history: History
    left: float
    images_per_second: float
    epoch_ended: bool


def decayed(name: str, parameter: Tensor) -> bool:
    """Does weight decay act on this parameter? On weights, not on biases, norms and class centers."""
    return parameter.ndim > 1 and not name.endswith("centers")


def _optimizer(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in named if decayed(name, p)], "weight_decay": recipe.weight_decay},
        {"params": [p for name, p in named if not decayed(name, p)], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )


class Run:
    """One training run: the model, its optimizer, and how far it has come.

    Everything random in a step follows from the seed and the step's number, so this and the step are all that a
    checkpoint needs.
    """

    def __init__(self, model: Classifier, data: Split, recipe: Recipe, rule: Rule, seed: int) -> None:
        self.model, self.data, self.recipe, self.rule, self.seed = model, data, recipe, rule, seed
        self.device = data.pixels.device
        self.per_epoch = math.ceil(len(data) / recipe.batch_size)
        self.steps = recipe.epochs * self.per_epoch
        self.generator = torch.Generator(self.device)
        self.optimizer = _optimizer(model, recipe)
        self.parameters = list(model.parameters())
        self.average = [p.detach().clone() for p in self.parameters] if recipe.average else []
        self.step, self.total, self.pending = 0, 0.0, []
        self.history = History(images=len(data))
        self.seconds, self.processor = 0.0, 0.0
        self.order = self._shuffled(0)

    def _shuffled(self, epoch: int) -> tuple[Tensor, ...]:
        generator = seeded(torch.Generator(), "order", self.seed, epoch)
        order = torch.randperm(len(self.data), generator=generator).to(self.device)
        return order.split(self.recipe.batch_size)

    def advance(self) -> None:
        """One step of the optimizer."""
        recipe, epoch = self.recipe, self.step // self.per_epoch
        batch = self.order[self.step % self.per_epoch]
        generator = seeded(self.generator, "step", self.seed, self.step)
        pixels = augment(self.data.pixels[batch], recipe.augmentation, generator)
        x, y = self.data.images(pixels), self.data.y[batch]
        if recipe.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        progress = self.step / self.steps
        z, losses = self.rule.at(progress)(self.model, x, y, Moment(epoch, recipe.epochs, generator, progress))
        loss = losses.mean()
        self.pending.append((self.step, loss.detach(), len(y)))
        if self.device.type == "cpu" or len(self.pending) == LOOK_EVERY:
            self.look(x)
        loss.backward()
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate(recipe, self.step, self.steps)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.loss.observe(z.detach(), y)
        if self.average:
            decay = min(recipe.average, (1 + self.step) / (WARM_AVERAGE + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self.step += 1

    def look(self, x: Tensor | None = None) -> None:
        """Add up the losses since the last look.

        Raises:
            NonFiniteLossError: one of them was infinite or not a number.
        """
        if not self.pending:
            return
        values = torch.stack([loss for _, loss, _ in self.pending]).tolist()
        for value, (step, _, count) in zip(values, self.pending, strict=True):
            if not math.isfinite(value):
                raise NonFiniteLossError(_diagnosis(self.model, x, step, value, self.recipe.learning_rate))
            self.total += value * count
        self.pending = []

    def end_epoch(self) -> None:
        """Close an epoch: its mean loss, and the order of the next."""
        self.history.loss.append(self.total / len(self.data))
        self.history.seconds.append(round(self.seconds, 3))
        self.history.processor.append(round(self.processor, 3))
        self.total, self.seconds, self.processor = 0.0, 0.0, 0.0
        self.order = self._shuffled(self.step // self.per_epoch)

    def swap(self) -> None:
        """Exchange the weights with their average; twice changes nothing."""
        for parameter, mean in zip(self.parameters, self.average, strict=True):
            kept = parameter.detach().clone()
            parameter.data.copy_(mean)
            mean.copy_(kept)

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "total": self.total,
            "clock": [self.seconds, self.processor],
            "history": asdict(self.history),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state; the inverse of `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for mean, stored in zip(self.average, state["average"], strict=True):
            mean.copy_(stored)
        self.step, self.total = state["step"], state["total"]
        self.seconds, self.processor = state["clock"]
        self.history = History(**state["history"])
        self.order = self._shuffled(self.step // self.per_epoch)


def train(
    model: Classifier,
    data: Split,
    recipe: Recipe,
    *,
    rule: Rule | None = None,
    seed: int = 0,
    validation: Split | None = None,
    keep: Path | None = None,
    keep_every: float = 60.0,
    identity: str = "",
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> History:
    """Train a classifier in place. The same model, data, recipe and seed give the same bits on one machine's CPU.

    On a GPU the same holds as far as its kernels are deterministic; torch can be told to use those that are, by
    `use_deterministic_algorithms`. The model is left in eval mode, with the averaged weights where the recipe averages.

    Args:
        model: a network with its loss, on the device of the data.
        data: the training images.
        recipe: every setting.
        rule: which inputs the loss sees; the plain one by default.
        seed: of the order of the images, augmentation and crafting.
        validation: measured after each epoch, with the averaged weights where there are any.
        keep: a file for the checkpoint; if one of the same identity is there, training goes on from it. The last
            step leaves one too: who asks again gets the trained model at once.
        keep_every: seconds between checkpoints.
        identity: names what is trained; a checkpoint of another identity is not used.
        report: called after each step with the progress.
        stop: asked after each step; if it says yes, a checkpoint is written and `Interrupted` is raised.

    Returns:
        Losses, validation accuracies and times.

    Raises:
        ValueError: no images, or the recipe asks for a compiler that is not here.
        NonFiniteLossError: the loss became infinite or not a number.
        Interrupted: `stop` said so.
        OSError: the checkpoint could not be written.
    """
    if not len(data):
        raise ValueError("there are no images to train on")
    run = Run(model, data, recipe, rule or Standard(), seed)
    prepare(model, recipe)
    if keep is not None:
        _resume(run, keep, identity)
    kept, started, first = time.monotonic(), time.monotonic(), run.step
    try:
        while run.step < run.steps:
            clock, processor = time.perf_counter(), time.process_time()
            run.advance()
            ended = run.step % run.per_epoch == 0
            if ended:
                run.look()  # on a GPU this waits for the work to be done, so the clock counts it
            run.seconds += time.perf_counter() - clock
            run.processor += time.process_time() - processor
            if ended:
                run.end_epoch()
                if validation is not None:
                    run.history.validation.append(_validate(run, validation))
            stopping = stop is not None and stop()
            if keep is not None and (stopping or run.step == run.steps or time.monotonic() - kept > keep_every):
                run.look()
                checkpoint.save(keep, run.state() | {"identity": identity})
                kept = time.monotonic()
            if report is not None:
                report(_progress(run, time.monotonic() - started, run.step - first, ended))
            if stopping and run.step < run.steps:
                raise Interrupted(f"stopped after step {run.step} of {run.steps}")
    finally:
        model.autocast = None
        model.eval()
    if run.average:
        run.swap()
    return run.history


def _resume(run: Run, keep: Path, identity: str) -> None:
    if not keep.exists():
        return
    try:
        state = checkpoint.load(keep, run.device)
    except checkpoint.DamagedCheckpointError:
        keep.rename(keep.with_suffix(".damaged"))  # the run starts anew, and gives the same result
        return
    if state["identity"] == identity:
        run.restore(state)


def _progress(run: Run, elapsed: float, done: int, ended: bool) -> Progress:
    epoch = (run.step - 1) // run.per_epoch + 1
    left = elapsed / done * (run.steps - run.step) if done else math.nan
    images = done * len(run.data) / run.per_epoch / elapsed if elapsed else math.nan
    return Progress(epoch, run.recipe.epochs, run.step, run.steps, run.history, left, images, ended)


def _validate(run: Run, validation: Split) -> float:
    """Accuracy in eval mode, with the averaged weights where there are any, in the precision of training."""
    if run.average:
        run.swap()
    run.model.eval()
    correct = accuracy(run.model, validation)
    run.model.train()
    if run.average:
        run.swap()
    return correct


@torch.no_grad()
def accuracy(model: Classifier, split: Split, batch_size: int = 1000) -> float:
    """Share of a split's images that the model classifies correctly, in the model's present mode and precision."""
    hits = 0
    for start in range(0, len(split), batch_size):
        x = split.images(split.pixels[start : start + batch_size])
        hits += int((model(x).argmax(1) == split.y[start : start + batch_size]).sum())
    return hits / len(split)


def _diagnosis(model: Classifier, x: Tensor | None, step: int, value: float, learning_rate: float) -> str:
    broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
    if x is not None and not bool(x.isfinite().all()):
        cause = "the images of this batch hold values that are not finite"
    elif broken:
        shown = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
        cause = f"the parameters {shown} are no longer finite: a smaller learning_rate may help"
    else:
        cause = f"the features overflow: a learning_rate below {learning_rate:g} may help"
    return f"{type(model.loss).__name__} became {value} at step {step}; likely cause: {cause}"
