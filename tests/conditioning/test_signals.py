"""What is heard of a pass: against autograd, which sums over the same rows, with and without decorrelation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import neuro_decorr as nd
from neuro_decorr.conditioning import Signals, foof, kfac
from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.Tanh(),
        nn.Linear(5, 3),
    )


def batch(samples: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(samples, 2, 6, 6), torch.arange(samples) % 3


def has_learnt(model: nn.Module, rule: str, inputs: torch.Tensor, **options: Any) -> nn.Module:
    """A decorrelated copy in double precision whose D and means have moved away from where they start."""
    copy = nd.decorrelate(model, **options).double()
    parameters = {"interneurons": 2} if rule == "interneuron" else {}
    plasticity = nd.Plasticity(copy, nd.rules.get(rule, **parameters))
    for _ in range(3):
        copy(inputs)
        plasticity.step()
    return copy


def assert_rows_make_the_gradient(signals: Signals) -> None:
    for layer in signals:
        made = layer.errors.mT @ layer.inputs
        torch.testing.assert_close(made, layer.gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_rows_of_any_convolution_make_its_gradient(data: st.DataObject) -> None:
    """Its gradient is the sum over patches of error and patch; autograd knows nothing of patches."""
    dimensions = data.draw(st.integers(1, 3), "dimensions")
    groups = data.draw(st.integers(1, 3), "groups")

    def sizes(least: int, most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(least, most)) for _ in range(dimensions))

    kernel, stride, dilation = sizes(1, 3), sizes(1, 3), sizes(1, 2)
    padding: Any = data.draw(st.sampled_from([sizes(0, 2), "valid", *(["same"] * (stride == (1,) * dimensions))]))
    torch.manual_seed(data.draw(st.integers(0, 99), "seed"))
    layer = CONVOLUTIONS[dimensions](
        groups * 2, groups * data.draw(st.integers(1, 2)), kernel, stride, padding, dilation, groups,
        bias=data.draw(st.booleans()), padding_mode=data.draw(st.sampled_from(["zeros", "circular", "replicate"])),
    )  # fmt: skip
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    inputs = torch.randn(
        data.draw(st.integers(1, 3)), groups * 2, *(r + s for r, s in zip(reach, sizes(0, 3), strict=True))
    )
    inputs = inputs.double()
    models = [layer.double()]
    if data.draw(st.booleans(), "decorrelated"):
        models = [
            has_learnt(
                layer, "norm_preserving", inputs, convolution=data.draw(st.sampled_from(["patches", "channels"]))
            )
        ]
    for model in models:
        with Signals(model, errors=True) as signals:
            outputs = model(inputs)
            (outputs * torch.randn_like(outputs)).sum().backward()
            assert [each.name for each in signals] == [""]
            assert_rows_make_the_gradient(signals)


@pytest.mark.parametrize("rule", [None, "whitening", "interneuron", "center"])
@pytest.mark.parametrize("credit", ["backprop", "node_perturbation"])
def test_a_network_and_foof_of_every_layer(rule: str | None, credit: str) -> None:
    torch.manual_seed(0)
    inputs, targets = batch()
    inputs = inputs.double()
    model = network().double() if rule is None else has_learnt(network().double(), rule, inputs)
    signals = Signals(model, errors=credit == "backprop")
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    nd.credit.get(credit, model).backward(F.cross_entropy, inputs, targets)
    layers = list(signals)
    assert [layer.name for layer in layers] == ["0", "3", "5", "7"]
    if credit == "backprop":
        assert_rows_make_the_gradient(signals)
    others = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    for layer in layers:
        rows, old = layer.inputs, layer.gradient.clone()
        layer.gradient = foof(old, rows, damping=0.5, preserve_power=False)
        moment = rows.mT @ rows / rows.shape[-2]
        strength = 0.5 * moment.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        solved = torch.linalg.solve(moment.mT + strength * torch.eye(moment.shape[-1]), old.mT).mT * strength
        torch.testing.assert_close(layer.gradient, solved, rtol=1e-8, atol=1e-10)
        del others[f"{layer.name}.weight"]
    for name, parameter in model.named_parameters():
        assert name not in others or torch.equal(parameter.grad, others[name])
    if rule is not None:  # reading the rows has moved no D, mean or memory
        assert all(torch.equal(before[name], b) for name, b in model.named_buffers() if "decorrelation" in name)


def test_errors_are_those_of_the_credit() -> None:
    """Behind feedback alignment, those that came through its feedback weights."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    credit = nd.credit.get("feedback_alignment", model, seed=2)
    signals = Signals(model, errors=True)
    inputs, targets = torch.randn(8, 4).double(), torch.arange(8) % 3
    credit.backward(F.cross_entropy, inputs, targets)
    first, last = signals
    hidden = torch.tanh(inputs @ model[0].weight.T + model[0].bias)
    output_error = (torch.softmax(model[2](hidden), 1) - F.one_hot(targets, 3)) / 8
    torch.testing.assert_close(last.errors, output_error.detach())
    (feedback,) = (weight for weight in credit.feedback_weights().values() if weight.shape == (3, 6))
    torch.testing.assert_close(first.errors, (output_error @ feedback * (1 - hidden**2)).detach())
    first.gradient = kfac(first.gradient, first.inputs, first.errors, damping=0.1)


