"""Decorrelation in rate networks (PyTorch): structure, plasticity, recurrent circuit, and folding into plain layers."""

from neuro_decorr.rate.coverage import Coverage, coverage
from neuro_decorr.rate.decorrelate import decorrelate, decorrelated_layers, fold
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.plasticity import Plasticity
from neuro_decorr.rate.probes import unremembered
from neuro_decorr.rate.settling import LateralWeights, Recurrent, settle, settling_course
from neuro_decorr.rate.traces import Trace
from neuro_decorr.rate.weighing import row_weights
from neuro_decorr.rate.weights import register_linear

__all__ = [
    "Coverage",
    "Decorrelation",
    "LateralWeights",
    "Plasticity",
    "Recurrent",
    "Trace",
    "coverage",
    "decorrelate",
    "decorrelated_layers",
    "fold",
    "register_linear",
    "row_weights",
    "settle",
    "settling_course",
    "unremembered",
]
