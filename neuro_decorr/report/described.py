"""Description of a study in words: its comparisons, its budget, its diverged runs and its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuro_decorr.report import html
from neuro_decorr.report.contents import Contents
from neuro_decorr.report.courses import ARMS, OWN, identifying, labels, levels, parted
from neuro_decorr.study import duration
from neuro_decorr.study.failures import counted

if TYPE_CHECKING:
    import pandas as pd

_LISTED = 12
_INSIDE = 40
_BUDGETS = ("epoch", "updates", "update", "step", "batch", "evaluations")
_SECONDS = ("wall_seconds", "cpu_seconds")


def conditions(study: Contents) -> str:
    """Describe arms, seeds and budget of every stage, and the whole configuration."""
    runs = study.rows.get("runs")
    parts = []
    if runs is not None and len(runs):
        budgets = _budgets(study.rows)
        for name, part in _stages(runs):
            parts.append(_stage(name, part, budgets.get(name, ""), study.orders))
    inside = _inside(study)
    if inside:
        parts.append(f"<p>Compared within each run:</p>\n{html.definitions(inside)}")
    settings = {"protocol": study.identity.protocol, "seeds": study.identity.seeds, **study.identity.configuration}
    return "".join(parts) + html.folded("All settings", html.definitions(settings))


def _stage(name: str, runs: pd.DataFrame, budget: str, orders: Sequence[Sequence[Any]]) -> str:
    factors = [name for name in parted(runs)[0] if runs[name].notna().any()]
    compared = identifying(runs, factors)
    varying = [one for one in factors if runs[one].nunique(dropna=False) > 1]
    crossed = math.prod(len(levels(runs[one])) for one in compared) * runs["seed"].nunique() == len(runs)
    told = f"Stage `{name}`: {counted(len(runs), 'run')}, {_seeds(runs)}{f', each {budget}' if budget else ''}"
    told += "" if not compared else "; every combination of" if crossed else "; not every combination of"
    listed = {_words(one): _levels(runs[one], orders) for one in compared}
    listed |= {f"{_words(one)}, chosen for each": _levels(runs[one], orders) for one in varying if one not in compared}
    fixed = [one for one in factors if one not in varying]
    listed |= {_words(one): f"{_levels(runs[one], orders)}, the same for all" for one in fixed}
    return f"<p>{html.prose(told)}{':' if listed else '.'}</p>\n" + (html.definitions(listed) if listed else "")


def _stages(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Separate the runs by stage: measured stages first, then selection stages, which have fewer seeds."""
    found = [(str(name), part) for name, part in runs.groupby("stage", sort=False)]
    return sorted(found, key=lambda one: -one[1]["seed"].nunique())


def _inside(study: Contents) -> dict[str, str]:
    """Find comparisons within a run, such as methods that are applied to the same inputs."""
    found = {}
    for kind, table in study.rows.items():
        for name in parted(table)[1] if "diverged" in table and kind not in OWN else ():
            if table[name].dtype.kind not in "iufbM" and 1 < table[name].nunique() <= _INSIDE:
                found[f"{_words(name)}, in {_words(kind)}"] = _levels(table[name].dropna(), study.orders)
    return found


def _seeds(runs: pd.DataFrame) -> str:
    seeds = sorted(int(seed) for seed in runs["seed"].unique())
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    whole = seeds == list(range(seeds[0], seeds[-1] + 1))
    listed = f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds[:_LISTED]))
    return f"{len(seeds)} paired seeds ({listed})"


def _levels(values: pd.Series, orders: Sequence[Sequence[Any]]) -> str:
    known = levels(values, orders)
    texts = [_words(text) for text in labels(known)]
    if len(texts) <= _LISTED:
        return f"{len(texts)}: {', '.join(texts)}" if len(texts) > 1 else texts[0]
    if all(isinstance(value, int | float) for value in known):
        return f"{len(texts)} values, {texts[0]} to {texts[-1]}"
    return f"{len(texts)}: {', '.join(texts[:_LISTED])} and {len(texts) - _LISTED} more"


def _budgets(rows: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    most: dict[str, dict[str, float]] = {}
    for kind, table in rows.items():
        for name in _BUDGETS if kind not in OWN else ():
            if name in table and table[name].dtype.kind in "iuf":
                for stage, value in table.groupby("stage", sort=False)[name].max().items():
                    own = most.setdefault(str(stage), {})
                    own[name] = max(own.get(name, 0), value)
    told = {
        stage: [counted(int(value), name.removesuffix("s")) for name, value in found.items() if value > 0]
        for stage, found in most.items()
    }
    return {stage: f"up to {' and '.join(parts)}" for stage, parts in told.items() if parts}


def diverged(study: Contents) -> str:
    """Describe the diverged runs: their number by arm, and each run with its reason."""
    runs = study.rows.get("runs")
    if runs is None or not len(runs):
        return ""
    marked = runs[runs["diverged"].astype(bool)]
    if not len(marked):
        return f"<p>None of {counted(len(runs), 'run')} diverged.</p>\n"
    parts = []
    for stage, part in _stages(runs):
        if not part["diverged"].any():
            continue
        column = next((name for name in ARMS if name in part), None)
        groups = list(part.groupby(column, sort=False)["diverged"]) if column else []
        told = [f"{_words(arm)} {int(group.sum())} of {len(group)}" for arm, group in groups if group.any()]
        by_arm = f": {', '.join(told)}" if told else ""
        parts.append(f"Stage `{stage}`: {int(part['diverged'].sum())} of {counted(len(part), 'run')}{by_arm}.")
    shown = marked.drop(columns="diverged").dropna(axis=1, how="all")
    cells = shown.astype(object).where(shown.notna(), None).itertuples(index=False, name=None)
    listed = html.table(list(map(str, shown.columns)), list(cells), "", "rows/runs.parquet")
    return html.bullets(parts) + html.folded(f"The {counted(len(marked), 'run')} that diverged", listed)


def cost(study: Contents) -> str:
    """Tabulate wall time and CPU time by stage and arm."""
    table = study.rows.get("costs")
    if table is None or not len(table):
        return ""
    total = [float(table[name].sum()) for name in _SECONDS]
    told = (
        f"<p>All {counted(len(table), 'run')} together took {duration.told(total[0])} of wall time, one after the "
        f"other, and {duration.told(total[1])} of CPU time.</p>\n"
    )
    rows = []
    for stage, part in _stages(table):
        column = next((name for name in ARMS if name in part), None)
        for arm in levels(part[column], study.orders) if column else [None]:
            own = part if arm is None else part[part[column] == arm]
            one, sums = float(own["wall_seconds"].median()), [float(own[name].sum()) for name in _SECONDS]
            rows.append([stage, "all" if arm is None else _words(arm), len(own), one, *sums])
    head = ["stage", "arm", "runs", "wall time per run (s, median)", "wall time, total (s)", "CPU time, total (s)"]
    return told + html.table(head, rows)


def _words(name: object) -> str:
    return str(name).replace("_", " ")
