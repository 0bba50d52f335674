"""Measures of activity `(samples, units)` and of gradients; torch and numpy only.

Every function takes a numpy array or a tensor, computes in float64 on the tensor's device, and states what it does
with silent units.
"""

from neuro_decorr.metrics.alignment import Alignment, alignment
from neuro_decorr.metrics.correlation import (
    SamplingFloor,
    correlation,
    covariance,
    mean_absolute_correlation,
    mean_squared_correlation,
    pairs,
    sampling_floor,
)
from neuro_decorr.metrics.layers import layer_inputs
from neuro_decorr.metrics.moments import Moments, moments
from neuro_decorr.metrics.spectrum import (
    condition_number,
    distance,
    eigenvalues,
    participation_ratio,
    ratio,
    spectral_flatness,
    whiteness,
)
from neuro_decorr.metrics.summary import Summary, summary

effective_rank = participation_ratio  # the same quantity under the name that learning theory uses

__all__ = [
    # the standard set
    "Summary",
    "summary",
    # correlation
    "SamplingFloor",
    "correlation",
    "covariance",
    "mean_absolute_correlation",
    "mean_squared_correlation",
    "sampling_floor",
    # spectrum
    "condition_number",
    "effective_rank",
    "eigenvalues",
    "participation_ratio",
    "spectral_flatness",
    "whiteness",
    # networks
    "layer_inputs",
    # gradients
    "Alignment",
    "alignment",
    # several measures of one population, from shared second moments
    "Moments",
    "distance",
    "moments",
    "pairs",
    "ratio",
]
