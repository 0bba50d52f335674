"""Advice for a population that is not decorrelated: parameters to change, or time to wait."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from neuro_decorr.brian.report import ENOUGH, MANY, OFF, SHORTEST, GainFailure, PairCovariances, Report

AIM = 1.4
"""Ratio of correlations to those of independent neurons that the advice aims at: below ENOUGH, as estimates err."""
MOST = 3.0
"""Largest factor that one piece of advice changes the schedule or the rate by: the estimates hold near the run."""
ALIKE = 0.8
"""Share of the mean correlation in the root mean square above which all pairs lack inhibition alike."""


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
        found.append(_why(report, free, rule))
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


def _why(report: Report, free: PairCovariances | None, rule: Any) -> str:
    """Cause of the remaining correlations, and the remedy."""
    if free is None or free.times_floor <= ENOUGH:
        return (
            "the remaining correlations are those of pairs whose weights are at smallest_weight: lower it, such as "
            "smallest_weight=-1.0"
        )
    if free.mean_correlation > free.correlation / 2:
        return _more_learning(report, free, rule)
    lower = lower_by(free)
    if rule.schedule is None:
        return (
            "correlations of both signs remain, perhaps because the weights scatter: give the rule a "
            "schedule=nd.brian.Schedule(...), whose annealing lets them settle"
        )
    return (
        f"correlations of both signs remain, perhaps because the weights scatter: lower rate to "
        f"{rule.rate / lower:.2g} and learn longer by the same factor, {_phases(rule.schedule, lower)}; if inhibition "
        "is slow or delayed, raise trace_time instead"
    )


def _more_learning(report: Report, free: PairCovariances, rule: Any) -> str:
    """Advice to learn longer, or faster if the correlations are alike."""
    longer = longer_by(report, free, rule.schedule)
    schedule = f"let it learn {longer:.2g} times as long" if rule.schedule is None else _phases(rule.schedule, longer)
    found = f"inhibition has not grown enough: learn longer at this rate, {schedule}"
    alike = free.mean_correlation > ALIKE * free.correlation
    return f"{found}, or raise rate to {rule.rate * longer:.2g}" if alike else found


def _phases(schedule: Any, longer: float) -> str:
    """Schedule with longer phases of learning, as a user writes it."""
    new = {name: math.ceil(float(getattr(schedule, name)) * longer / 5) * 5 for name in ("learning", "annealing")}
    return f"Schedule({', '.join(f'{name}={time}*second' for name, time in new.items())})"


def _goal(free: PairCovariances) -> float:
    """Root mean square correlation at which `times_floor` is AIM."""
    return free.correlation * math.sqrt((AIM**2 - 1) / (free.times_floor**2 - 1))


def lower_by(free: PairCovariances) -> float:
    r"""Factor by which to lower the rate, and to lengthen the schedule, so that correlations of scatter reach the goal.

    While the rate falls linearly to zero, weights near their fixed point follow it until their relaxation takes as long
    as the rest of the annealing $T_a$. The variance of held weights is then proportional to $(\eta / T_a)^{1/2}$, and
    their correlations to $(\eta / T_a)^{1/4}$: to $k^{-1/2}$ for $\eta / k$ and $k T_a$, where $\eta T_a$, the growth
    of inhibition, is the same.

    Args:
        free: Covariances of the pairs whose weights are at no bound.

    Returns:
        Factor k, between 1.1 and MOST.
    """
    return min(max((free.correlation / _goal(free)) ** 2, 1.1), MOST)


def longer_by(report: Report, free: PairCovariances, schedule: Any) -> float:
    """Factor by which to lengthen the schedule, so that the correlations reach the goal.

    The mean correlation decays exponentially with the time of learning, in which annealing counts half. What differs
    between pairs falls as scatter does (`lower_by`), with the fourth root of the annealing.

    Args:
        report: Report with correlations before learning.
        free: Covariances of the pairs whose weights are at no bound.
        schedule: Schedule of the rule; None for none.

    Returns:
        Factor between 1.1 and MOST; MOST if the correlations did not decay.
    """
    before, mean = report.before, free.mean_correlation
    if before is None or before.mean_correlation <= mean:
        return MOST
    decay = math.log(before.mean_correlation / mean)
    rest = math.sqrt(max(free.correlation**2 - mean**2, 0.0))
    for tenths in range(11, int(10 * MOST)):
        longer = tenths / 10
        settled = rest if schedule is None else rest / longer**0.25
        if math.hypot(before.mean_correlation * math.exp(-decay * longer), settled) <= _goal(free):
            return longer
    return MOST
