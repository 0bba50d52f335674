"""What the companion holds of every spiking neuron, in Brian2's strings: trace, mean, phases, bias, own weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from brian2 import Quantity, second

from neuro_decorr.brian._strings import declared
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.brian.schedule import Schedule
from neuro_decorr.brian.variance import Variance

_TRACE = "dtrace/dt = -trace/trace_time : 1\nelapsed : second (shared)"
"""`elapsed`: time since the companion first ran; the clock's own time may have been anything before."""
_DEVIATION = (
    "ddeviation/dt = -trace/trace_time - (deviation - trace*dt/trace_time)/clip(elapsed, trace_time, mean_time) : 1\n"
    "mean = trace - deviation : 1"
)
"""Of a trace from its mean. One number to read for every synapse.

The mean follows the trace as synapses read it, after its decay in the step: dmean/dt = (trace*(1 - dt/trace_time) -
mean)/time. Following it before the decay, the mean would be larger by dt/trace_time, 1 % at 0.5 ms, and independent
neurons would learn to excite each other."""
_BIAS = """\
dbias_rate/dt = balancing*homeostasis_rate*target_rate : Hz
dbias_average/dt = balancing*(bias_rate - bias_average)/average_time : Hz
bias = dt*(balancing*bias_rate + (1 - balancing)*bias_average) : 1"""
_OWN_RATE = "counted : 1\ntarget_rate = counted/calibration : Hz"


@final
@dataclass(frozen=True)
class Contents:
    """A companion of the neurons of one group.

    Attributes:
        seen: Variables of it that the plasticity sees.
        own: Parameters of the rule that it needs.
        homeostasis: Of the rule.
        variance: Of the rule.
        schedule: Of the rule.
    """

    seen: tuple[str, ...]
    own: dict[str, Quantity]
    homeostasis: Homeostasis | None
    variance: Variance | None
    schedule: Schedule | None

    @property
    def centred(self) -> bool:
        """Whether the means of the traces are followed."""
        return not {"mean", "deviation"}.isdisjoint(self.seen)

    @property
    def timed(self) -> bool:
        """Whether anything waits for a time: a calibration or a schedule."""
        return self.homeostasis is not None or self.schedule is not None

    @property
    def calibration(self) -> Quantity:
        """How long rates are counted."""
        if self.homeostasis is None or self.homeostasis.target_rate is not None:
            return 0 * second
        return self.homeostasis.calibration

    @property
    def equations(self) -> str:
        """Its equations; `pace` is a factor of the learning rate, `balancing` is 1 while the bias moves."""
        lines = [_TRACE]
        if self.centred:
            lines.append(_DEVIATION)
        if self.timed:
            lines.append(self._phases)
        if self.homeostasis is not None:
            lines.append(_BIAS)
            if self.homeostasis.target_rate is None:
                lines.append(_OWN_RATE)
        if self.variance is not None:
            pace = "*pace" if self.timed else ""
            change = f"self_learning{pace}*self_rate*(deviation**2 - dispersion*mean/2)"
            lines.append(f"dself_weight/dt = {change} : 1")
        if "expected" in self.seen:
            lines.append("expected = target_rate*trace_time : 1")
        return "\n".join([*lines, declared(self.values)])

    @property
    def _phases(self) -> str:
        """The course of `nd.brian.Schedule`, of the calibration alone without one."""
        waits = {"baseline": self.schedule, "calibration": self.homeostasis}
        begin = " + ".join(name for name, there in waits.items() if there is not None)
        ending = f"{begin} + learning_time + annealing_time"
        pace, unheld, counts = "begun", "", ""
        if self.schedule is not None:
            left = f"clip(({ending} - elapsed)/annealing_time, 0, 1)"
            pace = f"begun*int(elapsed + dt/2 < {ending})*{left}"
            unheld = f"*int(elapsed + dt/2 < {ending} + consolidation_time)"
            counts = "*int(elapsed + dt/2 >= baseline)"
        lines = [f"begun = int(elapsed + dt/2 >= {begin}) : 1 (shared)", f"pace = {pace} : 1 (shared)"]
        if self.homeostasis is not None:
            lines.append(f"balancing = homeostasis*begun{unheld} : 1 (shared)")
            if self.homeostasis.target_rate is None:
                lines.append(f"counting = (1 - begun){counts} : 1 (shared)")
        return "\n".join(lines)

    @property
    def values(self) -> dict[str, Any]:
        """The values of its shared parameters, by name."""
        found: dict[str, Any] = dict(self.own)
        if (homeostasis := self.homeostasis) is not None:
            found |= {"homeostasis": 1.0, "homeostasis_rate": homeostasis.rate}
            found |= {"average_time": homeostasis.average_time, "calibration": self.calibration}
            if homeostasis.target_rate is not None:
                found["target_rate"] = homeostasis.target_rate
        if (variance := self.variance) is not None:
            found |= {"self_learning": 1.0, "self_rate": variance.rate, "dispersion": variance.dispersion}
            found["smallest_self_weight"] = variance.smallest_weight
            found["largest_self_weight"] = variance.largest_weight
        if (schedule := self.schedule) is not None:
            found |= {"baseline": schedule.baseline, "learning_time": schedule.learning}
            found |= {"annealing_time": schedule.annealing, "consolidation_time": schedule.consolidation}
        return found

    @property
    def on_spike(self) -> str:
        """What a spike of a neuron does to it."""
        lines = ["trace_post += 1"]
        if self.centred:
            lines.append("deviation_post += 1")
        if self.homeostasis is not None:
            lines.append("bias_rate_post -= balancing_post*homeostasis_rate_post")
            if self.homeostasis.target_rate is None:
                lines.append("counted_post += counting_post")
        return "\n".join(lines)

    @property
    def on_step(self) -> str:
        """What happens at the end of every time step."""
        bounded = "self_weight = clip(self_weight, smallest_self_weight, largest_self_weight)"
        return "elapsed += dt" + ("" if self.variance is None else f"\n{bounded}")
