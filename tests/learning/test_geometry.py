"""The geometry of updates against closed forms and explicit sums; and that looking changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.data import Dataset, from_arrays
from neuro_decorr.errors import Unsupported
from neuro_decorr.learning import Geometry, train
from neuro_decorr.learning.geometry import measure


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = 1 + torch.randn(120, 6, generator=generator) * torch.linspace(0.2, 3, 6)
    return from_arrays(inputs, (inputs[:, 0] + inputs[:, 1] > 2).long() + (inputs[:, 2] > 1), source="planes")


def rows(model: nn.Module, data: Dataset, credit: str = "backprop", **options: object) -> dict[str, list[dict]]:
    recorder = study.Recorder()
    conditioned = options.pop("conditioned", None)
    geometry = Geometry(**{"samples": 20, "dampings": (1.0,), **options})  # type: ignore[arg-type]
    measure(geometry, model, nd.credit.get(credit, model, seed=1), conditioned, data.train, 0, recorder)
    return recorder.rows


def of(table: list[dict], layer: str) -> dict:
    (found,) = (row for row in table if row["layer"] == layer)
    return found


def test_backprop_of_a_plain_network_is_its_own_gradient(data: Dataset) -> None:
    model = dense([6, 5, 3], seed=0)
    found = rows(model, data)["geometry"]
    assert [row["layer"] for row in found] == ["all", "hidden_1", "output"]
    for row in found:
        assert [row[name] for name in ("cosine", "norm_ratio", "plain_cosine")] == pytest.approx([1, 1, 1])
        assert row["feedback_angle"] is None
    inputs = data.train.inputs.double()
    values = torch.linalg.eigvalsh(inputs.T @ inputs / len(inputs))
    first = of(found, "hidden_1")
    assert first["condition_number"] == pytest.approx(float(values[-1] / values[0]), rel=1e-6)
    assert first["effective_rank"] == pytest.approx(float(values.sum() ** 2 / values.square().sum()), rel=1e-6)
    assert first["mean_power"] == pytest.approx(float(values.mean()), rel=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_updates_are_compared_in_the_plain_network(data: Dataset, bias: bool) -> None:
    """Of one layer x = D (z - mean): W <- W - G moves W D by G D, and b - W D mean by g - G D mean."""
    model = nd.decorrelate(nn.Linear(6, 3, bias=bias))
    generator = torch.Generator().manual_seed(3)
    transform, mean = (torch.randn(shape, generator=generator) for shape in ((6, 6), (6,)))
    model.decorrelation.matrix.copy_(transform)
    model.decorrelation.mean.copy_(mean)
    inputs, targets = data.train.inputs[:20], data.train.targets[:20]
    row = rows(model, data)["geometry"][0]
    error = (model(inputs).softmax(1) - F.one_hot(targets, 3)).detach() / 20
    own = error.T @ ((inputs - mean) @ transform.T)
    step, offset = own @ transform, bias * error.sum(0) - own @ transform @ mean
    gradient, plain_offset = error.T @ inputs, error.sum(0)
    steps, gradients = (torch.cat([w.flatten(), b]) for w, b in ((step, offset), (gradient, plain_offset)))
    assert row["cosine"] == pytest.approx(1)
    assert row["plain_cosine"] == pytest.approx(float(F.cosine_similarity(steps, gradients, dim=0)), rel=1e-4)
    assert row["update_norm"] == pytest.approx(float(steps.norm()), rel=1e-4)


def test_on_one_linear_layer_with_even_errors_conditioning_is_the_natural_gradient(data: Dataset) -> None:
    """At zero weights p = 1/3: F = (I / 3 - 1 1^T / 9) S of mean power 2 c / 9, so damping 1 is foof's of 2 / 3."""
    model = nn.Linear(6, 3, bias=False)
    nn.init.zeros_(model.weight)
    plain = of(rows(model, data)["natural"], "all")
    assert plain["cosine"] < 0.95 and plain["relative_decrease"] < 0.95
    assert of(rows(model, data, dampings=(1e9,))["natural"], "all")["cosine"] == pytest.approx(1, abs=1e-5)
    signals = nd.conditioning.Signals(model)

    def conditioned() -> None:
        for layer in signals:
            layer.gradient = nd.conditioning.foof(layer.gradient, layer.inputs, damping=2 / 3)

    divided = of(rows(model, data, conditioned=conditioned)["natural"], "all")
    assert divided["cosine"] == pytest.approx(1, abs=1e-6)
    assert divided["relative_decrease"] == pytest.approx(1, abs=1e-6)


def test_angles_of_feedback_weights(data: Dataset) -> None:
    """Layer by layer to W D; broadcast, of a linear network, to the product of the weights behind."""
    model = nd.decorrelate(dense([6, 5, 4, 3], activation=nn.Identity, seed=0))
    plasticity = nd.Plasticity(model, nd.rules.get("zca"), row_fraction=1.0)
    for start in range(0, 60, 20):
        model(data.train.inputs[start : start + 20])
        plasticity.step()
    plain = nd.fold(model)
    aligned = nd.credit.get("feedback_alignment", model, seed=1).feedback_weights()
    direct = nd.credit.get("direct_feedback_alignment", model, seed=1).feedback_weights()
    products = {"output": plain.output.weight, "hidden_2": plain.output.weight @ plain.hidden_2.weight}
    for credit, weights, stand_for in (
        ("feedback_alignment", aligned, {name: plain.get_submodule(name).weight for name in products}),
        ("direct_feedback_alignment", direct, products),
    ):
        found = rows(model, data, credit)["geometry"]
        assert of(found, "hidden_1")["feedback_angle"] is None, "it sends nothing on"
        for name, weight in stand_for.items():
            cosine = float(F.cosine_similarity(weights[name].flatten(), weight.detach().flatten(), dim=0))
            assert of(found, name)["feedback_angle"] == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-3)


# e-prop is for recurrent cells.
@pytest.mark.parametrize("credit", sorted(set(nd.credit.names()) - {"eprop"}))
def test_looking_leaves_the_run_as_it_is(data: Dataset, credit: str) -> None:
    """Of every credit, the noise of those that have some included; convolutional, batch normalised, decorrelated."""
    curves, tables = [], []
    for geometry in (None, Geometry(samples=10, dampings=(), every=2)):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 4),
            nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3),
        )  # fmt: skip
        model = nd.decorrelate(network)
        teacher = nd.credit.get(credit, model, seed=0)
        optimiser = torch.optim.SGD([*model.parameters(), *teacher.parameters()], lr=0.01)
        recorder = study.Recorder()
        train(
            model, teacher, optimiser, data, recorder, plasticity=nd.Plasticity(model, nd.rules.get("zca")),
            epochs=2, batch_size=20, seed=0, geometry=geometry,
        )  # fmt: skip
        assert recorder.reason is None
        curves.append(recorder.rows["curves"])
        tables.append(recorder.rows.get("geometry", []))
    assert curves[0] == curves[1]
    assert [(row["epoch"], row["layer"]) for row in tables[1]] == [
        (epoch, layer) for epoch in (0, 2) for layer in ("all", "1", "4", "7")
    ]


def test_parametrized_weights_are_refused(data: Dataset) -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))
    with pytest.raises(Unsupported, match="not linear"):
        rows(model, data)
