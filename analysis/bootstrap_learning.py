"""Bootstrap algorithm and gradient methods: R^2 by epochs, refinements by batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

METHODS = {"bootstrap": "bootstrap", "sgd": "gradient descent", "adam": "Adam", "lbfgs": "L-BFGS"}
COLOURS = {"bootstrap": "#D55E00", "sgd": "#0072B2", "adam": "#009E73", "lbfgs": "#000000"}
CAPTION = (
    "A: R^2 on the test grid by epochs, each method without decorrelation (lines) and with the rule `whitening` "
    "(dashed): mean over seeds. B: refinements that the output layer's regression needs in every batch, by arm: "
    "geometric mean over seeds; dotted: the most that are made. C: the same against what the condition number "
    "predicts, one point a batch."
)
TABLE = (
    "R^2 on the test grid after the last epoch at the setting (temperature or learning rate) that was best on a seed "
    "that is not measured: mean over seeds and its 95 % interval (Student); `minus none`: paired difference to the "
    "same method without an arm, `from` and `to` its interval; `edge`: the setting is an end of its grid. Of the "
    "bootstrap, for the output layer: refinements needed (median over batches and seeds; `late`: over the last third "
    "of them), the part of the regressions that the most refinements do not solve, and the condition (median, late)."
)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per method and arm.

    Args:
        tables: Tables of the study.
    """
    measured = tables.of("measure")
    curves = measured["curves"].sort_values(["seed", "epoch"])
    last = curves.groupby(["method", "arm", "seed"]).tail(1)
    tried = tables.of("select")["runs"]
    refinements = output_layer(measured)
    rows = []
    for method in METHODS:
        plain = list(last[(last["method"] == method) & (last["arm"] == "none")]["test_r2"])
        for arm in style.ordered(last[last["method"] == method]["arm"], list(style.COLOURS)):
            own = last[(last["method"] == method) & (last["arm"] == arm)]
            setting = own["setting"].iloc[0]
            row = {"method": method, "arm": arm, "setting": setting, **intervals.of_mean(own["test_r2"], "R^2")}
            if arm != "none":
                change = study.paired_difference(list(own["test_r2"]), plain)
                row |= {"minus none": change.mean, "from": change.low, "to": change.high}
            if method == "bootstrap":
                taken = refinements[refinements["arm"] == arm]
                late = taken[taken["batch"] > taken["batch"].max() * 2 / 3]
                row |= {"refinements": taken["needed"].median(), "late": late["needed"].median()}
                row |= {"unsolved": 1 - taken["solved"].astype(float).mean(), "condition": late["condition"].median()}
            grid = tried[(tried["method"] == method) & (tried["arm"] == arm)]["setting"]
            row["edge"] = "lowest" if setting == grid.min() else "highest" if setting == grid.max() else ""
            rows.append(row)
    return pd.DataFrame(rows)


def output_layer(measured: study.Tables) -> pd.DataFrame:
    """Select the refinements of the last layer."""
    rows = measured["refinements"]
    made: pd.DataFrame = rows[rows["layer"] == rows["layer"].max()]
    return made


def predicted(condition: pd.Series, tolerance: float) -> pd.Series:
    """Predict refinements from the condition number k: ln(1 / tolerance) / ln((k + 1) / (k - .95)), see `refine`."""
    found: pd.Series = np.log(1 / tolerance) / np.log((condition + 1) / (condition - 0.95))
    return found


def draw(tables: study.Tables, directory: Path, tolerance: float, most: int) -> str:
    """Draw the figure, write the table, return the finding in words with the table.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
        tolerance: Tolerance of the refinements.
        most: Largest number of refinements, drawn as a dotted line.
    """
    measured = tables.of("measure")
    figure, axes = style.panels(1, 3, 2.6)
    _curves(axes[0][0], measured["curves"])
    rows = output_layer(measured)
    for arm in style.arms(rows):
        own = rows[rows["arm"] == arm]
        mean = np.exp(np.log(own["needed"]).groupby(own["batch"]).mean())
        line = ":" if arm == "foof" else "-"
        axes[0][1].plot(mean, line, color=style.colour(arm), label=style.label(arm))
        axes[0][2].plot(
            predicted(own["condition"], tolerance), own["needed"], ".", color=style.colour(arm), markersize=3
        )
    axes[0][1].axhline(most, color="#999999", linestyle=":")
    axes[0][1].set(yscale="log", xlabel="batch", ylabel="refinements needed")
    axes[0][1].set_title("output layer")
    axes[0][1].legend(frameon=False)
    ends = [1, rows["needed"].max()]
    axes[0][2].plot(ends, ends, color="#999999", linewidth=0.8)
    axes[0][2].set(xscale="log", yscale="log", xlabel="refinements by the condition number", ylabel="needed")
    axes[0][2].set_title("prediction")
    save_figure(figure, directory, "bootstrap_learning", CAPTION)
    made = table(tables)
    save_table(made, directory, "bootstrap_learning", TABLE, digits=3)
    return f"{finding(made)}\n\n{table_text(made)}"


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = ["R^2 on the test grid after the last epoch; in brackets 95 % intervals over seeds."]
    for method, own in made.groupby("method", sort=False):
        plain, others = own[own["arm"] == "none"].iloc[0], own[own["arm"] != "none"]
        line = f"{METHODS[str(method)]}: {intervals.told(plain, 'R^2', '.3f')} without decorrelation"
        if len(others):
            best = others.iloc[int(np.nanargmax(others["R^2"]))]
            change = f"{best['minus none']:+.3f} [{best['from']:+.3f}, {best['to']:+.3f}]"
            line += f", most with {style.label(best['arm'])}: {best['R^2']:.3f} ({change})"
        lines.append(f"{line}.")
    return "\n".join(lines)


def _curves(axis: Axes, curves: pd.DataFrame) -> None:
    for method, words in METHODS.items():
        for arm, line in (("none", "-"), ("whitening", "--")):
            own = curves[(curves["method"] == method) & (curves["arm"] == arm)]
            if len(own):
                label = words if arm == "none" else None
                axis.plot(own.groupby("epoch")["test_r2"].mean(), line, color=COLOURS[method], label=label)
    axis.set(xlabel="epoch", ylabel="$R^2$ on the test grid", ylim=(0, 1.02))
    axis.legend(frameon=False)
    axis.set_title("course (dashed: whitening)")
