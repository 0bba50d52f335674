"""Trainable spiking networks that decorrelate: cells of `(input, state) -> (output, state)` beside those of Norse.

network = norse.torch.SequentialState(
    nd.norse.Decorrelation(64), torch.nn.Linear(64, 10), nd.norse.LIF(10)
)
plasticity = nd.Plasticity(network, nd.rules.get("norm_preserving"))
"""

from neuro_decorr.errors import require

for _module in ("norse", "nir"):
    require(_module, "norse")

from neuro_decorr.norse._parameters import PerNeuron, ResetMethod  # noqa: E402
from neuro_decorr.norse._shapes import set_sequences  # noqa: E402
from neuro_decorr.norse._state import detach  # noqa: E402
from neuro_decorr.norse._surrogate import SurrogateGradient  # noqa: E402
from neuro_decorr.norse.adaptive import AdaptiveLIF, AdaptiveState  # noqa: E402
from neuro_decorr.norse.decorrelation import Decorrelation  # noqa: E402
from neuro_decorr.norse.graphs.graph import Graph, GraphState  # noqa: E402
from neuro_decorr.norse.graphs.reading import from_nir  # noqa: E402
from neuro_decorr.norse.graphs.writing import to_nir  # noqa: E402
from neuro_decorr.norse.hardware import HardwareReport, NeuronReport, SynapseReport, hardware_report  # noqa: E402
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis  # noqa: E402
from neuro_decorr.norse.integrate_and_fire import IF, IFState  # noqa: E402
from neuro_decorr.norse.lateral import LateralLIF, LateralState  # noqa: E402
from neuro_decorr.norse.lateral_covariance import LateralCovariance  # noqa: E402
from neuro_decorr.norse.lif import LIF, LIFState  # noqa: E402
from neuro_decorr.norse.plasticity import NeuronPlasticity  # noqa: E402
from neuro_decorr.norse.quantisation import integer_weights, quantised  # noqa: E402
from neuro_decorr.rate.traces import Signal, Trace, TraceState  # noqa: E402

__all__ = [
    # decorrelation between cells
    "Decorrelation",
    "Signal",
    "Trace",
    "TraceState",
    # sequences or single steps, and states
    "detach",
    "set_sequences",
    # neurons
    "AdaptiveLIF",
    "AdaptiveState",
    "IF",
    "IFState",
    "LIF",
    "LIFState",
    "LateralLIF",
    "LateralState",
    "PerNeuron",
    "ResetMethod",
    "SurrogateGradient",
    # local plasticity of neurons
    "Homeostasis",
    "LateralCovariance",
    "NeuronPlasticity",
    "ThresholdHomeostasis",
    # to and from other simulators and hardware
    "Graph",
    "GraphState",
    "HardwareReport",
    "NeuronReport",
    "SynapseReport",
    "from_nir",
    "hardware_report",
    "integer_weights",
    "quantised",
    "to_nir",
]
