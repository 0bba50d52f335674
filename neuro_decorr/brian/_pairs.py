"""Measurement for `synapses.report()`: covariances of the traces of some pairs, before learning and at rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from brian2 import NeuronGroup, Quantity, Synapses, linked_var
from brian2.groups.group import CodeRunner
from numpy.typing import NDArray

from neuro_decorr.brian._checks import numbers

PARTNERS = 16
"""Number of measured pairs of each postsynaptic neuron."""
BLOCK = 40
"""Number of samples, a trace time apart, that go into one half of a measurement before the other half gets as many."""
MEMORY = 60
"""Time (s) that a measurement reaches back while weights move."""
WINDOWS, HALVES = ("before", "now"), ("even", "odd")
SUMS = {"x": "trace_pre", "y": "trace_post", "xx": "trace_pre**2", "yy": "trace_post**2", "xy": "trace_pre*trace_post"}

_PHASES = """\
waited : 1 (linked, shared)
has_begun : 1 (linked, shared)
pace_now : 1 (linked, shared)
pair_period : second (shared, constant)
resting = has_begun*int(pace_now == 0) : 1 (shared)
rested : 1 (shared)
share_kept : 1 (shared)
pair_half : 1 (shared)
pair_samples : 1 (shared)
"""
"""`resting`: learning has begun and the weights do not move; a new measurement begins when `resting` changes."""
_SAMPLE = f"""\
share_kept = (1 - abs(resting - rested))*(1 - (1 - resting)*pair_period/({MEMORY}*second))
rested = resting
pair_half = floor(pair_samples/{BLOCK}) % 2
pair_samples += 1
"""
"""Two halves of a measurement at different times have independent errors: the mean of their product has no error term,
for any correlations in time, and their difference measures the size of the errors."""


def _model() -> str:
    shared = [f"number_{window}_{half} : 1 (shared)" for window in WINDOWS for half in HALVES]
    own = [f"{name}_{window}_{half} : 1" for window in WINDOWS for half in HALVES for name in SUMS]
    return _PHASES + "\n".join(shared + own)


def _sample() -> str:
    lines = [_SAMPLE]
    for name, value in {"number": "1", **SUMS}.items():  # Brian2 requires shared variables first
        for window in WINDOWS:
            kept, counting = ("share_kept*", "has_begun") if window == "now" else ("", "(1 - waited)")
            for half, share in zip(HALVES, ("(1 - pair_half)", "pair_half"), strict=True):
                total = f"{name}_{window}_{half}"
                lines.append(f"{total} = {kept}{total} + {counting}*{share}*{value}")
    return "\n".join(lines)


def _pairs(source: range, target: range, *, one_group: bool) -> NDArray[np.int64]:
    """Neuron indices of each pair, shape (2, pairs): all pairs, or those of partners at evenly spread distances."""
    distances: Sequence[int] = range(len(source))
    if len(source) > PARTNERS + 1:
        distances = sorted({round(len(source) * 0.618034 * k) % len(source) for k in range(1, PARTNERS + 1)})
    post = np.repeat(np.arange(len(target)), len(distances))
    pre = (post + np.tile(distances, len(target))) % len(source)
    pairs = np.stack([pre + source.start, post + target.start])
    if one_group:  # the order of the two makes no difference
        pairs = np.unique(np.sort(pairs[:, pairs[0] != pairs[1]], axis=0), axis=1)
    return pairs


def attach(
    synapses: Synapses, source: Any, target: Any, before: NeuronGroup | None, after: NeuronGroup, period: Quantity
) -> Synapses:
    """Add the objects to synapses that measure some pairs of their neurons.

    Args:
        synapses: Synapses between the two groups.
        source: Presynaptic group.
        target: Postsynaptic group.
        before: Companion of the presynaptic group; None measures pairs within the target.
        after: Companion of the postsynaptic group.
        period: Time from one sample to the next, a trace time.

    Returns:
        The measurement, one synapse per pair.
    """
    one_group = before is None or before is after
    measured = Synapses(before or after, after, model=_model(), dt=period, name=f"{synapses.name}_pairs", namespace={})
    for name, seen in {"waited": "calibrated", "has_begun": "begun", "pace_now": "pace"}.items():
        setattr(measured, name, linked_var(after, seen))
    pre, post = _pairs(numbers(target if before is None else source), numbers(target), one_group=one_group)
    measured.connect(i=pre, j=post)
    measured.pair_period = period
    at = {"clock": measured.clock, "when": "end", "order": 1}
    measured.run_regularly(_sample(), name=f"{synapses.name}_pairs_sample", **at)
    # Where `moving` differs between synapses, some of them may be fixed for the whole run: the pace tells for all.
    moves = "moving" if synapses.variables["moving"].scalar else "int(pace != 0)"
    code, name = f"moved_time += {float(period)!r}*second*{moves}", f"{synapses.name}_moved"
    synapses.contained_objects.extend([measured, CodeRunner(synapses, "stateupdate", code=code, name=name, **at)])
    return measured
