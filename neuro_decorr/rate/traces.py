"""Low-pass filtered activity: what may drive the statistics of a sequence in place of the activity itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown

Signal: TypeAlias = Literal["spikes", "trace", "rate"]
"""`spikes`: the activity of every time step; `trace`: its `Trace()`; `rate`: its mean since the sequence began."""


class TraceState(NamedTuple):
    """Where a trace has come to.

    Attributes:
        mean: The trace, shape (..., features), float32 or wider, without a graph.
        weight: Sum of the weights in it, shape ().
    """

    mean: Tensor
    weight: Tensor


@final
@dataclass(frozen=True)
class Trace:
    r"""A mean of the recent activity with exponential weights.

    $$
    \bar z_t = \frac{\sum_{s \le t} \beta^{t - s} z_s}{\sum_{s \le t} \beta^{t - s}}, \qquad
    \beta = e^{-\Delta t / \tau}
    $$

    Divided by the sum of its weights it has the mean of the activity from the first step on: there is no onset, and
    the mean that a `Decorrelation` subtracts from the activity is also that of the trace.

    Attributes:
        time: tau, in seconds, that of the synapse behind; infinite for the mean since the sequence began.
        dt: The time step, in seconds.
    """

    time: float = 5e-3
    dt: float = 1e-3

    def __post_init__(self) -> None:
        """Check the times.

        Raises:
            InvalidValue: A time that is not positive, or a step that is not finite.
        """
        time = checks.number("time", self.time, above=0, finite=False, hint="in seconds")
        checks.refuse("Trace", time, checks.number("dt", self.dt, above=0, hint="in seconds"))

    @property
    def decay(self) -> float:
        """Beta, what a weight falls to in one time step."""
        return math.exp(-self.dt / self.time)

    def start(self, like: Tensor) -> TraceState:
        """The state before the first step.

        Args:
            like: One step's activity, shape (..., features).
        """
        return TraceState(torch.zeros_like(like), like.new_zeros(()))

    @torch.no_grad()
    def filtered(self, activity: Tensor, state: TraceState | None) -> tuple[Tensor, TraceState]:
        """The trace at every time step.

        Args:
            activity: Shape (steps, ..., features).
            state: Of the step before; None at the start of a sequence.

        Returns:
            The traces, of the same shape, and the state after the last step; without a graph.
        """
        activity = activity.detach()
        mean, weight = self.start(activity[0]) if state is None else state
        decay, traces = self.decay, []
        for step in activity.unbind():
            weight = decay * weight + 1
            mean = torch.lerp(mean, step, 1 / weight)
            traces.append(mean)
        return torch.stack(traces), TraceState(mean, weight)


def trace_of(signal: Signal | Trace) -> Trace | None:
    """The trace that a signal stands for; None for the activity itself.

    Raises:
        InvalidValue: Another signal.
    """
    if isinstance(signal, Trace):
        return signal
    if signal not in get_args(Signal):
        raise InvalidValue(
            f"signal, which drives the statistics, is 'spikes', 'trace', 'rate' or a Trace(time, dt): {shown(signal)}."
        )
    return {"spikes": None, "trace": Trace(), "rate": Trace(math.inf)}[signal]
