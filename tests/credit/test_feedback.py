"""Feedback alignment and direct feedback alignment against a loop over samples."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neuro_decorr import credit
from neuro_decorr.errors import Unsupported
from tests.credit.loops import ACTIVATIONS, assert_gradients, feedback_loop, gradients, make_case

NAMES = ["feedback_alignment", "direct_feedback_alignment"]
ALL = [*NAMES, "sign_symmetry", "kolen_pollack", "weight_mirror"]


def run(name, case, **parameters) -> credit.Credit:
    assignment = credit.get(name, case.model, **parameters)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    return assignment


def expected(name, case, assignment, site) -> tuple[list, list]:
    weights = [matrix.numpy() for matrix in assignment.feedback_weights().values()]

    def send_back(number, delta, error) -> np.ndarray:
        signal = weights[number].T @ (error if name == "direct_feedback_alignment" else delta)
        return signal if site == "pre_decorrelation" else case.transforms[number].T @ signal

    return feedback_loop(case, send_back)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_loop(name, activation, bias) -> None:
    case = make_case(activation=activation, bias=bias)
    assignment = run(name, case)
    assert_gradients(case, expected(name, case, assignment, "pre_decorrelation"))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("site", ["pre_decorrelation", "post_decorrelation"])
def test_the_site_of_the_feedback(name, site) -> None:
    case = make_case(transform=True)
    assignment = run(name, case, feedback_site=site)
    assert_gradients(case, expected(name, case, assignment, site))


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    bias=st.booleans(),
    batch=st.integers(1, 5),
    transform=st.booleans(),
    site=st.sampled_from(["pre_decorrelation", "post_decorrelation"]),
    name=st.sampled_from(ALL),
    seed=st.integers(0, 1000),
)
def test_the_loop_for_any_network(sizes, activation, bias, batch, transform, site, name, seed) -> None:
    case = make_case(sizes, activation, bias, batch, seed, transform)
    assignment = run(name, case, feedback_site=site, seed=seed)
    assert_gradients(case, expected(name, case, assignment, site))


def test_feedback_through_the_forward_weights_is_backprop() -> None:
    case = make_case()
    assignment = credit.get("feedback_alignment", case.model)
    for (_, feedback), layer in zip(assignment.feedback_weights().items(), case.layers, strict=True):
        feedback.copy_(layer.weight.detach())
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    aligned = gradients(case.model)
    case.model.zero_grad()
    F.mse_loss(case.model(case.inputs), case.targets).backward()
    for ours, exact in zip(aligned, gradients(case.model), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_not_backprop_and_the_output_layer_is_exact(name) -> None:
    case = make_case()
    run(name, case)
    random = [layer.weight.grad.clone() for layer in case.layers]
    case.model.zero_grad()
    F.mse_loss(case.model(case.inputs), case.targets).backward()
    exact = [layer.weight.grad for layer in case.layers]
    torch.testing.assert_close(random[-1], exact[-1])
    for ours, theirs in zip(random[:-1], exact[:-1], strict=True):
        cosine = torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)
        assert abs(cosine) < 0.9


@pytest.mark.parametrize(
    ("name", "site", "transported"),
    [
        ("backprop", None, True),
        ("feedback_alignment", "pre_decorrelation", False),
        ("direct_feedback_alignment", "pre_decorrelation", False),
        ("kolen_pollack", "pre_decorrelation", False),
        ("weight_mirror", "pre_decorrelation", False),
    ],
)
def test_the_backward_pass_never_reads_the_forward_weights(name, site, transported) -> None:
    case = make_case(transform=True)

    def spoil_then_loss(outputs, targets) -> torch.Tensor:
        for layer in case.layers:  # the forward pass is over: whoever reads these from now on, transports them
            layer.weight.data.fill_(torch.nan)
            layer.matrix.data.fill_(torch.nan)
        return F.mse_loss(outputs, targets)

    parameters = {} if site is None else {"feedback_site": site}
    credit.get(name, case.model, **parameters).backward(spoil_then_loss, case.inputs, case.targets)
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients(case.model))
    assert finite is not transported


def test_the_feedback_has_the_size_of_the_weights_and_a_seed() -> None:
    model = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 100))
    nn.init.zeros_(model[2].weight)
    first = credit.get("feedback_alignment", model, seed=3).feedback_weights()
    again = credit.get("feedback_alignment", model, seed=3).feedback_weights()
    other = credit.get("feedback_alignment", model, seed=4).feedback_weights()
    double = credit.get("feedback_alignment", model, seed=3, scale=2.0).feedback_weights()
    rms = {name: matrix.square().mean().sqrt().item() for name, matrix in first.items()}
    # 4 standard errors of a root mean square over 60,000 and 20,000 Gaussian numbers
    assert rms["0"] == pytest.approx(model[0].weight.detach().square().mean().sqrt().item(), rel=0.012)
    assert rms["2"] == pytest.approx((3 * 200) ** -0.5, rel=0.02)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    torch.testing.assert_close(double["0"], 2 * first["0"])


def test_the_direct_feedback_has_the_shape_of_the_error() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    shapes = {n: tuple(b.shape) for n, b in credit.get("direct_feedback_alignment", model).feedback_weights().items()}
    assert shapes == {"0": (3, 5), "2": (3, 4)}


class Recurrent(nn.Module):
    """One layer used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"step": nn.Linear(4, 4, dtype=torch.float64)})
        self.readout = nn.Linear(4, 2, dtype=torch.float64)

    def forward(self, inputs) -> torch.Tensor:
        for _ in range(3):
            inputs = torch.tanh(self.inner["step"](inputs))
        return self.readout(inputs)


