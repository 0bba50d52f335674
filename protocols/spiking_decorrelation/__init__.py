"""Does plastic lateral inhibition decorrelate a spiking population, and is it more than inhibition?

Question. Neurons that share input fire together. Do lateral synapses that learn by the covariance of spikes remove
these correlations, with every neuron's rate kept, and is it their structure that does it, or inhibition as such?

Sources. Foldiak (1990), Forming sparse representations by local anti-Hebbian learning, doi:10.1007/BF02331346, of
whose rule the plasticity is a spiking form; Tetzlaff, Helias, Einevoll, Diesmann (2012), Decorrelation of
neural-network activity by inhibitory feedback, doi:10.1371/journal.pcbi.1002596, for cutting the feedback.

Data. Simulated; no recording.

Network. `models.correlated_population`: N leaky integrate-and-fire neurons, five shared sources, noise of their own;
all inhibit all by current. `lateral_covariance` with rate homeostasis learns (`neuro_decorr.brian`).

Course of a run. Test before (200 s, nothing learns); each neuron's rate counted (100 s); learning, whose rate is
annealed to zero (120 + 160 s); homeostasis alone (80 s); test after with weights and bias held. Both tests have the
same shared input, which the learning never saw, and each has fresh noise.

Conditions. How neurons mix the sources (correlations positive, of both signs, two opposed halves, antagonist pairs) x
weights that are at least zero, or signed. All arms of a condition share seed, input and rates.

Controls. `uniform`: no structure, the learnt mean everywhere; `shuffled`: the learnt weights on other pairs;
`homeostasis`: no inhibition; all three without plasticity, with homeostasis. `replayed`: a copy of the population with
noise of its own gets the inhibition of the original (feedback cut); `other_input`: the same with input of another time.

Measured. Correlations of spike counts in bins of 10 to 200 ms, each beside its sampling floor; correlograms, rates,
Fano factors, intervals, dimensions, weights.

Target. The program (cpp_standalone) is compiled once, in about 40 processor seconds, and then simulates 860 s of 100
neurons in six: every condition, seed and control is a run of it. Brian2's other targets spend most of so small a
network's time in Python.

Does not say. Simulated leaky integrate-and-fire neurons with slow shared sources, two seeds; no recording, no synaptic
delay, no learning meanwhile. Independent neurons pay for the noise of the weights, and what remains above their floor
is small and not zero. That correlations fall says nothing of what the population is good for; `reward_learning` asks
that. The full size has not been run with all its controls.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import spiking_controls, spiking_course, spiking_population, spiking_signs
from models.correlated_population import mixing
from neuro_decorr import metrics, study
from neuro_decorr.recording import SpikeTrains
from protocols._spiking_program import Program
from protocols.spiking_decorrelation import measures
from protocols.spiking_decorrelation.configuration import SOURCES, Configuration, fixed, settings, shuffled
from protocols.spiking_decorrelation.population import SOURCE_STEP, SPIKE, LateralPopulation

SHOWN = 2.0  # s of the raster


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Conditions with controls first: they take longest."""
    c = configuration
    kinds = sorted(c.mixings, key=lambda kind: kind not in c.controls)
    return [
        study.Condition("measure", seed, {"mixing": kind, "sign": sign})
        for kind in kinds
        for sign in c.signs
        for seed in seeds
    ]


@lru_cache(maxsize=1)
def program(configuration: Configuration) -> Program:
    """Make the network, which is compiled when it first runs."""
    return Program(partial(LateralPopulation, configuration.size), configuration.target)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run the learning population, and then its controls, which use the learnt weights."""
    c, seed, kind, sign = configuration, condition.seed, condition.factors["mixing"], condition.factors["sign"]
    size, given = c.size, settings(c, kind, sign, seed)
    controlled = kind in c.controls and sign == c.signs[0]
    total = 5 if controlled else 2  # compiling, then each simulation
    recorder.progress(0, total)
    simulate = program(c).run
    learnt = simulate(given, seed, lambda done, of: recorder.progress(done / of, total))
    recorder.progress(2, total)

    cells, stop = learnt["cells"], size.learnt + c.test
    before, after = cells.window(0, c.test), cells.window(size.learnt, stop)
    arms = {"before": before, "learnt": after, "replayed": learnt["replayed"], "other_input": learnt["other_input"]}
    if controlled:
        mean = np.full_like(learnt["weights"], learnt["weights"].sum() / (c.neurons * (c.neurons - 1)))
        controls = {"uniform": mean, "shuffled": shuffled(learnt["weights"], seed), "homeostasis": np.zeros_like(mean)}
        for done, (arm, weights) in enumerate(controls.items(), start=3):
            arms[arm] = simulate({**given, **fixed(weights)}, seed, lambda *_: None)["cells"].window(size.learnt, stop)
            recorder.progress(done, total)

    overlap = (rows := mixing(kind, c.neurons, seed, SOURCES)) @ rows.T
    for arm, trains in arms.items():
        for row in measures.correlations(trains, c.bins):
            recorder.row("correlations", arm=arm, **row)
        recorder.row("rates", arm=arm, **measures.rates(trains, before))
        for row in measures.signs(metrics.correlation(trains.counts(measures.BIN)), overlap):
            recorder.row("signs", arm=arm, **row)
        for row in measures.lags(trains) if controlled else ():
            recorder.row("lags", arm=arm, **row)
    for row in measures.course(cells, c.test + c.calibration, size.learnt, c.window):
        recorder.row("courses", **row)
    mixed = np.stack([given[f"mixing_{k}"] for k in range(SOURCES)], axis=1) * 1e3
    gains = measures.gains(before, given["sources"] @ mixed.T, float(SOURCE_STEP))
    effect = gains * float(SPIKE) * 1e3 * 0.010  # the charge of a spike, mV s
    recorder.row("weights", **measures.weights(learnt["weights"], overlap, effect))
    kept = {"weights": learnt["weights"].astype(np.float32), "overlap": overlap.astype(np.float32)}
    recorder.weights(kept | pictures(before, after))


def pictures(before: SpikeTrains, after: SpikeTrains) -> dict[str, NDArray[Any]]:
    """Correlation matrices, and the spikes of the middle of the test, the same shared input in both."""
    kept: dict[str, NDArray[Any]] = {}
    for name, trains in (("before", before), ("after", after)):
        counts = trains.counts(measures.BIN)
        kept[f"correlation_{name}"] = np.asarray(metrics.correlation(counts), dtype=np.float32)
        kept["floor"] = np.array([metrics.sampling_floor(len(counts)).mean_absolute], dtype=np.float32)
        begin = trains.start + trains.duration / 2
        part = trains.window(begin, begin + min(SHOWN, trains.duration / 2))
        kept[f"times_{name}"] = (np.concatenate(part.times) - begin).astype(np.float32)
        kept[f"neurons_{name}"] = np.repeat(np.arange(len(part.times)), [len(unit) for unit in part.times])
    return kept


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Four figures, two tables, the finding."""
    print(spiking_controls.draw(tables, directory))
    spiking_population.draw(tables, directory)
    spiking_course.draw(tables, directory)
    print(spiking_signs.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="spiking_decorrelation",
    question="Does plastic lateral inhibition decorrelate a spiking population, and is it more than inhibition?",
    configuration=Configuration,
    full={"neurons": 400, "rate": 2.5e-3, "controls": ("positive", "mixed")},
    seeds=2,
    stages=(measured_runs,),
    run=run,
    report=report,
)
