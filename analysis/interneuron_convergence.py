"""Approach of rules with interneurons to their fixed point: exact statistics above, batches below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

KEYS = ["spectrum", "rule", "interneurons", "rate"]
COLOURS = {
    "interneuron": "#D55E00",
    "interneuron_local": "#882255",
    "interneuron_local, fixed signs": "#56B4E9",
}
CAPTION = (
    "Distance of the outputs' covariance from the damped fixed point, relative (Frobenius); a move of the synapses at "
    "every update. Top row: exact statistics, the larger rate, by the number k of interneurons; the dotted line is at "
    "5 %. Bottom row: batches of 26 Gaussian samples, the smallest k, by rate. Lines: geometric mean over seeds, which "
    "set the basis, the start and the samples."
)


def table(measured: study.Tables) -> pd.DataFrame:
    """Tabulate updates until near (median, least and most of the seeds) and the noise floor (mean) by condition."""
    ends = measured["ends"]
    exact = ends[ends["statistics"] == "exact"].groupby(KEYS, sort=False)["updates"]
    online = ends[ends["statistics"] == "batches"].groupby(KEYS, sort=False)["floor"]
    # A seed that did not come near is not left out; the median is missing then.
    parts = {
        "updates": exact.agg(lambda values: np.median(values.to_numpy())),
        "least": exact.agg(lambda values: np.min(values.to_numpy())),
        "most": exact.agg(lambda values: np.max(values.to_numpy())),
        "floor": online.mean(),
        "seeds": exact.size(),
    }
    return pd.DataFrame(parts).reset_index()


def draw(measured: study.Tables, directory: Path, near: float = 0.05) -> str:
    """Draw the figure, write the table, return the finding in words with the table.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
        near: Distance of the dotted line.
    """
    courses = measured["courses"]
    spectra, rules = list(dict.fromkeys(courses["spectrum"])), style.ordered(courses["rule"], list(COLOURS))
    counts, rates = sorted(set(courses["interneurons"])), sorted(set(courses["rate"]), reverse=True)
    of_count = dict(zip(counts, ("--", "-", ":", "-."), strict=False))
    of_rate = dict(zip(rates, ("-", "--", ":", "-."), strict=False))
    figure, axes = style.panels(2, len(spectra), 5.0, sharey="row")
    for column, spectrum in enumerate(spectra):
        of_spectrum = courses[courses["spectrum"] == spectrum]
        exact, online = (of_spectrum[of_spectrum["statistics"] == name] for name in ("exact", "batches"))
        top, bottom = axes[0][column], axes[1][column]
        for rule in rules:
            for count, line in of_count.items():
                chosen = exact[(exact["interneurons"] == count) & (exact["rate"] == rates[0])]
                _line(top, chosen[chosen["rule"] == rule], line)
            for rate, line in of_rate.items():
                chosen = online[(online["interneurons"] == counts[0]) & (online["rate"] == rate)]
                _line(bottom, chosen[chosen["rule"] == rule], line)
        top.axhline(near, color="#999999", linestyle=":")
        top.set_title(spectrum)
        for axis, rows in ((top, exact), (bottom, online)):
            axis.set(yscale="log", xlabel="updates", xlim=(0, rows["update"].max()))
    axes[0][0].set_ylabel("distance, exact statistics")
    axes[1][0].set_ylabel(f"distance, batches, k = {counts[0]}")
    axes[0][0].set_ylim(1e-4, 3)
    axes[1][0].set_ylim(0.02, 6)
    axes[1][0].set_yticks((0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5), ("0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"))
    axes[1][0].minorticks_off()
    for rule in rules:
        axes[0][0].plot([], [], color=COLOURS.get(rule, "#000000"), label=rule.replace("_", " "))
    for line in ("-", "--", ":", "-."):
        words = [f"k = {count}" for count in counts if of_count.get(count) == line]
        words += [f"rate {rate:g}" for rate in rates if of_rate.get(rate) == line]
        if words:
            axes[0][0].plot([], [], line, color="#666666", label=" or ".join(words))
    style.legend(figure, axes[0][0], columns=5)
    save_figure(figure, directory, "interneuron_convergence", CAPTION)
    made = table(measured)
    save_table(made, directory, "interneuron_convergence", CAPTION, digits=3)
    return f"{finding(made, near)}\n\n{table_text(made)}"


def finding(made: pd.DataFrame, near: float) -> str:
    """Write the finding in words, whatever the result."""
    lines = []
    for rule, own in made.groupby("rule", sort=False):
        came, floor = own["updates"].dropna(), own["floor"].dropna()
        after = f", after {came.min():.0f} to {came.max():.0f} updates (median over seeds)" if len(came) else ""
        stays = f" On batches the distance stays at {floor.min():.2g} to {floor.max():.2g}." if len(floor) else ""
        lines.append(
            f"{rule}: with exact statistics {len(came)} of {len(own)} conditions come within {near:.0%} of the fixed "
            f"point{after}.{stays}"
        )
    return "\n".join(lines)


def _line(axis: Axes, rows: pd.DataFrame, line: str) -> None:
    if len(rows):
        mean = np.exp(np.log(rows["distance"]).groupby(rows["update"]).mean())
        axis.plot(mean, line, color=COLOURS.get(rows["rule"].iloc[0], "#000000"), linewidth=1.3)
