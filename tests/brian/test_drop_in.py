"""Published models of four kinds take lateral plasticity without a change of their own lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.brian.drop_in import MODELS, Model, run
from tests.brian.on_target import Results, simulate

STEP = 1e-4  # s


pytestmark = pytest.mark.usefixtures("brian_on_numpy")


def relearnt(model: Model, fired: np.ndarray, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Weights of some pairs from the spikes that were recorded (steps, neurons): the published statements in a loop."""
    rule = model.rule
    trace_time, start = float(rule.trace_time), round(model.frozen * 1e-3 / STEP)
    weights, trace, mean = np.zeros(len(pre)), np.zeros(fired.shape[1]), np.zeros(fired.shape[1])
    kept = np.exp(-STEP / trace_time)

    def change(trace: np.ndarray, neuron: np.ndarray) -> np.ndarray:
        if rule.name == "foldiak":
            return trace[neuron] - float(rule.homeostasis.target_rate) * STEP / 2 / np.tanh(STEP / 2 / trace_time)
        if rule.name == "correlation_measuring":
            return trace[neuron] - mean[neuron] * (1 + weights)
        return trace[neuron] - mean[neuron]

    for step, now in enumerate(fired):
        averaged = np.clip(step * STEP, trace_time, float(getattr(rule, "mean_time", 1e9)))
        mean = mean + STEP / averaged * (trace * (1 + kept) / 2 - mean)
        trace = trace * kept
        if step >= start:
            for spiking, seen, read in ((now[pre], post, trace), (now[post], pre, trace + now)):
                moved = np.clip(weights + rule.rate * change(read, seen), rule.smallest_weight, rule.largest_weight)
                weights = np.where(spiking, moved, weights)
        trace = trace + now
    return weights


def check(model: Model, found: Results) -> None:
    """Not a spike differs while all weights are zero; then weights move, as the rule says, and spikes with them."""
    start, stop = (round(duration * 1e-3 / STEP) for duration in (model.frozen, model.frozen + model.learning))
    spikes = {
        kind: set(zip(found[f"{kind}_monitors"], found[f"{kind}_steps"], found[f"{kind}_neurons"], strict=True))
        for kind in ("plain", "dropped")
    }
    before = {kind: {spike for spike in all_ if spike[1] < start} for kind, all_ in spikes.items()}
    weights = found["weights"]
    count = len(weights)
    assert len(before["plain"]) > count / 4 and before["plain"] == before["dropped"]
    assert spikes["plain"] != spikes["dropped"]
    connected = ~np.eye(count, dtype=bool)
    assert np.isnan(weights[~connected]).all()
    assert 0 <= weights[connected].min() < weights[connected].max() <= model.rule.largest_weight
    fired = np.zeros((stop, count), dtype=bool)
    for monitor, step, neuron in spikes["dropped"]:
        if monitor == 0 and neuron < count:  # the rule's neurons are the first of the first monitor's
            fired[step, neuron] = True
    pre, post = np.random.default_rng(0).integers(count, size=(2, 3000))
    pre, post = pre[pre != post], post[pre != post]
    expected = relearnt(model, fired, pre, post)
    assert len(np.unique(expected)) > 50
    np.testing.assert_allclose(weights[pre, post], expected, rtol=1e-9, atol=1e-12)


# A Hodgkin-Huxley model with a rule is in the quick run of test_published_models too.
QUICK = [pytest.param(name, marks=pytest.mark.slow if name == "hodgkin_huxley" else ()) for name in MODELS]


@pytest.mark.parametrize("name", QUICK)
def test_a_published_model_takes_the_rule(name: str) -> None:
    check(MODELS[name], run(name)())


@pytest.mark.slow
@pytest.mark.standalone
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", ["cython", "cpp_standalone"])
def test_a_published_model_takes_the_rule_alike_on_every_target(target: str, name: str, tmp_path: Path) -> None:
    found = simulate(f"tests.brian.drop_in:run:{name}", target, tmp_path)
    check(MODELS[name], found)
    for key, values in run(name)().items():
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-12, err_msg=f"{key} of {name} on {target}")
