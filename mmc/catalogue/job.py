"""What a catalogue lists, and what several of them share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mmc.lab import Spec
from mmc.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A spec and the seeds that its record shall hold.

    What a run costs is estimated from its spec and is nobody's to type.

    Attributes:
        spec: what is run.
        seeds: of its networks, from the one that is wanted most.
        worth: of the first of them, beside other jobs: how many questions it answers, such as printed cells.
    """

    spec: Spec
    seeds: tuple[int, ...]
    worth: float = 1.0


#: The losses that the paper's tables compare.
PAPER_LOSSES = ("SCE", "Center", "L-GM", "MMLDA", "MMC", "MMC (rand)")

#: The small networks' recipe where it is to take seconds.
SMOKE = Recipe(epochs=3, batch_size=128, optimizer="adam", learning_rate=1e-3)
#: The small networks' recipe.
ADAM = Recipe(epochs=6, batch_size=128, optimizer="adam", learning_rate=1e-3)
#: ResNet-32 with today's schedule: a linear rise and fall, light weight decay, 16-bit arithmetic.
CIFAR = Recipe(
    epochs=20,
    batch_size=128,
    learning_rate=0.03,  # at 0.1 MMC's squared error starts unstably
    nesterov=True,
    weight_decay=5e-4,
    schedule="one-cycle",
    warmup=0.2,
    augmentation="crop-flip",
    precision="bf16",
)
#: The authors' schedule for CIFAR: 200 epochs, drops after 100 and 150, batches of 50, shifts and flips.
PAPER_CIFAR = Recipe(
    epochs=200,
    batch_size=50,
    learning_rate=0.01,
    weight_decay=1e-4,
    schedule="step",
    augmentation="shift-flip",
    precision="bf16",
)
#: The authors' schedule for MNIST: 50 epochs, drops after 30 and 40, and no mirrored digits.
PAPER_MNIST = dataclasses.replace(PAPER_CIFAR, epochs=50, milestones=(0.6, 0.8), augmentation="shift")

#: Networks that several experiments measure, each trained once: small ones on digits and on MNIST, ResNet-32 on CIFAR.
DIGITS_NET = Spec("net", "smoke", "digits", "mlp", "SCE", feature_dim=16, recipe=SMOKE)
MNIST_NET = Spec("net", "laptop", "mnist", "cnn", "SCE", recipe=ADAM)
#: A residual network that a laptop trains in a minute or two: eight layers, on 10,000 images.
FEW_MNIST = MNIST_NET.with_changes(
    backbone="resnet8",
    recipe=dataclasses.replace(CIFAR, epochs=6, augmentation="none", precision="float32"),
    variant=(("train_size", 10_000),),
)
#: A small CNN on CIFAR-10, which any laptop trains in minutes: not every processor has 16-bit instructions.
CIFAR_CNN = Spec(
    "net",
    "laptop",
    "cifar10",
    "cnn",
    "SCE",
    backbone_options=(("width", 32),),
    recipe=dataclasses.replace(
        CIFAR, epochs=15, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, precision="float32"
    ),
)
#: What a processor with 16-bit instructions trains to 88 % in a quarter of an hour of one core, on ten classes and on
#: a hundred, whose centers need 99 dimensions.
CIFAR_VGG = Spec(
    "net", "laptop", "cifar10", "vgg8", "SCE", feature_dim=128, recipe=dataclasses.replace(CIFAR, epochs=24)
)
CIFAR_NET = Spec("net", "gpu", "cifar10", "resnet32", "SCE", recipe=PAPER_CIFAR)
#: Adversarial training of each: what `Spec.with_changes` takes.
DIGITS_AT = {"rule": "AT", "rule_options": (("epsilon", 0.1), ("step_size", 0.03))}
#: A small network that meets the whole ball at once settles on one answer: the ball grows over the first half.
RAMP = ("ramp", 0.5)
MNIST_AT = {
    "rule": "AT",
    "rule_options": (("epsilon", 0.3), ("step_size", 0.05), RAMP),
    "recipe": dataclasses.replace(ADAM, epochs=10),
}
CIFAR_AT = {"rule": "AT"}
#: And toward a class drawn for each image.
TARGETED = ("targeted", True)
DIGITS_AT_TARGETED, MNIST_AT_TARGETED, CIFAR_AT_TARGETED = (
    {**trained, "rule_options": (*trained.get("rule_options", ()), TARGETED)}
    for trained in (DIGITS_AT, MNIST_AT, CIFAR_AT)
)
