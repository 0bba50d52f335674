"""Decorrelation as plasticity: rules, layers, credit assignment, studies and analysis."""

from neuro_decorr import credit, metrics, rules
from neuro_decorr.rate import Decorrelation, Plasticity, decorrelate, fold

__version__ = "0.1.0"

__all__ = [
    # rules for lateral weights
    "rules",
    # structure and plasticity
    "Decorrelation",
    "Plasticity",
    "decorrelate",
    "fold",
    # credit for all other weights
    "credit",
    # measures
    "metrics",
]
