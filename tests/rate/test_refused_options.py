"""Options of a wrong kind are refused by one short line that says what was got, whatever that was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, NeuroDecorrError, shown


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(6, 2))


@pytest.mark.parametrize("skip", [3, None, True, 3.5, torch.ones(2), {"0": 1}, [None], ["0", 3], b"0"])
def test_what_cannot_be_skipped_is_refused_in_one_line(skip: object) -> None:
    for call in (nd.decorrelate, nd.coverage):
        with pytest.raises(InvalidValue, match=r"skip= takes .* got ") as caught:
            call(model(), skip=skip)
        assert "\n" not in str(caught.value)


def failing(name: str, layer: nn.Module) -> bool:
    return layer.out_features < 10


def of_one(name: str) -> bool:
    return name == "0"


@pytest.mark.parametrize(("predicate", "kind"), [(failing, AttributeError), (of_one, TypeError)])
def test_a_predicate_that_fails_is_named_with_the_layer(predicate: Callable[..., bool], kind: type) -> None:
    message = rf"skip={predicate.__name__}: .* raised {kind.__name__} for '0' \(Conv1d\): "
    with pytest.raises(InvalidValue, match=message) as caught:
        nd.decorrelate(model(), skip=predicate)
    assert isinstance(caught.value.__cause__, kind)


def test_the_predicate_of_the_page_takes_convolutions() -> None:
    found = nd.decorrelate(model(), skip=lambda name, layer: getattr(layer, "out_features", 10) < 10)  # noqa: ARG005
    assert [name for name, _, _ in nd.rate.decorrelated_layers(found)] == ["0"]


@pytest.mark.parametrize("value", ["yes", None, 1, 0.5, torch.ones(40, 40)])
def test_flags_are_true_or_false(value: object) -> None:
    calls: dict[str, Callable[[], object]] = {
        "decorrelate: center": lambda: nd.decorrelate(model(), center=value),
        "Decorrelation: center": lambda: nd.rate.Decorrelation(3, value),
        "processes": lambda: nd.Plasticity(nd.decorrelate(model()), nd.rules.get("whitening"), processes=value),
    }
    for name in ("whitening", "zca", "interneuron", "interneuron_local"):
        calls[f"{name}: preserve_power"] = lambda name=name: nd.rules.get(name, preserve_power=value)
    for what, call in calls.items():
        with pytest.raises(InvalidValue, match=f"^{what} must be True .*got ") as caught:
            call()
        assert "\n" not in str(caught.value) and "tensor(" not in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, nn.Linear, ["whitening"], torch.ones(40, 40)])
def test_the_name_of_a_rule_is_a_string(name: object) -> None:
    with pytest.raises(InvalidValue, match=r"^the name of a rule is a string, got .*whitening") as caught:
        nd.rules.get(name)
    assert "\n" not in str(caught.value)


BIG: Tensor = torch.ones(40, 40)


@pytest.mark.parametrize("value", [BIG, nn.Sequential(nn.Linear(2, 2), nn.ReLU()), [BIG], "x" * 500])
def test_messages_never_print_whole_tensors_or_models(value: object) -> None:
    decorrelated = nd.decorrelate(model())
    rule = nd.rules.get("whitening")
    for call in (
        lambda: nd.rules.get("whitening", rate=value),
        lambda: nd.rules.get("whitening", damping=value),
        lambda: nd.rules.get("interneuron", interneurons=value),
        lambda: nd.Plasticity(decorrelated, value),
        lambda: nd.Plasticity(decorrelated, rule, mean_rate=value),
        lambda: nd.Plasticity(decorrelated, rule, row_fraction=value),
        lambda: nd.Plasticity(decorrelated, rule, compensate=value),
        lambda: (
            nd.Plasticity([{"modules": [value]}], rule) if not isinstance(value, nn.Module) else rule.check_rate(value)
        ),
        lambda: nd.decorrelate(model(), row_fraction=value),
        lambda: nd.decorrelate(model(), convolution=value),
        lambda: nd.decorrelate(model(), signal=value),
        lambda: nd.rate.Decorrelation(value),
        lambda: nd.rate.register_linear(value),
    ):
        with pytest.raises(NeuroDecorrError) as caught:
            call()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_what_is_shown_of_a_value() -> None:
    assert (
        shown(None) == "None" and shown("a") == "'a'" and shown(0.1) == "0.1" and shown(nn.Linear) == "the class Linear"
    )
    assert (
        shown(BIG) == "a Tensor of shape (40, 40)"
        and shown(nn.Linear(2, 2)) == "a Linear"
        and shown([1]) == "a list of 1"
    )
    assert shown("x" * 100) == "'" + "x" * 56 + "..."
