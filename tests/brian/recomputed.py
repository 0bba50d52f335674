"""Weights computed anew in float64 from recorded spikes and the published statements, sharing nothing with the rules.

Traces are sums of exponentials over all spikes, written out; the weights then go through the spikes in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from brian2 import Hz

import neuro_decorr as nd

Trains = list[np.ndarray]
"""The steps at which each neuron spiked."""


@dataclass(frozen=True)
class Given:
    """What was recorded.

    Attributes:
        source: Of the presynaptic neurons.
        target: Of the postsynaptic ones.
        pre: Presynaptic neuron of each synapse.
        post: Postsynaptic neuron of each synapse.
        step: Duration of a step in s.
        steps: How many steps there were.
        first: The first one of learning.
    """

    source: Trains
    target: Trains
    pre: np.ndarray
    post: np.ndarray
    step: float
    steps: int
    first: int


def traces(trains: Trains, given: Given, rule: nd.brian.SpikingRule) -> np.ndarray:
    """Sum of exp(-(t - spike) / trace_time) over earlier spikes, before those of each step: (steps + 1, neurons)."""
    found = np.zeros((given.steps + 1, len(trains)))
    for neuron, train in enumerate(trains):
        for spike in train:
            later = np.arange(1, given.steps + 1 - spike)
            found[spike + 1 :, neuron] += np.exp(-later * given.step / float(rule.trace_time))
    return found


def means(before: np.ndarray, trains: Trains, given: Given, rule: nd.brian.SpikingRule) -> np.ndarray:
    """The slow mean of what a synapse reads: half of the time without the spikes of its step, half with them.

    Where a clock moves the weights, it is always without. It averages over all the time since the first run at first,
    at least a trace time, then over `mean_time`.
    """
    own = np.zeros_like(before)
    for neuron, train in enumerate(trains):
        own[train, neuron] = 1.0
    kept = np.exp(-given.step / float(rule.trace_time))
    seen = kept if by_clock(rule) else (1 + kept) / 2
    found, mean, after = np.zeros_like(before), np.zeros(before.shape[1]), np.zeros(before.shape[1])
    for step in range(given.steps):
        over = min(max(step * given.step, float(rule.trace_time)), float(rule.mean_time))
        mean = mean + given.step / over * (seen * after - mean)
        found[step], after = mean, before[step] + own[step]
    return found


def by_clock(rule: nd.brian.SpikingRule) -> bool:
    """Whether a clock moves the weights."""
    return getattr(rule, "moved_by", "spikes") == "clock"


def sampled(rule: nd.brian.SpikingRule, given: Given, deviations: list[np.ndarray]) -> np.ndarray:
    """Weights that a clock moves: by products of deviations (steps, synapses), in every half of a trace time."""
    every = round(float(rule.trace_time) / 2 / given.step)
    kept = np.exp(-2 * given.step / float(rule.trace_time))
    found = np.zeros(len(given.pre))
    for step in range(-(-given.first // every) * every, given.steps, every):
        change = rule.rate * every * (1 / kept - 1) * deviations[0][step] * deviations[1][step]
        found = np.clip(found + change, rule.smallest_weight, rule.largest_weight)
    return found


def rates_reached(trains: Trains, given: Given, rule: nd.brian.SpikingRule) -> np.ndarray:
    """Each neuron's target rate: given, or its own during the calibration."""
    if rule.homeostasis.target_rate is not None:
        return np.full(len(trains), float(rule.homeostasis.target_rate / Hz))
    length = float(rule.homeostasis.calibration)
    return np.array([np.sum((train + 0.5) * given.step < length) for train in trains]) / length


def weights(rule: nd.brian.SpikingRule, given: Given) -> np.ndarray:
    """The weight of every synapse at the end, from zero at the beginning."""
    kept = np.exp(-given.step / float(rule.trace_time))
    window = given.step * (1 + kept) / (1 - kept) / 2  # mean of what is read, for each Hz of a neuron
    sides = (given.source, given.target)
    trace = [traces(trains, given, rule) for trains in sides]
    interneurons = rule.name == "feedback_inhibition"
    centred = hasattr(rule, "mean_time")
    mean = [means(trace[k], sides[k], given, rule) if centred else None for k in (0, 1)]
    aim = [rates_reached(trains, given, rule) * window if rule.name == "foldiak" else None for trains in sides]
    if by_clock(rule):
        return sampled(rule, given, [(trace[k][:-1] - mean[k][:-1])[:, (given.pre, given.post)[k]] for k in (0, 1)])
    found = np.zeros(len(given.pre))
    events = [(step, 0, k) for k, train in enumerate(given.source) for step in train]
    events += [(step, 1, k) for k, train in enumerate(given.target) for step in train]
    fired = [{(step, k) for k, train in enumerate(trains) for step in train} for trains in sides]
    for step, post, neuron in sorted(events, key=lambda event: (event[0], event[1] != interneurons)):
        # The presynaptic spikes of a step come first, but those of interneurons, who answer within the step.
        if step < given.first:
            continue
        chosen = np.flatnonzero((given.pre, given.post)[post] == neuron)
        other = (given.post, given.pre)[post][chosen]
        same = np.array([(step, int(k)) in fired[1 - post] for k in other], dtype=float)
        old, side = found[chosen], 1 - post
        if interneurons:
            posts = given.post[chosen]
            own = np.array([(step, int(k)) in fired[1] for k in posts], dtype=float)
            deviation = trace[1][step, posts] + own / 2 - mean[1][step, posts]
            change = -((1 + rule.excess) * deviation + rule.excess / 2) * old / rule.threshold if post else deviation
        else:
            read = trace[side][step, other] + same * post  # a postsynaptic spike sees the one that came first
            if rule.name == "lateral_covariance":
                change = read - mean[side][step, other]
            elif rule.name == "foldiak":
                change = read - aim[side][other]
            elif rule.name == "correlation_measuring":
                change = read - mean[side][step, other] * (1 + old)
            else:
                change = read - (1 - post) * 2 * float(rule.target_rate) * window
        found[chosen] = np.clip(old + rule.rate * change, rule.smallest_weight, rule.largest_weight)
    return found
