"""A course of learning that ends: baseline, calibration, learning, annealing, consolidation, held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from brian2 import Quantity, have_same_dimensions, second

from neuro_decorr.brian._checks import check_quantity
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.errors import InvalidValue


@dataclass(frozen=True, kw_only=True)
class Schedule:
    r"""When a rule learns, after its first run: phases that follow each other, on every target of Brian2.

    1. Baseline: nothing changes and nothing is counted; for a measurement before.
    2. Calibration: the homeostasis counts each neuron's rate (`Homeostasis.calibration`; none with a target rate).
    3. Learning, at the rule's rate $\eta$.
    4. Annealing: the rate falls linearly to zero, $\eta\, (t_a - t) / T_a$. A constant rate leaves weights that
       walk about their fixed point, by an amount that grows with the rate; whenever they are frozen, that is kept.
    5. Consolidation: the weights stay, bit by bit, while the homeostasis finds the bias that belongs to them.
    6. Held: the weights stay, and so does the bias, at its running average; nothing learns any more.

    `rule.learnt` is when the last phase begins: `run(rule.learnt)`, and every later run is of the held population.
    `freeze` and `thaw` work on top of it: while frozen, the phases go on and pass.

    Attributes:
        baseline: Duration; 0 s for none.
        learning: Duration.
        annealing: Duration $T_a$, many correlation times of the input.
        consolidation: Duration, several averaging times of the homeostasis.
    """

    name: ClassVar[str] = "schedule"

    baseline: Quantity = field(default_factory=lambda: 0 * second)
    learning: Quantity = field(default_factory=lambda: 160 * second)
    annealing: Quantity = field(default_factory=lambda: 80 * second)
    consolidation: Quantity = field(default_factory=lambda: 80 * second)

    def __post_init__(self) -> None:
        """Check the durations.

        Raises:
            InvalidValue: A duration that is not positive (not negative for the baseline), or of other units.
        """
        for name in ("learning", "annealing", "consolidation"):
            check_quantity(self, name, second)
        if not (have_same_dimensions(self.baseline, second) and float(self.baseline) == 0):
            check_quantity(self, "baseline", second)


def phases(homeostasis: Homeostasis | None, schedule: Schedule | None) -> str:
    """What the companion knows of the phases: `pace`, a factor of the learning rate, and whether the bias moves."""
    waits = [name for name, there in (("baseline", schedule), ("calibration", homeostasis)) if there is not None]
    begin = " + ".join(waits)
    lines = [f"begun = int(elapsed + dt/2 >= {begin}) : 1 (shared)"]
    ending = f"{begin} + learning_time + annealing_time"
    if schedule is None:
        lines.append("pace = begun : 1 (shared)")
    else:
        left = f"clip(({ending} - elapsed)/annealing_time, 0, 1)"
        lines.append(f"pace = begun*int(elapsed + dt/2 < {ending})*{left} : 1 (shared)")
    if homeostasis is not None:
        unheld = "" if schedule is None else f"*int(elapsed + dt/2 < {ending} + consolidation_time)"
        lines.append(f"balancing = homeostasis*begun{unheld} : 1 (shared)")
        if homeostasis.target_rate is None:
            counts = "" if schedule is None else "*int(elapsed + dt/2 >= baseline)"
            lines.append(f"counting = (1 - begun){counts} : 1 (shared)")
    return "\n".join(lines)


def phase_values(homeostasis: Homeostasis | None, schedule: Schedule | None) -> dict[str, Any]:
    """The shared parameters of the equations."""
    found: dict[str, Any] = {} if homeostasis is None else {"calibration": homeostasis.start}
    if schedule is not None:
        found |= {"baseline": schedule.baseline, "learning_time": schedule.learning}
        found |= {"annealing_time": schedule.annealing, "consolidation_time": schedule.consolidation}
    return found


def duration(homeostasis: Homeostasis | None, schedule: Schedule | None) -> Quantity:
    """How long after the first run everything is held."""
    if schedule is None:
        raise InvalidValue("a rule without a schedule never ends to learn; give it schedule=nd.brian.Schedule(...).")
    calibration = 0 * second if homeostasis is None else homeostasis.start
    return schedule.baseline + calibration + schedule.learning + schedule.annealing + schedule.consolidation
