"""Variance targets: a synapse of each neuron onto itself that brings the variance of its spike counts to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from brian2 import Hz, Quantity

from neuro_decorr.brian._checks import check_fields, number, quantity
from neuro_decorr.brian._keywords import known_keywords


@known_keywords
@dataclass(frozen=True, kw_only=True)
class Variance:
    r"""Variance target: the weight of a neuron onto itself integrates the difference of its count variance and target.

    $$
    \dot s = k\, \bigl((x - \bar x)^2 - D\, \tfrac{\bar x}{2}\bigr), \qquad
    \text{spike of the neuron: the drive, with } s \text{ for the weight}
    $$

    Here x is the trace and $\bar x$ its mean. The trace of a Poisson train of rate r has the mean $r \tau$ and the
    variance $r \tau / 2$ (Campbell's theorem), so D is the dispersion relative to a Poisson train: the Fano factor of
    counts at the time scale of the trace. On average s stops where the variance is exactly $D \bar x / 2$, or at a
    bound. Self-inhibition (s > 0) makes a neuron more regular and its counts less variable; self-excitation (s < 0)
    makes it burst. The rule removes covariances, `Homeostasis(target_rate=...)` makes rates equal, and this target
    makes variances equal: together they make counts white, with a covariance that is a multiple of the identity.

    The range of D depends on the neuron. Noisy integrate-and-fire neurons are more regular than a Poisson train, so
    that s = 0 gives some D below 1; a target above it needs s < 0, a target below it s > 0. Counts cannot be
    arbitrarily regular: inhibition that decays much faster than the trace comes too early to compensate, and for too
    low a target s ends at its bound. Far above D = 1 neurons burst; the variance is then so steep a function of s that
    it scatters. `tests/brian/test_variance.py` reaches 0.4 and 1 from 0.52, at a rate of 5 Hz within 20 s.

    The drive must change a variable that a spike does not reset: a current or a conductance, not the membrane
    potential. A conductance must not become negative: set smallest_weight=0, and choose a target below the dispersion
    that the neuron has by itself.

    Cost: one synapse per neuron.

    Source: Campbell (1909), The study of discontinuous phenomena, Proc. Cambridge Philos. Soc. 15; the integrator is
    this library's.

    Attributes:
        dispersion: D, the target.
        rate: k, change of the weight per second for each unit of variance (spikes squared).
        smallest_weight: Lower bound of s, negative for excitation.
        largest_weight: Upper bound of s.
    """

    name: ClassVar[str] = "variance"

    dispersion: float = number(0.5, above=0)
    rate: Quantity = quantity(0.5 * Hz)
    smallest_weight: float = number(-5.0)
    largest_weight: float = number(5.0, above="smallest_weight")

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity is out of range or has other units.
        """
        check_fields(self)
