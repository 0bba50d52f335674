"""The spiking network that learns from reward, against its spikes, recorded and evaluated once more in float64."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import brian2
import numpy as np
import pytest
from brian2 import SpikeMonitor, StateMonitor, mV, second

from models.spiking_discrimination import Discrimination, Size, spiking_discrimination
from neuro_decorr.errors import InvalidValue
from protocols._spiking_program import Program

SIZE = Size(inputs=5, classes=3, readouts=3, networks=3, hidden=4, trials=20, trial=0.05, adaptation=0.25)
LEARNS = np.array([0] * 4 + [1] * 10 + [0] * 2 + [1] * 2 + [0] * 2)
RATES, CENTRED = np.array([0.02, 0.05, 0.0]), np.array([1.0, 0.0, 1.0])
POPULATIONS = ("inputs", "outputs", "hidden", "decisions")
LAYERS = {"hidden": SIZE.hidden, "output": SIZE.classes}


def settings() -> dict[str, np.ndarray]:
    """Trials of adaptation, of learning, of a test, of learning, of a test."""
    generator = np.random.default_rng(0)
    rows = SIZE.trials
    columns = {
        "afferents": generator.uniform(500, 2_500, (rows, SIZE.inputs)),
        "noise": np.repeat(generator.normal(size=(rows // 2, SIZE.classes)), 2, axis=0),
        "label": np.repeat(generator.integers(SIZE.classes, size=rows // 2), 2),
        "parity": np.resize([1.0, -1.0], rows),
        "learns": LEARNS,
        "adapts": LEARNS + (np.arange(rows) < 4),
    }
    whole = {name: np.concatenate([values, 0 * values[-1:]]).astype(float) for name, values in columns.items()}
    return whole | {
        "weights": generator.normal(size=SIZE.inputs * SIZE.classes * SIZE.readouts),
        "learning_rate": np.repeat(RATES, SIZE.classes),
        "centred": np.repeat(CENTRED, SIZE.classes),
        "hidden_weights": generator.normal(size=SIZE.inputs * SIZE.networks * SIZE.hidden),
        "output_weights": generator.normal(size=SIZE.networks * SIZE.hidden * SIZE.classes),
        "feedback": generator.normal(size=SIZE.networks * SIZE.classes * SIZE.hidden),
        **{f"{layer}_learning_rate": np.repeat(RATES, count) for layer, count in LAYERS.items()},
        **{f"{layer}_centred": np.repeat(CENTRED, count) for layer, count in LAYERS.items()},
    }


class Recorded:
    """One run with all spikes, as counts (trials, neurons) that no statement of the model has counted."""

    def __init__(self) -> None:
        self.results = Program(self.build, "numpy").run(settings(), seed=1)
        self.counts = [self.count(monitor) for monitor in self.spikes]

    def build(self) -> Discrimination:
        made = spiking_discrimination(SIZE)
        by_name = {thing.name: thing for thing in made.network.objects}
        self.spikes = [SpikeMonitor(by_name[name], name=f"{name}_spikes") for name in POPULATIONS]
        self.potentials = [
            StateMonitor(by_name["hidden"], "v", record=True, when=when, order=-2, name=f"potential_{when}")
            for when in ("start", "synapses")
        ]
        self.lateral = StateMonitor(by_name["lateral"], "w", record=True, dt=SIZE.trial * second, when="start")
        made.network.add(*self.spikes, *self.potentials, self.lateral)
        return made

    def count(self, monitor: SpikeMonitor) -> np.ndarray:
        trial = np.floor(np.asarray(monitor.t / second) / SIZE.trial + 1e-6).astype(int)
        counts = np.zeros((SIZE.trials + 1, len(monitor.source)))
        np.add.at(counts, (trial, np.asarray(monitor.i)), 1)
        return counts[:-1]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded()


def expected_rewards(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count of the right class minus mean count of the others, (trials, readouts)."""
    counts = outputs.reshape(len(outputs), SIZE.readouts, SIZE.classes)
    rewards = np.zeros(counts.shape[:2])
    for trial, readout in np.ndindex(*rewards.shape):
        right = int(labels[trial])
        rewards[trial, readout] = counts[trial, readout, right] - np.delete(counts[trial, readout], right).mean()
    return rewards


def test_counts_are_those_of_the_spikes(recorded: Recorded) -> None:
    assert min(counts.sum() for counts in recorded.counts) > 50
    np.testing.assert_array_equal(recorded.results["inputs"], recorded.counts[0])
    np.testing.assert_array_equal(recorded.results["outputs"], recorded.counts[1])
    np.testing.assert_array_equal(recorded.results["decisions"], recorded.counts[3])


