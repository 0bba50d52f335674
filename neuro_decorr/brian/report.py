"""What a rule has reached in a population, and what to raise where that is not enough: `synapses.report()`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

RECORDING = 100.0
"""Seconds of a recording for which remaining correlations are compared with those of independent neurons."""
ENOUGH = 1.5
"""Times what independent neurons show in such a recording: a population below it counts as decorrelated."""
SHORTEST = 20.0
"""Seconds that a measurement must last for a verdict."""
MANY = 0.02
"""Share of weights or neurons at a bound that is worth a word."""
OFF = 0.05
"""Relative difference of the population's rate from its target that is worth a word."""

Phase = Literal["baseline", "calibration", "probing", "learning", "annealing", "consolidation", "held", "frozen"]


@final
@dataclass(frozen=True, kw_only=True)
class PairCovariances:
    r"""Covariances of the traces of pairs of neurons, without what a finite time shows of independent ones.

    Traces are sampled once a trace time. The samples are halved, by blocks of 40, and with $c$ and $c'$ a pair's
    covariances in the two halves $\langle c\, c' \rangle$ over pairs is the mean square covariance: errors of the two
    are independent, and do not enter on average. The noise is $\langle (c - c')^2 \rangle^{1/2} / 2$. For the
    correlation every covariance is divided by the two deviations.

    Attributes:
        seconds: How long they were measured.
        pairs: How many were, of those with a synapse that learns: 16 partners of each neuron, or all.
        covariance: Root of the mean square, spikes squared; 0 where the mean square is not positive.
        covariance_noise: Of one pair, in this time.
        correlation: As covariance.
        correlation_noise: Of one pair, in this time.
        mean_correlation: With its sign.
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
        """Root mean square correlation of 100 s of recording, over that of independent neurons."""
        noise = self.correlation_noise * math.sqrt(self.seconds / RECORDING)
        return math.hypot(1.0, self.correlation / noise) if noise > 0 else math.nan


@final
@dataclass(frozen=True, kw_only=True)
class Report:
    """Of the synapses of a rule.

    Attributes:
        rule: Its name.
        phase: Of its schedule, at the end of the last run; `frozen` by the user.
        elapsed: Seconds since its first run.
        learned: Seconds in which its weights could move.
        before: Before learning began; None where nothing was measured: without a calibration or a baseline.
        now: Since the weights rest; while they move, of the last minute, and then better than what would be held, since
            moving weights follow the very sample that is measured. None before.
        at_smallest: Share of the weights that learn at `smallest_weight`.
        at_largest: Share of the weights that learn at `largest_weight`.
        gain: Spikes that one of weight 1 in the drive as it is written takes, where that was measured: the drive sees
            `w/gain`.
        rate: Of the population in the time of `now`, over its target; None without a homeostasis.
        within: Share of neurons within 10 % of their targets.
        bias_at_bound: Share of neurons whose bias is at its bound.
        verdict: `converged` where the weights rest and correlations are at most 1.5 times those of independent neurons
            in 100 s of recording (`now.times_floor`), the population's rate within 5 % of its target.
        advice: What to raise, or to wait for.
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
    rate: float | None
    within: float | None
    bias_at_bound: float | None
    verdict: Literal["converged", "not converged", "undecided"]
    advice: tuple[str, ...]

    @property
    def converged(self) -> bool:
        """Whether that is the verdict."""
        return self.verdict == "converged"

    def __str__(self) -> str:
        """In plain text."""
        lines = [
            f"{self.rule}: {self.verdict}",
            f"{self.phase}, {self.elapsed:.4g} s after the first run, of which the weights could move in "
            f"{self.learned:.4g} s",
        ]
        for what, found in (("before learning", self.before), ("now", self.now)):
            if found is not None:
                lines.append(
                    f"{what}, {found.pairs} pairs in {found.seconds:.0f} s: covariance of traces "
                    f"{found.covariance:.2g} (noise of a pair {found.covariance_noise:.2g}), correlation "
                    f"{found.correlation:.3f} (noise {found.correlation_noise:.3f}, mean {found.mean_correlation:+.3f})"
                    f"; in {RECORDING:.0f} s of recording {found.times_floor:.2f} times that of independent neurons"
                )
        lines.append(f"weights: {self.at_smallest:.0%} at the smallest, {self.at_largest:.0%} at the largest")
        if self.gain is not None:
            lines.append(
                f"gain: one spike of weight 1 in the drive takes {self.gain:.2g} spikes, so the drive sees "
                f"w/{self.gain:.2g}"
            )
        if self.rate is not None and self.within is not None and self.bias_at_bound is not None:
            lines.append(
                f"rates: the population at {self.rate:.3f} of its target, {self.within:.0%} of the neurons within "
                f"10 %; {self.bias_at_bound:.0%} with a bias at its bound"
            )
        return "\n".join([*lines, *self.advice])
