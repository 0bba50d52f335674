"""Semi-implicit backpropagation: accuracy by steps of the solver, and condition of the linear systems of its layers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis import controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

REFERENCE = "center"
CAPTION = (
    "Digits with common modes of strength {strength:g}. A: test accuracy by the steps of conjugate gradients that "
    "semi-implicit back propagation takes for every hidden layer; right: backpropagation with the same arms and its "
    "controls. B, C: the linear systems that a batch poses to the hidden layers of the trained networks, at one "
    "damping: condition number (median over units), and steps to a hundredth of the residual. Mean over {seeds} paired "
    "seeds, bars and bands: 95 % intervals (Student); rates and dampings chosen on the validation split, from as many "
    "settings for every condition."
)
TABLE = (
    "Test accuracy: mean over paired seeds and its 95 % interval (Student); `minus center`: paired difference to "
    "centring with the same credit, steps and strength. A diverged run counts at chance. `rate`: learning rate of "
    "backpropagation, eta of the semi-implicit step; `edge`: whether it is an end of its grid."
)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per condition: strength, credit, arm, steps.

    Args:
        tables: Tables of the study.
    """
    tests, runs = tables.of("measure")["tests"].sort_values("seed"), tables["runs"]
    keys = ["strength", "credit", "arm", "steps"]
    found = dict(list(tests.groupby(keys, sort=False)))
    tried = runs[runs["stage"] == "select"].groupby(keys)["rate"].agg(["min", "max"])
    rows = []
    for key, own in found.items():
        values, base = (controls.accuracies(each) for each in (own, found[key[0], key[1], REFERENCE, key[3]]))
        change, rate = study.paired_difference(values, base), float(own["rate"].iloc[0])
        rows.append(
            dict(zip(keys, key, strict=True)) | intervals.of_mean(values, "accuracy") | {
                "minus center": change.mean, "from": change.low, "to": change.high, "seeds": len(own),
                "diverged": int(own["diverged"].sum()), "rate": rate, "damping": own["damping"].iloc[0],
                "edge": controls.edge(rate, *tried.loc[[key]].iloc[0]),
            }
        )  # fmt: skip
    order = {arm: place for place, arm in enumerate(style.arms(tests))}
    return pd.DataFrame(rows).sort_values(["strength", "credit", "steps", "arm"], key=lambda column: (
        column.map(order) if column.name == "arm" else column
    ), ignore_index=True)  # fmt: skip


def systems(tables: study.Tables) -> pd.DataFrame:
    """Tabulate condition numbers and solver steps of every layer and arm, at the strongest modes.

    Args:
        tables: Tables of the study.
    """
    rows = tables.of("measure")["systems"].sort_values("seed")
    rows = rows[(rows["strength"] == rows["strength"].max()) & (rows["steps"] == rows["steps"].max())]
    made = []
    for layer, arm in [(layer, arm) for layer in sorted(set(rows["layer"])) for arm in style.arms(rows)]:
        own = rows[(rows["arm"] == arm) & (rows["layer"] == layer)]
        for name in ("condition_number", "solver_steps"):
            held = intervals.of_ratio(list(own[name]), [1.0] * len(own), "mean")
            made.append({"arm": arm, "layer": layer, "of": name.replace("_", " "), **held})
    return pd.DataFrame(made)


def draw(tables: study.Tables, directory: Path) -> str:
    """Draw the figure, write the tables, return the finding in words.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
    """
    made, posed = table(tables), systems(tables)
    save_table(made, directory, "semi_implicit", TABLE, digits=3)
    save_table(
        posed,
        directory,
        "systems",
        "Systems of the hidden layers, at the damping 0.1: geometric mean over paired seeds and its 95 % interval.",
        digits=3,
    )
    figure, axes = style.panels(1, 3, 2.9, width_ratios=(2, 1, 1))
    strongest = made[made["strength"] == made["strength"].max()]
    _steps(axes[0][0], strongest)
    for axis, name, title in (
        (axes[0][1], "condition number", "condition number"),
        (axes[0][2], "solver steps", "steps to 1 % of the residual"),
    ):
        _layers(axis, posed[posed["of"] == name], title)
    style.legend(figure, *axes[0], columns=5)
    caption = CAPTION.format(strength=strongest["strength"].iloc[0], seeds=int(made["seeds"].max()))
    save_figure(figure, directory, "semi_implicit", caption)
    return finding(made, posed)


def finding(made: pd.DataFrame, posed: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = []
    for (strength, credit), rows in made.groupby(["strength", "credit"], sort=False):
        lines.append(f"{style.CREDITS.get(str(credit), str(credit))}, common modes of strength {strength:g}:")
        for _, row in rows.iterrows():
            steps = f", {row['steps']} steps" if row["steps"] else ""
            edge = f" (rate: {row['edge']} of its grid)" if row["edge"] else ""
            lines.append(f"  {style.label(row['arm']) + steps:28s} {intervals.told(row, 'accuracy', '.3f')}{edge}")
    for name, rows in posed.groupby("of", sort=False):
        told = ", ".join(f"{style.label(row['arm'])} {row['layer']}: {row['mean']:.3g}" for _, row in rows.iterrows())
        lines.append(f"{name} (arm layer: mean): {told}")
    return "\n".join(lines)


def _steps(axis: Axes, rows: pd.DataFrame) -> None:
    proposed, backprop = rows[rows["steps"] > 0], rows[rows["steps"] == 0]
    for arm in style.arms(proposed):
        own = proposed[proposed["arm"] == arm].sort_values("steps")
        axis.plot(own["steps"], own["accuracy"], "o-", color=style.colour(arm), label=style.label(arm))
        axis.fill_between(own["steps"], own["low"], own["high"], color=style.colour(arm), alpha=0.15, linewidth=0)
    steps = sorted(set(proposed["steps"]))
    for place, arm in enumerate(style.arms(backprop)):
        (row,) = backprop[backprop["arm"] == arm].to_dict("records")
        where = steps[-1] * 2.2 * 1.3**place
        spread = [[row["accuracy"] - row["low"]], [row["high"] - row["accuracy"]]]
        axis.errorbar(
            where, row["accuracy"], spread, fmt="s", color=style.colour(arm), label=style.label(arm), capsize=2
        )
    axis.axvline(steps[-1] * 1.5, color="black", linewidth=0.6)
    axis.set_xscale("log")
    axis.set_xticks([*steps, steps[-1] * 3.7], [*map(str, steps), "backprop"])
    axis.minorticks_off()
    axis.set(xlabel="steps of conjugate gradients", ylabel="test accuracy")
    axis.set_title("accuracy by steps")


def _layers(axis: Axes, rows: pd.DataFrame, title: str) -> None:
    layers = sorted(set(rows["layer"]))
    arms = style.arms(rows)
    for place, arm in enumerate(arms):
        own = rows[rows["arm"] == arm].sort_values("layer")
        spread = [own["mean"] - own["low"], own["high"] - own["mean"]]
        where = own["layer"] + 0.2 * (place - (len(arms) - 1) / 2)
        axis.errorbar(where, own["mean"], spread, fmt="o", color=style.colour(arm), label=style.label(arm), capsize=2)
    axis.set_ylim(bottom=0)
    axis.set_xticks(layers)
    axis.set_xlim(min(layers) - 0.6, max(layers) + 0.6)
    axis.set_xlabel("hidden layer")
    axis.set_title(title)
