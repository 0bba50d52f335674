"""The credits by name."""

import pytest
import torch
from torch import nn

from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, UnknownName

FIVE = [
    "activity_perturbation",
    "backprop",
    "direct_feedback_alignment",
    "feedback_alignment",
    "node_perturbation",
]

COLUMNS = "name signal bias variance locality cost memory dense convolutional source"


def test_names_are_sorted_and_get_finds_them() -> None:
    assert credit.names() == sorted(credit.names())
    assert set(FIVE) <= set(credit.names())
    for name in FIVE:
        assert credit.get(name, nn.Linear(2, 3)).name == name


def test_the_table_says_everything_about_every_credit() -> None:
    rows = credit.table()
    assert [row["name"] for row in rows] == credit.names()
    for row in rows:
        assert list(row) == COLUMNS.split()
        assert all(isinstance(value, str) and value for value in row.values())


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"'backpropp'; did you mean 'backprop'\?"):
        credit.get("backpropp", nn.Linear(2, 3))


@pytest.mark.parametrize("name", [None, 3, credit.Backprop])
def test_a_name_is_text(name) -> None:
    with pytest.raises(
        InvalidValue, match=r"the name of a credit is a string, got .*: activity_perturbation, backprop"
    ):
        credit.get(name, nn.Linear(2, 3))


@pytest.mark.parametrize("name", [name for name in credit.names() if name != "eprop"])
def test_every_credit_takes_a_seed_and_checks_it(name) -> None:
    assert credit.get(name, nn.Linear(2, 3), seed=3).name == name
    with pytest.raises(InvalidValue, match=f"{name}: seed must be a whole number >= 0, got -1"):
        credit.get(name, nn.Linear(2, 3), seed=-1)


def test_unknown_parameters_are_reported_together_with_the_allowed_ones() -> None:
    message = "'sigm', 'step'; allowed: sigma, noise, directions, hold, time_first, vectorised, seed"
    with pytest.raises(InvalidValue, match=message):
        credit.get("node_perturbation", nn.Linear(2, 3), sigm=1.0, step=2)
    with pytest.raises(InvalidValue, match="'sigma'; allowed: seed"):
        credit.get("backprop", nn.Linear(2, 3), sigma=1.0)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("node_perturbation", {"sigma": 0.0}, "sigma must be a finite number > 0, got 0.0"),
        ("node_perturbation", {"sigma": float("nan")}, "sigma must be"),
        ("node_perturbation", {"sigma": True}, "sigma must be"),
        ("node_perturbation", {"noise": "cauchy"}, "noise must be one of 'gaussian', 'rademacher', got 'cauchy'"),
        ("node_perturbation", {"hold": "trial"}, "hold must be one of 'step', 'pass', got 'trial'"),
        ("node_perturbation", {"time_first": 1}, "time_first must be True or False, got 1"),
        ("node_perturbation", {"vectorised": 8}, "vectorised must be True or False, got 8"),
        ("direct_feedback_alignment", {"time_first": "first"}, "time_first must be True or False, got 'first'"),
        ("node_perturbation", {"directions": 0}, "directions must be a whole number >= 1, got 0"),
        ("node_perturbation", {"seed": 1.5}, "seed must be a whole number >= 0, got 1.5"),
        ("activity_perturbation", {"trace": 0.0}, "trace must be a finite number > 0, got 0.0"),
        ("activity_perturbation", {"hold": "trial"}, "hold must be one of 'step', 'pass', got 'trial'"),
        ("activity_perturbation", {"normalisation": "n"}, "one of 'N', 'sqrtN', 'none', got 'n'"),
        ("feedback_alignment", {"scale": -1}, "scale must be"),
        ("feedback_alignment", {"feedback_site": "x"}, "one of 'pre_decorrelation', 'post_decorrelation', got 'x'"),
        ("kolen_pollack", {"scale": 0}, "kolen_pollack: scale must be a finite number > 0, got 0"),
        ("sign_symmetry", {"magnitudes": "random"}, "one of 'uniform', 'frozen', 'batchwise', got 'random'"),
        ("weight_mirror", {"rate": 1.5}, "rate must be a finite number > 0 and <= 1, got 1.5"),
        ("weight_mirror", {"rows": 0}, "rows must be a whole number >= 1, got 0"),
        ("direct_feedback_alignment", {"outputs": 0}, "outputs must be a whole number >= 1, got 0"),
        ("node_perturbation", {"sigma": -1, "directions": 0, "seed": -1}, "sigma .*; seed .*; directions "),
    ],
)
def test_values_are_checked_at_once(name, parameters, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        credit.get(name, nn.Linear(2, 3), **parameters)


def test_a_model_must_be_a_module() -> None:
    with pytest.raises(InvalidValue, match=r"model of a credit must be a torch\.nn\.Module, got function"):
        credit.get("backprop", lambda x: x)


def test_a_user_registers_a_credit(monkeypatch) -> None:
    monkeypatch.setattr(credit.registry._CREDITS, "_classes", dict(credit.registry._CREDITS._classes))

    @credit.register
    class Nothing(credit.Credit):
        name = "nothing"
        signal = bias = variance = locality = cost = memory = source = "none"

        def __init__(self, model, *, scale=1.0) -> None:
            super().__init__(model)

        def backward(self, loss_function, inputs, targets) -> torch.Tensor:
            return torch.zeros(())

    assert isinstance(credit.get("nothing", nn.Linear(1, 1), scale=2.0), Nothing)
    assert credit.register(Nothing) is Nothing

    class Another(Nothing):
        pass

    with pytest.raises(InvalidValue, match="a credit named 'nothing' exists already"):
        credit.register(Another)

    class Unnamed(credit.Credit):
        signal = bias = variance = locality = cost = memory = source = "none"

        def backward(self, loss_function, inputs, targets) -> torch.Tensor:
            return torch.zeros(())

    with pytest.raises(InvalidValue, match="Unnamed needs text as its class attribute name"):
        credit.register(Unnamed)
    for wrong in (credit.Credit, nn.Linear, Nothing(nn.Linear(1, 1))):
        with pytest.raises(InvalidValue, match="only a concrete subclass of Credit"):
            credit.register(wrong)
