"""Variance targets: a synapse of every neuron onto itself that brings the variance of its spike counts to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from brian2 import Hz, Quantity

from neuro_decorr.brian._checks import check_fields, number, quantity


@dataclass(frozen=True, kw_only=True)
class Variance:
    r"""An integrator of the difference between a neuron's count variance and its target, as a weight onto itself.

    $$
    \dot s = k\, \bigl((x - \bar x)^2 - D\, \tfrac{\bar x}{2}\bigr), \qquad
    \text{spike of the neuron: the drive, with } s \text{ for the weight}
    $$

    x is the trace and x-bar its mean. A Poisson train of rate r has a trace of mean r tau and of variance r tau / 2
    (Campbell's theorem), so D is the dispersion relative to it: the Fano factor of counts at the time scale of the
    trace. On average s rests where the variance is D x-bar / 2, exactly, or at a bound. Inhibition of itself (s > 0)
    makes a neuron more regular and its counts less variable; excitation of itself (s < 0) makes it burst. Covariances
    removed by the rule, rates equal by `Homeostasis(target_rate=...)` and this are a covariance of counts that is a
    multiple of the identity: white.

    What can be reached depends on the neuron. Integrate-and-fire neurons with noise are more regular than a Poisson
    train as they are, so that s = 0 means some D below 1, a target above it needs s < 0 and one below it s > 0. Counts
    cannot be arbitrarily regular: inhibition that decays much faster than the trace comes too early to compensate, and
    for too low a target s ends at its bound. Far above D = 1 neurons burst, which makes the variance so steep a
    function of s that it scatters. `tests/brian/test_variance.py` reaches 0.4 and 1 from 0.52, at a
    rate of 5 Hz within 20 s.

    The drive must reach a variable that a spike does not reset: a current or a conductance, not the membrane potential.
    A conductance must not become negative: then smallest_weight=0, and only targets below the neuron's own are reached.

    Source: Campbell (1909), The study of discontinuous phenomena; the integrator is this library's.

    Attributes:
        dispersion: D.
        rate: k, weight a second for each unit of variance (spikes squared).
        smallest_weight: Bound of s, negative for excitation.
        largest_weight: Bound of s.
    """

    name: ClassVar[str] = "variance"

    dispersion: float = number(0.5, above=0)
    rate: Quantity = quantity(0.5 * Hz)
    smallest_weight: float = number(-5.0)
    largest_weight: float = number(5.0, above="smallest_weight")

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity outside its range, or of other units.
        """
        check_fields(self)
