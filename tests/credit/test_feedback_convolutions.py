"""Feedback alignment and direct feedback alignment of convolutional networks against loops over units."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import Unsupported
from tests.credit.convolution_loops import check, mixed, pooling_network, transposed_weights
from tests.credit.loops import gradients

NAMES = ["feedback_alignment", "direct_feedback_alignment"]
FEEDBACK = {name: (name, {}) for name in (*NAMES, "kolen_pollack", "weight_mirror")}
FEEDBACK |= {m: ("sign_symmetry", {"magnitudes": m}) for m in ("uniform", "frozen", "batchwise")}
KINDS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@st.composite
def convolutions(draw, dimensions: int, channels: int, outputs: int) -> nn.Module:
    """Any convolution whose kernel fits into maps of four units along each axis."""
    mode = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == outputs % g == 0]))
    sizes = st.tuples(*[st.integers(1, 2)] * dimensions)
    kernel, dilation = draw(st.tuples(*[st.integers(1, 3)] * dimensions)), draw(sizes)
    stride, padding = draw(sizes), draw(st.one_of(st.just("valid"), sizes))
    if draw(st.booleans()):
        padding, stride = "same", 1
    if any((k - 1) * d > 3 for k, d in zip(kernel, dilation, strict=True)):
        dilation = (1,) * dimensions
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "padding_mode": mode}
    return KINDS[dimensions](channels, outputs, kernel, bias=draw(st.booleans()), dtype=torch.float64, **options)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's, of its own copy
@given(data=st.data(), kind=st.sampled_from(list(FEEDBACK)), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_the_loop_for_any_convolution(data, kind, seed) -> None:
    name, parameters = FEEDBACK[kind]
    dimensions = data.draw(st.integers(1, 3))
    torch.manual_seed(seed)
    first = KINDS[dimensions](2, 4, 1, dtype=torch.float64)
    body = [first, nn.Tanh(), data.draw(convolutions(dimensions, 4, 4)), nn.Tanh()]
    inputs = torch.randn(2, 2, *[4] * dimensions, dtype=torch.float64)
    width = nn.Sequential(*body, nn.Flatten())(inputs).shape[1]
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(width, 3, dtype=torch.float64))
    site = "pre_decorrelation"
    if data.draw(st.booleans()):
        model = mixed(model, seed)
        if name != "direct_feedback_alignment":
            site = data.draw(st.sampled_from(["pre_decorrelation", "post_decorrelation"]))
    check(name, model, inputs, site, seed=seed, **parameters)


@pytest.mark.parametrize("kind", FEEDBACK)
@pytest.mark.parametrize("decorrelated", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_the_loop_with_normalisation_and_pooling(kind, decorrelated, inplace) -> None:
    model = pooling_network(inplace)
    inputs = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    name, parameters = FEEDBACK[kind]
    check(name, mixed(model, 1) if decorrelated else model, inputs, **parameters)


@pytest.mark.parametrize("name", NAMES)
def test_the_loop_with_channels_decorrelated(name) -> None:
    model = nd.decorrelate(pooling_network(), convolution="channels")
    torch.manual_seed(4)
    for module in model.modules():
        if isinstance(module, nd.Decorrelation):
            module.matrix.add_(0.3 * torch.randn_like(module.matrix))
    for site in ("pre_decorrelation", "post_decorrelation")[: 1 + (name == "feedback_alignment")]:
        model.zero_grad()
        check(name, model, torch.randn(3, 3, 4, 4, dtype=torch.float64), site)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("decorrelated", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"dilation": 2, "bias": False},
        {"groups": 2, "stride": (2, 1)},
    ],
)
def test_transposed_convolutions_are_dense_layers_of_shared_weights(name, decorrelated, options) -> None:
    torch.manual_seed(5)
    first, layer = nn.Conv2d(2, 4, 1), nn.ConvTranspose2d(4, 2, 3, **options)
    model = nn.Sequential(first, nn.Tanh(), layer, nn.Flatten()).double()
    inputs = torch.randn(3, 2, 2, 2, dtype=torch.float64)
    model.append(nn.Linear(model(inputs).shape[1], 2, dtype=torch.float64))
    if decorrelated:
        model = mixed(model, 5)
    targets = torch.randn(3, 2, dtype=torch.float64)
    assignment = credit.get(name, model)
    assignment.backward(F.mse_loss, inputs, targets)
    feedback = assignment.feedback_weights()
    with torch.no_grad():
        hidden = model[1](model[0](inputs))
        seen, error = model[2](hidden).flatten(1), 2 * (model(inputs) - targets) / targets.numel()
    delta = error @ feedback["4"]
    if name == "feedback_alignment":
        dense, _ = transposed_weights(layer, tuple(hidden.shape[1:]), feedback["2"].numpy())
        signal = delta @ torch.from_numpy(dense)
    else:
        signal = (error @ feedback["2"].flatten(1)).reshape(3, -1)
    signal = signal.reshape(hidden.shape) * (1 - hidden**2)
    arriving = inputs
    if decorrelated:
        held = model[0].decorrelation
        arriving = torch.einsum("ij,njhw->nihw", held.matrix, inputs - held.mean[:, None, None])
        last = model[4].decorrelation
        seen = (seen - last.mean) @ last.matrix.T
        layer_held = model[2].decorrelation
        split = hidden.reshape(3, layer_held.groups, -1, *hidden.shape[2:])
        matrices = layer_held.matrix.reshape(layer_held.groups, *layer_held.matrix.shape[-2:])
        hidden = torch.einsum("gij,ngjhw->ngihw", matrices, split).reshape(hidden.shape)
    torch.testing.assert_close(model[0].weight.grad[..., 0, 0], torch.einsum("nihw,njhw->ij", signal, arriving))
    torch.testing.assert_close(model[4].weight.grad, error.T @ seen)
    # The layer's own weights: a number at a time moves the outputs by its column.
    for place in np.ndindex(*layer.weight.shape):
        unit = np.zeros(layer.weight.shape)
        unit[place] = 1.0
        column = torch.from_numpy(transposed_weights(layer, tuple(hidden.shape[1:]), unit)[0])
        expected = (delta * (hidden.flatten(1) @ column.T)).sum()
        torch.testing.assert_close(model[2].weight.grad[place], expected)


def test_feedback_through_the_forward_kernels_is_backprop() -> None:
    model = pooling_network()
    inputs, targets = torch.randn(3, 3, 4, 4).double(), torch.randn(3, 3).double()
    assignment = credit.get("feedback_alignment", model)
    for name, feedback in assignment.feedback_weights().items():
        feedback.copy_(model.get_submodule(name).weight.detach())
    assignment.backward(F.mse_loss, inputs, targets)
    aligned = gradients(model)
    model.zero_grad()
    F.mse_loss(model(inputs), targets).backward()
    for ours, exact in zip(aligned, gradients(model), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["backprop", *NAMES])
def test_the_backward_pass_never_reads_the_forward_kernels(name) -> None:
    model = pooling_network()

    def spoil_then_loss(outputs, targets) -> torch.Tensor:
        for layer in model:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.data.fill_(torch.nan)
        return F.mse_loss(outputs, targets)

    inputs, targets = torch.randn(3, 3, 4, 4).double(), torch.randn(3, 3).double()
    credit.get(name, model).backward(spoil_then_loss, inputs, targets)
    assert all(bool(g.isfinite().all()) for g in gradients(model)) is (name != "backprop")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_a_batch_is_a_batch_of_one(name) -> None:
    torch.manual_seed(6)
    body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 3, 3, stride=2, padding=1), nn.Tanh())
    model = nn.Sequential(body, nn.Flatten(-3), nn.Linear(12, 2)).double()
    image, target = torch.randn(2, 6, 6).double(), torch.randn(2).double()
    credit.get(name, model).backward(F.mse_loss, image, target)
    single = gradients(model)
    model.zero_grad()
    credit.get(name, model).backward(F.mse_loss, image[None], target[None])
    for one, batch in zip(single, gradients(model), strict=True):
        torch.testing.assert_close(one, batch)


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_layout_and_autocast_change_nothing(name) -> None:
    model = pooling_network().float()
    inputs, targets = torch.randn(3, 3, 4, 4), torch.randn(3, 3)
    assignment = credit.get(name, model)
    assignment.backward(F.mse_loss, inputs, targets)
    plain = gradients(model)
    model.zero_grad()
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    other = credit.get(name, last)
    other.backward(F.mse_loss, inputs.to(memory_format=torch.channels_last), targets)
    for ours, theirs in zip(plain, gradients(last), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)  # float32, summed in another order
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assignment.backward(F.mse_loss, inputs, targets)
    for ours, half in zip(plain, gradients(model), strict=True):
        # bfloat16 has 8 bits: errors of .4 % a product, some of which pooling and rectification turn around.
        assert half.dtype == torch.float32
        assert ours.norm() < 1e-6 or torch.cosine_similarity(ours.flatten(), half.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("kind", FEEDBACK)
@pytest.mark.parametrize("reentrant", [False, True])
def test_what_checkpointing_computes_again_sends_the_same(kind, reentrant) -> None:
    model, inputs, targets = pooling_network(), torch.randn(3, 3, 4, 4).double(), torch.randn(3, 3).double()
    found = []
    for checkpointed in (False, True):
        middle = model[3:9]  # normalisation in it, whose statistics a second pass moves, but not the gradients
        name, parameters = FEEDBACK[kind]
        whole = Checkpointed(model[:3], middle, model[9:], reentrant if checkpointed else None)
        credit.get(name, whole, **parameters).backward(F.mse_loss, inputs, targets)
        found.append(gradients(model))
        model.zero_grad()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


class Checkpointed(nn.Module):
    """Three parts, the second of which is computed again in the backward pass."""

    def __init__(self, first, second, third, reentrant) -> None:
        super().__init__()
        self.first, self.second, self.third, self.reentrant = first, second, third, reentrant

    def forward(self, inputs) -> torch.Tensor:
        hidden = self.first(inputs)
        if self.reentrant is None:
            return self.third(self.second(hidden))
        return self.third(checkpoint(self.second, hidden, use_reentrant=self.reentrant))


def test_direct_feedback_has_a_weight_for_every_unit_and_resumes() -> None:
    model, inputs, targets = pooling_network(), torch.randn(3, 3, 4, 4).double(), torch.randn(3, 3).double()
    assignment = credit.get("direct_feedback_alignment", model, seed=4)
    undrawn = copy.deepcopy(assignment.state_dict())
    assert {n: tuple(b.shape) for n, b in assignment.feedback_weights().items()} == {"11": (3, 6), "13": (3, 7)}
    assignment.backward(F.mse_loss, inputs, targets)
    shapes = {n: tuple(b.shape) for n, b in assignment.feedback_weights().items()}
    assert shapes == {"3": (3, 4, 4, 4), "6": (3, 4, 2, 2), "11": (3, 6), "13": (3, 7)}
    model.zero_grad()
    state = copy.deepcopy(assignment.state_dict())
    assignment.backward(F.mse_loss, inputs, targets)
    expected = gradients(model)
    used = credit.get("direct_feedback_alignment", model, seed=1)
    used.backward(F.mse_loss, inputs, targets)
    fresh = [credit.get("direct_feedback_alignment", model, seed=seed) for seed in (4, 0, 0)]
    for other, resumed in zip([*fresh, used], (None, state, undrawn, undrawn), strict=True):
        if resumed is not None:
            other.load_state_dict(resumed)
        model.zero_grad()
        other.backward(F.mse_loss, inputs, targets)
        assert all(torch.equal(a, b) for a, b in zip(gradients(model), expected, strict=True))


def test_what_direct_feedback_cannot_do_is_said() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assignment = credit.get("direct_feedback_alignment", network)
    assert assignment.outputs == 3
    assignment.backward(F.mse_loss, torch.randn(2, 1, 6, 6), torch.randn(2, 3))
    with pytest.raises(Unsupported, match=r"convolution '2', \(2, 6, 6\), and this pass has \(2, 5, 5\)"):
        assignment.backward(F.mse_loss, torch.randn(2, 1, 5, 5), torch.randn(2, 3))
    with pytest.raises(Unsupported, match=r"patches of the decorrelated convolution '0', which are not units"):
        credit.get("direct_feedback_alignment", nd.decorrelate(network), feedback_site="post_decorrelation")
    with pytest.raises(Unsupported, match="leading dimensions"):
        credit.get("direct_feedback_alignment", network[:-2], outputs=4).backward(
            F.mse_loss, torch.randn(2, 1, 6, 6), torch.randn(2, 3, 4, 4)
        )


def test_a_convolution_with_a_forward_of_its_own_is_refused() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, inputs) -> torch.Tensor:
            return F.conv2d(inputs, self.weight - self.weight.mean())

    with pytest.raises(Unsupported, match=r"layer '0' \(Standardised\) .* a forward of its own"):
        credit.get("feedback_alignment", nn.Sequential(Standardised(1, 1, 1)))