def test_the_clean_pass_counts_and_later_passes_replace_it() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    signals = Signals(model)
    inputs, targets = torch.randn(8, 4), torch.arange(8) % 3
    for name in ("node_perturbation", "activity_perturbation", "forward_gradient"):
        options = {} if name == "activity_perturbation" else {"directions": 3}
        nd.credit.get(name, model, **options).backward(F.cross_entropy, inputs, targets)
        first, last = signals
        torch.testing.assert_close(first.inputs, inputs)
        torch.testing.assert_close(last.inputs, torch.tanh(model[0](inputs)).detach())
        model(inputs[:2])
        assert len(first.inputs) == 2


def test_calls_of_one_layer_in_a_pass_and_further_dimensions_are_rows() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step = nn.Linear(3, 3, bias=False)

        def forward(self, sequence: torch.Tensor) -> torch.Tensor:
            state = torch.zeros(2, 3, dtype=sequence.dtype)
            for inputs in sequence:
                state = torch.tanh(self.step(input=inputs + state))
            return state

    torch.manual_seed(3)
    for model, inputs, rows in (
        (Recurrent(), (5, 2, 3), 10),
        (nn.Linear(3, 4), (5, 2, 3), 10),
        (nn.Linear(3, 4), (3,), 1),
    ):
        signals = Signals(model.double(), errors=True)
        model(torch.randn(*inputs).double()).square().sum().backward()
        (layer,) = signals
        assert len(layer.inputs) == rows
        assert_rows_make_the_gradient(signals)


