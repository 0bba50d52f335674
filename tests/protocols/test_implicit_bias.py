"""Whitened samples are orthogonal in closed form, gradients by autograd, ranks by hand, and the protocol small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import neuro_decorr as nd
from analysis import implicit_bias as drawn
from neuro_decorr import study
from protocols import implicit_bias
from tests.protocols.execution import whole


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def configured(**values: object) -> implicit_bias.Configuration:
    made = implicit_bias.PROTOCOL.configure(values)
    assert isinstance(made, implicit_bias.Configuration)
    return made


@settings(deadline=None, max_examples=30)
@given(samples=st.integers(3, 30), more=st.integers(0, 30), mode=st.floats(0, 20), seed=st.integers(0, 99))
def test_whitened_samples_fulfil_the_condition_exactly(samples: int, more: int, mode: float, seed: int) -> None:
    """n - 1 <= d: |x_i|^2 = n - 1 and <x_i, x_j> = -1, so that the ratio is n - 1 whatever the correlation was.

    From the singular value decomposition, in which no rule takes part; a common mode of 20 leaves 13 digits of 16.
    """
    raw = gaussian(samples, samples - 1 + more, seed=seed) + mode * gaussian(samples, 1, seed=seed + 1)
    left, sizes, right = np.linalg.svd((raw - raw.mean(dim=0)).numpy(), full_matrices=False)
    kept = sizes > 1e-9 * sizes[0]
    white = left[:, kept] @ right[kept] * samples**0.5
    np.testing.assert_allclose(white @ white.T, samples * np.eye(samples) - 1, atol=1e-8 * samples)
    assert implicit_bias.orthogonality(torch.from_numpy(white)) == pytest.approx(samples - 1, rel=1e-8)


def test_the_comparator_zca_fulfils_it_too() -> None:
    """A layer of the library: its floor, 1e-12 of the mean power, is what the ratio may miss."""
    raw = gaussian(20, 25) + 5 * gaussian(20, 1, seed=1)
    layer = nd.Decorrelation(25, dtype=torch.float64)
    plasticity = nd.Plasticity(layer, nd.rules.get("zca", rate=1.0, damping=0.0, epsilon=1e-12), row_fraction=1.0)
    for _ in range(100):  # what the rule began with counts .56 of what it did at every update
        layer(raw)
        plasticity.step()
    assert implicit_bias.orthogonality(layer(raw)) == pytest.approx(19, rel=1e-8)


def test_orthogonality_is_that_of_the_worst_pair() -> None:
    inputs = gaussian(7, 5)
    products = [float(abs(inputs[i] @ inputs[j])) for i in range(7) for j in range(i)]
    least = min(float(row @ row) for row in inputs)
    assert implicit_bias.orthogonality(inputs) == pytest.approx(least / max(products))
    assert implicit_bias.orthogonality(torch.eye(3)) == float("inf")


def test_the_gradient_is_that_of_autograd() -> None:
    weights, signs = gaussian(8, 5, seed=1).requires_grad_(), gaussian(8, seed=2).sign() / 8**0.5
    inputs, labels = gaussian(6, 5), gaussian(6, seed=3).sign()
    outputs = implicit_bias.answers(weights, signs, inputs)
    by_hand = [
        sum(float(a) * max(0.1 * float(w @ x), float(w @ x)) for a, w in zip(signs, weights.detach(), strict=True))
        for x in inputs
    ]
    np.testing.assert_allclose(outputs.detach(), by_hand)
    loss = torch.nn.functional.softplus(-labels * outputs).mean()
    (expected,) = torch.autograd.grad(loss, weights)
    found = implicit_bias.gradient(weights.detach(), signs, inputs, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_one_step_from_nothing_has_rows_that_depend_on_sign_and_pattern_alone() -> None:
    """w -> 0: row j is (step / 2n) a_j sum_i y_i phi'_ij x_i; units with one sign and one pattern get the same row."""
    weights, signs = 1e-9 * gaussian(40, 2, seed=1), gaussian(40, seed=2).sign() / 40**0.5
    inputs, labels = gaussian(3, 2), torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    found = -implicit_bias.gradient(weights, signs, inputs, labels)
    active = (inputs @ weights.T > 0).T
    for j in range(40):
        slopes = [1.0 if bool(one) else 0.1 for one in active[j]]
        row = sum(float(y) * slope * x for y, slope, x in zip(labels, slopes, inputs, strict=True))
        torch.testing.assert_close(found[j], signs[j] / 6 * row, rtol=1e-6, atol=1e-12)
    patterns = {(bool(sign > 0), *map(bool, one)) for sign, one in zip(signs, active, strict=True)}
    rows = {tuple(np.round(row.numpy(), 8)) for row in found}
    assert len(rows) == len(patterns) < 40


