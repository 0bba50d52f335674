"""Folded networks: the same outputs for any architecture, nothing of ours in them, and away to another runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neuro_decorr as nd


class Residual(nn.Module):
    """A block with a skip connection and a normalisation."""

    def __init__(self, channels: int, kernel: int, groups: int, mode: str, bias: bool) -> None:
        super().__init__()
        options = {"padding": "same", "padding_mode": mode, "groups": groups, "bias": bias}
        self.first = nn.Conv2d(channels, channels, kernel, **options)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, kernel, **options)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.second(torch.relu(self.norm(self.first(inputs))))


@st.composite
def architectures(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """Convolutions, residual blocks, pooling and linear layers, with a batch of non-square images."""
    channels = draw(st.sampled_from([2, 4]))
    bias = st.booleans()
    mode = st.sampled_from(["zeros", "circular", "replicate"])
    layers: list[nn.Module] = [
        nn.Conv2d(3, channels, draw(st.integers(1, 3)), draw(st.integers(1, 2)), bias=draw(bias))
    ]
    for _ in range(draw(st.integers(0, 2))):
        groups = draw(st.sampled_from([1, 2, channels]))
        layers.append(Residual(channels, draw(st.sampled_from([1, 3])), groups, draw(mode), draw(bias)))
    layers += [nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()]
    width = 2 * channels
    for _ in range(draw(st.integers(0, 2))):
        after = draw(st.integers(1, 9))
        layers += [nn.Linear(width, after, bias=draw(bias)), nn.LeakyReLU()]
        width = after
    layers.append(nn.Linear(width, 3))
    torch.manual_seed(draw(st.integers(0, 100)))
    for module in (model := nn.Sequential(*layers)).modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model, torch.randn(4, 3, 7, 9)


def randomise(model: nn.Module) -> None:
    for _, found, _ in nd.rate.decorrelated_layers(model):
        noise = torch.randn(found.features, found.features)
        found.matrix.add_(noise, alpha=0.3 / found.features**0.5)
        found.mean.copy_(torch.randn(found.features))


def assert_plain(model: nn.Module) -> None:
    for module in model.modules():
        assert not type(module).__module__.startswith("neuro_decorr")
        assert not module._forward_pre_hooks and "forward" not in vars(module)


@settings(max_examples=60)
@given(architectures(), st.sampled_from(["patches", "channels"]), st.booleans())
def test_any_architecture_folds(case: tuple[nn.Module, Tensor], form: str, center: bool) -> None:
    """Eval mode, float32: equal to 1e-5 of the largest output."""
    plain, inputs = case
    model = nd.decorrelate(plain, convolution=form, center=center)
    randomise(model)
    model(inputs)  # the running statistics of the normalisation move
    expected = model.eval()(inputs).detach()
    folded = nd.fold(model)
    error = (folded(inputs) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5
    assert_plain(folded)
    assert [type(module) for module in folded.modules()] == [type(module) for module in plain.modules()]


@pytest.mark.parametrize("form", ["patches", "channels"])
# Of the exporter, about itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*LeafSpec:FutureWarning")
def test_a_folded_network_runs_without_torch(form: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
        Residual(4, 3, 2, "zeros", bias=False),
        Residual(4, 3, 1, "circular", bias=True),
        nn.Flatten(),
        nn.Linear(80, 5),
    )
    model = nd.decorrelate(plain, convolution=form).eval()
    randomise(model)
    inputs = torch.randn(2, 3, 7, 9)
    path = tmp_path / "folded.onnx"
    torch.onnx.export(nd.fold(model), (inputs,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    np.testing.assert_allclose(outputs, model(inputs).detach().numpy(), rtol=1e-4, atol=1e-4)
