"""The report card: one page of HTML that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from mmc.files import write_text
from mmc.report.figure import alt, draw
from mmc.report.trial import HEADLINE, SPEC, WORST
from mmc.report.whole import LossReport

STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td.how { color: #555; } img { width: 100%; height: auto; } .exact { color: #00563f; font-weight: 600; }
.measured { color: #7a3e00; font-weight: 600; } footer { color: #555; font-size: .9rem; }
"""
EXPLAINED = {
    "stationary margin m*": "the margin at which training asks for no more",
    "contours": "sets of features with the same loss",
    "density exponent": "of what the loss is above its least, in the density of features; below zero: denser toward it",
    "margin growth": "of one feature along the gradient flow",
    "gradient of cross-entropy at rest": "what an attack on cross-entropy sees at m*, in float32",
}


def page(report: LossReport) -> str:
    """The card as HTML."""
    name = html.escape(report.row.name)
    rows = "\n".join(
        f"<tr><th scope='row'>{html.escape(what)}</th><td>{html.escape(entry.text)}</td>"
        f"<td class='{entry.how}'>{html.escape(entry.label)}</td>"
        f"<td class='how'>{html.escape(_why(what, entry.source))}</td></tr>"
        for what, entry in report.entries.items()
    )
    notes = [*report.row.notes, *(note for trial in report.trials for note in trial.notes)]
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in dict.fromkeys([*notes, *_warnings(report)]))
    made = ", ".join(f"{key}: {value}" for key, value in report.made.items() if key != "code")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Report card: {name}</title><style>{STYLE}</style></head><body>
<h1>Report card: {name}</h1>
<table><thead><tr><th>entry</th><th>value</th><th>known how</th><th>what it is</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<figure><img alt="{html.escape(alt(report.row.name))}" src="data:image/png;base64,{_picture(report)}"></figure>
{_attacks(report)}
{f"<h2>To bear in mind</h2><ul>{listed}</ul>" if listed else ""}
<footer><p><span class="exact">exact</span>: from a formula of mmc.theory, for ten classes and sixteen features, with
weights at unit vectors and centers at a simplex. <span class="measured">measured</span>: by the procedure named.
Networks: {SPEC.backbone} on the embedded 8 by 8 digits, {SPEC.recipe.epochs} epochs of {SPEC.recipe.optimizer}, no
adversarial training, seeds {", ".join(str(trial.seed) for trial in report.trials)}. An attack shows what falls, never
what holds.</p><p>{html.escape(made)}</p></footer>
</body></html>
"""


def write(report: LossReport, file: Path) -> None:
    """Write the card, atomically.

    Raises:
        OSError: it could not be written; what was there before is still there.
    """
    write_text(file, page(report))


def _why(what: str, source: str) -> str:
    explained = EXPLAINED.get(what)
    return f"{explained}; {source}" if explained else source


def _attacks(report: LossReport) -> str:
    """What each attack leaves at the radius of the report."""
    found = [trial.robust[f"{HEADLINE:g}"] for trial in report.trials]
    names = [name for name in found[0] if name != WORST] + [WORST]
    cells = "\n".join(
        f"<tr><th scope='row'>{html.escape(name)}</th>"
        + "".join(f"<td>{100 * one[name]:.1f} %</td>" if name in one else "<td></td>" for one in found)
        + "</tr>"
        for name in names
    )
    heads = "".join(f"<th>seed {trial.seed}</th>" for trial in report.trials)
    return f"<h2>Still right at epsilon {HEADLINE:g}</h2><table><tr><th>attack</th>{heads}</tr>\n{cells}\n</table>"


def _warnings(report: LossReport) -> list[str]:
    """What makes the robust accuracy doubtful."""
    found = []
    for trial in report.trials:
        if (share := trial.zero_gradients["margin"]) > 0:
            found.append(
                f"The margin itself has no gradient at {share:.0%} of the images: attacks see too little here."
            )
        ladder = trial.robust[f"{HEADLINE:g}"]
        blind = next(iter(ladder.values())) - ladder[WORST]
        if blind > 0.05:
            found.append(
                f"Climbing the training loss leaves {100 * blind:.0f} points more than there are: it is blind."
            )
    return found


def _picture(report: LossReport) -> str:
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.use("agg", force=False)
        from matplotlib import pyplot as plt

        from mmc.plot import use_style

        use_style()
        figure = draw(report.row, report.trials)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=130, metadata={"Software": None})
        plt.close(figure)
    return base64.b64encode(content.getvalue()).decode()
