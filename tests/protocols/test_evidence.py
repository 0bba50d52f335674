"""The marginal likelihood and its bounds by other ways, and the protocol."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from torch import Tensor

import neuro_decorr as nd
from analysis import evidence as drawn
from models.dense import dense
from neuro_decorr import study
from protocols import evidence as protocol
from protocols.evidence import marginal_likelihood as bounds
from tests.protocols.execution import whole


def random_factor(rows: int, columns: int, seed: int = 0, condition: float = 1.0) -> Tensor:
    generator = np.random.default_rng(seed)
    made = generator.normal(size=(rows, columns)) + condition * generator.normal(size=(1, columns))
    return torch.from_numpy(made)


def network_factor(samples: int = 12) -> tuple[torch.nn.Module, Tensor, Tensor]:
    model = dense([5, 4, 3], torch.nn.Tanh, seed=0).double()
    inputs = torch.randn(samples, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return model, inputs, nd.metrics.gauss_newton(model, inputs).factor * samples**0.5


def log_determinant(matrix: NDArray[np.float64]) -> float:
    sign, value = np.linalg.slogdet(matrix)
    assert sign == 1
    return float(value)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
@pytest.mark.parametrize("delta", [0.01, 1.0, 100.0])
def test_both_sides_of_sylvester_agree(shape: tuple[int, int], delta: float) -> None:
    factor = random_factor(*shape)
    a, parameters = factor.numpy(), shape[1]
    kernel = log_determinant(np.eye(shape[0]) + a @ a.T / delta)
    curvature = log_determinant(a.T @ a + delta * np.eye(parameters)) - parameters * np.log(delta)
    assert kernel == pytest.approx(curvature, rel=1e-10)
    assert float(bounds.log_determinant(factor, delta)) == pytest.approx(kernel, rel=1e-10)


def test_the_factor_is_the_symmetric_root_times_the_jacobian() -> None:
    """By autograd output by output, and the symmetric root of diag p - p p^T: the same determinant."""
    model, inputs, factor = network_factor()
    rows = []
    for sample in inputs:
        outputs = model(sample[None])[0]
        derivatives = [torch.autograd.grad(one, list(model.parameters()), retain_graph=True) for one in outputs]
        jacobian = np.stack([torch.cat([part.flatten() for part in each]).numpy() for each in derivatives])
        shares = outputs.softmax(0).detach().numpy()
        values, vectors = np.linalg.eigh(np.diag(shares) - np.outer(shares, shares))
        rows.append((vectors * values.clip(0) ** 0.5) @ vectors.T @ jacobian)
    a = np.concatenate(rows)
    expected = log_determinant(np.eye(len(a)) + a @ a.T / 0.3)
    assert float(bounds.log_determinant(factor, 0.3)) == pytest.approx(expected, rel=1e-10)


def test_laplace_is_exact_for_linear_regression() -> None:
    """The marginal likelihood of y = X w + noise is a Gaussian density; A = X / s."""
    noise, delta, inputs = 0.5, 2.0, random_factor(15, 4).numpy()
    targets = np.random.default_rng(3).normal(size=15)
    best = np.linalg.solve(inputs.T @ inputs / noise**2 + delta * np.eye(4), inputs.T @ targets / noise**2)
    likelihood = multivariate_normal(inputs @ best, noise**2 * np.eye(15)).logpdf(targets)
    exact = multivariate_normal(np.zeros(15), inputs @ inputs.T / delta + noise**2 * np.eye(15)).logpdf(targets)
    determinant = float(bounds.log_determinant(torch.from_numpy(inputs / noise), delta))
    assert bounds.log_evidence(likelihood, best @ best, determinant, delta) == pytest.approx(exact, rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(0, 5))
def test_bounds_are_above_and_finer_ones_higher(seed: int, delta: float, condition: float) -> None:
    """Fischer's inequality, for nested partitions."""
    outputs, factor = 3, random_factor(8 * 3, 10, seed, condition)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    by_batch = [float(bounds.of_batches(factor, outputs, delta, order.split(size))) for size in (8, 4, 2, 1)]
    exact = float(bounds.log_determinant(factor, delta))
    assert by_batch[0] == pytest.approx(exact, rel=1e-9)
    by_tensor = [float(bounds.of_tensors(factor, sizes, delta)) for sizes in ((10,), (6, 4), (2, 4, 3, 1), (1,) * 10)]
    assert by_tensor[-1] == pytest.approx(float(bounds.of_diagonal(factor, delta)), rel=1e-9)
    for finer, coarser in [*itertools.pairwise(by_batch[::-1]), *itertools.pairwise(by_tensor[::-1])]:
        assert finer >= coarser * (1 - 1e-9)
    assert float(bounds.of_outputs(factor, outputs, delta)) >= exact * (1 - 1e-9)


def test_a_random_batch_estimates_the_bound() -> None:
    """N / M times the log determinant of a random batch, over all batches, is the mean over all partitions."""
    outputs, delta, factor = 2, 0.5, random_factor(4 * 2, 6)
    batches = [torch.tensor(chosen) for chosen in itertools.combinations(range(4), 2)]
    single = [4 / 2 * float(bounds.of_batches(factor, outputs, delta, [batch])) for batch in batches]
    partitions = [[[0, 1], [2, 3]], [[0, 2], [1, 3]], [[0, 3], [1, 2]]]
    whole = [
        float(bounds.of_batches(factor, outputs, delta, [torch.tensor(part) for part in one])) for one in partitions
    ]
    assert np.mean(single) == pytest.approx(np.mean(whole), rel=1e-12)
    assert np.mean(single) > float(bounds.log_determinant(factor, delta))


