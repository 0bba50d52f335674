"""Sixty spiking neurons with two shared sources learn four interneurons: the scenario of test_feedback_inhibition."""

from __future__ import annotations

from collections.abc import Callable

import brian2
from brian2 import Hz, Network, SpikeMonitor, TimedArray, mV, second

import neuro_decorr as nd
from models.correlated_population import correlated_population, held_out, mixing, set_mixing
from neuro_decorr.recording import from_brian
from tests.brian.on_target import Results

TEST, BIN, STEP = 100.0, 0.05, 0.002  # s


def run() -> Callable[[], Results]:
    """Test, calibration, learning, homeostasis alone, and the same test again with weights and bias held."""
    brian2.defaultclock.dt = 0.5 * brian2.ms
    brian2.seed(1)
    rule = nd.brian.get(
        "feedback_inhibition",
        interneurons=4,
        rate=2e-2,
        homeostasis=nd.brian.Homeostasis(calibration=60 * second, rate=1 * Hz),
        schedule=nd.brian.Schedule(
            baseline=TEST * second, learning=300 * second, annealing=150 * second, consolidation=60 * second
        ),
    )
    learnt = float(rule.learnt)
    sources = held_out(TEST * second, [(learnt - TEST) * second], STEP * second, seed=1, sources=2)
    cells = correlated_population(60, TimedArray(sources, dt=STEP * second))
    cells.drive = 17 * mV
    set_mixing(cells, 4 * mV * mixing("positive", 60, seed=1, sources=2))
    lateral = rule.synapses(cells, drive="inhibition_post -= 10*w*mV")
    lateral.connect()
    spikes = SpikeMonitor(cells)
    Network(cells, lateral, spikes).run((learnt + TEST) * second)

    def results() -> Results:
        trains = from_brian(spikes, stop=learnt + TEST)
        return {
            "weights": nd.brian.weights_to_matrix(lateral),
            "before": trains.window(0, TEST).counts(BIN),
            "after": trains.window(learnt, learnt + TEST).counts(BIN),
        }

    return results
