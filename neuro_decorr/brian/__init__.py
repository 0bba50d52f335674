"""Decorrelation by lateral inhibition in Brian2: rules as strings, on the groups of any model.

    synapses = nd.brian.get("lateral_covariance").synapses(neurons, drive="gi_post -= w*mV")
    synapses.connect(condition="i != j")

Write these two lines after your own model, then call `run()`.
"""

from neuro_decorr.errors import require

require("brian2", "brian")

from neuro_decorr.brian._registry import get, names, register, table  # noqa: E402  # Brian2 is an extra
from neuro_decorr.brian._rule import SpikingRule  # noqa: E402
from neuro_decorr.brian.companions import Companions  # noqa: E402
from neuro_decorr.brian.control import freeze, set_weights, thaw, weights_to_matrix  # noqa: E402
from neuro_decorr.brian.correlation_measuring import CorrelationMeasuring  # noqa: E402
from neuro_decorr.brian.feedback_inhibition import FeedbackInhibition  # noqa: E402
from neuro_decorr.brian.foldiak import Foldiak  # noqa: E402
from neuro_decorr.brian.gain import Gain  # noqa: E402
from neuro_decorr.brian.homeostasis import Homeostasis  # noqa: E402
from neuro_decorr.brian.lateral_covariance import LateralCovariance  # noqa: E402
from neuro_decorr.brian.rates._rule import RateRule  # noqa: E402
from neuro_decorr.brian.rates.anti_hebbian import AntiHebbian  # noqa: E402
from neuro_decorr.brian.rates.interneuron_local import InterneuronLocal  # noqa: E402
from neuro_decorr.brian.rates.lateral import Lateral  # noqa: E402
from neuro_decorr.brian.report import PairCovariances, Report  # noqa: E402
from neuro_decorr.brian.schedule import Schedule  # noqa: E402
from neuro_decorr.brian.variance import Variance  # noqa: E402
from neuro_decorr.brian.vogels import Vogels  # noqa: E402

__all__ = [
    # by name
    "get",
    "names",
    "register",
    "table",
    # rules for spikes
    "CorrelationMeasuring",
    "FeedbackInhibition",
    "Foldiak",
    "Gain",
    "Homeostasis",
    "LateralCovariance",
    "Schedule",
    "SpikingRule",
    "Variance",
    "Vogels",
    # rules for rates
    "AntiHebbian",
    "InterneuronLocal",
    "Lateral",
    "RateRule",
    # control and reports of a run
    "Companions",
    "PairCovariances",
    "Report",
    "freeze",
    "set_weights",
    "thaw",
    "weights_to_matrix",
]
