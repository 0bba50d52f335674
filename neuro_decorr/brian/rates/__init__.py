"""The rate rules of the library as lateral synapses of rate units in Brian2."""

from neuro_decorr.brian.rates._rule import RateRule
from neuro_decorr.brian.rates.anti_hebbian import AntiHebbian
from neuro_decorr.brian.rates.interneuron_local import InterneuronLocal
from neuro_decorr.brian.rates.lateral import Lateral

__all__ = ["AntiHebbian", "InterneuronLocal", "Lateral", "RateRule"]
