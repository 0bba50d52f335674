"""Report of synapses, read from their companions and from the measured pairs."""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from brian2 import Synapses, get_logger
from numpy.typing import NDArray

from neuro_decorr.brian import _pairs
from neuro_decorr.brian._advice import advice
from neuro_decorr.brian._after_run import AfterRun
from neuro_decorr.brian._at_run import check_connections
from neuro_decorr.brian._checks import numbers
from neuro_decorr.brian._model import says_which_learn
from neuro_decorr.brian._pairs import HALVES, MEMORY, SUMS
from neuro_decorr.brian._probe import LARGEST, SETTLED
from neuro_decorr.brian.report import ENOUGH, OFF, SHORTEST, GainFailure, PairCovariances, Phase, Report
from neuro_decorr.errors import Unsupported

Array = NDArray[np.float64]


def give_report(rule: Any, synapses: Synapses, source: Any, target: Any, weight: str, drive: str | None) -> None:
    """Give synapses a `report()`; warn once if a run did not measure the gain, and once if it did not converge.

    Args:
        rule: Rule of the synapses.
        synapses: Synapses with companions.
        source: Presynaptic group.
        target: Postsynaptic group.
        weight: Name of the weight.
        drive: Statement of the effect of a spike.
    """
    before = synapses.companions.source if rule.sees_source else None
    pairs = _pairs.attach(synapses, source, target, before, synapses.companions.target, rule.trace_time)
    name = str(synapses.name)
    known = weakref.ref(synapses)  # a strong reference would be circular, and keep the names of deleted synapses

    def report() -> Report:
        return _read(rule, known(), pairs, weight, drive)

    check_connections(synapses, source, target)
    synapses.add_attribute("report")
    synapses.report = report
    warned = gain_told = False

    def tell() -> None:
        nonlocal warned, gain_told
        made: Any = known()
        if not gain_told and gain_failure(made.companions.target) not in (None, "held"):  # held by the user
            gain_told = True
            get_logger(__name__).warn(f"the synapses '{name}': {report().advice[0]}", "gain")
        if warned or not rule.decorrelates or not _may_say(rule, made, pairs):
            return
        found = report()
        if found.verdict == "not converged":
            warned = True
            get_logger(__name__).warn(
                f"the synapses '{name}' have not converged:\n{found}\nsynapses.report() returns the same.",
                "not_converged",
            )

    synapses.contained_objects.append(AfterRun(tell, target.clock, f"{synapses.name}_tells"))


def _may_say(rule: Any, synapses: Any, pairs: Synapses) -> bool:
    """True if weights have moved, and rest now or learn without end."""
    if not (moved := value(synapses, "moved_time")):
        return False
    return bool(value(pairs, "rested")) or (rule.schedule is None and moved >= MEMORY)


def _read(rule: Any, synapses: Any, pairs: Synapses, weight: str, drive: str | None) -> Report:
    """Read the report; raises Unsupported before a standalone program has run."""
    try:
        companion = synapses.companions.target
        weights = np.asarray(getattr(synapses, f"{weight}_"), dtype=float)
        learn = (
            synapses.learning_[:] != 0 if says_which_learn(synapses.equations) else np.ones(len(weights), dtype=bool)
        )
        smallest, largest = weights <= synapses.smallest_weight_, weights >= synapses.largest_weight_
        connected = free = np.ones(len(pairs), dtype=bool)
        if rule.sees_source:
            bounded_share = _of_pairs(synapses, pairs, smallest | largest, learn)
            connected, free = ~np.isnan(bounded_share), bounded_share < 1
        now = covariances(pairs, "now", connected)
        rate, within, bounded = (None, None, None) if now is None else _rates(synapses, pairs)
        report = Report(
            rule=rule.name,
            phase=_phase(companion),
            elapsed=value(companion, "elapsed"),
            learned=value(synapses, "moved_time"),
            before=covariances(pairs, "before", connected),
            now=now,
            at_smallest=float(smallest[learn].mean()) if learn.any() else math.nan,
            at_largest=float(largest[learn].mean()) if learn.any() else math.nan,
            gain=_gain(companion),
            gain_failure=gain_failure(companion),
            rate=rate,
            within=within,
            bias_at_bound=bounded,
            verdict="undecided",
            advice=(),
            calibration=_calibration(companion),
        )
        if rule.decorrelates and now is not None and now.seconds >= SHORTEST and _may_say(rule, synapses, pairs):
            missed = now.times_floor > ENOUGH or (rate is not None and abs(rate - 1) > OFF)
            if missed or value(pairs, "rested"):
                report = replace(report, verdict="not converged" if missed else "converged")
        among_free = covariances(pairs, "now", free)
    except NotImplementedError as error:
        raise Unsupported("the program has not run yet; call report() after device.build().") from error
    return replace(report, advice=advice(report, among_free, rule, _larger(drive, weight)))


