"""Losses that a reader might write: one in ten lines that is fine, and one for each reason to be refused."""

from __future__ import annotations

import torch

from mmc.losses import MMC, SCE
from mmc.losses.base import Loss, others, own
from mmc.losses.fixed import FixedCenters

#: A file as a reader would write it.
MY_LOSS = '''
from mmc.losses import SCE
from mmc.losses.base import others, own


class Squared(SCE):
    """(m - 4)^2, averaged over the wrong classes."""

    def value(self, z, y):
        h = self.logits(z)
        return (own(h, y)[:, None] - others(h, y) - 4).square().mean(1)
'''


class Power(FixedCenters):
    """||z - mu_y||^q / q, q > 1."""

    def __init__(self, num_classes, feature_dim, power=2.0):
        super().__init__(num_classes, feature_dim)
        self.power = power

    def value(self, z, y):
        return (z - self.centers[y]).square().sum(1).clamp_min(1e-30) ** (self.power / 2) / self.power


class Farther(MMC):
    """A subclass of MMC that is not MMC."""

    def value(self, z, y):
        return (z - 2 * self.centers[y]).square().sum(1) / 2


class NeedsMore(SCE):
    def __init__(self, num_classes, feature_dim, margin):
        super().__init__(num_classes, feature_dim)


class NoValue(Loss):
    def logits(self, z):
        return z[:, : self.num_classes]


class NoLogits(Loss):
    def value(self, z, y):
        return z.square().sum(1)


class MeanOverBatch(SCE):
    def value(self, z, y):
        return super().value(z, y).mean()


class OneForEachClass(SCE):
    def value(self, z, y):
        return self.logits(z)


class TooFewLogits(SCE):
    def logits(self, z):
        return super().logits(z)[:, :3]

    def value(self, z, y):
        return z.square().sum(1)


class NoTensor(SCE):
    def value(self, z, y):
        return super().value(z, y).tolist()


class AlwaysSingle(SCE):
    def value(self, z, y):
        return super().value(z, y).float()


class LogOfLength(SCE):
    def value(self, z, y):
        return super().value(z, y) + z.square().sum(1).log()


class RootOfNegative(SCE):
    def value(self, z, y):
        return (1 - super().value(z, y)).sqrt()


class Centred(SCE):
    def value(self, z, y):
        return super().value(z - z.mean(0), y)


class Ranked(SCE):
    def value(self, z, y):
        values = super().value(z, y)
        return values * (values.argsort().argsort() > len(z) // 2)


class CentredLogits(SCE):
    def logits(self, z):
        return super().logits(z) - super().logits(z).mean()


class Random(SCE):
    def value(self, z, y):
        return super().value(z + torch.randn_like(z), y)


class Counting(MMC):
    def value(self, z, y):
        with torch.no_grad():
            self.centers += 1
        return super().value(z, y)


class InPlace(SCE):
    def value(self, z, y):
        with torch.no_grad():
            z.mul_(0.5)
        return super().value(z, y)


class Detached(SCE):
    def value(self, z, y):
        return super().value(z.detach(), y)


class ThroughNumpy(SCE):
    def value(self, z, y):
        return torch.from_numpy(super().value(z, y).detach().numpy())


class ZeroOne(SCE):
    def value(self, z, y):
        return (self.logits(z).argmax(1) != y).to(z.dtype) + 0 * z.sum(1)


class HardDecision(SCE):
    def logits(self, z):
        scores = super().logits(z)
        return torch.nn.functional.one_hot(scores.argmax(1), self.num_classes).to(z.dtype) + 0 * scores

    def value(self, z, y):
        return (z - y[:, None]).square().sum(1)


class RootAtZero(SCE):
    def value(self, z, y):
        return super().value(z, y) + z.square().sum(1).sqrt()


class NoLabel(SCE):
    def value(self, z, y):
        return self.logits(z).logsumexp(1)


class AnyLabel(MMC):
    def value(self, z, y):
        return (z - self.centers[y % self.num_classes]).square().sum(1)


class FromOne(SCE):
    def value(self, z, y):
        return super().value(z, y - 1)


class Backwards(SCE):
    def value(self, z, y):
        return own(self.logits(z), y) - others(self.logits(z), y).mean(1) + z.square().sum(1) / 2


#: Each with words of the message that it must get.
REFUSED: dict[type, str] = {
    NeedsMore: "cannot be made from num_classes=10 and feature_dim=16.*margin",
    NoValue: r"has no value\(\)",
    NoLogits: r"has no logits\(\)",
    MeanOverBatch: r"value\(\) must return shape \(40,\), one for each example, not \(\)",
    OneForEachClass: r"value\(\) must return shape \(40,\).*not \(40, 10\)",
    TooFewLogits: r"logits\(\) must return shape \(40, 10\).*not \(40, 3\)",
    NoTensor: "must return a tensor.*not list",
    AlwaysSingle: "keep the type of its features, torch.float64, and returns torch.float32",
    LogOfLength: r"value\(\) is infinite for features of length 0",
    RootOfNegative: r"value\(\) is NaN for features of length",
    Centred: "value depends on the batch: an example has .* alone",
    Ranked: "value depends on the batch",
    CentredLogits: "depends? on the batch",
    Random: "another answer to the same features",
    Counting: "changes its own centers",
    InPlace: "changes the features",
    Detached: r"value\(\) is not differentiable in z",
    ThroughNumpy: r"value\(\) is not differentiable in z",
    ZeroOne: r"gradient of value\(\) is zero at every feature",
    HardDecision: r"gradient of logits\(\) is zero at every feature",
    RootAtZero: r"gradient of value\(\) is not finite for features of length 0",
    NoLabel: "does not depend on the label",
    AnyLabel: "takes the label 10",
    FromOne: r"value\(\) fails on float32 features and labels 0 to 9",
}