@pytest.mark.parametrize("whole", [True, False], ids=["model", "part"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_checkpoint_computes_again_counts_once(whole: bool, reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

        def part(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.first(inputs))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.last(self.part(inputs) if whole else checkpoint(self.part, inputs, use_reentrant=reentrant))

    model = Saving().double()
    signals = Signals(model, errors=True)
    for rows in (7, 2):
        model.zero_grad()
        inputs = torch.randn(rows, 4).double().requires_grad_()
        outputs = checkpoint(model, inputs, use_reentrant=reentrant) if whole else model(inputs)
        outputs.square().sum().backward()
        assert [len(layer.inputs) for layer in signals] == [rows, rows]
        assert_rows_make_the_gradient(signals)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(3, 2), (4, 3)),
        (nn.Conv2d(1, 3, 6), (1, 6, 6)),
        (nn.Conv2d(2, 4, 5, stride=2, groups=2), (2, 9, 9)),
        (nn.Conv2d(1, 3, 3, padding=2, dilation=2, stride=2), (1, 7, 7)),
        (nn.Conv1d(2, 3, 3, padding=5, padding_mode="circular"), (2, 6)),
    ],
    ids=str,
)
def test_fewer_rows_of_inputs_and_errors_are_of_the_same_places(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """As many as asked for, however few positions an image has; others in the next pass."""
    every, some = Signals(layer, errors=True), Signals(layer, errors=True, rows=30)
    seen = []
    for _ in range(3):
        outputs = layer(torch.randn(50, *shape))
        layer.zero_grad()
        (outputs * torch.randn(outputs.shape)).sum().backward()
        (all_rows,), (few_rows,) = every, some
        inputs, errors = (rows if rows.dim() == 3 else rows.unsqueeze(0) for rows in (all_rows.inputs, all_rows.errors))
        few_inputs, few_errors = few_rows.inputs.view(len(inputs), 30, -1), few_rows.errors.view(len(inputs), 30, -1)
        both = torch.cat([inputs, errors], dim=2), torch.cat([few_inputs, few_errors], dim=2)
        same = (both[0].unsqueeze(1) == both[1].unsqueeze(2)).all(dim=3).all(dim=0)  # (few rows, all rows)
        assert bool((same.sum(dim=1) == 1).all())
        seen.append(same.int().argmax(dim=1).tolist())
    assert all(len(set(rows)) == 30 for rows in seen) and seen[0] != seen[1] != seen[2]


def test_fewer_rows_are_some_of_all_and_spread() -> None:
    torch.manual_seed(4)
    model = nn.Conv2d(2, 3, 3, padding=1, stride=2)
    inputs = torch.randn(40, 2, 8, 8)
    every, some = Signals(model, errors=True), Signals(model, errors=True, rows=50)
    model(inputs).sum().backward()
    (all_rows,), (few_rows,) = every, some
    assert len(all_rows.inputs) == 40 * 16 and len(few_rows.inputs) == 50 == len(few_rows.errors)
    places = [(all_rows.inputs == row).all(dim=1).nonzero()[0].item() for row in few_rows.inputs]
    assert len(set(places)) == 50 and len({place // 16 for place in places}) == 8
    assert max(places) // 16 >= 35  # images from the whole batch


def test_running_averages_weigh_passes_by_their_age() -> None:
    torch.manual_seed(5)
    model = nn.Linear(3, 2).double()
    decay, batches = 0.7, [torch.randn(4, 3).double() for _ in range(6)]
    signals = Signals(model, errors=True, decay=decay)

    def average(number: int, of: list[torch.Tensor]) -> torch.Tensor:
        weights = [decay ** (number - 1 - index) for index in range(number)]
        moments = [weight * rows.T @ rows / len(rows) for weight, rows in zip(weights, of, strict=False)]
        return sum(moments) / sum(weights)

    for number, inputs in enumerate(batches, start=1):
        if number == 4:  # a resumed run goes on where it was
            state, signals = signals.state_dict(), Signals(model, errors=True, decay=decay)
            signals.load_state_dict(state)
        model(inputs).square().sum().backward()
        (layer,) = signals
        for _ in range(2):  # reading twice averages once
            torch.testing.assert_close(layer.input_moment, average(number, batches))
    plain = Signals(model)
    model(batches[0])
    (layer,) = plain
    torch.testing.assert_close(layer.input_moment, average(1, batches))


def test_close_takes_every_hook_off() -> None:
    model = network()
    with Signals(model, errors=True) as signals:
        assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == 5
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    inputs, targets = batch()
    F.cross_entropy(model(inputs), targets).backward()
    with pytest.raises(StateMismatch, match="no inputs reached layer '0'"):
        _ = next(iter(signals)).inputs


def test_a_linear_regression_converges_as_the_implicit_step_does() -> None:
    """With the rate 1 / lambda the error of the weights shrinks by (I + S / lambda)^-1 a step."""
    torch.manual_seed(6)
    model = nn.Linear(6, 3, bias=False).double()
    inputs = torch.randn(40, 6).double() @ torch.logspace(0, -2, 6).double().diag()
    targets = inputs @ torch.randn(6, 3).double()
    moment = inputs.T @ inputs / 40
    strength = float(0.01 * moment.trace() / 6)
    solution = torch.linalg.lstsq(inputs, targets).solution.T
    error = model.weight.detach() - solution
    shrinkage = torch.linalg.inv(torch.eye(6) + moment / strength)
    credit, signals = nd.credit.get("backprop", model), Signals(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=1 / strength)
    for _ in range(20):
        optimiser.zero_grad()
        credit.backward(lambda outputs, wanted: (outputs - wanted).square().sum() / 80, inputs, targets)
        for layer in signals:
            layer.gradient = foof(layer.gradient, layer.inputs, damping=0.01, preserve_power=False)
        optimiser.step()
    expected = error @ torch.linalg.matrix_power(shrinkage, 20)
    torch.testing.assert_close(model.weight.detach() - solution, expected, rtol=1e-7, atol=1e-9)


def test_what_is_refused() -> None:
    model = network()
    with pytest.raises(InvalidValue, match=r"must be a torch\.nn\.Module"):
        Signals("model")
    with pytest.raises(InvalidValue, match=r"got '9': the layers of the model are '0', '3', '5', '7'"):
        Signals(model, skip=["9"])
    with pytest.raises(InvalidValue, match="got none: the layers of the model are none"):
        Signals(nn.ReLU())
    with pytest.raises(InvalidValue, match=r"rows must be a whole number >= 1, .*; decay must be .*> 0 and < 1"):
        Signals(model, rows=0, decay=1)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(Unsupported, match="layers '0' and '1' share their weight"):
        Signals(tied)
    assert len(Signals(tied, skip=["1"])._layers) == 1
    for unmade in (nn.LazyLinear(3), nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))):
        with pytest.raises(Unsupported, match="so that the weight has no gradient"):
            Signals(unmade)
    signals = Signals(model)
    inputs, targets = batch()
    model(inputs)
    assert list(signals) == []
    F.cross_entropy(model(inputs), targets).backward()
    layer = next(iter(signals))
    with pytest.raises(StateMismatch, match=r"no errors reached layer '0'.*errors=True"):
        _ = layer.errors
    with pytest.raises(InvalidValue, match=r"must have the shape \(4, 18\), got a Tensor of shape \(4, 17\)"):
        layer.gradient = torch.ones(4, 17)
    with pytest.raises(StateMismatch, match="averages are of the layers a, and this model has 0, 3, 5, 7"):
        signals.load_state_dict({"a": {}})
    model.zero_grad()
    with pytest.raises(StateMismatch, match="layer '0' has no gradient"):
        _ = layer.gradient


def test_signals_of_the_model_before_decorrelate_raise() -> None:
    model = network()
    signals = Signals(model)
    copy = nd.decorrelate(model)
    x, y = batch()
    nd.credit.get("backprop", copy).backward(F.cross_entropy, x, y)
    with pytest.raises(StateMismatch, match=r"no forward pass since.*`decorrelate` returns a copy"):
        list(signals)
    nd.credit.get("backprop", model).backward(F.cross_entropy, x, y)
    assert len(list(signals)) == 4
