"""Explicit and implicit steps: steps by step size, decades of usable sizes, errors of the network for Poisson."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

LINES = {"explicit": "-", "implicit": "--"}
CAPTION = (
    "A, B: steps until a linear teacher is learnt, by step size, median over seeds where all of them learnt it; foof "
    "and whitening at the damping with the widest range. Solid: explicit, dashed: implicit. C: decades of step "
    "sizes that need at most twice the fewest steps (mean over seeds, 95 % interval), same dampings; full: explicit, "
    "hatched: implicit. D: Poisson, relative error of u by evaluations of the gradient, geometric mean over seeds; "
    "solid: Adam, dashed: implicit steps."
)
RANGES = (
    "Linear teachers: decades of usable step sizes, the smallest usable one, fewest steps (means over seeds), and "
    "decades more than those of the explicit step without decorrelation (paired by seed, Student's 95 % interval)."
)
SOLUTIONS = (
    "Poisson: rate that was chosen, relative error at the end (geometric mean, least and largest of the seeds; "
    "diverged runs count as 1), and ratio to Adam without decorrelation (geometric mean over paired seeds and its 95 % "
    "interval)."
)
KEYS = ["arm", "damping", "step"]


def draw(tables: study.Tables, directory: Path) -> str:
    """Draw the figure, write the tables, return the finding in words with the tables.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
    """
    measured = tables.of("measure")
    steps, widths = measured["steps"], ranges(measured["ranges"])
    solved = solutions(measured)
    figure, axes = style.panels(2, 2, 5.4)
    for axis, problem in ((axes[0][0], "quadratic"), (axes[0][1], "online")):
        chosen = widest(widths[widths["problem"] == problem])
        _sizes(axis, steps[steps["problem"] == problem], chosen)
        axis.set_title(problem)
    _widths(axes[1][0], widths)
    _courses(axes[1][1], measured["solutions"])
    style.legend(figure, axes[0][0], axes[1][1], columns=5)
    save_figure(figure, directory, "implicit_steps", CAPTION)
    save_table(widths, directory, "ranges", RANGES, digits=3)
    save_table(solved, directory, "poisson", SOLUTIONS, digits=3)
    return f"{finding(widths, solved)}\n\n{table_text(widths)}\n\n{table_text(solved)}"


def finding(widths: pd.DataFrame, solved: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = []
    for problem, own in widths.groupby("problem", sort=False):
        plain = own[(own["arm"] == "none") & (own["step"] == "explicit")].iloc[0]
        best = own.iloc[int(np.nanargmax(own["decades"]))]
        damping = "" if np.isnan(best["damping"]) else f" at damping {best['damping']:g}"
        lines.append(
            f"{problem}: usable step sizes span {plain['decades']:.2g} decades with explicit steps and no "
            f"decorrelation, and most with {best['step']} steps and {_arm(best)}{damping}: "
            f"{best['decades']:.2g} decades, {intervals.told(best, 'more', '+.2g')} more."
        )
    plain = solved[(solved["solver"] == "adam") & (solved["arm"] == "none")].iloc[0]
    best = solved.iloc[int(np.nanargmin(solved["error"]))]
    lines.append(
        f"Poisson: the relative error is {plain['error']:.2g} with Adam and no decorrelation, and least with "
        f"{'Adam' if best['solver'] == 'adam' else 'implicit steps'} and {_arm(best)}: {best['error']:.2g}, "
        f"{intervals.told(best, 'ratio', '.2g')} of it."
    )
    return "\n".join(lines)


def _arm(row: pd.Series) -> str:
    return "no decorrelation" if row["arm"] == "none" else style.label(row["arm"])


def ranges(rows: pd.DataFrame) -> pd.DataFrame:
    """Make a table with one row per problem, arm, damping and kind of step.

    Args:
        rows: Decades of usable step sizes, and fewest steps, of every run.
    """
    made = []
    for problem, of_problem in rows.groupby("problem", sort=False):
        explicit = of_problem[(of_problem["arm"] == "none") & (of_problem["step"] == "explicit")]
        reference = explicit.set_index("seed")["decades"].sort_index()
        for (arm, damping, step), own in of_problem.groupby(KEYS, sort=False, dropna=False):
            decades = own.set_index("seed")["decades"].sort_index()
            found = study.paired_difference(list(decades), list(reference))
            made.append(
                {
                    "problem": problem, "arm": arm, "damping": damping, "step": step,
                    "decades": decades.mean(), "smallest": own["smallest"].mean(), "fewest": own["fewest"].mean(),
                    "more": found.mean, "low": found.low, "high": found.high,
                }
            )  # fmt: skip
    return pd.DataFrame(made)


def widest(widths: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Find the damping with the widest range for every arm and kind of step."""
    best = widths.sort_values("decades", kind="stable").groupby(["arm", "step"]).tail(1)
    return {(arm, step): damping for arm, step, damping in zip(best["arm"], best["step"], best["damping"], strict=True)}