def test_the_effective_dimension_is_the_derivative() -> None:
    """Of the log determinant by log delta, negative; and of the evidence by delta, against differences."""
    _, _, factor = network_factor()
    a = factor.numpy()
    found = protocol.log_determinants(factor, 3, [20, 4, 12, 3], (4,), torch.Generator().manual_seed(0))
    logarithm = torch.tensor(0.7, dtype=torch.float64).log().requires_grad_()
    (slope,) = torch.autograd.grad(found["exact"](delta=logarithm.exp()), logarithm)
    gram = a.T @ a
    dimension = np.trace(np.linalg.solve(gram + 0.7 * np.eye(len(gram)), gram))
    assert -float(slope) == pytest.approx(dimension, rel=1e-9)
    step = 1e-5
    ends = [
        bounds.log_evidence(-3.0, 2.5, float(found["exact"](delta=0.7 + sign * step)), 0.7 + sign * step)
        for sign in (1, -1)
    ]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(dimension / (2 * 0.7) - 2.5 / 2, rel=1e-6)
    assert set(found) == {"exact", "batches of 4", "outputs", "tensors", "diagonal"}


def test_decorrelated_inputs_make_the_diagonal_exact() -> None:
    """In one linear layer without correlations nothing is off the diagonal; a common mode opens the gap."""
    white = torch.linalg.qr(random_factor(40, 6)).Q * 40**0.5
    assert float(bounds.of_diagonal(white, 2.0)) == pytest.approx(float(bounds.log_determinant(white, 2.0)), rel=1e-10)
    shared = white @ (torch.eye(6, dtype=torch.float64) + 0.5)
    assert float(bounds.of_diagonal(shared, 2.0)) > 1.05 * float(bounds.log_determinant(shared, 2.0))


@pytest.mark.parametrize("arm", ["whitening", "damped", "foof", "batch_normalisation"])
def test_lateral_weights_stand_still_in_the_second_half(arm: protocol.Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = protocol.PROTOCOL.configure({"steps": 20})
    data = protocol.images("modes", 0)
    training = protocol.Split(data.train.inputs[:30], data.train.targets[:30])
    made = protocol.network(arm, [64, 8, 10], None if arm == "batch_normalisation" else 0.3, 30, 0)
    buffers: list[list[Tensor]] = []
    step = torch.optim.Adam.step

    def recorded(self: torch.optim.Adam) -> None:
        buffers.append([buffer.clone() for buffer in made.model.buffers()])
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    protocol.fit(configuration, made, training, 1.0)
    assert len(buffers) == 20
    still = [all(torch.equal(*pair) for pair in zip(*both, strict=True)) for both in itertools.pairwise(buffers)]
    assert not any(still[:8])
    assert all(still[10:])


def test_decorrelation_tightens_the_cheap_bounds() -> None:
    found = {}
    for arm, damping in (("center", None), ("whitening", 0.3)):
        recorder = study.Recorder()
        levels = {"arm": arm, "damping": damping, "delta": 1.0, "trained": 0.2}
        protocol.run(protocol.PROTOCOL.configure(), study.Condition("measure", 0, levels), recorder)
        found[arm] = {row["bound"]: row["slack"] for row in recorder.rows["bounds"]}
    for bound in ("batches of 10", "diagonal"):
        assert found["whitening"][bound] < found["center"][bound] / 5
    assert found["center"]["exact"] == 0


def test_the_table_of_choices_by_hand() -> None:
    """Two seeds, four settings: the evidence takes the second setting of each, validation the third of one."""
    rows = []
    for seed in (0, 1):
        of_seed = ((0.1, -3.0, 0.5), (1.0, -1.0, 0.7), (np.inf, -2.0, 0.6 + 0.2 * seed), (0.01, -4.0, 0.4))
        for damping, exact, validation in of_seed:
            accuracies = {"validation": validation, "test_accuracy": validation - 0.1}
            criteria = dict.fromkeys(["batches of 10", "diagonal"], -exact)
            rows.append({"seed": seed, "damping": damping, "delta": 1.0, "exact": exact, **criteria, **accuracies})
    made = drawn.choice(drawn.chosen(pd.DataFrame(rows))).set_index("criterion")
    assert made.loc["exact", "test accuracy"] == pytest.approx(0.6)
    assert made.loc["validation", "test accuracy"] == pytest.approx((0.6 + 0.7) / 2)
    assert made.loc["exact", "minus validation"] == pytest.approx(-0.05)
    assert made.loc["exact", "rank correlation"] == pytest.approx((1.0 + 0.8) / 2)
    assert made.loc["diagonal", "test accuracy"] == pytest.approx(0.3)
    assert made.loc["exact", "most often"] == "damping 1, delta 1 (2 of 2)"
    both = drawn.pools(pd.DataFrame(rows), 1.0).set_index(["chosen", "criterion"])
    assert both.loc[("delta, center", "exact"), "test accuracy"] == pytest.approx((0.5 + 0.7) / 2)


def test_the_figure_and_the_tables(tmp_path: Path) -> None:
    values = {"images": 20, "hidden": 4, "steps": 6, "batches": (5, 10), "dampings": (0.3,), "precisions": (0.5, 1.0)}
    configuration, tables = whole(protocol.PROTOCOL, values)
    protocol.report(configuration, tables, tmp_path)
    assert (tmp_path / "figures" / "evidence.png").stat().st_size > 10_000
    made = pd.read_csv(tmp_path / "tables" / "evidence_bounds.csv")
    assert len(made) == 2 * 6 * 5
    assert (made["slack"] > 0).all()
