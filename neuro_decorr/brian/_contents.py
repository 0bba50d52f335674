"""What the companion holds of every spiking neuron, in Brian2's strings: trace, mean, phases, bias, own weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from brian2 import Quantity, second

from neuro_decorr.brian import _probe
from neuro_decorr.brian._strings import declared
from neuro_decorr.brian.gain import Gain
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.brian.schedule import Schedule
from neuro_decorr.brian.variance import Variance

FILLING = 0
"""When the spikes of a time step enter the traces, as an order of the slot `synapses`."""
_TRACE = """\
dtrace/dt = -trace*(1 - kept)/dt : 1
kept = exp(-dt/trace_time) : 1 (shared)
seen = {seen} : 1 (shared)
window = dt*seen/(1 - kept) : second (shared)
frozen : 1 (shared, constant)
elapsed : second (shared)"""
"""The trace decays exactly, whatever the step. `seen`: what of it synapses read on average in the next step, before its
spikes and after them (half of the time each). `window`: mean of what they read, for each Hz of a neuron's rate; the
trace time but for (dt/trace_time)^2/12 of it. `elapsed`: time since the companion first ran; the clock's own time may
have been anything before."""
_DEVIATION = (
    "ddeviation/dt = -trace*(1 - kept)/dt - (deviation - trace*(1 - seen))/clip(elapsed, trace_time, mean_time) : 1\n"
    "mean = trace - deviation : 1"
)
"""Of a trace from its mean, one number to read for every synapse. The mean follows what synapses read of the trace,
dmean/dt = (trace*seen - mean)/time: any other mean would let independent neurons learn."""
_SAMPLED = "sampled = (1 - kept**2)/(kept**2*dt) : Hz (shared)"
"""Times the time between two samples of the product of two deviations, so that spikes of one step count as one pair:
about 2/trace_time, and more by a step, as samples are taken before a step's spikes."""
_BIAS = """\
dbias_rate/dt = balancing*homeostasis_rate*target_rate : Hz
dbias_average/dt = balancing*(bias_rate - bias_average)/average_time : Hz
held : 1 (shared, constant)"""
_BALANCE = "balancing*bias_rate + (1 - balancing)*bias_average"
_BOUNDED_BIAS = "bias_rate = clip(bias_rate, -largest_bias*target_rate, largest_bias*target_rate)"
_TARGET_RATE = {"own": "counted : 1\ntarget_rate = counted/calibration : Hz", "each": "target_rate : Hz (constant)"}
_RESUMED = "resumed : 1 (shared)\nthawed : 1 (shared)"
"""`thawed`: the user said so since the last step; `resumed`: and that was after the end of the schedule."""


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
        gain: Of the rule.
        entering: Which share of a spike enters the trace at which order of the slot `synapses`.
        shared: Variables that its neurons share, which the plasticity sees.
    """

    seen: tuple[str, ...]
    own: dict[str, Quantity]
    homeostasis: Homeostasis | None
    variance: Variance | None
    schedule: Schedule | None
    gain: Gain | None
    entering: dict[int, float]
    shared: tuple[str, ...]

    @property
    def centred(self) -> bool:
        """Whether the means of the traces are followed."""
        return not {"mean", "deviation"}.isdisjoint(self.seen)

    @property
    def calibration(self) -> Quantity:
        """How long rates are counted."""
        if self.homeostasis is None or self.homeostasis.kind != "own":
            return 0 * second
        return self.homeostasis.calibration

    @property
    def equations(self) -> str:
        """Its equations; `pace` is a factor of the learning rate, `balancing` is 1 while the bias moves."""
        seen = "0.5 + 0.5*kept" if min(self.entering) <= FILLING else "kept"  # with spikes of the same step, or without
        lines = [_TRACE.format(seen=seen), self._phases]
        if self.centred:
            lines.append(_DEVIATION)
        if "sampled" in self.shared:
            lines.append(_SAMPLED)
        if self.schedule is not None:
            lines.append(_RESUMED)
        if self.homeostasis is not None:
            lines.append(_BIAS)
            if (kind := self.homeostasis.kind) != "one":  # that is one of the values
                lines.append(_TARGET_RATE[kind])
        if self.gain is not None:
            lines.append(_probe.HELD)
        if self.homeostasis is not None:
            lines.append(f"bias = dt*({_BALANCE}) : 1" if self.gain is None else _probe.BIAS.format(balance=_BALANCE))
        if self.variance is not None:
            change = "pace*self_rate*((deviation - trace*(1 - seen))**2 - dispersion*mean/2)"
            lines.append(f"dself_weight/dt = {change} : 1")
        if "expected" in self.seen:
            lines.append("expected = target_rate*window : 1")
        return "\n".join([*lines, declared(self.values)])

    @property
    def _phases(self) -> str:
        """The course of `nd.brian.Schedule`, of the calibration alone without one."""
        waiting, begin = self._waits
        ending = f"{begin} + learning_time + annealing_time"
        pace, unheld, counts = "begun", "", ""
        if self.schedule is not None:
            left = f"clip(({ending} - elapsed)/annealing_time, 0, 1)"
            pace = f"(begun*int(elapsed + dt/2 < {ending})*{left} + resumed)"
            unheld = "*clip(1 - ended + resumed, 0, 1)"
            counts = "*int(elapsed + dt/2 >= baseline)"
        lines = [
            f"calibrated = int(elapsed + dt/2 >= {waiting}) : 1 (shared)",
            f"begun = int(elapsed + dt/2 >= {begin}) : 1 (shared)",
            f"pace = (1 - frozen)*{pace} : 1 (shared)",
        ]
        if self.schedule is not None:
            lines.append(f"ended = int(elapsed + dt/2 >= {ending} + consolidation_time) : 1 (shared)")
        if self.homeostasis is not None:
            lines.append(f"balancing = homeostasis*(1 - held)*begun{unheld} : 1 (shared)")
            if self.homeostasis.kind == "own":
                lines.append(f"counting = (1 - calibrated){counts} : 1 (shared)")
        return "\n".join(lines)

    @property
    def _waits(self) -> tuple[str, str]:
        """When the calibration is over, and when learning begins, as expressions."""
        waits = {"baseline": self.schedule, "calibration": self.homeostasis}
        calibrated = " + ".join(name for name, there in waits.items() if there is not None) or "0*second"
        return calibrated, calibrated if self.gain is None else f"{calibrated} + probing_time"

    @property
    def values(self) -> dict[str, Any]:
        """The values of its shared parameters, by name."""
        found: dict[str, Any] = dict(self.own)
        if (homeostasis := self.homeostasis) is not None:
            found |= {
                "homeostasis": 1.0,
                "homeostasis_rate": homeostasis.rate_of(measured=self.gain is not None),
                "calibration": self.calibration,
            }
            found |= {"largest_bias": homeostasis.largest_bias, "average_time": homeostasis.average_time}
            if homeostasis.kind == "one":
                found["target_rate"] = homeostasis.target_rate
        if self.gain is not None:
            found |= {"probing_time": self.gain.probing, "probe_period": self.gain.period}
        if (variance := self.variance) is not None:
            found |= {"self_rate": variance.rate, "dispersion": variance.dispersion}
            found["smallest_self_weight"] = variance.smallest_weight
            found["largest_self_weight"] = variance.largest_weight
        if (schedule := self.schedule) is not None:
            found |= {"baseline": schedule.baseline, "learning_time": schedule.learning}
            found |= {"annealing_time": schedule.annealing, "consolidation_time": schedule.consolidation}
        return found

    @property
    def on_spike(self) -> dict[int, str]:
        """What a spike of a neuron does to it, by the order within the slot `synapses`."""
        found = {}
        for order, share in self.entering.items():
            lines = [f"trace_post += {share:g}"]
            if self.centred:
                lines.append(f"deviation_post += {share:g}")
            if self.homeostasis is not None and order == max(self.entering):
                lines.append("bias_rate_post -= balancing_post*homeostasis_rate_post")
                if self.homeostasis.kind == "own":
                    lines.append("counted_post += counting_post")
            if self.gain is not None and order == max(self.entering):
                lines.append(_probe.ON_SPIKE)
            found[order] = "\n".join(lines)
        return found

    @property
    def on_step(self) -> str:
        """What happens at the end of every time step."""
        lines = []
        if self.schedule is not None:
            lines += ["resumed = clip(resumed + thawed*ended, 0, 1)", "thawed = 0"]
        lines.append("elapsed += dt")
        if self.homeostasis is not None:
            lines.append(_BOUNDED_BIAS)
        if self.variance is not None:
            lines.append("self_weight = clip(self_weight, smallest_self_weight, largest_self_weight)")
        return "\n".join(lines)
