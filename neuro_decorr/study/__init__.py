"""Studies: conditions times seeds, declared by a protocol. This package runs, stores, resumes and reports them."""

import importlib
from typing import TYPE_CHECKING, Any

from neuro_decorr.study.conditions import Condition, seeds
from neuro_decorr.study.recorder import Recorder
from neuro_decorr.study.selection import Selection, best, logarithmic_grid, selection_seeds
from neuro_decorr.study.statistics import Description, PairedDifference, describe, outcomes, paired_difference
from neuro_decorr.study.store import load_weights
from neuro_decorr.study.sweeps import Halving, Levels, Range, Search, Trial
from neuro_decorr.study.tables import Tables, read_tables

if TYPE_CHECKING:
    from neuro_decorr.study.configuration import Configuration, DataPath
    from neuro_decorr.study.protocol import Protocol

__all__ = [
    "Condition",
    "Configuration",
    "DataPath",
    "Description",
    "Halving",
    "Levels",
    "PairedDifference",
    "Protocol",
    "Range",
    "Recorder",
    "Search",
    "Selection",
    "Tables",
    "Trial",
    "best",
    "describe",
    "load_weights",
    "logarithmic_grid",
    "outcomes",
    "paired_difference",
    "read_tables",
    "seeds",
    "selection_seeds",
]

# These need pydantic, which the analysis of a recording does without, though it writes its files by this package.
_HOMES = {
    "Configuration": "neuro_decorr.study.configuration",
    "DataPath": "neuro_decorr.study.configuration",
    "Protocol": "neuro_decorr.study.protocol",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'neuro_decorr.study' has no attribute {name!r}")