def value(group: Any, name: str) -> float:
    """Value of a shared variable of a group, or of a group of one neuron."""
    return float(np.asarray(getattr(group, f"{name}_")).flat[0])


def _calibration(companion: Any) -> float | None:
    """Duration (s) in which target rates were counted; None for given targets."""
    return value(companion, "calibration") if "counted" in companion.variables else None


def _gain(companion: Any) -> float | None:
    """Measured gain; None before learning has begun, and without a measurement."""
    if "weight_unit" not in companion.variables or not value(companion, "begun"):
        return None
    unit = float(np.asarray(companion.weight_unit_).flat[0])
    return None if unit == 1 else 1 / unit  # exactly 1: no neuron responded, or the homeostasis was held


def gain_failure(companion: Any) -> GainFailure | None:
    """Reason why the gain was not measured, or not reliably; None if it was, before learning, and without a `Gain`."""
    if "weight_unit" not in companion.variables or not value(companion, "begun"):
        return None
    if not value(companion, "probed"):
        return "held"
    population = companion.variables["weight_unit"].owner
    if not value(population, "spikes_before"):
        return "silent"
    if value(population, "probe_amplitude") >= LARGEST:
        return "no response"
    return "probing too short" if value(population, "probe_drift") > SETTLED or _gain(companion) is None else None


def _larger(drive: str | None, weight: str) -> Callable[[int], str]:
    """Function that writes the user's drive with a unit so many times larger."""
    return lambda times: "drive=" + repr(re.sub(rf"\b{weight}\b", f"{times}*{weight}", str(drive)))


def _phase(companion: Any) -> Phase:
    """Phase of the schedule at the end of the last run."""
    elapsed = value(companion, "elapsed") + 1e-9
    if value(companion, "begun") and value(companion, "frozen"):
        return "frozen"
    times: dict[Phase, str] = {"baseline": "baseline", "calibration": "calibration", "probing": "probing_time"}
    if "learning_time" in companion.variables:
        times |= {"learning": "learning_time", "annealing": "annealing_time", "consolidation": "consolidation_time"}
    for phase, name in times.items():
        elapsed -= value(companion, name) if name in companion.variables else 0.0
        if elapsed < 0:
            return phase
    resumed = "resumed" in companion.variables and value(companion, "resumed")
    return "held" if "learning_time" in companion.variables and not resumed else "learning"


def _of_pairs(synapses: Synapses, pairs: Synapses, values: NDArray[Any], among: NDArray[np.bool_]) -> Array:
    """Mean of a value over the counted synapses of each measured pair, shape (pairs,); NaN for pairs without one."""
    asked = np.asarray(pairs.i, dtype=np.int64) * len(pairs.target) + np.asarray(pairs.j, dtype=np.int64)
    if not len(asked) or not among.any():
        return np.full(len(asked), np.nan)
    pre, post = (
        np.asarray(neurons, dtype=np.int64)[among] + numbers(group).start
        for neurons, group in ((synapses.i, synapses.source), (synapses.j, synapses.target))
    )
    order, total, number = np.argsort(asked), np.zeros(len(asked)), np.zeros(len(asked))
    ways = [(pre, post), (post, pre)] if pairs.source is pairs.target else [(pre, post)]
    for one, other in ways:
        sought = one * len(pairs.target) + other
        found = order[np.minimum(np.searchsorted(asked, sought, sorter=order), len(asked) - 1)]
        hit = asked[found] == sought
        np.add.at(total, found[hit], values[among][hit])
        np.add.at(number, found[hit], 1)
    with np.errstate(invalid="ignore"):
        return total / number


