"""Construction of the objects that belong to synapses of a rule: companions, their spikes, bias and self-inhibition."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from brian2 import Hz, NeuronGroup, Quantity, Synapses, get_device, linked_var

from neuro_decorr.brian import _probe
from neuro_decorr.brian._checks import numbers, whole_group
from neuro_decorr.brian._contents import Contents
from neuro_decorr.brian.companions import Companions
from neuro_decorr.errors import InvalidValue


def set_values(group: Any, values: dict[str, Any]) -> None:
    """Set the shared parameters of a group, not by its attributes, which refuse synapses that are not connected yet."""
    for name, value in values.items():
        group.variables[name].set_value(np.array([float(value)]))


def give(synapses: Synapses, target: NeuronGroup, source: NeuronGroup | None) -> None:
    """Give synapses the attribute `companions`."""
    synapses.add_attribute("companions")
    synapses.companions = Companions(target, source)


def attach(
    contents: Contents,
    synapses: Synapses,
    source: Any,
    target: Any,
    *,
    events: dict[str, str],
    shared: Iterable[str],
    bias_drive: str | None,
    self_drive: str | None,
) -> None:
    """Make the companions of synapses, link the synapses to them and let `run()` find them.

    Args:
        contents: Variables of the companions and their changes at a spike.
        synapses: Synapses from `source` to `target`; they gain `companions` and `contained_objects`.
        source: Presynaptic group; None if the plasticity reads no variable of it.
        target: Postsynaptic group.
        events: Name of the event that counts as a spike, by 'pre' and 'post'.
        shared: Shared variables of the companion that the synapses read.
        bias_drive: Statement by which the bias acts on the target at every time step; None for a rule without a bias.
        self_drive: Statement by which a spike acts on its own neuron, with `self_weight`; None for a rule without it.
    """
    presynaptic, postsynaptic = whole_group(source), whole_group(target)
    part = slice(numbers(target).start, numbers(target).stop)
    after, before = _companion(contents, postsynaptic, synapses, "target", events["post"]), None
    rates = None if contents.homeostasis is None else contents.homeostasis.target_rate
    if isinstance(rates, tuple):
        after.target_rate[part] = _target_rates(rates, target, source if "expected" in contents.seen else target)
    if source is not None:
        before = after
        # Compared by equality, not identity: a subgroup has a weak reference to its group.
        if presynaptic != postsynaptic or events["pre"] != events["post"]:
            before = _companion(contents, presynaptic, synapses, "source", events["pre"])
    for side, group, index in (("target", after, "_synaptic_post"), ("source", before, "_synaptic_pre")):
        for name in contents.seen if group is not None else ():
            setattr(synapses, f"{side}_{name}", linked_var(group, name, index=index))
    for name in shared:
        setattr(synapses, name, linked_var(after, name))
    if contents.gain is not None:
        both = [after] if before is None or before is after else [after, before]
        population = _probe.attach(contents.gain, synapses, both, part)
    give(synapses, after, before)
    if bias_drive is not None:
        statement = re.sub(r"\bbias\b", "bias_pre", bias_drive)
        injection = _one_to_one(synapses, "bias", after[part], target, postsynaptic.clock)
        injection.run_regularly(statement, clock=postsynaptic.clock, name=f"{synapses.name}_bias_injection")
    if self_drive is not None:
        model = "self_weight : 1 (linked)"
        model += "" if contents.gain is None else f"\n{_probe.UNIT}"
        own = _one_to_one(
            synapses, "self", target, target, target.clock, model=model, on_pre=self_drive, on_event=events["post"]
        )
        if contents.gain is not None:
            own.weight_unit = linked_var(population, "weight_unit")
        own.self_weight = linked_var(after, "self_weight", index="_synaptic_post")
    device = get_device()
    if hasattr(device, "synapses"):  # a standalone device declares only the pathways of a Network's own synapses
        device.synapses |= {inner for inner in synapses.contained_objects if isinstance(inner, Synapses)}


def _target_rates(rates: tuple[Quantity, ...], target: Any, compared: Any) -> Quantity:
    """Target rates as one quantity; InvalidValue unless there is one for each neuron that the rule compares."""
    neurons = len(target)
    if len(rates) != neurons:
        raise InvalidValue(
            f"homeostasis: target_rate must have one rate for each of the {neurons} neurons of the target group, got "
            f"{len(rates)}; give one rate for all, or an array of {neurons}."
        )
    if whole_group(compared) != whole_group(target) or not set(numbers(compared)) <= set(numbers(target)):
        raise InvalidValue(
            f"homeostasis: target_rate has rates for the target group '{target.name}' alone, and this rule also needs "
            f"target rates of other neurons, in the source group '{compared.name}'; give one rate for all, or None for "
            "each neuron's own."
        )
    return Quantity([float(rate) for rate in rates], dim=Hz.dim)


def _one_to_one(synapses: Synapses, what: str, source: Any, target: Any, clock: Any, **strings: str) -> Synapses:
    """Make synapses from every neuron to the neuron of the same index, which act by the user's own statements."""
    made = Synapses(
        source, target, clock=clock, name=f"{synapses.name}_{what}", namespace=synapses.namespace, **strings
    )
    made.connect(j="i")
    synapses.contained_objects.append(made)
    return made


def _companion(contents: Contents, group: Any, synapses: Synapses, side: str, event: str) -> NeuronGroup:
    """Make the companion of a whole group: one set of traces per neuron, which its spikes fill."""
    name, common = f"{synapses.name}_{side}", {"clock": group.clock, "namespace": {}}
    traces = NeuronGroup(len(group), contents.equations, method="euler", name=f"{name}_traces", **common)
    set_values(traces, contents.values)
    traces.run_regularly(contents.on_step, when="end", name=f"{name}_traces_time")
    entering = {f"at_{number}": statements for number, statements in enumerate(contents.on_spike.values())}
    filling = Synapses(group, traces, on_pre=entering, on_event=event, name=f"{name}_spikes", **common)
    for pathway, order in zip(entering, contents.on_spike, strict=True):
        getattr(filling, pathway).order = order
    filling.connect(j="i")
    synapses.contained_objects.extend([traces, filling])
    return traces
