"""Effect of inhibition that is never negative on pairs with similar inputs, and on pairs with opposed inputs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis import spiking_style, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

CAPTION = (
    "Mean correlation of spike counts (50 ms) over the pairs whose inputs correlate above 0.3 (alike) or below -0.3 "
    "(opposed), before and after; mean over seeds. A mean near zero with a rise of |r| is no decorrelation; see the "
    "table of all pairs."
)


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure, write the table, return the finding.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    pairs = measured["signs"]
    pairs = pairs[pairs["arm"].isin(["before", "learnt"])]
    made = pairs.groupby(["mixing", "sign", "inputs", "arm"])["correlation"].mean().unstack("arm").reset_index()
    made = made.merge(pairs.groupby(["mixing", "sign", "inputs"])["pairs"].mean().reset_index())
    made.columns.name = None
    save_table(made, directory, "spiking_signs", CAPTION, digits=3)
    _figure(pairs, directory)
    lines = ["Mean correlation of pairs with opposed inputs, before -> after:"]
    for row in made[made["inputs"] == "opposed"].to_dict("records"):
        kind = spiking_style.MIXINGS[row["mixing"]]
        lines.append(f"  inputs {kind}, weights {row['sign']}: {row['before']:+.3f} -> {row['learnt']:+.4f}")
    return "\n".join(lines) if len(lines) > 1 else ""


def _figure(pairs: pd.DataFrame, directory: Path) -> None:
    kinds = style.ordered(pairs["mixing"], list(spiking_style.MIXINGS))
    figure, axes = style.panels(1, len(kinds), 2.4, sharey=True)
    colours = {"alike": "#D55E00", "opposed": "#0072B2"}
    for axis, kind in zip(axes[0], kinds, strict=True):
        own = pairs[pairs["mixing"] == kind]
        signs = style.ordered(own["sign"], list(spiking_style.SIGNS))
        places = {"before": 0.0, **{sign: 1.0 + k for k, sign in enumerate(signs)}}
        for key, at in own.groupby(["inputs", "sign", "arm"]):
            inputs, sign, arm = map(str, key)
            if arm == "learnt" or sign == signs[0]:
                place = places["before" if arm == "before" else sign] + (0.08 if inputs == "alike" else -0.08)
                label = f"inputs {inputs}" if arm == "before" else None
                axis.plot([place] * len(at), at["correlation"], "o", color=colours[inputs], label=label, markersize=5)
        axis.axhline(0, color="#999999", linewidth=0.8)
        axis.set(title=f"inputs: {spiking_style.MIXINGS[kind]}", xlim=(-0.5, len(places) - 0.5))
        axis.set_xticks(list(places.values()), ["before", *(f"after,\n{sign}" for sign in signs)])
    axes[0][0].set_ylabel("mean correlation (50 ms)")
    style.legend(figure, *axes[0], above=True)
    save_figure(
        figure,
        directory,
        "spiking_signs",
        "Mean correlation of the pairs whose inputs correlate above 0.3 (alike) or below -0.3 (opposed): before, and "
        "after with lateral weights that are at least zero or of either sign. A point a seed.",
    )
