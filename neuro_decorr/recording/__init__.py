"""Recordings: spike trains and rates of a population, with their units of time, windows, labels and trials.

An adapter imports another library only when it is called.
"""

from neuro_decorr.recording.assembly import Mends, from_events, from_times
from neuro_decorr.recording.brian_monitors import from_brian, to_brian
from neuro_decorr.recording.clock import Stamp
from neuro_decorr.recording.elephant_objects import from_elephant, to_elephant
from neuro_decorr.recording.files import load, save
from neuro_decorr.recording.neo_objects import from_neo, to_neo
from neuro_decorr.recording.options import Content, Foreign, Format, Layout, Options
from neuro_decorr.recording.pynapple_objects import from_pynapple, to_pynapple
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikeinterface_objects import from_spikeinterface, to_spikeinterface
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.tensors import from_tensor, to_tensor
from neuro_decorr.recording.trials import Trials
from neuro_decorr.recording.xarray_objects import from_xarray, to_xarray

__all__ = [
    # recordings
    "Rates",
    "SpikeTrains",
    "Trials",
    # files
    "Content",
    "Foreign",
    "Format",
    "Layout",
    "Options",
    "load",
    "save",
    # arrays and other libraries
    "Mends",
    "Stamp",
    "from_brian",
    "from_elephant",
    "from_events",
    "from_neo",
    "from_pynapple",
    "from_spikeinterface",
    "from_tensor",
    "from_times",
    "from_xarray",
    "to_brian",
    "to_elephant",
    "to_neo",
    "to_pynapple",
    "to_spikeinterface",
    "to_tensor",
    "to_xarray",
]