def solutions(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per solver and arm of the network.

    Args:
        measured: Tables of the measured runs.
    """
    runs = measured["runs"]
    keys = ["solver", "arm", "rate", "seed"]
    ends = measured["solutions"].groupby(keys, sort=False)["error"].last()
    runs = runs[runs["problem"] == "poisson"].set_index(keys)
    errors = ends.reindex(runs.index).mask(runs["diverged"], 1.0)
    groups = errors.groupby(["solver", "arm", "rate"], sort=False)
    of = {key: own.droplevel([0, 1, 2]).sort_index() for key, own in groups}
    reference = next(own for (solver, arm, _), own in of.items() if (solver, arm) == ("adam", "none"))
    made = []
    for (solver, arm, rate), own in of.items():
        made.append(
            {
                "solver": solver, "arm": arm, "rate": rate, "error": np.exp(np.log(own).mean()), "least": own.min(),
                "largest": own.max(), **intervals.of_ratio(own, reference, "ratio"),
            }
        )  # fmt: skip
    return pd.DataFrame(made)


def _sizes(axis: Axes, steps: pd.DataFrame, chosen: dict[tuple[str, str], float]) -> None:
    for (arm, step), damping in chosen.items():
        own = style.at(steps[steps["step"] == step], arm, damping).pivot_table(
            index="size", columns="seed", values="steps", dropna=False
        )
        median = own.median(axis=1).where(own.notna().all(axis=1))
        words = style.label(arm) if step == "explicit" else None
        axis.plot(median.index, median, LINES[step], color=style.colour(arm), label=words)
    axis.set(xscale="log", xlabel="step size", ylabel="steps until learnt")
    if steps["steps"].notna().any():
        axis.set_yscale("log")


def _widths(axis: Axes, widths: pd.DataFrame) -> None:
    place, ticks = 0.0, []
    for problem, of_problem in widths.groupby("problem", sort=False):
        chosen, begun = widest(of_problem), place
        for arm in style.arms(of_problem):
            for step in LINES:
                own = of_problem[(of_problem["step"] == step) & (of_problem["arm"] == arm)]
                (row,) = style.at(own, arm, chosen[arm, step]).to_dict("records")
                half = 0.0 if np.isinf(row["high"]) else row["high"] - row["more"]
                hatch = "" if step == "explicit" else "///"
                axis.bar(
                    place, row["decades"], 0.9, yerr=half, color=style.colour(arm), hatch=hatch, edgecolor="#ffffff"
                )
                place += 1
            place += 0.3
        ticks.append(((begun + place - 1.3) / 2, str(problem)))
        place += 1
    axis.set_xticks([where for where, _ in ticks], [words for _, words in ticks])
    axis.set_ylabel("decades of usable step sizes")
    axis.set_title("range")


def _courses(axis: Axes, rows: pd.DataFrame) -> None:
    for (solver, arm), own in rows.groupby(["solver", "arm"], sort=False):
        means = np.exp(own["error"].map(np.log).groupby(own["evaluations"]).mean())
        uncompensated = str(arm).endswith("uncompensated")
        colour = "#E69F00" if uncompensated else style.colour(str(arm))
        axis.plot(
            means.index, means, LINES["explicit" if solver == "adam" else "implicit"], color=colour,
            label="whitening, not compensated" if uncompensated else None,
        )  # fmt: skip
    axis.set(yscale="log", xlabel="evaluations of the gradient", ylabel="relative error of u")
    axis.set_title("Poisson")