def test_weights_follow_reward_times_eligibility(recorded: Recorded) -> None:
    inputs, outputs = recorded.counts[:2]
    given = settings()
    rewards = expected_rewards(outputs, given["label"])
    weights = given["weights"].reshape(SIZE.inputs, SIZE.readouts, SIZE.classes).copy()
    start, mean = weights.copy(), np.zeros(SIZE.inputs)
    for pair in range(SIZE.trials // 2):
        first, second_ = 2 * pair, 2 * pair + 1
        mean += given["adapts"][first] * (inputs[first] - mean) / 100
        if LEARNS[first]:
            advantage = rewards[first] - rewards[second_]
            for i, readout, j in np.ndindex(*weights.shape):
                noise = given["noise"][first, j]
                eligibility = noise * (inputs[first, i] + inputs[second_, i])
                eligibility -= CENTRED[readout] * 2 * mean[i] * noise
                weights[i, readout, j] += RATES[readout] * advantage[readout] * eligibility
        mean += given["adapts"][second_] * (inputs[second_] - mean) / 100
    assert np.abs(weights - start)[:, :2].min() > 0, "the first two readouts learn"
    np.testing.assert_array_equal(weights[:, 2], start[:, 2])
    found = recorded.results["weights"].reshape(weights.shape)
    np.testing.assert_allclose(found, weights, rtol=0, atol=1e-9)


def test_hidden_weights_follow_the_broadcast_error_times_eligibility(recorded: Recorded) -> None:
    inputs, _, hidden, decisions = recorded.counts
    given = settings()
    below = given["hidden_weights"].reshape(SIZE.inputs, SIZE.networks, SIZE.hidden).copy()
    above = given["output_weights"].reshape(SIZE.networks, SIZE.hidden, SIZE.classes).copy()
    broadcast = given["feedback"].reshape(SIZE.networks, SIZE.classes, SIZE.hidden)
    hidden, decisions = (counts.reshape(SIZE.trials, SIZE.networks, -1) for counts in (hidden, decisions))
    # The eligibility sees the potential at the input's spike, the mean slope that at the beginning of each step.
    before, slope = (
        np.clip(np.asarray(monitor.v / mV) / 10, 0, 1).reshape(SIZE.networks, SIZE.hidden, -1)
        for monitor in recorded.potentials
    )
    steps, spikes = round(SIZE.trial * 1000), recorded.spikes[0]
    at, who = np.round(np.asarray(spikes.t / second) * 1000).astype(int), np.asarray(spikes.i)
    mean_input, mean_hidden = np.zeros(SIZE.inputs), np.zeros(hidden.shape[1:])
    mean_count = 30 * SIZE.trial
    for trial in range(SIZE.trials):
        if LEARNS[trial]:
            right = np.arange(SIZE.classes) == given["label"][trial]
            error = mean_count * np.where(right, 2, 1 / 2) - decisions[trial]
            signal = np.einsum("nk,nkj->nj", error, broadcast)
            period = slice(trial * steps, (trial + 1) * steps)
            mean_slope = before[..., period].mean(axis=2)
            for n, j in np.ndindex(SIZE.networks, SIZE.hidden):
                for i in range(SIZE.inputs):
                    own = at[(who == i) & (at >= period.start) & (at < period.stop)]
                    eligibility = slope[n, j, own].sum() - CENTRED[n] * mean_input[i] * mean_slope[n, j]
                    below[i, n, j] += RATES[n] * signal[n, j] * eligibility
                active = hidden[trial, n, j] - CENTRED[n] * mean_hidden[n, j]
                above[n, j] += RATES[n] * active * error[n]
        mean_input += given["adapts"][trial] * (inputs[trial] - mean_input) / 100
        mean_hidden += given["adapts"][trial] * (hidden[trial] - mean_hidden) / 100
    for name, weights in (("hidden_weights", below), ("output_weights", above)):
        found = recorded.results[name].reshape(weights.shape)
        np.testing.assert_allclose(found, weights, rtol=0, atol=1e-9)
        assert not np.allclose(found, given[name].reshape(weights.shape))


def test_bias_goes_to_the_target_rate_outside_of_tests(recorded: Recorded) -> None:
    outputs = recorded.counts[1].reshape(SIZE.trials // 2, 2, -1).sum(axis=1)
    adapts = settings()["adapts"][:-1:2, None]
    bias = 0.011 + (adapts * 0.02e-3 * (30 * 2 * SIZE.trial - outputs)).sum(axis=0)
    np.testing.assert_allclose(recorded.results["bias"], bias, rtol=1e-9)


def test_lateral_weights_learn_between_calibration_and_consolidation_only(recorded: Recorded) -> None:
    course = np.asarray(recorded.lateral.w)  # (synapses, trials), at the beginning of each; phases of 50 ms
    assert not course[:, :2].any()
    assert (course[:, 4] > course[:, 1]).any()
    np.testing.assert_array_equal(course[:, 5:], np.repeat(course[:, 4:5], SIZE.trials - 4, axis=1))


def test_expected_change_is_the_gradient_of_a_reward_linear_in_the_noise() -> None:
    """R = g . noise has the gradient g in the current of the outputs, so n g^T in the weights.

    Input neurons that spike whenever they can make n known; all sign patterns of the noise make the mean over them
    the expectation, exactly.
    """
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=3)))
    size = Size(inputs=2, classes=3, readouts=2, trials=2 * len(signs), trial=0.03)
    gradient = np.array([0.7, -0.2, 0.4])

    def build() -> Discrimination:
        made = spiking_discrimination(size)
        outputs = next(thing for thing in made.network.objects if thing.name == "outputs")
        outputs.namespace["g"] = brian2.TimedArray(gradient[None], dt=1 * second, name="g")
        reward = " + ".join(f"g(0*second, {k})*noise(t - dt, {k})" for k in range(3))
        clock = brian2.Clock(dt=2 * size.trial * second)
        outputs.run_regularly(f"advantage = 2*({reward})", clock=clock, when="start", order=-1)
        return made

    rows = size.trials
    noise = np.concatenate([np.repeat(signs, 2, axis=0), np.zeros((1, 3))])
    found = Program(build, "numpy").run(
        {
            "afferents": np.full((rows + 1, 2), 1e6),
            "noise": noise,
            "learns": np.r_[np.ones(rows), 0],
            "adapts": np.r_[np.ones(rows), 0],
            "learning_rate": np.full(6, 0.1),
            "centred": np.repeat([0.0, 1.0], 3),
        },
        seed=0,
    )
    counts = found["inputs"]
    assert counts.min() == counts.max() == 10  # every third ms
    means = 10 * (1 - 0.99 ** np.arange(1, rows, 2))  # slow mean at the end of each pair
    # While the slow mean still moves, the patterns of noise are not quite balanced for a centred eligibility.
    for readout, (centred, tolerance) in enumerate([(0, 1e-9), (1, 1e-2)]):
        active = (2 * 10 - centred * 2 * means).sum()
        weights = found["weights"].reshape(2, 2, 3)[:, readout]
        np.testing.assert_allclose(weights, 0.1 * 2 * active * gradient * np.ones((2, 1)), rtol=tolerance)


