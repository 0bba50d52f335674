"""Measures of activity and of gradients.

Every measure of activity takes a NumPy array or a tensor `(samples, units)`, computes in float64 on the device of the
tensor, and has a policy for silent units. `summary`, `moments`, `lagged_covariance` and others take recordings too.
Arrays need torch and NumPy alone; some measures need the extra `recordings`.
"""

from neuro_decorr.metrics.alignment import Alignment, alignment
from neuro_decorr.metrics.chance import marchenko_pastur_edge
from neuro_decorr.metrics.comparison import Change, Comparison, comparison
from neuro_decorr.metrics.correlation import (
    SamplingFloor,
    correlation,
    covariance,
    mean_absolute_correlation,
    mean_squared_correlation,
    sampling_floor,
)
from neuro_decorr.metrics.correlograms import PairCorrelogram, pair_correlogram
from neuro_decorr.metrics.coupling import PopulationCoupling, population_coupling
from neuro_decorr.metrics.dimensionality import Dimensionality, dimensionality
from neuro_decorr.metrics.fluctuations import Over
from neuro_decorr.metrics.gauss_newton import GaussNewton, gauss_newton
from neuro_decorr.metrics.lags import LaggedCovariance, lagged_covariance
from neuro_decorr.metrics.layers import layer_inputs
from neuro_decorr.metrics.noise import NoiseComparison, NoiseCorrelations, noise_comparison, noise_correlations
from neuro_decorr.metrics.null import SurrogateNull, surrogate_null
from neuro_decorr.metrics.paired import PairedChange, paired_change
from neuro_decorr.metrics.pairs import PairProfile, pair_profile
from neuro_decorr.metrics.parallel import ParallelAnalysis, parallel_analysis
from neuro_decorr.metrics.quality import UnitQuality, unit_quality
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.shared import SharedVariance, Shrunk, shared_variance, shrinkage_covariance
from neuro_decorr.metrics.signal_noise import SignalNoise, signal_noise_correlation
from neuro_decorr.metrics.spectrum import (
    condition_number,
    eigenvalues,
    participation_ratio,
    spectral_flatness,
    whiteness,
)
from neuro_decorr.metrics.summary import Summary, summary
from neuro_decorr.metrics.sums import moments
from neuro_decorr.metrics.surrogate_makers import Surrogates
from neuro_decorr.metrics.surrogates import surrogates
from neuro_decorr.metrics.trains import Surrogate, fano_factor, spike_time_tiling, surrogate_trains
from neuro_decorr.metrics.trends import SlowFast, detrended, high_pass, slow_fast
from neuro_decorr.metrics.widths import BinProfile, bin_profile

__all__ = [
    # the standard set
    "Over",
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
    "eigenvalues",
    "participation_ratio",
    "spectral_flatness",
    "whiteness",
    # dependence of pairs on distance, rate, lag and bin
    "BinProfile",
    "PairCorrelogram",
    "PairProfile",
    "PopulationCoupling",
    "bin_profile",
    "pair_correlogram",
    "pair_profile",
    "population_coupling",
    # quality of units
    "UnitQuality",
    "unit_quality",
    # under several conditions
    "NoiseComparison",
    "NoiseCorrelations",
    "noise_comparison",
    "noise_correlations",
    "SignalNoise",
    "signal_noise_correlation",
    # few samples, shared variance, dimensions (scikit-learn)
    "Dimensionality",
    "dimensionality",
    "SharedVariance",
    "Shrunk",
    "shared_variance",
    "shrinkage_covariance",
    # over lags
    "LaggedCovariance",
    "lagged_covariance",
    # spike trains, by Elephant
    "Surrogate",
    "fano_factor",
    "spike_time_tiling",
    "surrogate_trains",
    # two recordings of the same units
    "Change",
    "Comparison",
    "comparison",
    "PairedChange",
    "paired_change",
    # chance levels
    "marchenko_pastur_edge",
    "ParallelAnalysis",
    "parallel_analysis",
    "SurrogateNull",
    "surrogate_null",
    "Surrogates",
    "surrogates",
    # removal of drift
    "SlowFast",
    "detrended",
    "high_pass",
    "slow_fast",
    # networks
    "layer_inputs",
    # gradients
    "Alignment",
    "alignment",
    "GaussNewton",
    "gauss_newton",
    # several measures of one population, from shared second moments
    "Moments",
    "moments",
]
