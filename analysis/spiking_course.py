"""Course of a population while its lateral inhibition learns: correlation and rate by time, by mixing and sign."""

from __future__ import annotations

from pathlib import Path

from analysis import spiking_style, style
from neuro_decorr import study
from neuro_decorr.report import save_figure


def draw(measured: study.Tables, directory: Path) -> None:
    """Draw the figure.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    course = measured["courses"]
    kinds = style.ordered(course["mixing"], list(spiking_style.MIXINGS))
    figure, axes = style.panels(2, len(kinds), 3.8, sharex=True, sharey="row")
    for column, kind in enumerate(kinds):
        top, bottom = axes[0][column], axes[1][column]
        own = course[course["mixing"] == kind]
        for sign, colour in spiking_style.SIGNS.items():
            for _, run in own[own["sign"] == sign].groupby("seed"):
                first = run["seed"].iloc[0] == own["seed"].min()
                top.plot(run["time"], run["mean_absolute"], color=colour, label=f"weights {sign}" if first else None)
                bottom.plot(run["time"], run["rate"], color=colour)
        top.axhline(own["floor"].mean(), color="#999999", linestyle=":", label="independent neurons")
        top.set(title=f"inputs: {spiking_style.MIXINGS[kind]}", ylim=(0, None))
        bottom.set(xlabel="time since learning began (s)", ylim=(0, None))
    axes[0][0].set_ylabel("mean |r| (50 ms)")
    axes[1][0].set_ylabel("mean rate (Hz)")
    style.legend(figure, *axes[0], above=True)
    save_figure(
        figure,
        directory,
        "spiking_course",
        "Mean absolute correlation of spike counts (top row) and mean rate (bottom row) while the lateral inhibition "
        "learns, its rate is annealed, and the homeostasis consolidates; one line per seed. Dotted: correlation of "
        "independent neurons in windows of this length.",
    )
