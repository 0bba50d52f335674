"""What a rule needs to know of every neuron, held outside of the user's group: traces, means, bias."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2 import NeuronGroup, Subgroup, Synapses, get_device, linked_var

from neuro_decorr.brian._checks import whole_group

if TYPE_CHECKING:
    from neuro_decorr.brian._rule import SpikingRule

TRACE = "dtrace/dt = -trace/trace_time : 1"
DEVIATION = (
    "ddeviation/dt = -trace/trace_time - (deviation - trace*dt/trace_time)/clip(elapsed, trace_time, mean_time) : 1\n"
    "mean = trace - deviation : 1"
)
"""Of a trace from its mean. One number to read for every synapse.

The mean follows the trace as synapses read it, after its decay in the step: dmean/dt = (trace*(1 - dt/trace_time) -
mean)/time. Following it before the decay, the mean would be larger by dt/trace_time, 1 % at 0.5 ms, and independent
neurons would learn to excite each other."""
EXPECTED = "expected = target_rate*trace_time : 1"
ELAPSED = "elapsed : second (shared)"
"""Time since the companion first ran; the clock's own time may have been anything before."""
ON_STEP = "elapsed += dt"
ON_SPIKE = "trace_post += 1"
DEVIATION_ON_SPIKE = "deviation_post += 1"


def set_values(group: Any, values: dict[str, Any]) -> None:
    """Set the shared parameters of a group, past its attributes: they refuse synapses that are not connected yet."""
    for name, value in values.items():
        group.variables[name].set_value(np.array([float(value)]))


def attach(rule: SpikingRule, synapses: Synapses, source: Any, target: Any, bias_drive: str | None) -> None:
    """Make the companions of synapses, link the synapses to them and let `run()` find them.

    Args:
        rule: What the companions hold and how it changes at a spike.
        synapses: From `source` to `target`; they gain `contained_objects`.
        source: Presynaptic group.
        target: Postsynaptic group.
        bias_drive: What the bias does to the target at every time step; None for a rule without one.
    """
    presynaptic, postsynaptic = whole_group(source), whole_group(target)
    after = _companion(rule, postsynaptic, synapses, "target")
    seen = {"target": (after, "_synaptic_post")}
    if rule.sees_source:
        before = after if presynaptic is postsynaptic else _companion(rule, presynaptic, synapses, "source")
        seen["source"] = (before, "_synaptic_pre")
    for side, (group, index) in seen.items():
        for name in rule.seen:
            setattr(synapses, f"{side}_{name}", linked_var(group, name, index=index))
    if "pace" in after.variables:
        synapses.pace = linked_var(after, "pace")
    if bias_drive is not None:
        first, last = (target.start, target.stop) if isinstance(target, Subgroup) else (0, len(target))
        statement = re.sub(r"\bbias\b", "bias_pre", bias_drive)
        injection = Synapses(
            after[first:last],
            target,
            clock=postsynaptic.clock,
            name=f"{synapses.name}_bias",
            namespace=synapses.namespace,
        )
        injection.connect(j="i")
        injection.run_regularly(statement, clock=postsynaptic.clock, name=f"{synapses.name}_bias_injection")
        synapses.contained_objects.append(injection)
    _declare(synapses)


def attach_self(synapses: Synapses, target: Any, drive: str) -> None:
    """Let every neuron act on itself at its spikes, by the weight that its companion holds.

    Args:
        synapses: After `attach`; they gain one of `contained_objects`.
        target: Their postsynaptic group.
        drive: What a spike does to its neuron, with `self_weight`.
    """
    own = Synapses(
        target,
        target,
        "self_weight : 1 (linked)",
        on_pre=drive,
        clock=target.clock,
        name=f"{synapses.name}_self",
        namespace=synapses.namespace,
    )
    traces = next(group for group in synapses.contained_objects if group.name == f"{synapses.name}_target_traces")
    own.self_weight = linked_var(traces, "self_weight", index="_synaptic_post")
    own.connect(j="i")
    synapses.contained_objects.append(own)
    _declare(synapses)


def _declare(synapses: Synapses) -> None:
    """A standalone device declares the pathways of a Network's own synapses only, not of those inside of them."""
    device = get_device()
    if hasattr(device, "synapses"):
        device.synapses |= {inner for inner in synapses.contained_objects if isinstance(inner, Synapses)}


def _companion(rule: SpikingRule, group: Any, synapses: Synapses, side: str) -> NeuronGroup:
    """One set of traces for each neuron of a whole group, filled by its spikes."""
    traces = NeuronGroup(
        len(group), rule.traces, method="euler", clock=group.clock, name=f"{synapses.name}_{side}_traces", namespace={}
    )
    set_values(traces, rule.trace_values)
    traces.run_regularly(rule.on_step, when="end", name=f"{traces.name}_time")
    # After the synapses have used the traces: a spike does not see itself, nor others of the same time step.
    filling = Synapses(
        group, traces, on_pre=rule.on_spike, clock=group.clock, name=f"{synapses.name}_{side}_spikes", namespace={}
    )
    filling.pre.when = "after_synapses"
    filling.connect(j="i")
    synapses.contained_objects.extend([traces, filling])
    return traces
