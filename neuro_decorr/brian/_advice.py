"""What to raise, or to wait for, where a population is not decorrelated."""

from __future__ import annotations

from typing import Any

from neuro_decorr.brian.report import ENOUGH, MANY, OFF, SHORTEST, PairCovariances, Report


def advice(report: Report, free: PairCovariances | None, rule: Any) -> tuple[str, ...]:
    """Sentences, the most urgent first.

    Args:
        report: Without advice.
        free: Covariances of the pairs whose weights are at no bound.
        rule: Of the synapses.
    """
    until = f"until {float(rule.learnt):g} s" if rule.schedule else ""
    if report.phase in ("baseline", "calibration", "probing"):
        return (f"nothing is learnt yet: run on{until and f', {until}'}",)
    found, now = [], report.now
    if report.at_largest > MANY:
        found.append(
            f"{report.at_largest:.0%} of the weights are at largest_weight: raise it, or give the drive a larger unit "
            "(10*w*mV)"
        )
    if report.gain is None and rule.gain is not None and rule.homeostasis is not None:
        found.append(
            "the gain of the drive was not measured: the neurons were silent, or did not answer to the drive, or the "
            "homeostasis was held meanwhile; weights are what the drive makes of them"
        )
    if report.phase in ("learning", "annealing"):
        end = f"run {until}" if until else "freeze(synapses, homeostasis=True)"
        found.append(
            f"weights move, and what is held will be a little worse: {end}, and {SHORTEST:.0f} s more, for a verdict"
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


def _why(free: PairCovariances | None) -> str:
    """Correlations are left."""
    if free is None or free.times_floor <= ENOUGH:
        return "what is left is of pairs whose weights are at smallest_weight: lower it, such as smallest_weight=-1.0"
    if free.mean_correlation > free.correlation / 2:
        return "inhibition has not grown enough: raise rate, such as threefold, or Schedule(learning=...)"
    return (
        "correlations of both signs are left, as by weights that scatter: lower rate, raise Schedule(annealing=...) "
        "or, where inhibition is slow or late, trace_time"
    )
