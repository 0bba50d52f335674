"""Report of a population: the decorrelation that a rule has reached, and advice (`synapses.report()`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

RECORDING = 100.0
"""Duration (s) of a recording for which remaining correlations are compared with those of independent neurons."""
ENOUGH = 1.5
"""Largest ratio of correlations to those of independent neurons in such a recording that counts as decorrelated."""
SHORTEST = 20.0
"""Shortest measurement (s) that allows a verdict."""
MANY = 0.02
"""Share of weights or neurons at a bound above which there is advice."""
OFF = 0.05
"""Relative difference of the population's rate from its target above which there is advice."""

Phase = Literal["baseline", "calibration", "probing", "learning", "annealing", "consolidation", "held", "frozen"]

GainFailure = Literal["held", "silent", "no response", "probing too short"]


@final
@dataclass(frozen=True, kw_only=True)
class PairCovariances:
    r"""Covariances of the traces of pairs of neurons, without the sampling error of a finite time.

    Traces are sampled once a trace time. The samples are divided into two halves by alternating blocks of 40. With $c$
    and $c'$ the covariances of a pair in the two halves, the average of $c\, c'$ over pairs is the mean square
    covariance: the errors of $c$ and $c'$ are independent and cancel on average. The noise is
    $\langle (c - c')^2 \rangle^{1/2} / 2$. For correlations every covariance is divided by the two standard deviations.

    Attributes:
        seconds: Duration of the measurement (s).
        pairs: Number of measured pairs that have a synapse that learns: 16 partners of each neuron, or all.
        covariance: Root mean square covariance of the traces (spikes squared); 0 if the mean square is not positive.
        covariance_noise: Standard error of one pair's covariance in this time (spikes squared).
        correlation: Root mean square correlation; 0 if the mean square is not positive.
        correlation_noise: Standard error of one pair's correlation in this time.
        mean_correlation: Mean correlation, with its sign.
    """

    seconds: float
    pairs: int
    covariance: float
    covariance_noise: float
    correlation: float
    correlation_noise: float
    mean_correlation: float

    @property
    def times_floor(self) -> float:
        """Root mean square correlation in 100 s of recording, relative to that of independent neurons."""
        noise = self.correlation_noise * math.sqrt(self.seconds / RECORDING)
        return math.hypot(1.0, self.correlation / noise) if noise > 0 else math.nan


def _times(ratio: float) -> str:
    """Text of a ratio to independent neurons, with one digit where correlations are large.

    The noise is then mostly that of the shared sources, the same for all pairs, so that many pairs do not average it:
    half of all measurements differ by more than a quarter from the ratio of a long one.
    """
    return f"{ratio:.2f}" if not ratio >= 3 else f"about {float(f'{ratio:.1g}'):.0f}"


@final
@dataclass(frozen=True, kw_only=True)
class Report:
    """Report of the synapses of a rule; `print` shows it as text.

    Attributes:
        rule: Name of the rule.
        phase: Phase of the schedule at the end of the last run; `frozen` if the user has frozen the weights.
        elapsed: Time since the start of the first run (s).
        learned: Time in which the weights could move (s).
        before: Covariances before learning began; None without a calibration or a baseline.
        now: Covariances since the weights rest. While the weights move these are covariances of the last minute, which
            are smaller than held weights would leave, since moving weights follow the sample that is measured. None
            before learning.
        at_smallest: Share of the learning weights that are at `smallest_weight`.
        at_largest: Share of the learning weights that are at `largest_weight`.
        gain: Number of spikes that a spike of weight 1 in the drive removes; the drive gets `w/gain`. None if it was
            not measured.
        gain_failure: Reason why the gain was not measured, or not reliably: the homeostasis was held, the neurons were
            silent, they did not respond, or the probing was too short for the unit of the drive. None if it was
            measured, and without a `Gain`.
        rate: Rate of the population in the time of `now`, relative to its target; None without a homeostasis.
        within: Share of neurons whose rate is within 10 % of their target; None without a homeostasis.
        calibration: Duration (s) of the calibration, in which the targets were counted; None if they were given.
        bias_at_bound: Share of neurons whose bias is at its bound; None without a homeostasis.
        verdict: `converged` if the weights rest, correlations are at most 1.5 times those of independent neurons in
            100 s of recording (`now.times_floor`), and the population's rate is within 5 % of its target.
        advice: Sentences on parameters to change or time to wait.
    """

    rule: str
    phase: Phase
    elapsed: float
    learned: float
    before: PairCovariances | None
    now: PairCovariances | None
    at_smallest: float
    at_largest: float
    gain: float | None
    gain_failure: GainFailure | None
    rate: float | None
    within: float | None
    bias_at_bound: float | None
    verdict: Literal["converged", "not converged", "undecided"]
    advice: tuple[str, ...]
    calibration: float | None = None

    @property
    def converged(self) -> bool:
        """True if the verdict is `converged`."""
        return self.verdict == "converged"

    def __str__(self) -> str:
        """Text of the report; a failure to measure the gain comes first, since it affects everything below."""
        first = int(self.gain_failure is not None)
        lines = [
            f"{self.rule}: {self.verdict}",
            *self.advice[:first],
            f"{self.phase}, {self.elapsed:.4g} s after the first run, of which the weights could move in "
            f"{self.learned:.4g} s",
        ]
        for what, found in (("before learning", self.before), ("now", self.now)):
            if found is not None:
                lines.append(
                    f"{what}, {found.pairs} pairs in {found.seconds:.0f} s: covariance of traces "
                    f"{found.covariance:.2g} (noise of a pair {found.covariance_noise:.2g}), correlation "
                    f"{found.correlation:.3f} (noise {found.correlation_noise:.3f}, mean {found.mean_correlation:+.3f})"
                    f"; in {RECORDING:.0f} s of recording {_times(found.times_floor)} times that of independent neurons"
                )
        lines.append(f"weights: {self.at_smallest:.0%} at the smallest, {self.at_largest:.0%} at the largest")
        if self.gain is not None:
            lines.append(
                f"gain: one spike of weight 1 in the drive takes {self.gain:.2g} spikes, so the drive sees "
                f"w/{self.gain:.2g}"
            )
        if self.rate is not None and self.within is not None and self.bias_at_bound is not None:
            counted = "" if self.calibration is None else f" (counted in {self.calibration:g} s of calibration)"
            lines.append(
                f"rates: the population at {self.rate:.3f} of its target, {self.within:.0%} of the neurons within "
                f"10 % of their targets{counted}; {self.bias_at_bound:.0%} with a bias at its bound"
            )
        return "\n".join([*lines, *self.advice[first:]])
