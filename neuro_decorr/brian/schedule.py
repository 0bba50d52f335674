"""Schedule of a rule: baseline, calibration, probing, learning, annealing, consolidation, held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from brian2 import Quantity, have_same_dimensions, second

from neuro_decorr.brian._checks import check_fields, check_quantity, quantity
from neuro_decorr.brian._keywords import known_keywords


@known_keywords
@dataclass(frozen=True, kw_only=True)
class Schedule:
    r"""Schedule of learning: phases that follow each other from the start of the first run, on every target of Brian2.

    1. Baseline: nothing changes and nothing is counted; use it for a measurement before learning.
    2. Calibration: the homeostasis counts each neuron's rate (`Homeostasis.calibration`; none with a target rate).
    3. Probing: the gain of the drive is measured (`Gain.probing`; none without a `Gain`).
    4. Learning at the rule's rate $\eta$.
    5. Annealing: the rate falls linearly to zero at $t_a$, $\eta\, (t_a - t) / T_a$. At a constant rate the weights
       fluctuate about their fixed point, by an amount that grows with the rate, and frozen weights would keep this
       error.
    6. Consolidation: the weights do not change at all, while the homeostasis finds the bias that fits them.
    7. Held: neither the weights nor the bias, at its running average, change any more.

    `rule.learnt` is the time at which the last phase begins: after `run(rule.learnt)` every run is one of the held
    population. `freeze` and `thaw` do not stop the schedule: its phases pass while the weights are frozen.

    Attributes:
        baseline: Duration of the baseline; 0 s for none.
        learning: Duration of the learning.
        annealing: Duration $T_a$ of the annealing, many correlation times of the input.
        consolidation: Duration of the consolidation, several averaging times of the homeostasis.
    """

    name: ClassVar[str] = "schedule"

    baseline: Quantity = field(default_factory=lambda: 0 * second, hash=False)  # quantities have no hash
    learning: Quantity = quantity(80 * second)
    annealing: Quantity = quantity(100 * second)
    consolidation: Quantity = quantity(80 * second)

    def __post_init__(self) -> None:
        """Check the durations.

        Raises:
            InvalidValue: A duration is not positive (the baseline: negative) or has other units.
        """
        check_fields(self)
        if not (have_same_dimensions(self.baseline, second) and float(self.baseline) == 0):
            check_quantity(self.name, "baseline", self.baseline, second)
