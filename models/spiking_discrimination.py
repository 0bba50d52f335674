"""Spiking network in Brian2 that learns to discriminate patterns from reward; it is compiled once for many runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2 import Clock, Hz, Network, NeuronGroup, StateMonitor, Synapses, TimedArray, ms, mV, second
from numpy.typing import NDArray

import neuro_decorr as nd
from models._broadcast_feedback import broadcast_feedback
from neuro_decorr.errors import InvalidValue

INPUTS = """
dv/dt = (inhibition - v)/membrane_time : volt (unless refractory)
dinhibition/dt = -inhibition/synaptic_time : volt
count : 1
mean_count : 1
random_seed : integer (shared, constant)
"""
AFFERENTS = "v += afferent_size*poisson(afferents(t, i)*dt)"
END_OF_INPUT_TRIAL = """
mean_count += adapts(t - dt)*(count - mean_count)/mean_trials
count = 0
"""

OUTPUTS = """
dv/dt = (current + bias + perturbation - v)/membrane_time : volt (unless refractory)
dcurrent/dt = -current/synaptic_time : volt
perturbation = learns(t)*parity(t)*noise(t, category)*noise_size : volt
bias : volt
count : 1
pair_count : 1
advantage : 1
category : integer (constant)
readout : integer (constant)
learning_rate : 1 (constant)
centred : 1 (constant)
"""
END_OF_PAIR = """
bias += int(t > 0*second)*adapts(t - dt)*bias_rate*(pair_target - pair_count)
pair_count = 0
advantage = 0
"""

READOUT = """
w : 1
eligibility : 1
learned = advantage_post*(eligibility - centred_post*expected) : 1
expected = 2*mean_count_pre*learns(t - dt)*noise(t - dt, category_post) : 1
"""
ON_INPUT_SPIKE = """
current_post += w*mV
eligibility += learns(t)*noise(t, category_post)
"""
LEARN = """
w += learning_rate_post*learned
eligibility = 0
"""
REWARD = "advantage_post += learns(t)*parity(t)*(classes*int(category_pre == label(t)) - 1)/(classes - 1)"

CHANGED = ("weights", "bias", "own_spikes", "lateral_weights", "hidden_weights", "output_weights")
"""Settings that a run changes itself."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes that are compiled in; all other settings may differ between runs of one program.

    Attributes:
        inputs: Number of input neurons, one per pixel.
        classes: Number of classes of patterns, and of output neurons of a readout; at least 2.
        readouts: Number of readouts that learn from the same input spikes, each with its own learning rate.
        networks: Number of networks with a hidden layer that learn by broadcast feedback of their error.
        hidden: Number of hidden neurons of each of these networks.
        trials: Number of patterns that are shown one after the other; even, since trials come in pairs.
        trial: Duration of a trial (s), in whole milliseconds.
        adaptation: Time from the beginning during which the input population adapts (s): one fifth each for
            calibration, annealing and consolidation (`nd.brian.Schedule`), and two fifths for learning before the
            annealing. After it the population is held.

    Raises:
        InvalidValue: A number is out of its range.
    """

    inputs: int = 64
    classes: int = 3
    readouts: int = 1
    networks: int = 0
    hidden: int = 20
    trials: int = 100
    trial: float = 0.15
    adaptation: float = 150.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if (
            min(self.inputs, self.readouts, self.hidden) < 1
            or self.networks < 0
            or self.classes < 2
            or self.trials < 2
            or self.trials % 2
        ):
            raise InvalidValue(
                f"{self}: give inputs, readouts and hidden of at least 1, classes of at least 2, and an even number of "
                "trials."
            )
        if self.trial <= 0 or abs(self.trial * 1_000 - round(self.trial * 1_000)) > 1e-9 or self.adaptation <= 0:
            raise InvalidValue(f"{self}: give a trial of whole milliseconds, and a positive adaptation.")


@dataclass(frozen=True)
class Discrimination:
    """Network with the settings of a run and its results.

    Attributes:
        size: Sizes of the network.
        network: Brian2 network to run for `duration`.
        settings: Settings by name: variables of groups, and arrays over trials.
        lateral: Lateral synapses of the input population.
        monitors: Spike counts of every trial at its end, by population.
    """

    size: Size
    network: Network
    settings: dict[str, Any]
    lateral: Synapses
    monitors: dict[str, StateMonitor]

    @property
    def duration(self) -> Any:
        """Duration of all trials, and of one more time step in which the last trial is evaluated."""
        return self.size.trials * self.size.trial * second + 1 * ms

    def results(self) -> dict[str, NDArray[np.float64]]:
        """Return the results of a run: spike counts (trials, neurons) by population, settings, lateral weights."""
        counts = {name: np.asarray(monitor.count)[:, 1:].T for name, monitor in self.monitors.items()}
        changed = {name: np.array(self.settings[name][:], dtype=float) for name in CHANGED if name in self.settings}
        matrix = nd.brian.weights_to_matrix(self.lateral)
        return counts | changed | {"lateral_matrix": matrix, "calibration": np.array(self.size.adaptation / 5)}


def spiking_discrimination(size: Size) -> Discrimination:
    r"""Make input neurons that spike at the rates of a pattern, and readouts that learn by node perturbation.

    **Inputs.** Leaky integrate-and-fire neurons (membrane 20 ms, threshold 10 mV). An independent Poisson process
    drives each at the rate of the pattern (`afferents`, Hz, one row per trial; 0.8 mV per spike). They inhibit others
    by `nd.brian.get("lateral_covariance")`, with rate homeostasis (settings `lateral_learning` and `homeostasis`, 1 or
    0).

    **Readouts.** One output neuron per class; weights of either sign (without Dale's law). While `learns` is 1, every
    pattern is shown in two trials, in which a constant current of opposite sign perturbs every output neuron j:
    parity(t) noise_j(t) 2 mV. The reward of a trial is the count of the right class minus the mean count of the others.
    The difference of the two rewards is the third factor of

    $$
    \Delta w_{ij} = \eta\,(R^+ - R^-)\,\big(e_{ij} - c\,\langle e_{ij} \rangle\big), \qquad
    e_{ij} = \sum_{\text{spikes of } i} \xi_j, \qquad \langle e_{ij} \rangle = 2 \bar n_i \xi_j
    $$

    at the end of the pair. e is the eligibility trace of the synapse, <e> its average over patterns (n-bar: slow mean
    of the counts of i); c = 1 centres it and c = 0 does not. A slow bias keeps every output neuron near 30 Hz while
    `adapts` is 1. Trials with `learns` and `adapts` 0 are tests: they have no noise, and nothing changes.

    **Networks.** See `models._broadcast_feedback.broadcast_feedback`.

    Sources: Fiete and Seung (2006), Gradient learning in spiking neural networks by dynamic perturbation of
    conductances, doi:10.1103/PhysRevLett.97.048104; the rule for inhibition as documented there.

    It has no network operation, so it runs on every target, and one compiled program serves all settings. Cost: one
    event per spike and synapse, and one step of all neurons every millisecond.

    Args:
        size: Sizes and durations.

    Returns:
        The network, with all weights zero and no pattern set.
    """
    times = {"": Clock(dt=1 * ms), "trial": Clock(dt=size.trial * second), "pair": Clock(dt=2 * size.trial * second)}
    arrays = _arrays(size)
    constants: dict[str, Any] = arrays | {
        "membrane_time": 20 * ms,
        "synaptic_time": 10 * ms,
        "afferent_size": 0.8 * mV,
        "noise_size": 2 * mV,
        "inhibition_size": 20 * mV,
        "mean_trials": 100,
        "bias_rate": 0.02 * mV,
        "trial": size.trial * second,
        "pair_target": float(30 * Hz * 2 * size.trial * second),
        "classes": size.classes,
        "mV": mV,
    }
    shared = {"namespace": constants, "clock": times[""]}
    neuron = {"threshold": "v > 10*mV", "refractory": 2 * ms, **shared}
    inputs = NeuronGroup(size.inputs, INPUTS, reset="v = 0*mV\ncount += 1", method="exact", name="inputs", **neuron)
    outputs = NeuronGroup(
        size.readouts * size.classes,
        OUTPUTS,
        reset="v = 0*mV\ncount += 1\npair_count += 1",
        method="euler",
        name="outputs",
        **neuron,
    )
    outputs.category = "i % classes"
    outputs.readout = "i // classes"
    outputs.bias = 11 * mV  # some spikes from the first trial on
    lateral = _lateral(inputs, size, shared)
    readout = Synapses(inputs, outputs, READOUT, on_pre=ON_INPUT_SPIKE, name="readout", **shared)
    readout.connect()
    reward = Synapses(outputs, outputs, on_pre=REWARD, name="reward", **shared)
    reward.connect(condition="readout_pre == readout_post")
    part = (
        broadcast_feedback(inputs, size.networks, size.hidden, size.classes, neuron, times) if size.networks else None
    )
    counted = [inputs, outputs, *([part.decides] if part else [])]
    monitors = {
        group.name: StateMonitor(
            group, "count", record=True, clock=times["trial"], when="start", order=-1, name=f"{group.name}_counts"
        )
        for group in counted
    }
    # Order at the first step of a trial: store counts, update weights, reset counts, apply the new pattern.
    readout.run_regularly(LEARN, clock=times["pair"], when="start", order=0)
    inputs.run_regularly(END_OF_INPUT_TRIAL, clock=times["trial"], when="start", order=1)
    outputs.run_regularly("count = 0", clock=times["trial"], when="start", order=1)
    outputs.run_regularly(END_OF_PAIR, clock=times["pair"], when="start", order=1)
    inputs.run_regularly(AFFERENTS, clock=times[""], when="start", order=2)
    network = Network(inputs, outputs, lateral, readout, reward, *monitors.values())
    network.add(part.objects if part else [])
    companion = lateral.companions.target
    settings = arrays | {
        "random_seed": inputs.random_seed,
        "lateral_weights": lateral.w,
        "lateral_learning": lateral.learning,
        "homeostasis": companion.homeostasis,
        "own_spikes": companion.counted,
        "elapsed": companion.elapsed,
        "weights": readout.w,
        "learning_rate": outputs.learning_rate,
        "centred": outputs.centred,
        "bias": outputs.bias,
        **(part.settings if part else {}),
    }
    return Discrimination(size, network, settings, lateral, monitors)


def _arrays(size: Size) -> dict[str, TimedArray]:
    """Make the arrays over trials: one row per trial, and one for the time step after the last."""
    rows = size.trials + 1
    shapes = {"afferents": (rows, size.inputs), "noise": (rows, size.classes)}
    names = ("afferents", "noise", "label", "parity", "learns", "adapts")
    unit = {"afferents": Hz}
    return {
        name: TimedArray(np.zeros(shapes.get(name, rows)) * unit.get(name, 1), dt=size.trial * second, name=name)
        for name in names
    }


def _lateral(inputs: NeuronGroup, size: Size, shared: dict[str, Any]) -> Synapses:
    """Make the lateral inhibition, which learns while the population adapts, and is then held."""
    fifth = size.adaptation / 5 * second
    homeostasis = nd.brian.Homeostasis(calibration=fifth, rate=1 * Hz)
    schedule = nd.brian.Schedule(learning=2 * fifth, annealing=fifth, consolidation=fifth)
    rule = nd.brian.get("lateral_covariance", rate=1e-3, homeostasis=homeostasis, schedule=schedule, gain=None)
    lateral = rule.synapses(inputs, drive="inhibition_post -= w*inhibition_size", name="lateral", **shared)
    lateral.connect(condition="i != j")
    return lateral
