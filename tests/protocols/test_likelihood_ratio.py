"""The likelihood ratio: variances against numpy's own noise, cosines against samples one by one, budgets, figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import neuro_decorr as nd
from analysis import likelihood_ratio as analysis
from protocols import _controls as controls
from protocols.likelihood_ratio import BASELINES, ESTIMATORS, PROTOCOL, SELECTION, SMALL, batch_estimates, nodes
from tests.protocols.execution import whole

DRAWS = 100_000


def learned_from(form: nodes.Form, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and what a node makes of it, by numpy."""
    generator = np.random.default_rng(5)
    if form == "rademacher":
        noise = generator.integers(0, 2, shape) * 2.0 - 1
        return noise, noise
    noise = generator.normal(size=shape)
    return noise, noise if form == "gaussian" else math.sqrt(math.pi / 2) * np.sign(noise)


@pytest.mark.parametrize("form", get_args(nodes.Form))
def test_the_laws_hold_for_a_linear_loss(form: nodes.Form) -> None:
    """(g . xi) s(xi), for two layers: bias and variance, 3 % is five standard errors of the mean over draws."""
    generator = np.random.default_rng(2)
    gradients, powers = [generator.normal(size=7), generator.normal(size=4)], [3.0, 0.5]
    noise, stored = learned_from(form, (DRAWS, 11))
    every = np.concatenate(gradients)
    estimates = (noise @ every)[:, None] * stored
    scatter = estimates.std(0) / DRAWS**0.5
    assert (np.abs(estimates.mean(0) - every) / scatter).max() < 5
    squares = (estimates - every) ** 2
    assert squares.sum(1).mean() / (every**2).sum() == pytest.approx(nodes.node_variance(form, 11), rel=0.03)
    weighed = 3.0 * squares[:, :7].sum(1).mean() + 0.5 * squares[:, 7:].sum(1).mean()
    whole_power = 3.0 * (gradients[0] ** 2).sum() + 0.5 * (gradients[1] ** 2).sum()
    errors = [torch.from_numpy(one) for one in gradients]
    predicted = nodes.weight_variance(form, errors, [torch.tensor(power).double() for power in powers])
    assert weighed / whole_power == pytest.approx(predicted, rel=0.03)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_credits_have_the_three_variances_within_a_tenth(name: str) -> None:
    copied = nodes.Copied(SMALL, 20_000, seed=1)
    errors, powers, _ = copied.exact()
    exact = copied.estimates("backprop")
    torch.testing.assert_close(exact.nodes[0], torch.cat(errors))
    credit, form, options = ESTIMATORS[name]
    found = copied.estimates(credit, sigma=1e-2, seed=3, **options)
    for estimated, gradient, predicted in (
        (found.nodes, exact.nodes, nodes.node_variance(form, 24)),
        (found.weights, exact.weights, nodes.weight_variance(form, errors, powers)),
    ):
        variance = (estimated - gradient).square().sum(1).mean() / gradient[0].square().sum()
        assert float(variance) == pytest.approx(predicted, rel=0.1)
        assert float(torch.cosine_similarity(estimated.mean(0), gradient[0], dim=0)) > 0.99


def test_what_other_baselines_cost() -> None:
    """Without one (L / sigma)^2 N more; antithetic pairs keep L (x+ - x-) / (2 sigma) in noisy inputs alone."""
    copied, sigma = nodes.Copied(SMALL, 20_000, seed=1), 1e-2
    errors, powers, loss = copied.exact()
    exact = copied.estimates("backprop")

    def variance(name: str) -> tuple[float, float]:
        found = copied.estimates("likelihood_ratio", sigma=sigma, seed=3, **BASELINES[name])
        pairs = (found.nodes, exact.nodes), (found.weights, exact.weights)
        at = [(one - other).square().sum(1).mean() / other[0].square().sum() for one, other in pairs]
        return float(at[0]), float(at[1])

    power = float(torch.cat(errors).square().sum())
    assert variance("no baseline")[0] == pytest.approx(25 + 24 * (loss / sigma) ** 2 / power, rel=0.05)
    law = nodes.weight_variance("gaussian", errors, powers)
    assert variance("antithetic, no baseline, clean inputs")[1] == pytest.approx(law, rel=0.1)
    assert variance("antithetic, no baseline")[0] == pytest.approx(25, rel=0.1)
    assert variance("antithetic, no baseline")[1] > 1.2 * law
    assert variance("two copies, each the other's baseline")[0] == pytest.approx(25, rel=0.1)


