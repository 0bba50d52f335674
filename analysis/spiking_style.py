"""Style common to the figures of the spiking population: arms, their colours and names."""

from __future__ import annotations

import pandas as pd

from neuro_decorr import study

ARMS = {  # Okabe and Ito's palette
    "before": ("#000000", "before"),
    "learnt": ("#D55E00", "learnt"),
    "replayed": ("#CC79A7", "learnt, feedback cut"),
    "other_input": ("#E69F00", "feedback cut, other input"),
    "uniform": ("#56B4E9", "uniform, same mean"),
    "shuffled": ("#0072B2", "learnt, shuffled pairs"),
    "homeostasis": ("#009E73", "homeostasis alone"),
}
MIXINGS = {
    "positive": "positive",
    "mixed": "both signs",
    "opposed": "two opposed halves",
    "antagonists": "antagonist pairs",
}
SIGNS = {"non-negative": "#D55E00", "signed": "#0072B2"}


def controlled(tables: study.Tables) -> study.Tables:
    """Select the first mixing and sign whose controls ran."""
    rates = tables["rates"]
    with_controls = rates[rates["arm"] == "uniform"]
    of_all = rates.sort_values("mixing", key=lambda kinds: kinds.map(list(MIXINGS).index), kind="stable")
    first = (with_controls if len(with_controls) else of_all).iloc[0]
    chosen = (
        (kind, rows[(rows["mixing"] == first["mixing"]) & (rows["sign"] == first["sign"])])
        for kind, rows in tables.items()
        if "mixing" in rows  # no timings, no factors
    )
    return study.Tables({kind: rows for kind, rows in chosen if len(rows)})


def arms(found: pd.DataFrame) -> list[str]:
    """Return the measured arms in the order of the legend."""
    return [arm for arm in ARMS if arm in set(found["arm"])]
