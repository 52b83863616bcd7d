"""Draw the book's mark: the three centers of a simplex, two clouds around them still loose, one dense.

Run it as `python book/_ext/draw.py`; it writes the files into `book/_static`.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

STATIC = Path(__file__).resolve().parents[1] / "_static"
INK = {"light": ("#0b5c8f", "#0072B2", "#8a94a3"), "dark": ("#8fd0f5", "#56B4E9", "#7d8896")}


def mark(ink: tuple[str, str, str], size: int = 96) -> str:
    """The mark as SVG: `ink` is the color of the dense cloud's center, of its points, and of everything quiet."""
    center, dense, quiet = ink
    draw = random.Random(7)
    middle, arm = size / 2, size * 0.34
    corners = [
        (middle + arm * math.cos(angle), middle + 4 + arm * math.sin(angle))
        for angle in (math.radians(a) for a in (-90, 30, 150))
    ]
    edges = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    shapes = [f'<polygon points="{edges}" fill="none" stroke="{quiet}" stroke-width="1.6" stroke-opacity=".55"/>']
    for index, (x, y) in enumerate(corners):
        spread, count, color = (5.2, 34, dense) if index == 0 else (8.2, 12, quiet)
        for _ in range(count):
            radius, angle = abs(draw.gauss(0, spread)), draw.uniform(0, 2 * math.pi)
            point = f'cx="{x + radius * math.cos(angle):.1f}" cy="{y + radius * math.sin(angle):.1f}"'
            shapes.append(f'<circle {point} r="1.7" fill="{color}" fill-opacity=".8"/>')
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{center if index == 0 else quiet}"/>')
    body = "\n  ".join(shapes)
    frame = f'viewBox="0 0 {size} {size}" width="{size}" height="{size}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>\n  {body}\n</svg>\n'


if __name__ == "__main__":
    for mode, ink in INK.items():
        (STATIC / f"logo-{mode}.svg").write_text(mark(ink), encoding="utf-8")
    (STATIC / "favicon.svg").write_text(mark(INK["light"]), encoding="utf-8")
