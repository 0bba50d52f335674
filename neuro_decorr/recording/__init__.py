"""Recordings: spike trains and rates of a population, with their units of time, windows, labels and trials.

What an adapter needs of another library is imported when it is called.
"""

from neuro_decorr.recording.assembly import Mends, from_events, from_times
from neuro_decorr.recording.brian_monitors import from_brian, to_brian
from neuro_decorr.recording.files import load, save
from neuro_decorr.recording.neo_objects import from_neo, to_neo
from neuro_decorr.recording.options import Content, Foreign, Format, Layout, Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.tensors import from_tensor, to_tensor
from neuro_decorr.recording.trials import Trials

__all__ = [
    # what a recording is
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
    "from_brian",
    "from_events",
    "from_neo",
    "from_tensor",
    "from_times",
    "to_brian",
    "to_neo",
    "to_tensor",
]