def test_a_shared_layer_has_one_feedback_matrix() -> None:
    torch.manual_seed(0)
    model, inputs, targets = Recurrent(), torch.randn(3, 4).double(), torch.randn(3, 2).double()
    assignment = credit.get("feedback_alignment", model)
    assert list(assignment.state_dict()) == ["feedback/inner/step", "feedback/readout"]
    assignment.backward(F.mse_loss, inputs, targets)
    step, readout = (matrix.numpy() for matrix in assignment.feedback_weights().values())
    weight, bias = model.inner["step"].weight.detach().numpy(), model.inner["step"].bias.detach().numpy()
    total = np.zeros_like(weight)
    for sample, target in zip(inputs.numpy(), targets.numpy(), strict=True):
        states = [sample]
        for _ in range(3):
            states.append(np.tanh(weight @ states[-1] + bias))
        output = model.readout.weight.detach().numpy() @ states[-1] + model.readout.bias.detach().numpy()
        signal = readout.T @ (2 * (output - target) / targets.numel())
        for before, after in zip(reversed(states[:-1]), reversed(states[1:]), strict=True):
            delta = (1 - after**2) * signal
            total += np.outer(delta, before)
            signal = step.T @ delta
    np.testing.assert_allclose(model.inner["step"].weight.grad.numpy(), total, rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_time_beside_the_batch_is_a_larger_batch(name) -> None:
    case = make_case(batch=6)
    assignment = run(name, case)
    flat = gradients(case.model)
    case.model.zero_grad()
    assignment.backward(F.mse_loss, case.inputs.reshape(2, 3, -1), case.targets.reshape(2, 3, -1))
    for ours, theirs in zip(gradients(case.model), flat, strict=True):
        torch.testing.assert_close(ours, theirs)


class Pooled(nn.Module):
    """Features of every time step, averaged over time; or time folded into the batch."""

    def __init__(self, fold) -> None:
        super().__init__()
        self.features, self.readout, self.fold = nn.Linear(4, 5), nn.Linear(5, 2), fold

    def forward(self, inputs) -> torch.Tensor:
        batch, steps, _ = inputs.shape
        hidden = torch.tanh(self.features(torch.tanh(inputs.reshape(batch * steps, -1) if self.fold else inputs)))
        return self.readout(hidden.reshape(batch, steps, -1).mean(1))


def test_direct_feedback_repeats_the_error_along_time_or_says_why_not() -> None:
    torch.manual_seed(1)
    model, inputs, targets = Pooled(fold=False).double(), torch.randn(3, 6, 4).double(), torch.randn(3, 2).double()
    inputs.requires_grad_()  # so that the first layer has somebody to send its signal to
    assignment = credit.get("direct_feedback_alignment", model)
    assignment.backward(F.mse_loss, inputs, targets)
    feedback = assignment.feedback_weights()["features"]
    error = 2 * (model(inputs) - targets).detach() / targets.numel()
    signal = (error @ feedback)[:, None, :] * (1 - torch.tanh(inputs.detach()) ** 2)
    torch.testing.assert_close(inputs.grad, signal)
    with pytest.raises(Unsupported, match=r"leading dimensions \(3,\), the input of a layer has \(18,\)"):
        credit.get("direct_feedback_alignment", Pooled(fold=True).double()).backward(F.mse_loss, inputs, targets)


def test_direct_feedback_needs_to_know_the_outputs() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 5)

        def forward(self, inputs) -> torch.Tensor:
            return self.last(torch.tanh(self.first(inputs)))[:, :2]

    inputs, targets = torch.randn(3, 4), torch.randn(3, 2)
    with pytest.raises(Unsupported, match=r"for 5 network outputs, but .* has 2: .*`outputs=`"):
        credit.get("direct_feedback_alignment", Cut()).backward(F.mse_loss, inputs, targets)
    model = Cut()
    credit.get("direct_feedback_alignment", model, outputs=2).backward(F.mse_loss, inputs, targets)
    assert model.first.weight.grad.abs().sum() > 0


