"""Implicit steps against brute-force minimisation, iterated steps and plain loops, and the protocol small."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import implicit_steps as drawn
from neuro_decorr import study
from protocols import implicit_steps
from protocols.implicit_steps import poisson, regression, steps
from tests.protocols.execution import whole


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("samples", [1, 4, 30])
def test_the_linear_step_minimises_what_it_says(samples: int) -> None:
    """Three forms that share nothing: a minimum found by scipy, one linear system in all weights, and NLMS."""
    inputs, weights, targets, step = gaussian(samples, 6), gaussian(3, 6, seed=1), gaussian(samples, 3, seed=2), 0.7
    errors = inputs @ weights.T - targets
    found = steps.linear_step(errors, inputs, step).numpy()

    def objective(change: NDArray[np.float64]) -> float:
        moved = errors.numpy() + inputs.numpy() @ change.reshape(3, 6).T
        return float((change**2).sum() / 2 + step * (moved**2).sum() / 2)

    least = minimize(objective, np.zeros(18), tol=1e-12)
    np.testing.assert_allclose(found.ravel(), least.x, atol=1e-5)
    moment = inputs.numpy().T @ inputs.numpy()
    system = np.linalg.solve(moment + np.eye(6) / step, -inputs.numpy().T @ errors.numpy()).T
    np.testing.assert_allclose(found, system, rtol=0, atol=1e-10)
    if samples == 1:
        x = inputs.numpy()[0]
        normalised = -step * np.outer(errors.numpy()[0], x) / (1 + step * x @ x)
        np.testing.assert_allclose(found, normalised, rtol=0, atol=1e-10)


def test_on_whitened_inputs_the_linear_step_is_a_gradient_step() -> None:
    """X^T X = B I: one scalar rate, alpha / (1 + alpha B); otherwise it is the gradient that FOOF conditions."""
    inputs, errors, step = gaussian(40, 5), gaussian(40, 2, seed=1), 0.3
    values, vectors = np.linalg.eigh(inputs.numpy().T @ inputs.numpy() / 40)
    white = inputs @ torch.from_numpy(vectors * values**-0.5)
    scalar = -step / (1 + step * 40) * errors.T @ white
    torch.testing.assert_close(steps.linear_step(errors, white, step), scalar, rtol=0, atol=1e-10)
    gradient = errors.T @ inputs / 40
    damping = 1 / (40 * step * float(inputs.square().mean()))
    conditioned = nd.conditioning.foof(gradient, inputs, damping=damping, preserve_power=False)
    torch.testing.assert_close(steps.linear_step(errors, inputs, step), -40 * step * conditioned, rtol=0, atol=1e-10)


@pytest.mark.parametrize("step", [0.1, 1.9, 2.1, 100.0])
def test_contraction_is_what_iteration_does(step: float) -> None:
    """One step on a quadratic loss, solved densely; explicit steps are unstable from 2 / lambda_max on."""
    moment = gaussian(5, 5)
    moment = moment @ moment.T / 5
    moment /= torch.linalg.eigvalsh(moment)[-1]
    values, vectors = torch.linalg.eigh(moment)
    start = gaussian(5, seed=3)
    implicit = torch.linalg.solve(torch.eye(5, dtype=torch.float64) + step * moment, start)
    explicit = start - step * moment @ start
    for moved, kind in ((implicit, True), (explicit, False)):
        expected = steps.contraction(values, step, implicit=kind) * (start @ vectors)
        torch.testing.assert_close(moved @ vectors, expected, rtol=0, atol=1e-10)
    assert bool((steps.contraction(values, step, implicit=True).abs() < 1).all())
    assert bool((steps.contraction(values, step, implicit=False).abs() < 1).all()) is (step < 2)


@pytest.mark.parametrize("step", [0.1, 10.0])
def test_the_proximal_step_solves_a_quadratic_exactly(step: float) -> None:
    root, optimum = gaussian(6, 4), gaussian(4, seed=1)
    moment = root.T @ root / 6
    weights = nn.Parameter(gaussian(4, seed=2))
    expected = np.linalg.solve(np.eye(4) + step * moment.numpy(), (weights.detach() + step * moment @ optimum).numpy())
    proximal = steps.ProximalStep([weights], step, evaluations=100)
    proximal(lambda: (weights - optimum) @ moment @ (weights - optimum) / 2)
    np.testing.assert_allclose(weights.detach().numpy(), expected, atol=1e-8)
    assert 0 < proximal.evaluated <= 100


@pytest.mark.parametrize("implicit", [True, False])
def test_counted_steps_are_those_of_iteration(implicit: bool) -> None:
    values, start, step = gaussian(6).abs() / 3 + 0.02, gaussian(6, seed=1), 0.9
    found = regression.exact_steps(values, start, step, 1e-4, implicit=implicit)
    error, first, count = start.numpy(), float((values * start.square()).sum()), 0
    while (values.numpy() * error**2).sum() >= 1e-4 * first:
        error = error / (1 + step * values.numpy()) if implicit else error - step * values.numpy() * error
        count += 1
    assert found == count
    assert regression.exact_steps(values, start, 3 / float(values.max()), 1e-4, implicit=False) == math.inf


@pytest.mark.parametrize("arm", ["none", "foof"])
def test_online_steps_are_those_of_a_plain_loop(arm: regression.Arm) -> None:
    """Least mean squares and its normalised form, written again with numpy; FOOF's metric by inversion."""
    sizes, options = [0.01, 0.1], {"features": 3, "correlation": 0.5, "mean": 0.4, "samples": 20, "seed": 5}
    found = regression.online(arm, sizes, damping=0.2, **options)  # type: ignore[arg-type]
    teacher = torch.randn(3, generator=nd.data.stream(5, "teacher"), dtype=torch.float64).numpy()
    noise = torch.randn(20, 3, generator=nd.data.stream(5, "samples"), dtype=torch.float64).numpy()
    spread = 0.5 * np.ones((3, 3)) + 0.5 * np.eye(3)
    z = 0.4 + noise @ np.linalg.cholesky(spread).T
    second = spread + 0.16
    for kind in (0, 1):
        for column, alpha in enumerate(sizes):
            w, b, moment, metric, mean, running = np.zeros(3), 0.0, np.eye(3), np.eye(3), np.zeros(3), []
            for index, row in enumerate(z):
                x = row - mean if arm == "foof" else row
                if arm == "foof":
                    weight = max(0.01, 1 / (index + 4))
                    moment = (1 - weight) * moment + weight * np.outer(x, x)
                    if index % 10 == 0:
                        level = 0.2 * np.trace(moment) / 3
                        metric = level * np.linalg.inv(moment + level * np.eye(3))
                        metric *= np.trace(moment) / np.trace(moment @ metric)
                error = w @ x + b - row @ teacher
                size = alpha / (1 + alpha * (x @ metric @ x + 1)) if kind else alpha
                w, b = w - size * error * metric @ x, b - size * error
                running.append(row)
                if arm == "foof" and index == 9:  # the layer keeps its function while the mean moves
                    new = np.mean(running, axis=0)
                    b, mean, running = b + w @ (new - mean), new, []
                if index in (4, 9):
                    missing, offset = w - teacher, b - w @ mean
                    left = missing @ spread @ missing + (missing.sum() * 0.4 + offset) ** 2
                    assert found[index // 5, kind, column] == pytest.approx(left / (teacher @ second @ teacher))


def test_usable_sizes_are_counted_on_the_grid() -> None:
    sizes = [1.0, 10.0, 100.0, 1000.0]
    assert regression.usable(sizes, np.array([30.0, 10.0, 20.0, math.inf]), 10.0) == (2.0, 10.0)
    nothing = regression.usable(sizes, np.full(4, math.inf), math.inf)
    assert nothing[0] == 0 and math.isnan(nothing[1])


def test_whitening_and_foof_need_the_same_steps_on_a_quadratic() -> None:
    """The identity of section one: D in front of the weights, and D^T D on the gradient, are one matrix."""
    options = {"features": 8, "condition": 1e3, "damping": 0.05, "target": 1e-6, "seed": 1}
    of = {arm: regression.quadratic(arm, [0.01, 0.1, 1.0], **options) for arm in ("whitening", "foof", "none")}  # type: ignore[arg-type]
    np.testing.assert_array_equal(of["whitening"], of["foof"])
    assert of["whitening"].min() < 0.2 * of["none"].min()


class Solution(nn.Module):
    """The solution itself."""

    def forward(self, x: Tensor) -> Tensor:
        return poisson.solution(x, 4)


def test_the_solution_solves_the_equation() -> None:
    x = torch.linspace(-1, 1, 31, dtype=torch.float64).unsqueeze(1)
    assert float(poisson.residual(Solution(), x, 4).detach().abs().max()) < 1e-10
    assert float(Solution()(x)[[0, -1]].abs().max()) < 1e-12
    assert poisson.relative_error(Solution(), 4) == 0
    near = (poisson.solution(x + 1e-4, 4) - 2 * poisson.solution(x, 4) + poisson.solution(x - 1e-4, 4)) / 1e-8
    torch.testing.assert_close(-near, poisson.source(x, 4), rtol=1e-5, atol=1e-4)


def test_the_figure_and_the_tables_show_every_arm(tmp_path: Path) -> None:
    values = {
        "samples": 50, "evaluations": 20, "selection_evaluations": 20, "inner": 10, "hidden": (4,), "points": 8,
        "dampings": (0.1,), "sizes": (0.01, 1.0),
    }  # fmt: skip
    configuration, tables = whole(implicit_steps.PROTOCOL, values)
    implicit_steps.PROTOCOL.report(configuration, tables, tmp_path)
    measured = tables.of("measure")
    widths = drawn.ranges(measured["ranges"])
    assert len(widths) == 2 * 4 * 2
    for row in widths.to_dict("records"):
        rows = measured["ranges"]
        own = rows[(rows["problem"] == row["problem"]) & (rows["arm"] == row["arm"]) & (rows["step"] == row["step"])]
        assert row["decades"] == pytest.approx(own["decades"].mean())
    solved = drawn.solutions(measured)
    assert len(solved) == len(implicit_steps.SOLVED)
    reference = solved[(solved["solver"] == "adam") & (solved["arm"] == "none")]
    assert reference["ratio"].tolist() == [1]
    assert (tmp_path / "figures" / "implicit_steps.png").stat().st_size > 10_000


@pytest.mark.parametrize(("solver", "arm", "rate"), [("adam", "whitening", 0.01), ("implicit", "none", 100.0)])
def test_a_network_solves_the_equation(solver: poisson.Solver, arm: poisson.Arm, rate: float) -> None:
    """One frequency, few units and steps; at the start the error is about one."""
    recorder = study.Recorder()
    poisson.solve(
        solver, arm, rate, recorder, hidden=(16, 16), frequency=1, points=32, evaluations=200, inner=20, damping=0.1,
        seed=0,
    )  # fmt: skip
    errors = [float(str(row["error"])) for row in recorder.rows["solutions"]]
    assert len(errors) == 10
    assert errors[-1] < 0.3
