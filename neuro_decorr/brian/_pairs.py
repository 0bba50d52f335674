"""What `synapses.report()` reads: covariances of the traces of some pairs, before learning and since weights rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from brian2 import NeuronGroup, Quantity, Synapses, linked_var
from brian2.groups.group import CodeRunner
from numpy.typing import NDArray

from neuro_decorr.brian._checks import numbers

PARTNERS = 16
"""Pairs that are looked at, for each postsynaptic neuron."""
BLOCK = 40
"""Samples, a trace time apart, that go into one half of a measurement, before the next ones go into the other half."""
MEMORY = 60
"""Seconds that a measurement reaches back while weights move."""
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
"""`resting`: the weights do not move, after the beginning of learning; a new measurement begins when that changes."""
_SAMPLE = f"""\
share_kept = (1 - abs(resting - rested))*(1 - (1 - resting)*pair_period/({MEMORY}*second))
rested = resting
pair_half = floor(pair_samples/{BLOCK}) % 2
pair_samples += 1
"""
"""Halves of a measurement that lie apart have independent errors: their product has none on average, whatever the
correlations in time, and their difference shows how large these errors are."""


def _model() -> str:
    shared = [f"number_{window}_{half} : 1 (shared)" for window in WINDOWS for half in HALVES]
    own = [f"{name}_{window}_{half} : 1" for window in WINDOWS for half in HALVES for name in SUMS]
    return _PHASES + "\n".join(shared + own)


def _sample() -> str:
    lines = [_SAMPLE]
    for name, value in {"number": "1", **SUMS}.items():  # what is shared comes first, as Brian2 wants it
        for window in WINDOWS:
            kept, counting = ("share_kept*", "has_begun") if window == "now" else ("", "(1 - waited)")
            for half, share in zip(HALVES, ("(1 - pair_half)", "pair_half"), strict=True):
                total = f"{name}_{window}_{half}"
                lines.append(f"{total} = {kept}{total} + {counting}*{share}*{value}")
    return "\n".join(lines)


def _pairs(source: range, target: range, *, one_group: bool) -> NDArray[np.int64]:
    """Numbers of the neurons of each pair, shape (2, pairs): all, or those of partners at distances spread evenly."""
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
    """Let synapses bring along what measures some pairs of their neurons.

    Args:
        synapses: Between the two groups.
        source: Presynaptic group.
        target: Postsynaptic group.
        before: Companion of the presynaptic one; where None, pairs of the target.
        after: Companion of the target.
        period: Time from one sample to the next, a trace time.

    Returns:
        The measurement, a synapse a pair.
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
    moves = "moving" if synapses.variables["moving"].scalar else "int(pace != 0)"  # or some may always be fixed
    code, name = f"moved_time += {float(period)!r}*second*{moves}", f"{synapses.name}_moved"
    synapses.contained_objects.extend([measured, CodeRunner(synapses, "stateupdate", code=code, name=name, **at)])
    return measured
