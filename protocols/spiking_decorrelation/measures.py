"""Measures of spike trains in the protocol `spiking_decorrelation`; each is one of `neuro_decorr.metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import variation

from neuro_decorr import metrics
from neuro_decorr.recording import SpikeTrains

BIN = 0.05  # s: of matrices, courses and signs
LAG_BIN, LAGS = 0.01, 30
OVERLAP = 0.3
"""Pairs whose inputs correlate more than this, or less than its negative, are told apart."""


def correlations(trains: SpikeTrains, bins: tuple[float, ...]) -> Iterator[dict[str, float]]:
    """Correlations of the spike counts with their floors, Fano factor and dimensionality, a row for each bin."""
    for width in bins:
        found = metrics.summary(trains, bin=width, intervals=False)
        squared = found["mean_squared_correlation"]
        yield {
            "bin": width,
            "mean_absolute": found["mean_absolute_correlation"].estimate,
            "floor": found["mean_absolute_correlation"].floor,
            "rms": np.sqrt(max(0.0, squared.estimate - squared.floor)),
            "mean": found["mean_correlation"].estimate,
            "deviation": found["correlation_deviation"].estimate,
            "participation_ratio": found["participation_ratio_samples"].estimate,
            "independent_ratio": found["participation_ratio_samples"].floor,
            "fano_factor": found["mean_fano_factor"].estimate,
        }


def rates(trains: SpikeTrains, before: SpikeTrains) -> dict[str, float]:
    """Rates against those before, and the irregularity of the intervals between spikes."""
    ratio = trains.rate / before.rate
    return {
        "rate": trains.rate.mean(),
        "ratio": trains.rate.mean() / before.rate.mean(),
        "within": np.mean(np.abs(ratio - 1) <= 0.1),
        "silent": np.sum(trains.rate == 0),
        "cv": np.mean([variation(np.diff(times)) for times in trains.times if len(times) > 2]),
        "cv2": metrics.summary(trains, bin=BIN, intervals=False)["mean_cv2"].estimate,
    }


def signs(matrix: NDArray[np.float64], overlap: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    """Mean correlation of the pairs whose inputs agree, and of those whose inputs are opposed."""
    first, second = np.triu_indices(len(matrix), 1)
    pairs, inputs = matrix[first, second], overlap[first, second]
    for name, chosen in (("opposed", inputs < -OVERLAP), ("alike", inputs > OVERLAP)):
        if chosen.any():
            yield {"inputs": name, "pairs": int(chosen.sum()), "correlation": pairs[chosen].mean()}


def lags(trains: SpikeTrains) -> Iterator[dict[str, float]]:
    """Cross-correlogram, the mean over all pairs."""
    found = metrics.lagged_covariance(trains, LAGS, bin=LAG_BIN)
    for lag, value in zip(found.lags.tolist(), found.pairs().mean(dim=1).tolist(), strict=True):
        yield {"lag": lag * LAG_BIN, "correlation": value}


def course(trains: SpikeTrains, start: float, stop: float, window: float) -> Iterator[dict[str, float]]:
    """Mean absolute correlation and rate in consecutive windows."""
    for k in range(int((stop - start) / window + 1e-9)):
        part = trains.window(start + k * window, start + (k + 1) * window)
        counts = part.counts(BIN)
        yield {
            "time": (k + 0.5) * window,
            "mean_absolute": metrics.moments(counts).pairs.mean_absolute,  # NaN if a neuron is silent in the window
            "floor": metrics.sampling_floor(len(counts)).mean_absolute,
            "rate": part.rate.mean(),
        }


def gains(before: SpikeTrains, inputs: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Rate that a neuron gains with its shared input (Hz / mV): slope of its counts on it, without inhibition.

    Args:
        before: Spike trains of the test before.
        inputs: Shared input (mV), shape (steps, neurons).
        step: Time step of the input (s).
    """
    counts, per_bin = before.counts(BIN), round(BIN / step)
    means = inputs[: len(counts) * per_bin].reshape(len(counts), per_bin, -1).mean(axis=1)
    centred = means - means.mean(axis=0)
    power = (centred**2).sum(axis=0)
    slope = (centred * counts).sum(axis=0) / np.where(power > 0, power, np.nan)
    return np.asarray(slope / BIN)


def weights(matrix: NDArray[np.float64], overlap: NDArray[np.float64], effect: NDArray[np.float64]) -> dict[str, float]:
    """The lateral weights, how they follow the inputs, and what a spike takes from another neuron.

    Args:
        matrix: Weights, rows presynaptic.
        overlap: Correlation of the shared inputs.
        effect: Spikes that a spike of weight 1 takes from each neuron; not a number where it is not known. What a
            spike takes from all others together is told from the neurons where it is.
    """
    off = ~np.eye(len(matrix), dtype=bool)
    known = matrix[off]
    varied = known.std() > 0 and overlap[off].std() > 0
    return {
        "mean": known.mean(),
        "deviation": known.std(),
        "smallest": known.min(),
        "largest": known.max(),
        "zero": np.mean(known == 0),
        "symmetry": np.corrcoef(known, matrix.T[off])[0, 1] if known.std() > 0 else np.nan,
        "follows_inputs": np.corrcoef(known, overlap[off])[0, 1] if varied else np.nan,
        "spikes_taken": np.nanmean((matrix * effect)[off]) * (len(matrix) - 1),
    }
