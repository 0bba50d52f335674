"""Record of spikes since the last plasticity step, kept as sums so that it does not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from neuro_decorr.rate.steps import flat_steps


class NeuronRecord(NamedTuple):
    """Sums over the time steps of all passes in train mode since the last plasticity step, averaged over sequences.

    Attributes:
        steps: Number of time steps, shape ().
        spikes: Number of spikes of every neuron, shape (features,).
        traces: Sum of the traces as the synapses read them, shape (features,); zeros for neurons without traces.
        coincidences: Sum of the trace of neuron i over the spikes of neuron j, shape (features, features); None for
            neurons without traces.
        together: Number of time steps in which both neurons spiked, the same shape; None for neurons without traces.
    """

    steps: Tensor
    spikes: Tensor
    traces: Tensor
    coincidences: Tensor | None
    together: Tensor | None


def summed(spikes: Tensor, traces: Tensor | None = None) -> NeuronRecord:
    """Make the record of one pass.

    Args:
        spikes: Spikes, shape (steps, ..., features).
        traces: Traces after their decay in each step and before its spikes are added, the same shape; None for none.

    Returns:
        The record, without a graph and outside all transforms.
    """
    rows = flat_steps(spikes)
    steps, batch, features = rows.shape
    of_traces, coincidences, together = rows.new_zeros(features), None, None
    if traces is not None:
        trace_rows = flat_steps(traces)
        of_traces = trace_rows.sum(dim=0).mean(dim=0)
        flat = rows.reshape(-1, features)
        coincidences, together = trace_rows.reshape(-1, features).T @ flat / batch, flat.T @ flat / batch
    return NeuronRecord(rows.new_full((), steps), rows.sum(dim=0).mean(dim=0), of_traces, coincidences, together)


def added(earlier: NeuronRecord | None, later: NeuronRecord) -> NeuronRecord:
    """Add two records."""
    if earlier is None:
        return later
    coincidences, together = (
        one if one is None or other is None else one + other for one, other in zip(later[3:], earlier[3:], strict=True)
    )
    steps, spikes, traces = (one + other for one, other in zip(earlier[:3], later[:3], strict=True))
    return NeuronRecord(steps, spikes, traces, coincidences, together)


def is_finite(record: NeuronRecord) -> bool:
    """True if all sums are finite numbers."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in record if tensor is not None)


def mapped(record: NeuronRecord, change: Callable[[Tensor], Tensor]) -> NeuronRecord:
    """Apply a function to every tensor of a record."""
    steps, spikes, traces = map(change, record[:3])
    coincidences, together = (None if tensor is None else change(tensor) for tensor in record[3:])
    return NeuronRecord(steps, spikes, traces, coincidences, together)


def cast(record: NeuronRecord, like: Tensor) -> NeuronRecord:
    """Convert a record to the device and type of a buffer."""
    return mapped(record, lambda tensor: tensor.to(like))
