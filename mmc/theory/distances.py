"""Noise beside the nearest image that fools: before one plane both read the same distance, in different units.

The plane lies at distance r, here without the box. Normal noise of deviation sigma moves an image along the plane's
normal by sigma times a standard normal number, whatever the number of pixels.
"""

from __future__ import annotations

import sympy as sp

from mmc.theory import underflow


def noise_accuracy(distance: sp.Expr, sigma: sp.Expr) -> sp.Expr:
    """Share of the draws of noise that leave an image right which lies so far from one plane: Phi(r / sigma).

    For images at several distances it is at most this at their mean, because it is concave.

    Args:
        distance: r >= 0.
        sigma: > 0.
    """
    return (1 + sp.erf(distance / (sp.sqrt(2) * sigma))) / 2


def least_share_below(kept: sp.Expr, reach: sp.Expr) -> sp.Expr:
    """At least this share of images is nearer to its plane than `reach` deviations, given what noise leaves of all.

    It is attained where all images lie on their planes or exactly at the reach.

    Args:
        kept: the mean of `noise_accuracy` over the images, from 1/2 to 1.
        reach: > 0, in units of sigma.
    """
    beyond = noise_accuracy(reach, sp.S.One)
    return sp.Max(0, (beyond - kept) / (beyond - sp.S.Half))


def most_share_below(kept: sp.Expr, reach: sp.Expr) -> sp.Expr:
    """At most this share is nearer than that: attained where all lie just before the reach, or out of sight.

    Args as `least_share_below`. It holds too where `kept` is less than the mean of the law, as before several planes.
    """
    return sp.Min(1, (1 - kept) / (1 - noise_accuracy(reach, sp.S.One)))


def horizon(num_images: sp.Expr) -> sp.Expr:
    """The distance, in units of sigma, at which one of so many images is expected to fall to one draw of noise.

    Args:
        num_images: n > 2.
    """
    return sp.sqrt(2) * sp.erfinv(1 - 2 / num_images)


def length_ratio(num_pixels: sp.Expr, share: sp.Expr) -> sp.Expr:
    """How many times longer than the distance noise must be to fool so often: its length is sigma sqrt(n).

    The length is the root of its mean square.

    Args:
        num_pixels: n >= 1.
        share: of the draws that fool, in (0, 1/2).
    """
    return sp.sqrt(num_pixels) / horizon(1 / share)


def silent_gap(bits: sp.Expr, slope: sp.Expr, delta: sp.Expr, rivals: sp.Expr = sp.S.One) -> sp.Expr:
    """The gap from which on SPSA under cross-entropy sees nothing: the loss rounds to zero at every image it asks for.

    Args:
        bits: significant bits of the format, 24 in float32.
        slope: by how much an affine gap changes at most for each unit of an L-inf move: the normal's L1 norm.
        delta: half the distance between the two images of a pair.
        rivals: how many classes may follow at that same gap.
    """
    return underflow.value_gap(bits, rivals) + delta * slope
