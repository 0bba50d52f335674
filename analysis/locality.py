"""Decorrelation and learning against the number of connections that are kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

CONDITION = ["credit", "arm", "radius"]
CONTROLS = ("none", "center", "foof")
COLOURS = {"local": "#0072B2", "random": "#D55E00", "full": "#000000"}
SETTLED = (
    "Decorrelation of the image layer alone, on test images, mean over paired seeds. `connections`: numbers of D per "
    "unit, its own among them; `all`, `connected`: mean squared correlation of all pairs and of connected ones; `was`: "
    "before; `left`: what is left of that of all pairs, with its 95 % interval (Student); `update`, `forward`: "
    "processor milliseconds of a batch, median over seeds; `megabytes`: of D, indices included."
)
LEARNT = (
    "Test accuracy after the last epoch, mean and standard deviation over paired seeds, and the paired difference to "
    "centring with its 95 % interval (Student). A diverged run counts at chance level. The learning rate was chosen on "
    "the validation split with a seed that is not measured and as many runs for every condition; `edge`: the best one "
    "is an end of the grid."
)


def settled(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per arm and radius of decorrelation alone."""
    rows = tables.of("settle")["settled"]
    timings = tables.of("settle")["timings"]
    rows = rows.merge(timings[["arm", "radius", "seed", "update", "forward"]], on=["arm", "radius", "seed"])
    made = []
    for (arm, radius), of in rows.groupby(["arm", "radius"], sort=False):
        made.append({
            "arm": arm, "radius": radius, "units": int(of["units"].iloc[0]),
            "connections": float((of["connections"] / of["units"]).mean()), "all": of["all_after"].mean(),
            "was": of["all_before"].mean(), **intervals.of_mean(of["all_after"] / of["all_before"], "left"),
            "connected": of["connected_after"].mean(), "connected was": of["connected_before"].mean(),
            "update": 1e3 * of["update"].median(), "forward": 1e3 * of["forward"].median(),
            "megabytes": of["bytes"].mean() / 1e6, "seeds": len(of),
        })  # fmt: skip
    return pd.DataFrame(made)


def learnt(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per credit, arm and radius."""
    tests = tables.of("measure")["tests"].sort_values("seed")
    chance = style.chance(tests)
    ends = dict(list(tests.groupby(CONDITION)))
    tried = tables.of("select")["runs"].groupby(CONDITION)["learning_rate"].agg(["min", "max"])
    rows = []
    for key in dict.fromkeys(tests[CONDITION].itertuples(index=False, name=None)):
        of, reference = ends[key], ends[key[0], "center", 0.0]
        told = study.describe(list(of["test_accuracy"]), list(of["diverged"]), "chance", chance)
        change = controls.difference(of, reference)
        rate = float(of["learning_rate"].iloc[0])
        rows.append({
            **dict(zip(CONDITION, key, strict=True)), "learning rate": rate, "accuracy": told.mean,
            "deviation": told.standard_deviation, "minus": change.mean, "low": change.low, "high": change.high,
            "seeds": told.n, "diverged": told.diverged,
            "edge": controls.edge(rate, *tried.loc[key]),
        })  # fmt: skip
    return pd.DataFrame(rows)


def finding(alone: pd.DataFrame, networks: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = [f"Squared correlation left of all pairs ({int(alone['seeds'].max())} seeds)"]
    for _, row in alone.iterrows():
        lines.append(
            f"  {_name(row):14s} {row['connections']:7.1f} connections a unit: {row['left']:.3f}; of connected units "
            f"{row['connected']:.2g}, it was {row['connected was']:.2g}; update {row['update']:.1f} ms"
        )
    lines.append("Test accuracy, and minus centring")
    for _, row in networks.iterrows():
        interval = f" ({row['minus']:+.3f}, {row['low']:+.3f} to {row['high']:+.3f})" if row["seeds"] > 1 else ""
        told = f"  {style.CREDITS[row['credit']]:22s} {_name(row):14s} {row['accuracy']:.3f}{interval}"
        lines.append(told + (f"; {row['edge']} learning rate of its grid" if row["edge"] else ""))
    return "\n".join(lines)


def _name(row: pd.Series) -> str:
    return f"{row['arm']} {row['radius']:g}" if row["radius"] else str(row["arm"])


def draw(tables: study.Tables, directory: Path) -> None:
    """Save tables and figure, and print the finding."""
    alone, networks = settled(tables), learnt(tables)
    save_table(alone, directory, "settled", SETTLED, digits=3)
    save_table(networks, directory, "learnt", LEARNT, digits=3)
    save_figure(
        _figure(alone, networks), directory, "locality",
        "A: mean squared correlation of all pairs of the image layer, after over before. Others: test accuracy. "
        f"Against connections a unit; mean over {int(alone['seeds'].max())} paired seeds, bars: 95 % interval of what "
        "is left, and of the difference to centring; lines: controls.",
    )  # fmt: skip
    print(finding(alone, networks))


def _figure(alone: pd.DataFrame, networks: pd.DataFrame) -> Figure:
    credits = list(dict.fromkeys(networks["credit"]))
    figure, axes = style.panels(1, 1 + len(credits), 2.6)
    _against_connections(axes[0, 0], alone, "left", alone["left"] - alone["low"])
    axes[0, 0].set(title="decorrelation", ylabel="squared correlation left", yscale="log")
    where = alone.set_index(["arm", "radius"])["connections"]
    for axis, credit in zip(axes[0, 1:], credits, strict=True):
        of = networks[networks["credit"] == credit]
        for _, control in of[of["arm"].isin(CONTROLS)].iterrows():
            line = {"none": ":", "center": "-", "foof": "--"}[control["arm"]]
            axis.axhline(control["accuracy"], color="#999999", linestyle=line, label=control["arm"])
        confined = of[~of["arm"].isin(CONTROLS)]
        keys = zip(confined["arm"], confined["radius"], strict=True)
        confined = confined.assign(connections=[where[key] for key in keys])
        half = (confined["high"] - confined["low"]) / 2
        _against_connections(axis, confined, "accuracy", half)
        axis.set(title=style.CREDITS[credit], ylabel="test accuracy")
    style.legend(figure, *axes[0], columns=6)
    return figure


def _against_connections(axis: Axes, rows: pd.DataFrame, quantity: str, half: pd.Series) -> None:
    for arm in dict.fromkeys(rows["arm"]):
        of = rows[rows["arm"] == arm].sort_values("connections")
        axis.errorbar(
            of["connections"], of[quantity], half[of.index], fmt="o-", markersize=4, linewidth=1.2, capsize=2,
            color=COLOURS[arm], label=arm,
        )  # fmt: skip
    axis.set(xscale="log", xlabel="connections a unit")
