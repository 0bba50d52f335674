"""What the figures share: colours and names of arms and credits, and the reading of a study's directory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from neuro_decorr.errors import InvalidValue, NeuroDecorrError

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = {
    "none": "#999999",
    "center": "#000000",
    "batch_normalisation": "#CC79A7",
    "norm_preserving": "#0072B2",
    "whitening": "#56B4E9",
    "interneuron": "#D55E00",
    "interneuron_local": "#882255",
    "decorrelating": "#009E73",
    "norm_preserving_traces": "#56B4E9",
    "lateral_inhibition": "#F0E442",
    "lateral_inhibition_centered": "#882255",
    "homeostasis_centered": "#CC79A7",
}
CREDITS = {
    "backprop": "backprop",
    "feedback_alignment": "feedback alignment",
    "direct_feedback_alignment": "direct feedback al.",
    "node_perturbation": "node perturbation",
    "activity_perturbation": "activity perturbation",
    "eprop": "e-prop",
    "forward_gradient": "forward gradient",
}


def chance(measured: pd.DataFrame) -> float:
    """The accuracy of guessing on the data of a study, at which a diverged run counts."""
    return float(measured["chance"].dropna().iloc[0])


def base(arm: str) -> str:
    """The arm without its compensation."""
    return arm.removesuffix("_compensated")


def colour(arm: str) -> str:
    """Colour of an arm; a compensated one shares that of its rule."""
    return COLOURS.get(base(arm), "#E69F00")


def line(arm: str) -> str:
    """Solid, or dashed where the weights are compensated."""
    return "--" if arm.endswith("_compensated") else "-"


def label(arm: str) -> str:
    """Name of an arm in words."""
    return base(arm).replace("_", " ") + (", compensated" if arm.endswith("_compensated") else "")


def ordered(values: pd.Series, known: list[str]) -> list[str]:
    """Levels of a factor: the known ones in their order, then the others."""
    present = list(dict.fromkeys(values))
    return [value for value in known if value in present] + sorted(set(present) - set(known))


def arms(results: pd.DataFrame) -> list[str]:
    """Arms of the results, plain before compensated, in the order of the legend."""
    return ordered(results["arm"], [*COLOURS, *(f"{arm}_compensated" for arm in COLOURS)])


def credits(results: pd.DataFrame) -> list[str]:
    """Credits of the results in the order of the panels."""
    return ordered(results["credit"], list(CREDITS))


def command(draw: Callable[[pd.DataFrame, pd.DataFrame, Path], None]) -> None:
    """Run a figure from the command line on the directory of a study: `python -m analysis.FIGURE DIR`.

    Args:
        draw: Function of (measured results, timings, directory).
    """
    try:
        if len(sys.argv) != 2:
            raise InvalidValue("give the directory of one study, such as results/demo.")
        directory = Path(sys.argv[1])
        files = [directory / name for name in ("results.csv", "timings.csv")]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            absent = " and no ".join(missing)
            raise InvalidValue(f"{directory} holds no {absent}: is it the directory of a finished study?")
        results, timings = (pd.read_csv(file, low_memory=False) for file in files)
        draw(results[results["stage"] == "measure"], timings, directory)
    except NeuroDecorrError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
