"""Conditioned direct feedback alignment: accuracy of every arm at the end, and by processor time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import controls, natural_images, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

LABELS = {
    "published_dfa": "DFA, published",
    "published_error_ndfa": "error nDFA, published",
    "published_ndfa": "nDFA, published",
    "published_k_ndfa": "K-nDFA, published",
    "none": "DFA",
    "center": "centring",
    "batch_normalisation": "batch normalisation",
    "interneuron": "interneurons",
    "whitening": "whitening",
    "ndfa": "nDFA",
    "ndfa_running": "nDFA, running moment",
    "error_ndfa": "error nDFA",
    "k_ndfa": "K-nDFA",
}
"""Arms in the order of the figure; those without `published` in their name are tuned."""
REPORTED = {
    "published_dfa": 0.6198,
    "published_ndfa": 0.8029,
    "published_error_ndfa": 0.6374,
    "published_k_ndfa": 0.8079,
}
"""Accuracies that Safaai, Reddy and Sabatini (2026) report for all of Fashion-MNIST."""
_GRADIENT = {"ndfa": "#009E73", "ndfa_running": "#117733", "error_ndfa": "#E69F00", "k_ndfa": "#882255"}
CAPTION = (
    "Test accuracy after the last step: mean and standard deviation over paired seeds; differences to `center` and to "
    "tuned `ndfa` with the same seeds and their 95 % intervals (Student). A diverged run counts at chance level. "
    "`seconds`: processor seconds of the training of one network, measurements left out. Published arms have the rate "
    "and dampings of the publication (0.03 for activity, 30 for errors, in units of the second moment). Of the others "
    "rate and damping (relative to the mean power; 0: none) were chosen on the validation split with a seed that is "
    "not measured and as many runs for every arm; `edge` names those whose best value is an end of the grid, beyond "
    "which the arm may gain."
)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per arm, with its paired differences to centring and to tuned nDFA."""
    made = natural_images.table(tables).drop(columns=["credit", "first epoch"])
    tests = tables.of("measure")["tests"].sort_values("seed")
    runs = dict(list(tests.groupby("arm")))
    reference = runs["ndfa"]
    differences = [controls.difference(runs[arm], reference) for arm in made["arm"]]
    made = made.assign(
        **{
            "minus ndfa": [each.mean for each in differences],
            "from": [each.low for each in differences],
            "to": [each.high for each in differences],
        }
    )
    order = {arm: index for index, arm in enumerate(LABELS)}
    return made.sort_values("arm", key=lambda arms: arms.map(order)).reset_index(drop=True)


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result: one line per arm."""
    lines = [
        f"Test accuracy, {int(made['seeds'].iloc[0])} paired seeds; in brackets the paired difference to tuned nDFA "
        "with its 95 % interval; processor seconds of the training"
    ]
    for _, row in made.iterrows():
        told = f"  {LABELS[row['arm']]:22s} {row['accuracy']:.3f}"
        if row["arm"] != "ndfa":
            told += f"  ({row['minus ndfa']:+.3f}, {row['from']:+.3f} to {row['to']:+.3f})"
        told += f"  {row['seconds']:.1f} s"
        told += f", {row['diverged']} diverged" if row["diverged"] else ""
        lines.append(told + (f"; {row['edge']} of its grid" if row["edge"] else ""))
    return "\n".join(lines)


def draw(tables: study.Tables, directory: Path) -> None:
    """Save the table and the figure, and print the finding."""
    made = table(tables)
    save_table(made, directory, "conditioned_feedback", CAPTION, digits=3)
    save_figure(
        _figure(made, tables.of("measure")),
        directory,
        "conditioned_feedback",
        f"A: test accuracy after the last step, mean over {int(made['seeds'].max())} paired seeds (large) and every "
        "seed (small); crosses: values of the publication for all of Fashion-MNIST. B: validation accuracy by "
        "processor seconds of the training, mean over seeds, from half of the best on; dashed: rate and damping as "
        "published. Those of all other arms are chosen on the validation split with equal budgets. A diverged run "
        "counts at chance level.",
    )
    print(finding(made))


def _colour(arm: str) -> str:
    return _GRADIENT.get(arm.removeprefix("published_"), style.colour(arm.replace("published_dfa", "none")))


def _figure(made: pd.DataFrame, measured: study.Tables) -> Figure:
    figure, axes = style.panels(1, 2, 0.2 * len(made) + 1.6)
    chance = style.chance(measured["tests"])
    _ends(axes[0][0], made, measured["tests"], chance)
    keys = ["arm", "seed", "updates"]
    curves = measured["curves"].merge(measured["timings"][[*keys, "processor_seconds"]], on=keys, validate="one_to_one")
    for arm in made["arm"]:
        runs = curves[curves["arm"] == arm]
        accuracies = runs.pivot(index="updates", columns="seed", values="validation_accuracy").fillna(chance)
        seconds = runs.groupby("updates")["processor_seconds"].mean()
        style_of = "--" if arm in REPORTED else "-"
        axes[0][1].plot(
            seconds, accuracies.mean(axis=1), style_of, color=_colour(arm), linewidth=1.4, marker=".", label=LABELS[arm]
        )
    axes[0][1].set(xlabel="processor seconds", ylabel="validation accuracy", xlim=(0, None))
    axes[0][1].set_ylim(curves["validation_accuracy"].max() / 2, None)
    style.legend(figure, axes[0][1], columns=4)
    return figure


def _ends(axis: Axes, made: pd.DataFrame, tests: pd.DataFrame, chance: float) -> None:
    for place, (_, row) in enumerate(made.iterrows()):
        runs = tests[tests["arm"] == row["arm"]]
        single = runs["test_accuracy"].where(~runs["diverged"].astype(bool), chance)
        axis.plot(single, [place] * len(single), ".", color=_colour(row["arm"]), markersize=3, alpha=0.6)
        axis.plot(row["accuracy"], place, "o", color=_colour(row["arm"]), markersize=7)
        if row["arm"] in REPORTED:
            axis.plot(REPORTED[row["arm"]], place, "x", color="#000000", markersize=7)
    axis.set_yticks(range(len(made)), [LABELS[arm] for arm in made["arm"]])
    axis.invert_yaxis()
    axis.set_xlabel("test accuracy")
    axis.grid(axis="x", linewidth=0.4, alpha=0.5)
