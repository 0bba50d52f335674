"""A course of learning that ends: baseline, calibration, probing, learning, annealing, consolidation, held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from brian2 import Quantity, have_same_dimensions, second

from neuro_decorr.brian._checks import check_fields, check_quantity, quantity


@dataclass(frozen=True, kw_only=True)
class Schedule:
    r"""When a rule learns, after its first run: phases that follow each other, on every target of Brian2.

    1. Baseline: nothing changes and nothing is counted; for a measurement before.
    2. Calibration: the homeostasis counts each neuron's rate (`Homeostasis.calibration`; none with a target rate).
    3. Probing: the gain of the drive is measured (`Gain.probing`; none without one).
    4. Learning, at the rule's rate $\eta$.
    5. Annealing: the rate falls linearly to zero, $\eta\, (t_a - t) / T_a$. A constant rate leaves weights that
       walk about their fixed point, by an amount that grows with the rate; whenever they are frozen, that is kept.
    6. Consolidation: the weights stay, bit by bit, while the homeostasis finds the bias that belongs to them.
    7. Held: the weights stay, and so does the bias, at its running average; nothing learns any more.

    `rule.learnt` is when the last phase begins: `run(rule.learnt)`, and every later run is of the held population.
    `freeze` and `thaw` work on top of it: while frozen, the phases go on and pass.

    Attributes:
        baseline: Duration; 0 s for none.
        learning: Duration.
        annealing: Duration $T_a$, many correlation times of the input.
        consolidation: Duration, several averaging times of the homeostasis.
    """

    name: ClassVar[str] = "schedule"

    baseline: Quantity = field(default_factory=lambda: 0 * second, hash=False)  # quantities have no hash
    learning: Quantity = quantity(80 * second)
    annealing: Quantity = quantity(100 * second)
    consolidation: Quantity = quantity(80 * second)

    def __post_init__(self) -> None:
        """Check the durations.

        Raises:
            InvalidValue: A duration that is not positive (not negative for the baseline), or of other units.
        """
        check_fields(self)
        if not (have_same_dimensions(self.baseline, second) and float(self.baseline) == 0):
            check_quantity(self.name, "baseline", self.baseline, second)
