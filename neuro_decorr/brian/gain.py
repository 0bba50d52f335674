"""The gain of a drive, measured: how many spikes one spike of weight 1 takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from brian2 import Quantity, second

from neuro_decorr.brian._checks import check_fields, number, quantity


@dataclass(frozen=True, kw_only=True)
class Gain:
    r"""Weights in units that are the same in every model: an inhibitory spike of weight w takes w spikes.

    A drive such as `'gi_post -= w*mV'` says what a weight does to a variable, not what that does to the neuron's rate,
    by which learning must be fast or slow. So that is measured, after the calibration and before the learning: half of
    the neurons get a bias of A spikes of weight 1 a second, the other half -A, exchanged twice a period. With $n_+$ and
    $n_-$ the spikes of a period under both, A grows until these differ by the response that is asked for,

    $$
    \ln A \leftarrow \ln A + \mathrm{clip}\Bigl(1 - \frac{R}{R_0}, -1, 1\Bigr), \qquad
    R = \frac{n_+ - n_-}{n_+ + n_-},
    $$

    and the gain is the least-squares slope of $(n_+ - n_-) / (N T)$ on A over all periods T, in Hz per Hz. From then on
    the drive sees $w / \text{gain}$ in place of w, and -bias / gain: `rate`, the bounds of the weights and those of the
    homeostasis are about spikes, whatever the drive. The probe changes the mean input of a neuron or of the population
    by nothing, and rates by R, in opposite directions. It needs one number for the population.

    Attributes:
        probing: How long; the first third or so is needed to find A.
        response: R_0.
        period: T, long against membranes and synapses.
    """

    name: ClassVar[str] = "gain"

    probing: Quantity = quantity(40 * second)
    response: float = number(0.2, above=0)
    period: Quantity = quantity(1 * second)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity outside its range, or of other units.
        """
        check_fields(self)
