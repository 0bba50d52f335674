"""Advice for a population that is not decorrelated: parameters to change, or time to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuro_decorr.brian.report import ENOUGH, MANY, OFF, SHORTEST, GainFailure, PairCovariances, Report


def advice(report: Report, free: PairCovariances | None, rule: Any, larger: Callable[[int], str]) -> tuple[str, ...]:
    """Advice in sentences, the most urgent first; a failure to measure the gain is the first.

    Args:
        report: Report without advice.
        free: Covariances of the pairs whose weights are at no bound.
        rule: Rule of the synapses.
        larger: Function that writes the drive with a unit so many times larger.

    Returns:
        Sentences; empty if there is nothing to advise.
    """
    if report.elapsed == 0:
        return ("these synapses have never run: are they in your Network, as in Network(neurons, synapses, monitor)?",)
    until = f"until {float(rule.learnt):g} s" if rule.schedule else ""
    if report.phase in ("baseline", "calibration", "probing"):
        return (f"nothing is learnt yet: run on{until and f', {until}'}",)
    found, now = [], report.now
    if report.gain_failure is not None:
        found.append(_unmeasured(report.gain_failure, report.gain, rule.gain.probing, larger))
    if report.at_largest > MANY:
        found.append(
            f"{report.at_largest:.0%} of the weights are at largest_weight: raise it, or give the drive a larger unit, "
            f"{larger(10)}"
        )
    if report.phase in ("learning", "annealing"):
        end = f"run {until}" if until else "freeze(synapses, homeostasis=True)"
        found.append(
            f"the weights still move, and held weights will decorrelate a little less: {end}, and {SHORTEST:.0f} s "
            "more, for a verdict"
        )
    elif rule.decorrelates and report.verdict == "undecided":
        found.append(f"run {SHORTEST:.0f} s with resting weights for a verdict")
    elif rule.decorrelates and now is not None and now.times_floor > ENOUGH and not found:
        found.append(_why(free))
    if report.bias_at_bound is not None and report.bias_at_bound > MANY:
        found.append(
            f"{report.bias_at_bound:.0%} of the neurons have their bias at its bound: raise "
            "Homeostasis(largest_bias=...)"
        )
    if report.rate is not None and abs(report.rate - 1) > OFF and report.phase in ("consolidation", "held"):
        found.append(
            f"the population's rate is {report.rate:.2f} of its target: raise Homeostasis(rate=...), or "
            "Schedule(consolidation=...)"
        )
    return tuple(found)


def _unmeasured(failure: GainFailure, gain: float | None, probing: Any, larger: Callable[[int], str]) -> str:
    """Cause of a gain that was not measured, or not reliably, and the remedy."""
    if failure == "probing too short":
        found = "was not measured" if gain is None else "is not reliable"
        return (
            f"the gain of the drive {found}: the probing was too short for a drive of so small a unit; give longer "
            f"probing, such as Gain(probing={4 * float(probing):g}*second) (now {float(probing):g} s), or a unit "
            f"100 times larger, {larger(100)}"
        )
    cause = {
        "held": "the homeostasis was held during the probing; freeze(..., homeostasis=True) only after it, or give the "
        "rule gain=None",
        "silent": "the neurons were silent during the probing; give them input that lets them spike without inhibition",
        "no response": "the neurons did not spike less for the drive, however strong; check that its variable is in "
        "their equations, and that it inhibits them",
    }[failure]
    return f"the gain of the drive was not measured: {cause}; weights are in the units of the drive, not in spikes"


def _why(free: PairCovariances | None) -> str:
    """Cause of the remaining correlations, and the remedy."""
    if free is None or free.times_floor <= ENOUGH:
        return (
            "the remaining correlations are those of pairs whose weights are at smallest_weight: lower it, such as "
            "smallest_weight=-1.0"
        )
    if free.mean_correlation > free.correlation / 2:
        return "inhibition has not grown enough: raise rate, such as threefold, or Schedule(learning=...)"
    return (
        "correlations of both signs remain, perhaps because the weights scatter: lower rate, raise "
        "Schedule(annealing=...) or, if inhibition is slow or delayed, trace_time"
    )
