"""The network of the protocol `spiking_decorrelation`: a population that learns its lateral inhibition, and two copies.

Every trial of the study is a run of it with other settings (`protocols._spiking_program`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import brian2
import numpy as np
from brian2 import Network, NeuronGroup, Quantity, SpikeMonitor, TimedArray, ms, mV, second

import neuro_decorr as nd
from models.correlated_population import correlated_population, yoked
from neuro_decorr.recording import from_brian

SOURCE_STEP = 2 * ms
SPIKE = 10 * mV
"""Decrease of the inhibition of a neuron by an inhibitory spike of weight 1; it decays in 10 ms."""
LEAD = 0.25
"""Time by which the input of the second copy is earlier, as a part of the test."""


@final
@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes that are compiled in: other ones are another program."""

    neurons: int
    sources: int
    step: float  # ms
    test: float  # s
    rule: nd.brian.SpikingRule

    @property
    def steps(self) -> int:
        """Number of steps of the input, from the beginning to the end."""
        return round((self.learnt + self.test) / float(SOURCE_STEP))

    @property
    def learnt(self) -> float:
        """When weights and bias are held (s): the beginning of the test after."""
        return float(self.rule.learnt)


@final
class LateralPopulation:
    """The population with its copies and monitors, as `Program` runs it.

    Args:
        size: Sizes that are compiled in.
    """

    def __init__(self, size: Size) -> None:
        brian2.defaultclock.dt = size.step * ms
        self._size = size
        self.network, self.duration = self, (size.learnt + size.test) * second
        sources = TimedArray(np.zeros((size.steps, size.sources)), dt=SOURCE_STEP)
        cells = correlated_population(size.neurons, sources, name="cells")
        # Weights that are there from the start, the controls', do nothing before each neuron's rate is counted.
        schedule, homeostasis = size.rule.schedule, size.rule.homeostasis
        assert schedule is not None and homeostasis is not None
        opening = schedule.baseline + homeostasis.calibration
        self.lateral = size.rule.synapses(
            cells,
            drive="inhibition_post -= int(t + dt/2 >= opening)*w*spike",
            bias_drive="inhibition_post += bias*spike",
            namespace={"opening": opening, "spike": SPIKE},
        )
        self.lateral.connect(condition="i != j")
        self._copies = [
            yoked(cells, sources, name="replayed"),
            yoked(cells, sources, lead=LEAD * size.test * second, name="other_input"),
        ]
        noise = NeuronGroup(1, "random_seed : integer (constant)")
        self._groups = [cells, *self._copies]
        self._monitors = [SpikeMonitor(group) for group in self._groups]
        self._objects = Network(self.lateral, noise, *self._groups, *self._monitors)
        self.settings: dict[str, Any] = {
            "sources": sources,
            "drive": cells.drive,
            **{f"mixing_{k}": getattr(cells, f"mixing_{k}") for k in range(size.sources)},
            "weights": self.lateral.w,
            "learning": self.lateral.learning,
            "smallest_weight": self.lateral.smallest_weight,
            "random_seed": noise.random_seed,
        }

    def run(self, duration: Quantity) -> None:
        """Run both parts; the copies exist only in the test after learning."""
        for group in self._groups:
            group.v = "rand()*20*mV"
        test = self._size.test * second
        for part, copied in ((duration - test, False), (test, True)):
            for copy in self._copies:
                copy.active = copied
            self._objects.run(part)

    def results(self) -> dict[str, Any]:
        """The lateral weights, and the recording of each group: the whole run, for the copies the test after."""
        found: dict[str, Any] = {"weights": np.nan_to_num(nd.brian.weights_to_matrix(self.lateral))}
        stop = self._size.learnt + self._size.test
        for group, monitor in zip(self._groups, self._monitors, strict=True):
            start = self._size.learnt if group in self._copies else 0.0
            found[group.name] = from_brian(monitor, start=start, stop=stop)
        return found