@pytest.mark.parametrize("form", ["gaussian", "sign"])
def test_the_cosine_is_the_closed_form(form: nodes.Form) -> None:
    """Also the spread itself, against gradients of samples one by one."""
    arm = controls.equip_dense(
        "interneuron", [64, 20, 10], damping=1.0, interneurons=8, row_fraction=0.5, rows=8, seed=0
    )
    batch = controls.settle(arm, controls.images("modes", 0), 16, seed=0)
    options = ESTIMATORS["sign"][2] if form == "sign" else {}
    found = [batch_estimates.cosine(arm.model, batch, form, 64, options, seed) for seed in range(8)]
    measured, predicted = np.mean(found, axis=0)
    assert measured == pytest.approx(predicted, abs=0.03)
    model = nd.fold(arm.model.eval())  # where D is in the weights, to have another way to the errors at the nodes
    layers = [model.get_submodule("hidden_1"), model.get_submodule("output")]
    seen: list[Tensor] = []
    for layer in layers:
        layer.register_forward_hook(lambda _, __, out: (out.retain_grad(), seen.append(out))[1])
    spread = []
    for image, target in zip(*batch, strict=True):
        seen.clear()
        F.cross_entropy(model(image[None]), target[None]).backward()
        errors = [one.grad[0] for one in seen]
        received = [image, seen[0].relu()[0].detach()]
        power = [
            decorrelation(one).square().sum()
            for (_, decorrelation, _), one in zip(nd.rate.decorrelated_layers(arm.model), received, strict=True)
        ]
        spread.append(float(nodes.spread(form, errors, power)))
    gradient = batch_estimates._gradient(arm.model, nd.credit.get("backprop", arm.model), batch)
    expected = (1 + np.sum(spread) / 16**2 / 64 / float(gradient.square().sum())) ** -0.5
    assert predicted == pytest.approx(expected, rel=1e-4)


def test_conditions_have_equal_budgets_and_the_reference_one_copy() -> None:
    chosen = SELECTION.selection_runs(PROTOCOL.configure({}), [0], {})
    keys = [tuple(condition.factors[name] for name in ("estimator", "copies", "arm")) for condition in chosen]
    assert {keys.count(key) for key in keys} == {6}
    assert {key[:2] for key in keys} == {
        ("gaussian", 1), ("gaussian", 4), ("sign", 1), ("sign", 4), ("node_perturbation", 1), ("rademacher", 1)
    }  # fmt: skip
    assert {key[0] for key in keys if key[2] == "none"} == {"gaussian"}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows_and_all_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "arms": ("center", "interneuron"), "hidden": (20,), "epochs": 1, "selection_runs": 2, "draws": 50,
        "copies": (1, 2), "compared": (1, 3),
    }  # fmt: skip
    configuration, tables = whole(PROTOCOL, values)
    _, again = whole(PROTOCOL, values)
    for kind in ("tests", "variances", "cosines"):
        assert tables[kind].equals(again[kind])
    PROTOCOL.report(configuration, tables, tmp_path)
    assert "sign less node perturbation, interneuron" in capsys.readouterr().out
    assert (tmp_path / "figures" / "likelihood_ratio.png").stat().st_size > 10_000
    tests = tables.of("measure")["tests"]
    against = analysis.differences(tables).set_index(["estimator", "arm"])
    accuracies = tests[tests["copies"] == 1].pivot_table(
        index="seed", columns=["estimator", "arm"], values="test_accuracy"
    )
    expected = (accuracies["sign", "center"] - accuracies["node_perturbation", "center"]).mean()
    assert against.loc[("sign", "center"), "minus"] == pytest.approx(expected)
