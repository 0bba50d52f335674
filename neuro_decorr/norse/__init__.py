"""Trainable spiking networks that decorrelate: cells of `(input, state) -> (output, state)` beside those of Norse.

network = norse.torch.SequentialState(
    nd.norse.Decorrelation(64), torch.nn.Linear(64, 10), nd.norse.LIF(10)
)
plasticity = nd.Plasticity(network, nd.rules.get("norm_preserving"))
"""

from neuro_decorr.errors import require

for _module in ("norse", "nir", "nirtorch"):
    require(_module, "norse")

from neuro_decorr.norse._nir import from_nir, to_nir  # noqa: E402  # Norse is an extra
from neuro_decorr.norse._surrogate import SurrogateGradient  # noqa: E402
from neuro_decorr.norse.adaptive import AdaptiveLIF, AdaptiveState  # noqa: E402
from neuro_decorr.norse.decorrelation import Decorrelation  # noqa: E402
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis  # noqa: E402
from neuro_decorr.norse.lateral import LateralLIF, LateralState  # noqa: E402
from neuro_decorr.norse.lateral_covariance import LateralCovariance  # noqa: E402
from neuro_decorr.norse.lif import LIF, LIFState  # noqa: E402
from neuro_decorr.norse.plasticity import NeuronPlasticity  # noqa: E402
from neuro_decorr.rate.traces import Signal, Trace, TraceState  # noqa: E402

__all__ = [
    # decorrelation between cells
    "Decorrelation",
    "Signal",
    "Trace",
    "TraceState",
    # neurons
    "AdaptiveLIF",
    "AdaptiveState",
    "LIF",
    "LIFState",
    "LateralLIF",
    "LateralState",
    "SurrogateGradient",
    # what neurons learn by themselves
    "Homeostasis",
    "LateralCovariance",
    "NeuronPlasticity",
    "ThresholdHomeostasis",
    # to and from other simulators and hardware
    "from_nir",
    "to_nir",
]