def _sums(pairs: Synapses, window: str, half: str) -> tuple[float, dict[str, Array]]:
    """Number of samples of one half of a measurement, and the sums of each pair over these samples."""
    sums = {name: np.asarray(getattr(pairs, f"{name}_{window}_{half}_"), dtype=float) for name in SUMS}
    return value(pairs, f"number_{window}_{half}"), sums


def covariances(pairs: Synapses, window: str, among: NDArray[np.bool_]) -> PairCovariances | None:
    """Covariances of some pairs in one measurement; None for too few samples, or if no pair has spikes."""
    found, variances, count = [], [], 0.0
    for half in HALVES:
        number, sums = _sums(pairs, window, half)
        if number < 2:
            return None
        means = {name: total[among] / number for name, total in sums.items()}
        found.append(means["xy"] - means["x"] * means["y"])
        variances.append((means["xx"] - means["x"] ** 2, means["yy"] - means["y"] ** 2))
        count += number
    scale = np.sqrt(np.mean([x for x, _ in variances], axis=0) * np.mean([y for _, y in variances], axis=0))
    spiking = scale > 0
    if not spiking.any():
        return None
    period = value(pairs, "pair_period")
    if window == "now" and not value(pairs, "rested"):  # older samples weigh less: the equivalent number of equal ones
        count *= 2 / (2 - min(count * period / MEMORY, 1.0))
    even, odd = (half[spiking] for half in found)
    correlated = even / scale[spiking], odd / scale[spiking]
    return PairCovariances(
        seconds=count * period,
        pairs=int(spiking.sum()),
        covariance=_root(even * odd),
        covariance_noise=_root((even - odd) ** 2) / 2,
        correlation=_root(correlated[0] * correlated[1]),
        correlation_noise=_root((correlated[0] - correlated[1]) ** 2) / 2,
        mean_correlation=float(np.mean(correlated)),
    )


def _root(squares: Array) -> float:
    """Root of the mean; 0 for a negative mean, which an estimate of a zero mean square may have."""
    return math.sqrt(max(float(squares.mean()), 0.0))


def _rates(synapses: Synapses, pairs: Synapses) -> tuple[float | None, float | None, float | None]:
    """Rate of the population relative to its target, share of neurons near their targets, share of bounded biases."""
    companion = synapses.companions.target
    if "target_rate" not in companion.variables:
        return None, None, None
    total = np.full(len(companion), np.nan)
    halves = [_sums(pairs, "now", half) for half in HALVES]
    for side, neurons in (("x", pairs.i), ("y", pairs.j)):
        if side == "y" or pairs.source is pairs.target:
            total[np.asarray(neurons)] = sum(sums[side] for _, sums in halves)
    number = sum(count for count, _ in halves)
    part = slice(numbers(synapses.target).start, numbers(synapses.target).stop)
    kept = value(companion, "kept")
    rates = total[part] / number * (1 - kept) / float(companion.clock.dt)
    targets = np.broadcast_to(np.asarray(companion.target_rate_), len(companion))[part]
    known = ~np.isnan(rates) & (targets > 0)
    if not known.any():
        return None, None, None
    rates, targets = rates[known], targets[known]
    bound = value(companion, "largest_bias") * targets
    bias = np.asarray(companion.bias_rate_)[part][known]
    near = float(np.mean(np.abs(rates / targets - 1) <= 0.1))
    return float(rates.sum() / targets.sum()), near, float(np.mean(np.abs(bias) >= bound))