def test_a_single_output_may_be_squeezed() -> None:
    torch.manual_seed(2)
    body = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    squeezed = nn.Sequential(body, nn.Flatten(0))
    inputs, targets = torch.randn(3, 4), torch.randn(3)
    credit.get("direct_feedback_alignment", squeezed).backward(F.mse_loss, inputs, targets)
    ours = gradients(body)
    body.zero_grad()
    credit.get("direct_feedback_alignment", body).backward(F.mse_loss, inputs, targets[:, None])
    for one, other in zip(ours, gradients(body), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Bilinear(2, 2, 1), r"layer '1' \(Bilinear\) has weights of another kind"),
        (nn.LSTM(4, 4), r"layer '1' \(LSTM\)"),
        (nn.MultiheadAttention(4, 2), r"layer '1' \(MultiheadAttention\)"),
        (nn.LazyLinear(4), "layer '1' has no weights yet"),
    ],
)
def test_layers_that_would_transport_their_weights_are_refused(name, layer, message) -> None:
    with pytest.raises(Unsupported, match=message):
        credit.get(name, nn.Sequential(nn.Linear(4, 4), layer))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_layers_with_weights_is_refused(name) -> None:
    with pytest.raises(Unsupported, match="this one has none"):
        credit.get(name, nn.Sequential(nn.ReLU(), nn.LayerNorm(3)))


def test_what_lies_between_the_layers_is_exact() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Linear(6, 2)).double()
    inputs, targets = torch.randn(8, 4).double(), torch.randn(8, 2).double()
    assignment = credit.get("feedback_alignment", model)
    assignment.backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    # The same with the readout's weights replaced in the backward pass by hand: backprop of <B delta, hidden>.
    model.zero_grad()
    hidden = model[:3](inputs)
    error = 2 * (model[3](hidden) - targets).detach() / targets.numel()
    (hidden * (error @ assignment.feedback_weights()["3"])).sum().backward()
    for one, other in zip(ours[:4], gradients(model)[:4], strict=True):
        torch.testing.assert_close(one, other)


def test_pre_hooks_that_change_the_shape_are_refused_where_they_would_be_skipped() -> None:
    layer = nn.Linear(6, 2)
    layer.register_forward_pre_hook(lambda _, arguments: (torch.cat([arguments[0], arguments[0]], 1),))
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), layer)
    with pytest.raises(Unsupported, match="pre-hooks that keep the shape"):
        credit.get("feedback_alignment", model).backward(F.mse_loss, torch.randn(5, 4), torch.randn(5, 2))
    credit.get("feedback_alignment", model, feedback_site="post_decorrelation").backward(
        F.mse_loss, torch.randn(5, 4), torch.randn(5, 2)
    )


def test_a_layer_called_by_keyword_gets_its_feedback() -> None:
    class Keyword(nn.Module):
        def __init__(self, transform) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 2)
            if transform:
                self.last.register_forward_pre_hook(
                    lambda _, arguments, keywords: (arguments, keywords), with_kwargs=True
                )

        def forward(self, inputs) -> torch.Tensor:
            return self.last(input=torch.tanh(self.first(inputs)))

    for transform in (False, True):
        torch.manual_seed(5)
        model, inputs, targets = Keyword(transform), torch.randn(5, 4), torch.randn(5, 2)
        assignment = credit.get("feedback_alignment", model)
        assignment.backward(F.mse_loss, inputs, targets)
        hidden = torch.tanh(model.first(inputs)).detach()
        error = 2 * (model.last(hidden) - targets).detach() / targets.numel()
        delta = (error @ assignment.feedback_weights()["last"]) * (1 - hidden**2)
        torch.testing.assert_close(model.first.weight.grad, delta.T @ inputs)


def test_a_parametrised_layer_learns_its_original_weights() -> None:
    torch.manual_seed(6)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    credit.get("feedback_alignment", model).backward(F.mse_loss, torch.randn(5, 4), torch.randn(5, 2))
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_vmap_inside_the_model() -> None:
    class Vmapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()

        def forward(self, inputs) -> torch.Tensor:
            return torch.func.vmap(self.body)(inputs)

    torch.manual_seed(7)
    model, inputs, targets = Vmapped(), torch.randn(5, 4).double(), torch.randn(5, 2).double()
    credit.get("feedback_alignment", model).backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    credit.get("feedback_alignment", model.body).backward(F.mse_loss, inputs, targets)
    for one, other in zip(ours, gradients(model), strict=True):
        torch.testing.assert_close(one, other)


def test_autocast_keeps_the_feedback() -> None:
    torch.manual_seed(8)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 8))
    inputs, targets = torch.randn(64, 16), torch.randn(64, 8)
    assignment = credit.get("feedback_alignment", model)
    assignment.backward(F.mse_loss, inputs, targets)
    full = gradients(model)
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assignment.backward(F.mse_loss, inputs, targets)
    for half, ours in zip(gradients(model), full, strict=True):
        assert half.dtype == torch.float32
        assert torch.cosine_similarity(half.flatten(), ours.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("name", ALL[:3])
def test_the_feedback_follows_a_model_that_moved(name) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    assignment = credit.get(name, model)
    model.to("meta")
    assert {weight.device.type for weight in assignment.feedback_weights().values()} == {"meta"}
