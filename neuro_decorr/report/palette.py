"""Colours, dashes and markers of arms, which colour-blind readers can distinguish, also in print without colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Okabe and Ito's palette.
COLOURS = {
    "none": "#999999",
    "center": "#000000",
    "batch_normalisation": "#CC79A7",
    "foof": "#009E73",
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
"""Colour of an arm in every figure."""
_FREE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999999")
_DASHES = ("solid", "dash", "dot", "dashdot")
_COMPENSATED = "_compensated"


class Look(NamedTuple):
    """Style of a curve; each curve of a figure has a different one."""

    colour: str
    dash: str  # as plotly names it
    marker: int  # its number, without end


def looks(arms: Sequence[str]) -> list[Look]:
    """Choose the styles of the arms of a figure.

    Args:
        arms: Names of the arms. A rule with compensated weights gets the colour of the rule, dashed. Names that the
            palette does not know get the remaining colours, in this order.
    """
    kept = {(COLOURS[arm], _DASHES[0]) for arm in arms if arm in COLOURS}
    found: list[Look] = []
    for number, arm in enumerate(arms):
        known = COLOURS.get(arm.removesuffix(_COMPENSATED))
        dashes = ("dash", "dot") if arm.endswith(_COMPENSATED) else _DASHES
        taken = {(look.colour, look.dash) for look in found}
        wanted = [(known, dashes[0])] if known else []
        wanted += [(colour, dash) for dash in _DASHES for colour in _FREE if (colour, dash) not in kept]
        colour, dash = next((look for look in wanted if look not in taken), (_FREE[number % len(_FREE)], "solid"))
        found.append(Look(colour, dash, number))
    return found
