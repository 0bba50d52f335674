"""Studies: conditions x seeds, declared by a protocol; run, stored, resumed and reported by this package."""

from neuro_decorr.study.conditions import Condition, Scalar, seeds
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.protocol import Protocol
from neuro_decorr.study.recorder import Recorder
from neuro_decorr.study.statistics import PairedDifference, Summary, outcomes, paired_difference, summary
from neuro_decorr.study.store import load_weights

__all__ = [
    "Condition",
    "Configuration",
    "PairedDifference",
    "Protocol",
    "Recorder",
    "Scalar",
    "Summary",
    "load_weights",
    "outcomes",
    "paired_difference",
    "seeds",
    "summary",
]