@pytest.mark.parametrize(
    "change", [{"trials": 7}, {"classes": 1}, {"readouts": 0}, {"trial": 0.0105}, {"adaptation": 0.0}]
)
def test_impossible_sizes(change: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(change))):
        Size(**change)


@pytest.mark.slow
@pytest.mark.standalone
def test_the_compiled_program_gives_the_same_weights(tmp_path: Path) -> None:
    """Two seeds of one program, in a process of its own: a device of Brian2 is set for good."""
    command = [sys.executable, "-W", "ignore", __file__, str(tmp_path / "found.npz")]
    root = Path(__file__).parent.parent.parent
    environment = {"PYTHONPATH": str(root)}
    done = subprocess.run(
        command,
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        for seed in (1, 2):
            expected = Program(lambda: spiking_discrimination(SIZE), "numpy").run(settings(), seed)
            for name in ("inputs", "outputs"):
                np.testing.assert_array_equal(found[f"{name}_{seed}"], expected[name])
            for name in ("weights", "bias", "lateral_weights"):
                np.testing.assert_allclose(found[f"{name}_{seed}"], expected[name], rtol=1e-9, atol=1e-12)


def main(file: str) -> None:
    """Run the compiled program with two seeds, and save what it gives."""
    program, reports = Program(lambda: spiking_discrimination(SIZE), "cpp_standalone"), []
    runs = {seed: program.run(settings(), seed, lambda done, total: reports.append((done, total))) for seed in (1, 2)}
    if not any(0 < done < total for done, total in reports):
        sys.exit("no progress was told while compiling")
    np.savez(file, **{f"{name}_{seed}": values for seed, run in runs.items() for name, values in run.items()})


if __name__ == "__main__":
    main(sys.argv[1])
