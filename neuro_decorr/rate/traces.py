"""Low-pass filtered activity, which can drive the statistics of a sequence in place of the activity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.libraries import spiking_library

Signal: TypeAlias = Literal["spikes", "trace", "rate"]
"""`spikes`: the activity of every time step; `trace`: its `Trace()`; `rate`: its mean since the sequence began."""


class TraceState(NamedTuple):
    """State of a trace.

    Attributes:
        mean: Trace, shape (..., features), float32 or wider, without a graph.
        weight: Sum of the weights in the trace, shape ().
    """

    mean: Tensor
    weight: Tensor


@final
@dataclass(frozen=True)
class Trace:
    r"""Mean of the recent activity with exponential weights.

    $$
    \bar z_t = \frac{\sum_{s \le t} \beta^{t - s} z_s}{\sum_{s \le t} \beta^{t - s}}, \qquad
    \beta = e^{-\Delta t / \tau}
    $$

    Since it is divided by the sum of its weights, the trace has the mean of the activity from the first step on. It has
    no onset, and the mean that a `Decorrelation` subtracts from the activity is also that of the trace. Cost: one
    multiply-add per unit and step.

    Attributes:
        time: tau, in seconds, the time constant of the next synapse; infinite for the mean since the sequence began.
        dt: Time step, in seconds.

    Raises:
        InvalidValue: The time is not positive, or the step is not positive and finite.
    """

    time: float = 5e-3
    dt: float = 1e-3

    def __post_init__(self) -> None:
        """Check the times.

        Raises:
            InvalidValue: The time is not positive, or the step is not positive and finite.
        """
        time = checks.number("time", self.time, above=0, finite=False, hint="in seconds")
        checks.refuse("Trace", time, checks.number("dt", self.dt, above=0, hint="in seconds"))

    @property
    def decay(self) -> float:
        """Factor beta by which a weight decays in one time step."""
        return math.exp(-self.dt / self.time)

    def start(self, like: Tensor) -> TraceState:
        """State before the first step.

        Args:
            like: Activity of one step, shape (..., features).
        """
        return TraceState(torch.zeros_like(like), like.new_zeros(()))

    @torch.no_grad()
    def filtered(self, activity: Tensor, state: TraceState | None) -> tuple[Tensor, TraceState]:
        """Compute the trace at every time step.

        Args:
            activity: Activity, shape (steps, ..., features).
            state: State after the previous step; None at the start of a sequence.

        Returns:
            The traces, of the same shape, and the state after the last step; both without a graph.
        """
        activity = activity.detach()
        mean, weight = self.start(activity[0]) if state is None else state
        decay, traces = self.decay, []
        for step in activity.unbind():
            weight = decay * weight + 1
            mean = torch.lerp(mean, step, 1 / weight)
            traces.append(mean)
        return torch.stack(traces), TraceState(mean, weight)


def check_time_steps(model: nn.Module) -> None:
    """Raise InvalidValue if a trace and neurons of the same network have different time steps.

    Args:
        model: Model with Decorrelations, which have an attribute `trace`, and neurons of `neuro_decorr.norse` or of
            Norse, which have a `dt`.
    """
    modules = list(model.named_modules())
    steps = [
        (name, module, float(module.dt))
        for name, module in modules
        if isinstance(getattr(module, "dt", None), float)
        and (hasattr(module, "fired") or spiking_library(module) is not None)
    ]
    for place, found in modules:
        trace = getattr(found, "trace", None)
        if not isinstance(trace, Trace) or math.isinf(trace.time):
            continue
        for name, module, dt in steps:
            if abs(dt / trace.dt - 1) > 1e-6:
                raise InvalidValue(
                    f"the trace of '{place}' has time steps of {trace.dt:g} s, and the neurons '{name}' "
                    f"({type(module).__name__}) have {dt:g} s: give signal=nd.norse.Trace(time, dt={dt:g})."
                )


def trace_of(signal: Signal | Trace) -> Trace | None:
    """Trace for which a signal stands; None for the activity itself.

    Raises:
        InvalidValue: The signal does not exist.
    """
    if isinstance(signal, Trace):
        return signal
    if signal not in get_args(Signal):
        raise InvalidValue(
            f"signal must be one of 'spikes', 'trace', 'rate', or a Trace(time, dt), got {shown(signal)}."
        )
    return {"spikes": None, "trace": Trace(), "rate": Trace(math.inf)}[signal]
