"""The table of what is decorrelated: every weight of a model is in it, with what happens to it and why."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, UnknownName, Unsupported


class Projection(nn.Module):
    """A linear map of a library that nobody registered, with its weight the other way round (GPT-2's Conv1D)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.addmm(self.bias, inputs, self.weight)


def everything() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "embedding": nn.Embedding(5, 4),
            "linear": nn.Linear(4, 6),
            "grouped": nn.Conv2d(4, 6, 3, groups=2, bias=False),
            "attention": nn.MultiheadAttention(4, 2),
            "lstm": nn.LSTM(4, 3),
            "cell": nn.GRUCell(4, 3),
            "bilinear": nn.Bilinear(2, 3, 4),
            "norm": nn.LayerNorm([2, 3]),
            "projection": Projection(4, 3),
            "raw": nn.ParameterList([nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3))]),
            "lazy": nn.LazyLinear(3),
            "complex": nn.Linear(2, 2, dtype=torch.complex64),
            "thin": nn.BatchNorm1d(3),
        }
    )


EXPECTED = {
    "embedding": ("Embedding", "left", "indices look up", 1, 20),
    "linear": ("Linear", "would be decorrelated", "", 1, 24),
    "grouped": ("Conv2d", "would be decorrelated", "", 1, 6 * 2 * 9),
    "attention": ("MultiheadAttention", "left", "write the projections as Linear", 1, 48),
    "attention.out_proj": ("NonDynamicallyQuantizableLinear", "refused", "without calling the layer", 1, 16),
    "lstm": ("LSTM", "left", "all steps", 2, 12 * 4 + 12 * 3),
    "cell": ("GRUCell", "left", "input and state", 2, 9 * 4 + 9 * 3),
    "bilinear": ("Bilinear", "left", "product of two inputs", 1, 24),
    "norm": ("LayerNorm", "left", "every unit separately", 2, 12),
    "projection": ("Projection", "left", 'nd.rate.register_linear(Projection, weight="inputs_first") lets', 1, 12),
    "raw.0": ("Parameter", "left", "belongs to no layer", 1, 6),
    "lazy": ("LazyLinear", "refused", "run one batch", 0, 0),
    "complex": ("Linear", "refused", "complex weights", 1, 4),
}


def test_every_weight_of_a_plain_model_is_told() -> None:
    model = everything()
    report = nd.coverage(model)
    assert [row.name for row in report.rows] == list(EXPECTED)
    for row in report.rows:
        kind, status, reason, matrices, weights = EXPECTED[row.name]
        assert (row.kind, row.status, row.matrices, row.weights) == (kind, status, matrices, weights)
        assert reason in row.reason
    whole = sum(weights for *_, weights in EXPECTED.values())
    parameters = [p for n, p in model.named_parameters() if not n.startswith("lazy") and p.dim() > 1]
    assert whole == sum(p.numel() for p in parameters)
    assert report.fraction == (2 / len(parameters), (24 + 108) / whole)
    assert sum(row.share for row in report.rows) == pytest.approx(1)
    text = str(report)
    assert all(name in text for name in EXPECTED) and f"2 of {len(parameters)} weight matrices" in text
    lines = text.splitlines()
    columns = {line.index(row.status) for line, row in zip(lines[1:], report.rows, strict=False)}
    assert len(columns) == 1, "not aligned"


def test_what_the_refusal_names_is_what_coverage_calls_refused() -> None:
    model = everything()
    with pytest.raises(Unsupported) as told:
        nd.decorrelate(model)
    refused = [row.name for row in nd.coverage(model).rows if row.status == "refused"]
    assert all(f"'{name}'" in str(told.value) for name in refused) and len(refused) == 3
    decorrelated = nd.decorrelate(model, skip=refused)
    covered = [row.name for row in nd.coverage(decorrelated).rows if row.status == "decorrelated"]
    assert covered == [row.name for row in nd.coverage(model).rows if row.status == "would be decorrelated"]


def test_a_decorrelated_model_tells_transform_rule_and_what_was_left_out() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Conv1d(4, 6, 3, groups=2), nn.Linear(6, 5), nn.Linear(5, 2))
    assert [row.status for row in nd.coverage(model, skip=nn.Conv1d).rows][1] == "skipped"
    decorrelated = nd.decorrelate(model, skip=("3", model[2]), center=False)
    for seen in (decorrelated, copy.deepcopy(decorrelated), pickle.loads(pickle.dumps(decorrelated))):
        first, second, third, fourth = nd.coverage(seen).rows
        assert (first.kind, first.structure, first.rule, first.features, first.center) == (
            "Linear",
            "centering",
            None,
            4,
            False,
        )
        assert (second.features, second.groups) == (2 * 3, 2)
        assert (third.status, third.reason) == ("skipped", "skip=the Linear '2'")
        assert (fourth.status, fourth.reason) == ("skipped", "skip='3'")
    nd.Plasticity(decorrelated, nd.rules.get("interneuron", interneurons=2))
    assert (nd.coverage(decorrelated).rows[0].structure, nd.coverage(decorrelated).rows[0].rule) == (
        "low_rank",
        "interneuron",
    )
    with pytest.raises(InvalidValue, match="remembers its own"):
        nd.coverage(decorrelated, skip="3")
    with pytest.raises(UnknownName, match="did you mean 'Conv1d'"):
        nd.coverage(model, skip=nn.Conv2d)
    folded = nd.fold(decorrelated)
    assert {row.status for row in nd.coverage(folded).rows} == {"would be decorrelated"}
    assert all("_left_out_by" not in vars(module) for module in folded.modules())


def test_shared_weights_count_once_and_computed_ones_in_their_layer() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(7, 6), "head": nn.Linear(6, 7), "twin": nn.Linear(6, 7)})
    model["head"].weight = model["table"].weight
    parametrizations.spectral_norm(model["twin"])
    before = copy.deepcopy(model.state_dict())
    report = nd.coverage(model)
    assert report.fraction == (1, 1)
    assert [row.share for row in report.rows] == [0, 0.5, 0.5]
    assert str(report).splitlines()[1].split()[:3] == ["table", "Embedding", "shared"]
    assert str(report).endswith("2 of 2 weight matrices, 100.0% of the weights.")
    tied = nd.coverage(nd.decorrelate(model, skip="head"))
    assert [row.share for row in tied.rows] == [0.5, 0, 0.5] and tied.fraction == (0.5, 0.5)
    assert [(row.name, row.weights) for row in report.rows] == [("table", 42), ("head", 42), ("twin", 42)]
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), "looking has moved the power iteration"
    prune.random_unstructured(cut := nn.Linear(3, 2), "weight", 0.5)
    assert [(row.kind, row.matrices) for row in nd.coverage(nn.Sequential(cut)).rows] == [("Linear", 1)]


def test_a_decorrelation_by_itself_and_a_compiled_model() -> None:
    rows = nd.coverage(nn.Sequential(nd.Decorrelation(4), nn.Tanh())).rows
    assert [(row.name, row.kind, row.status, row.features) for row in rows] == [
        ("0", "Decorrelation", "decorrelated", 4)
    ]
    rows = nd.coverage(nn.Sequential(torch.compile(nn.Sequential(nn.Linear(2, 2)), backend="eager"))).rows
    assert [(row.name, row.status) for row in rows] == [("0", "refused"), ("0.0", "would be decorrelated")]
