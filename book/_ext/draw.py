"""Draw the book's mark and the preface's figure: `python book/_ext/draw.py` writes them into `book/_static`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

STATIC = Path(__file__).resolve().parents[1] / "_static"
#: Of the mark: the dense cloud's center, its points, everything quiet.
INK = {"light": ("#0b5c8f", "#0072B2", "#8a94a3"), "dark": ("#8fd0f5", "#56B4E9", "#7d8896")}
CLASSES = ("#0072B2", "#D55E00", "#009E73")
CENTERS = [(2.4 * math.cos(math.radians(angle)), 2.4 * math.sin(math.radians(angle))) for angle in (90, 210, 330)]
Point = tuple[float, float]


def svg(width: int, height: int, shapes: list[str], title: str = "") -> str:
    """A picture of shapes."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    body = "\n  ".join(([f"<title>{title}</title>"] if title else []) + shapes)
    return f"{head}\n  {body}\n</svg>\n"


def mark(ink: tuple[str, str, str], size: int = 96) -> str:
    """The mark: the three centers of a simplex, two clouds around them still loose, one dense."""
    center, dense, quiet = ink
    draw = random.Random(7)
    arm = size * 0.34
    corners = [(size / 2 + arm / 2.4 * x, size / 2 + 4 - arm / 2.4 * y) for x, y in CENTERS]
    edges = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    shapes = [f'<polygon points="{edges}" fill="none" stroke="{quiet}" stroke-width="1.6" stroke-opacity=".55"/>']
    for index, (x, y) in enumerate(corners):
        spread, count, color = (5.2, 34, dense) if index == 0 else (8.2, 12, quiet)
        for _ in range(count):
            radius, angle = abs(draw.gauss(0, spread)), draw.uniform(0, 2 * math.pi)
            point = f'cx="{x + radius * math.cos(angle):.1f}" cy="{y + radius * math.sin(angle):.1f}"'
            shapes.append(f'<circle {point} r="1.7" fill="{color}" fill-opacity=".8"/>')
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{center if index == 0 else quiet}"/>')
    return svg(size, size, shapes)


def softmax_pull(z: Point, label: int) -> Point:
    """Where gradient flow on softmax cross-entropy moves a feature; the weights are the centers."""
    scores = [z[0] * x + z[1] * y for x, y in CENTERS]
    weights = [math.exp(score - max(scores)) for score in scores]
    share = [float(index == label) - weight / sum(weights) for index, weight in enumerate(weights)]
    return tuple(sum(s * center[axis] for s, center in zip(share, CENTERS, strict=True)) for axis in (0, 1))


def center_pull(z: Point, label: int) -> Point:
    """Where gradient flow on the MMC loss moves a feature: straight to its center."""
    return CENTERS[label][0] - z[0], CENTERS[label][1] - z[1]


def flow(pull: Callable[[Point, int], Point], start: Point, label: int, time: float, steps: int = 600) -> list[Point]:
    """The path of one feature, by small steps."""
    path = [start]
    for _ in range(steps):
        x, y = path[-1]
        dx, dy = pull((x, y), label)
        path.append((x + time / steps * dx, y + time / steps * dy))
    return path


def flows(time: float = 3.0, per_class: int = 26) -> str:
    """Two panels: the same features, moved for the same time by the two losses."""
    draw = random.Random(3)
    starts = [((draw.gauss(0, 1), draw.gauss(0, 1)), label) for label in range(3) for _ in range(per_class)]
    text = 'font-family="system-ui, Segoe UI, Noto Sans, Arial, sans-serif" fill="#2b3440"'
    shapes = ['<rect width="720" height="340" fill="#ffffff"/>']
    for panel, (pull, name) in enumerate([(softmax_pull, "Softmax cross-entropy"), (center_pull, "MMC loss")]):
        left, middle, scale = 360 * panel, 190, 41
        place = f'x="{left + 180}" y="28" font-size="15" font-weight="600" text-anchor="middle"'
        shapes.append(f"<text {place} {text}>{name}</text>")

        def at(z: Point, left: int = left, middle: int = middle, scale: int = scale) -> str:
            return f"{left + 180 + scale * z[0]:.1f} {middle - scale * z[1]:.1f}"

        for start, label in starts:
            path = flow(pull, start, label, time)
            line = " L".join(at(z) for z in path[::30])
            shapes.append(f'<path d="M{line}" fill="none" stroke="{CLASSES[label]}" stroke-opacity=".28"/>')
            x, y = at(path[-1]).split()
            shapes.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{CLASSES[label]}" fill-opacity=".85"/>')
        for center in CENTERS:
            x, y = map(float, at(center).split())
            cross = f"M{x - 6:.1f} {y:.1f}h12M{x:.1f} {y - 6:.1f}v12"
            for color, width in (("#ffffff", 5), ("#14181d", 2)):
                shapes.append(f'<path d="{cross}" stroke="{color}" stroke-width="{width}"/>')
    shapes.append('<path d="M360 20V320" stroke="#d8dee6"/>')
    return svg(720, 340, shapes, "The same features after the same time under two losses")


if __name__ == "__main__":
    for mode, ink in INK.items():
        (STATIC / f"logo-{mode}.svg").write_text(mark(ink), encoding="utf-8")
    (STATIC / "favicon.svg").write_text(mark(INK["light"]), encoding="utf-8")
    (STATIC / "flows.svg").write_text(flows(), encoding="utf-8")
