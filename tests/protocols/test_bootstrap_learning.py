"""The bootstrap algorithm: refinement against its loop and numpy, partners, regressions, and the protocol."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from analysis import bootstrap_learning as drawn
from neuro_decorr import study
from protocols import bootstrap_learning as protocol
from protocols.bootstrap_learning.bootstrap import Bootstrap, initial_weights
from protocols.bootstrap_learning.refinement import Arm, refine, transform_of
from tests.protocols.execution import run, whole

ARMS: tuple[Arm, ...] = ("none", "center", "batch_normalisation", "foof")


def moment_with(condition: float, size: int = 6, seed: int = 0) -> Tensor:
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.normal(size=(size, size)))[0]
    return torch.from_numpy((basis * np.geomspace(1, 1 / condition, size)) @ basis.T)


def problem(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, and the moments of inputs with a constant and of targets with them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(50, 6, generator=generator, dtype=torch.float64) @ moment_with(30.0)
    inputs = torch.cat([inputs + 0.3, torch.ones(50, 1, dtype=torch.float64)], dim=1)
    targets = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    weight = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    return weight, inputs.T @ inputs / 50, targets.T @ inputs / 50


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("most", [3, 10_000_000])
def test_refinement_is_its_loop(arm: Arm, most: int) -> None:
    """Step by step, in the coordinates of the layer: the same weights after as many steps."""
    weight, moment, product = problem()
    transform = transform_of(arm, moment, 0.01)
    found = refine(weight, moment, product, transform, 0.01, 1e-4, most)
    strength = 0.01 * np.trace(moment.numpy()) / 7
    ridged = moment.numpy() + strength * np.eye(7)
    t = transform.numpy()
    a, b = t @ ridged @ t.T, (product.numpy() + strength * weight.numpy()) @ t.T
    values = np.linalg.eigvalsh(a)
    assert found.condition == pytest.approx(values[-1] / values[0], rel=1e-6)
    u, steps = weight.numpy() @ np.linalg.inv(t), 0
    while steps < most:
        change = 1.95 / (values[-1] + values[0]) * (b - u @ a)
        u, steps = u + change, steps + 1
        if np.linalg.norm(change @ t) < 1e-4:
            break
    if most > 3:
        assert abs(found.needed - steps) <= 1  # a step at the tolerance itself may fall on either side
    np.testing.assert_allclose(found.weight, u @ t, atol=2e-4 if most > 3 else 1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_has_the_same_solution(arm: Arm) -> None:
    weight, moment, product = problem()
    found = refine(weight, moment, product, transform_of(arm, moment, 0.01), 0.01, 1e-13, 10**9).weight
    a, b = moment.numpy(), product.numpy()
    strength = 0.01 * np.trace(a) / 7
    expected = np.linalg.solve(a + strength * np.eye(7), (b + strength * weight.numpy()).T).T
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("condition", [3.0, 100.0, 1e4])
def test_the_condition_number_says_how_many_refinements(condition: float) -> None:
    """Within 30 % of ln(1 / tolerance) / ln((k + 1) / (k - 1)), the contraction of the step 2 / (l1 + ld)."""
    moment = moment_with(condition)
    weight, product = torch.zeros(1, 6, dtype=torch.float64), torch.ones(1, 6, dtype=torch.float64)
    found = refine(weight, moment, product, torch.eye(6, dtype=torch.float64), 1e-12, 1e-6, 10**9)
    expected = math.log(1e6) / math.log((condition + 1) / (condition - 1))
    assert found.needed == pytest.approx(expected, rel=0.3)
    assert float(drawn.predicted(pd.Series([condition]), 1e-6).iloc[0]) == pytest.approx(expected, rel=0.1)


def test_whitened_inputs_need_five_refinements_at_most() -> None:
    """k = 1: every step leaves .025 of the error, so that 1e-6 takes ln 1e-6 / ln .025 = 3.7, and one to see it."""
    weight, moment, product = problem()
    strength = 1e-4 * float(moment.trace()) / 7
    values, vectors = np.linalg.eigh(moment.numpy() + strength * np.eye(7))
    white = torch.from_numpy((vectors * values**-0.5) @ vectors.T)
    found = refine(weight, moment, product, white, 1e-4, 1e-6, 20_000)
    assert found.condition == pytest.approx(1, abs=1e-6)
    assert found.needed <= 6
    assert found.needed < refine(weight, moment, product, torch.eye(7, dtype=torch.float64), 1e-4, 1e-6, 1).needed / 20


def test_transforms_are_those_of_the_inputs() -> None:
    """Centred and normalised columns, from the moments alone; foof is the root of its conditioning."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 3, generator=generator, dtype=torch.float64) + torch.tensor([1.0, -2.0, 0.0])
    rows = torch.cat([inputs, torch.ones(40, 1, dtype=torch.float64)], dim=1)
    moment = rows.T @ rows / 40
    centred = rows @ transform_of("center", moment, 0.1).T
    torch.testing.assert_close(centred[:, :3], inputs - inputs.mean(0))
    normalised = rows @ transform_of("batch_normalisation", moment, 0.1).T
    layer = torch.nn.BatchNorm1d(3, affine=False, dtype=torch.float64)
    torch.testing.assert_close(normalised[:, :3], layer(inputs))
    torch.testing.assert_close(normalised[:, 3], rows[:, 3])
    root = transform_of("foof", moment, 0.1)
    strength = 0.1 * moment.trace() / 4
    expected = strength * torch.linalg.inv(moment + strength * torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(root.T @ root, expected, rtol=1e-6, atol=1e-6)


def bootstrap(arm: Arm = "none", sizes: tuple[int, ...] = (1, 5, 1), **options: float) -> Bootstrap:
    values = {"batch": 30, "temperature": 0.1, "ridge": 1e-3, "tolerance": 1e-8, "most": 10**8} | options
    return Bootstrap(list(sizes), arm, **values, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def test_partners_are_drawn_by_their_distance() -> None:
    """Frequencies over many draws against the shares written down; never beyond the ten nearest."""
    network = bootstrap(temperature=0.5)
    generator = np.random.default_rng(1)
    inputs, targets, predictions = (torch.from_numpy(generator.normal(size=(15, 1))) for _ in range(3))
    counts = np.zeros((15, 15))
    draws = 4_000
    for _ in range(draws):
        counts[np.arange(15), network.partners(inputs, targets, predictions)] += 1
    x, y, guess = (part.numpy()[:, 0] for part in (inputs, targets, predictions))
    for sample in range(15):
        distances = np.hypot(x[sample] - x, y[sample] - guess)
        shares = np.where(np.argsort(np.argsort(distances)) < 10, np.exp(-distances / 0.5), 0)
        shares /= shares.sum()
        assert np.all(np.abs(counts[sample] / draws - shares) <= 5 * np.sqrt(shares * (1 - shares) / draws) + 1e-12)


def test_a_batch_solves_the_regressions_of_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hidden layers and two batches, by numpy with the same partners; the second layer has nothing to learn."""
    network = bootstrap(sizes=(1, 5, 4, 1))
    generator = np.random.default_rng(2)
    monkeypatch.setattr(network, "partners", lambda *_: torch.arange(30).flip(0))
    before = [weight.numpy() for weight in network.weights]
    moments = products = None
    for _ in range(2):
        inputs, targets = generator.normal(size=(30, 1)), generator.normal(size=(30, 1))
        network.learn(torch.from_numpy(inputs), torch.from_numpy(targets))
        activity, got, given = inputs, [], []
        for weight in before:
            got.append(np.column_stack([activity, np.ones(30)]))
            given.append(got[-1] @ weight.T)
            activity = np.tanh(given[-1])
        got = [got[0], got[1][::-1], got[2][::-1]]
        want = [given[0][::-1], given[1][::-1], targets]
        new = [(g.T @ g / 30, w.T @ g / 30) for g, w in zip(got, want, strict=True)]
        moments = (
            [m for m, _ in new] if moments is None else [(a + m) / 2 for a, (m, _) in zip(moments, new, strict=True)]
        )
        products = (
            [p for _, p in new] if products is None else [(b + p) / 2 for b, (_, p) in zip(products, new, strict=True)]
        )
        after = []
        for weight, a, b in zip(before, moments, products, strict=True):
            ridge = 1e-3 * np.trace(a) / len(a)
            after.append(np.linalg.solve(a + ridge * np.eye(len(a)), (b + ridge * weight).T).T)
        for found, expected in zip(network.weights, after, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(network.weights[1], before[1], rtol=1e-9, atol=1e-9)
        before = [weight.numpy() for weight in network.weights]


def test_the_rule_follows_the_moment_that_is_solved() -> None:
    """After some batches D is (A + ridge)^-1/2 up to a rotation: k is 1, and few refinements are left."""
    network = bootstrap("whitening", (1, 10, 1), batch=60, ridge=1e-3, tolerance=1e-6)
    generator = torch.Generator().manual_seed(3)
    for _ in range(30):
        inputs = 2 * torch.rand(60, 1, generator=generator, dtype=torch.float64) - 1
        found = network.learn(inputs, torch.sin(4 * inputs))
    assert found[1].condition < 1.1
    assert found[1].needed <= 6


@pytest.mark.parametrize(("method", "setting"), [("bootstrap", 0.1), ("sgd", 0.03), ("adam", 0.03), ("lbfgs", 0.3)])
def test_every_method_starts_from_the_same_weights_and_learns(method: protocol.Method, setting: float) -> None:
    configuration = protocol.PROTOCOL.configure({"epochs": 6})
    conditions = [
        study.Condition("measure", 0, {"method": method, "arm": arm, "setting": setting})
        for arm in protocol.ARMS[method]
    ]
    weights = initial_weights([1, 20, 1], protocol.stream(0, "bootstrap"))
    grid = protocol.points(400, 0)["test"]
    hidden = np.tanh(np.column_stack([grid.inputs, np.ones(500)]) @ weights[0].numpy().T)
    guess = np.column_stack([hidden, np.ones(500)]) @ weights[1].numpy().T
    start = 1 - np.mean((guess - grid.targets.numpy()) ** 2) / np.var(grid.targets.numpy())
    for made in run(protocol.PROTOCOL, configuration, conditions):
        curve = [row["test_r2"] for row in made.rows["curves"]]
        assert curve[0] == pytest.approx(start, rel=1e-9), made.condition
        assert curve[-1] > max(curve[0], 0), made.condition


def test_the_bootstrap_learns_with_few_refinements() -> None:
    """The targets of the method: R^2 above .85 after 15 epochs, above 20,000 refinements without D, 5 with it."""
    configuration = protocol.PROTOCOL.configure()
    conditions = [
        study.Condition("measure", 0, {"method": "bootstrap", "arm": arm, "setting": 0.1})
        for arm in ("none", "whitening")
    ]
    needed = []
    for found in run(protocol.PROTOCOL, configuration, conditions):
        assert found.rows["curves"][-1]["test_r2"] > 0.85
        needed.append(np.median([row["needed"] for row in found.rows["refinements"] if row["layer"] == 2]))
    assert needed[0] > 20_000
    assert needed[1] <= 5


def test_the_figure_and_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SPAN", 1.5)  # no rate diverges
    values = {"points": 40, "batch": 20, "epochs": 2, "selection_runs": 2, "hidden": 6}
    configuration, tables = whole(protocol.PROTOCOL, values)
    protocol.report(configuration, tables, tmp_path)
    assert (tmp_path / "figures" / "bootstrap_learning.png").stat().st_size > 10_000
    made = drawn.table(tables).set_index(["method", "arm"])
    assert len(made) == 5 + 4 + 2 + 1
    rows = tables.of("measure")["refinements"]
    own = rows[(rows["arm"] == "center") & (rows["layer"] == 2)]["needed"]
    assert made.loc[("bootstrap", "center"), "refinements"] == own.median()
