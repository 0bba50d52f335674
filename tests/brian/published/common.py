"""What a published model is to a test: its objects, its populations, and the arguments of the two lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2 import BrianObject, NeuronGroup, SpikeGeneratorGroup, ms


@dataclass(frozen=True)
class Parts:
    """A model that has been built.

    Attributes:
        objects: All of it.
        source: Whose spikes inhibit, a group or a subgroup.
        target: Whom they inhibit.
    """

    objects: list[BrianObject]
    source: Any
    target: Any


@dataclass(frozen=True)
class Published:
    """A model and how lateral synapses are inserted.

    Attributes:
        build: Makes it, in the time step `step`; noise of its own comes from Brian2's seed.
        drive: Of `SpikingRule.synapses`.
        step: In ms.
        duration: Of a run without plasticity, and of one with it, in ms.
        options: Others of `SpikingRule.synapses`.
    """

    build: Callable[[], Parts]
    drive: str
    step: float
    duration: float
    options: dict[str, Any] = field(default_factory=dict)


def pairs(before: int, after: int, probability: float, seed: int) -> dict[str, np.ndarray]:
    """Random connections, as arguments of `connect`."""
    i, j = np.nonzero(np.random.default_rng(seed).random((before, after)) < probability)
    return {"i": i, "j": j}


def poisson(neurons: int, probability: float, steps: int, step: float, seed: int) -> SpikeGeneratorGroup:
    """Independent inputs that are given, with so many spikes a step each."""
    times, indices = np.nonzero(np.random.default_rng(seed).random((steps, neurons)) < probability)
    return SpikeGeneratorGroup(neurons, indices, times * step * ms)


def start(group: NeuronGroup, name: str, low: Any, high: Any, seed: int) -> None:
    """Initial values that are uniformly distributed."""
    setattr(group, name, low + (high - low) * np.random.default_rng(seed).random(len(group)))
