"""Recordings: spike trains and rates of a population, with their units of time, windows, labels and trials."""

from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials

__all__ = ["Rates", "SpikeTrains", "Trials"]