def test_the_odd_part_of_a_network_is_linear() -> None:
    """F(x) - f(-x) = 1.1 sum_j a_j <w_j, x> for the slope .1: what the protocol compares labels with."""
    weights, signs, inputs = gaussian(9, 4), gaussian(9, seed=1), gaussian(5, 4, seed=2)
    odd = implicit_bias.answers(weights, signs, inputs) - implicit_bias.answers(weights, signs, -inputs)
    torch.testing.assert_close(odd, 1.1 * inputs @ (weights.T @ signs))


def test_the_stable_rank_of_known_matrices() -> None:
    assert implicit_bias.stable_rank(torch.outer(gaussian(4), gaussian(6))) == pytest.approx(1)
    assert implicit_bias.stable_rank(torch.eye(5)) == pytest.approx(5)
    assert implicit_bias.stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))) == pytest.approx(1.5)


def test_whitened_samples_with_balanced_labels_lead_to_rank_one() -> None:
    """Centred, so that the sums of both classes are opposite: where w_j = c a_j s, s the sum of one, steps are along s.

    The source has rank two for nearly orthogonal samples; descent from small random weights ends near this direction.
    """
    raw, labels = gaussian(20, 40), torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(10)
    left, _, right = torch.linalg.svd(raw - raw.mean(dim=0), full_matrices=False)
    white = left[:, :19] @ right[:19] * 40**0.5
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(20) / 40**0.5
    direction = white[labels > 0].sum(dim=0)
    step = implicit_bias.gradient(0.01 * torch.outer(signs, direction), signs, white, labels)
    torch.testing.assert_close(step, (step @ direction).outer(direction) / direction.square().sum(), rtol=0, atol=1e-12)
    ends = {}
    for name, inputs in (("white", white), ("raw", raw)):
        weights = 1e-5 * gaussian(40, 40, seed=1)
        for _ in range(300):
            weights = weights - 2 * implicit_bias.gradient(weights, signs, inputs, labels)
        ends[name] = implicit_bias.stable_rank(weights)
    assert ends["white"] < 1.15
    assert 1.3 < ends["raw"] < 2


def run(inputs: str, arm: str, damping: float | None, initial: float) -> tuple[list[dict[str, float]], float]:
    factors = {"inputs": inputs, "arm": arm, "damping": damping, "initial": initial}
    recorder = study.Recorder(factors)
    implicit_bias.run(configured(steps=100), study.Condition("measure", 0, factors), recorder)
    rows = [{name: float(str(value)) for name, value in row.items()} for row in recorder.rows["courses"]]
    return rows, float(str(recorder.rows["samples"][0]["ratio"]))


def test_small_weights_lose_their_rank_in_one_step_and_whitened_samples_are_learnt() -> None:
    """What the protocol must show, on one seed."""
    plain, scattered = run("correlated", "none", None, 1e-3)
    white, orthogonal = run("correlated", "whitening", 0.0, 1e-3)
    large, _ = run("correlated", "whitening", 0.0, 1e-1)
    assert scattered < 1 < orthogonal
    assert orthogonal == pytest.approx(59, rel=1e-3)
    for rows in (plain, white):
        assert rows[0]["rank"] > 20
        assert rows[1]["rank"] < 2
    assert large[1]["rank"] > white[1]["rank"]
    assert white[-1]["accuracy"] == 1 and white[-1]["margin"] > 0
    assert white[-1]["linear"] > 0.9


def test_the_figure_and_the_table_show_every_arm(tmp_path: Path) -> None:
    values = {"samples": 10, "features": 12, "width": 8, "steps": 3, "dampings": (0.0, 1.0)}
    configuration, tables = whole(implicit_bias.PROTOCOL, values)
    implicit_bias.PROTOCOL.report(configuration, tables, tmp_path)
    made = drawn.table(tables)
    assert len(made) == 3 * 2 * (3 + 2 * 2)
    courses = tables["courses"]
    for row in made[made["arm"] == "center"].to_dict("records"):
        own = courses[(courses["inputs"] == row["inputs"]) & (courses["arm"] == "center") & (courses["step"] == 1)]
        own = own[own["initial"] == row["initial"]]
        assert row["rank 1"] == pytest.approx(own["rank"].mean())
        assert row["more"] == 0
    assert (tmp_path / "figures" / "implicit_bias.png").stat().st_size > 10_000
