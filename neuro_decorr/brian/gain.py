"""Gain of a drive: the measured number of spikes that one inhibitory spike of weight 1 removes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from brian2 import Quantity, second

from neuro_decorr.brian._checks import check_fields, number, quantity
from neuro_decorr.brian._keywords import known_keywords


@known_keywords
@dataclass(frozen=True, kw_only=True)
class Gain:
    r"""Measurement of the gain of a drive, so that in every model an inhibitory spike of weight w removes w spikes.

    A drive such as `'gi_post -= w*mV'` sets the effect of a weight on a variable, but not on the neuron's rate, which
    determines the right speed of learning. The effect on the rate is therefore measured, after the calibration and
    before the learning: half of the neurons get a bias of A spikes of weight 1 per second, the other half -A, and the
    halves are exchanged twice a period. With $n_+$ and $n_-$ the numbers of spikes in a period under the two biases, A
    grows until the relative difference R reaches the `response` $R_0$,

    $$
    \ln A \leftarrow \ln A + \mathrm{clip}\Bigl(1 - \frac{R}{R_0}, -1, 1\Bigr), \qquad
    R = \frac{n_+ - n_-}{n_+ + n_-},
    $$

    and the gain is the least-squares slope of $(n_+ - n_-) / (N T)$ against A over all periods T, in Hz per Hz. After
    that the drive gets $w / \text{gain}$ in place of w, and $-\text{bias} / \text{gain}$: `rate`, the bounds of the
    weights and those of the homeostasis are in units of spikes for every drive. The probe leaves the mean input of a
    neuron and of the population unchanged; it changes rates by R, in opposite directions for the two halves.

    Cost: a few floats per neuron, and one sum over the population per period T.

    Attributes:
        probing: Duration of the measurement. A begins at 0.001 Hz and grows at most e-fold a period, so that the
            default of 40 s finds it for a unit up to 1000 times too small or too large. Shorten it only if the unit is
            of the right order: if A has not settled, the gain is not reliable, and a warning and the report say so.
        response: $R_0$, the relative difference of rates to reach.
        period: T, long compared with the time constants of membranes and synapses.
    """

    name: ClassVar[str] = "gain"

    probing: Quantity = quantity(40 * second)
    response: float = number(0.2, above=0)
    period: Quantity = quantity(1 * second)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity is out of range or has other units.
        """
        check_fields(self)
