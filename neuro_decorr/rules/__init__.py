"""Plasticity rules for lateral weights: each a frozen description with its update, found by name."""

from neuro_decorr.rules._factor import DenseFactor, LowRankFactor, Sequence, spectral_bound
from neuro_decorr.rules._registry import get, names, register, table
from neuro_decorr.rules._rule import (
    TRANSFORM,
    Change,
    Rule,
    Sample,
    State,
    Structure,
    check_positive,
    dense_matrix,
    transform,
)
from neuro_decorr.rules.center import Center
from neuro_decorr.rules.decorrelating import Decorrelating
from neuro_decorr.rules.interneuron import Interneuron
from neuro_decorr.rules.norm_preserving import NormPreserving
from neuro_decorr.rules.whitening import Whitening

__all__ = [
    # by name
    "get",
    "names",
    "register",
    "table",
    # the rules
    "Center",
    "Decorrelating",
    "Interneuron",
    "NormPreserving",
    "Whitening",
    # to write one
    "Change",
    "DenseFactor",
    "LowRankFactor",
    "Rule",
    "Sample",
    "Sequence",
    "State",
    "Structure",
    "TRANSFORM",
    "check_positive",
    "dense_matrix",
    "spectral_bound",
    "transform",
]
