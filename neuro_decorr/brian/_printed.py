"""Text of all additions of a rule for spikes to a user's model, by heading."""

from __future__ import annotations

from typing import Any

from neuro_decorr.brian._probe import printed_parts
from neuro_decorr.brian._strings import assigned
from neuro_decorr.brian._synapses import Orders
from neuro_decorr.brian.gain import Gain


def parts(rule: Any, orders: Orders, links: dict[str, str], gain: Gain | None) -> dict[str, str]:
    """Additions to the model, each under a heading with the slot of a time step and the order in which it acts.

    Args:
        rule: A `SpikingRule`.
        orders: Orders of its synapses.
        links: Variables of companions that the synapses read, as arguments of `linked_var`.
        gain: Measurement of the gain; None for none.

    Returns:
        Text by heading.
    """
    own, parted, at_post = (f"(synapses, order {order})" for order in (orders.learning_pre, *orders[::2]))
    found = {
        "model of the synapses": rule.model,
        "linked": "\n".join(f"{name} = linked_var({variable})" for name, variable in links.items()),
        f"transmission {own} before on_pre, or with a delay {parted}": "the drive",
        f"on_pre {own}": rule.on_pre,
        f"on_post {at_post}": rule.on_post,
        f"on_clock {own}, every half of a trace time": rule.on_clock,
        "parameters of the synapses": assigned(rule.namespace),
        "companion, one set of traces a neuron (groups, order 0)": rule.traces,
        **{f"at a neuron's spike (synapses, order {order})": text for order, text in rule.on_spike.items()},
        "at the end of a time step (end, order 0)": rule.on_step,
        "parameters of the companion": assigned(rule.trace_values),
    }
    if rule.homeostasis is not None:
        found["bias of the companion (start, order 0)"] = "bias_drive, or the drive with -bias for the weight"
    if rule.variance is not None:
        found["at a neuron's spike, onto itself (synapses, order 0)"] = "the drive with self_weight for the weight"
    found["for the report, once a trace_time (end, order 1)"] = (
        "sums of the traces of some pairs, and of products; moved_time += trace_time while the weights move"
    )
    return found if gain is None else found | printed_parts(gain)
