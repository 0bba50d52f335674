"""Equations and statements of companions, in Brian2's strings: trace, mean, phases, bias, self-inhibition."""

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
"""Order in the slot `synapses` at which the spikes of a time step enter the traces."""
_TRACE = """\
dtrace/dt = -trace*(1 - kept)/dt : 1
kept = exp(-dt/trace_time) : 1 (shared)
seen = {seen} : 1 (shared)
window = dt*seen/(1 - kept) : second (shared)
frozen : 1 (shared, constant)
elapsed : second (shared)"""
"""The trace decays exactly, for any time step. `seen`: share of the trace that synapses read on average in the next
step, half of the time before its spikes and half after them. `window`: mean value that they read, per Hz of a neuron's
rate; it differs from the trace time by a share of (dt/trace_time)^2/12. `elapsed`: time since the first run of the
companion, since the clock may have started earlier."""
_DEVIATION = (
    "ddeviation/dt = -trace*(1 - kept)/dt - (deviation - trace*(1 - seen))/clip(elapsed, trace_time, mean_time) : 1\n"
    "mean = trace - deviation : 1"
)
"""Deviation of a trace from its mean: one number that every synapse reads. The mean follows the values that synapses
read, dmean/dt = (trace*seen - mean)/time: with any other mean the weights of independent neurons would drift."""
_SAMPLED = "sampled = (1 - kept**2)/(kept**2*dt) : Hz (shared)"
"""Factor of the product of two deviations, which the sampling time multiplies too, so that two spikes of one step count
as one pair: about 2/trace_time, and larger by one step, as samples are taken before the spikes of a step."""
_BIAS = """\
dbias_rate/dt = balancing*homeostasis_rate*target_rate : Hz
dbias_average/dt = balancing*(bias_rate - bias_average)/average_time : Hz
held : 1 (shared, constant)"""
_BALANCE = "balancing*bias_rate + (1 - balancing)*bias_average"
_BOUNDED_BIAS = "bias_rate = clip(bias_rate, -largest_bias*target_rate, largest_bias*target_rate)"
_TARGET_RATE = {"own": "counted : 1\ntarget_rate = counted/calibration : Hz", "each": "target_rate : Hz (constant)"}
_RESUMED = "resumed : 1 (shared)\nthawed : 1 (shared)"
"""`thawed`: the user has called `thaw` since the last step; `resumed`: and that was after the end of the schedule."""


@final
@dataclass(frozen=True)
class Contents:
    """Contents of the companion of one group.

    Attributes:
        seen: Variables of the companion that the plasticity reads.
        own: Parameters of the rule that the companion needs.
        homeostasis: Homeostasis of the rule.
        variance: Variance target of the rule.
        schedule: Schedule of the rule.
        gain: Measurement of the gain.
        entering: Share of a spike that enters the trace, by the order in the slot `synapses`.
        shared: Shared variables of the companion that the plasticity reads.
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
        """True if the companion follows the means of the traces."""
        return not {"mean", "deviation"}.isdisjoint(self.seen)

    @property
    def calibration(self) -> Quantity:
        """Duration in which rates are counted."""
        if self.homeostasis is None or self.homeostasis.kind != "own":
            return 0 * second
        return self.homeostasis.calibration

    @property
    def equations(self) -> str:
        """Equations of the companion; `pace` multiplies the learning rate, `balancing` is 1 while the bias moves."""
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
            if (kind := self.homeostasis.kind) != "one":  # one rate for all is among the values
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
        """Phases of `nd.brian.Schedule`; without a schedule those of the calibration alone."""
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
        """Expressions of the times at which the calibration ends and at which learning begins."""
        waits = {"baseline": self.schedule, "calibration": self.homeostasis}
        calibrated = " + ".join(name for name, there in waits.items() if there is not None) or "0*second"
        return calibrated, calibrated if self.gain is None else f"{calibrated} + probing_time"

    @property
    def values(self) -> dict[str, Any]:
        """Values of the shared parameters, by name."""
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
        """Statements at a neuron's spike, by the order in the slot `synapses`."""
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
        """Statements at the end of every time step."""
        lines = []
        if self.schedule is not None:
            lines += ["resumed = clip(resumed + thawed*ended, 0, 1)", "thawed = 0"]
        lines += [] if self.gain is None else [_probe.ON_STEP]
        lines.append("elapsed += dt")
        if self.homeostasis is not None:
            lines.append(_BOUNDED_BIAS)
        if self.variance is not None:
            lines.append("self_weight = clip(self_weight, smallest_self_weight, largest_self_weight)")
        return "\n".join(lines)
