"""Does lateral decorrelation of the inputs help a spiking network to learn from reward?

Question. Readouts of a spiking population learn to tell handwritten digits apart, by node perturbation with a reward
or by random broadcast feedback of the error. Are they better when the population is decorrelated by lateral
inhibition, and if so, is it the structure of the inhibition that helps, or inhibition as such, or a centred
eligibility?

Sources. Fiete and Seung (2006), Gradient learning in spiking neural networks by dynamic perturbation of conductances,
doi:10.1103/PhysRevLett.97.048104; Lillicrap, Cownden, Tweed, Akerman (2016), Random synaptic feedback weights support
error backpropagation for deep learning, doi:10.1038/ncomms13276.

Data. Handwritten digits of three classes, with common modes in every image.

Network. `models.spiking_discrimination`: 64 input neurons driven by Poisson processes at rates given by the pixels
(with common modes in every image), inhibiting each other. Node perturbation has one output neuron a class on the
inputs, whose spikes are counted; broadcast feedback teaches a hidden layer between the two, since without one there is
nothing to feed back to. Its control `hidden_fixed` learns above the hidden layer only. Compare within a credit, not
between.

Conditions. Inputs: `none`, no inhibition and no homeostasis (reference); `homeostasis` alone; `lateral`, inhibition
learnt from training images before the readout learns, then held, rates kept by homeostasis; `shuffled`, the learnt
weights in random places; `uniform`, their mean everywhere, both with the homeostasis. Eligibility: centred or not. All
credits, eligibilities, learning rates and readouts that do not learn see the same input spikes in one run.

Budget. Every condition has the same learning rates; the best one is chosen by validation images on a seed that is not
measured. Test images are shown at the end only.

Measured. Accuracy on held-out images without noise and learning, several times on the way; correlations and dimensions
of the input counts; a linear decoder of them as upper bound. Paired seeds: the same images, noise and first weights.

Target. It compiles to C++ (`cpp_standalone`) once for all conditions, and then runs more than 100 times faster than
real time; Brian2's numpy target, which needs no compiler, takes about real time.

Does not say. Three classes, some thousand trials, one strength of common modes, inhibition that has learnt before the
readout and not meanwhile. A rate is chosen on one seed by few validation trials, so a choice can miss; the figure
shows all rates. Node perturbation and broadcast feedback differ in network and signal and are not to be compared. With
a time step of 1 ms coincidences within a step are not seen. Dale's law is not kept.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import get_args

import numpy as np

from analysis import reward_learning
from models.spiking_discrimination import spiking_discrimination
from neuro_decorr import study
from protocols._spiking_program import Program, Results
from protocols.reward_learning.configuration import (
    Arm,
    Configuration,
    accuracy,
    described,
    inhibition,
    readouts,
    size,
    start,
    trials,
)


def all_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare one run per seed with all its arms, since two arms use the weights that a third one has learnt."""
    selecting = study.selection_seeds(configuration.selection_seeds)
    return [study.Condition("select", seed, {}) for seed in selecting] + [
        study.Condition("measure", seed, {}) for seed in seeds
    ]


@lru_cache(maxsize=1)
def program(configuration: Configuration) -> Program:
    """Make the network, which is compiled when it first runs."""
    return Program(partial(spiking_discrimination, size(configuration)), configuration.target)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run all arms of a seed."""
    c, seed = configuration, condition.seed
    shown, initial = trials(c, seed), start(c, seed)
    learnt: Results | None = None
    for number, arm in enumerate(sorted(c.arms, key=get_args(Arm).index)):
        recorder.progress(number, len(c.arms))
        settings = initial | shown.settings() | inhibition(arm, learnt, seed)
        found = program(c).run(settings, seed, recorder.progress)
        learnt = found if arm == "lateral" else learnt
        for population, levels in readouts(c).items():
            counts = found[population].reshape(c.trials, len(levels), c.classes)
            for check in shown.checks if condition.stage == "measure" else shown.checks[:-1]:
                right = accuracy(counts[shown.at(check)], shown.labels[shown.at(check)])
                for level, value in zip(levels, right, strict=True):
                    recorder.row(f"{check[0]}s", arm=arm, learnt=check[1], accuracy=value, **level)
        if condition.stage == "measure":
            strength = float(np.nanmean(found["lateral_matrix"]))
            recorder.row("inputs", arm=arm, inhibition=strength, **described(found["inputs"], shown, c.trial))


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Tables, figure and finding."""
    print(reward_learning.draw(tables, directory, configuration.classes))


PROTOCOL = study.Protocol(
    name="reward_learning",
    question="Does lateral decorrelation of the inputs help a spiking network to learn from reward?",
    configuration=Configuration,
    full={"pairs": 6_400, "checks": 8, "selection_seeds": 3, "classes": 4},
    stages=(all_runs,),
    run=run,
    report=report,
)
