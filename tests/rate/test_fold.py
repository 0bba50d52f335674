"""Folded networks: the same outputs for any architecture, nothing of ours in them, and away to another runtime."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported


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


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def compiled_around(model: nn.Sequential) -> tuple[nn.Module, nn.Module]:
    """torch.compile of the whole model."""
    return model, torch.compile(model, backend="eager")


def compiled_within(model: nn.Sequential) -> tuple[nn.Module, nn.Module]:
    """torch.compile of a layer, and of a part with a compiled layer in it."""
    first = torch.compile(model[0], backend="eager")
    return model, nn.Sequential(torch.compile(nn.Sequential(first, model[1]), backend="eager"), model[2])


def compiled_in_place(model: nn.Sequential) -> tuple[nn.Module, nn.Module]:
    model.compile(backend="eager")
    return model, model


@pytest.mark.parametrize("compiled", [compiled_around, compiled_within, compiled_in_place])
@pytest.mark.parametrize("train", [True, False])
def test_a_compiled_model_folds_as_the_plain_one(compiled: Any, train: bool) -> None:
    torch._dynamo.reset()
    model, fast = compiled(nd.decorrelate(small()))
    randomise(model)
    inputs = torch.randn(5, 6)
    torch.testing.assert_close(fast.train(train)(inputs), model(inputs))
    folded = nd.fold(fast)
    randomise(model)  # the original moves on; a copy that ran it would too
    expected = nd.fold(fast)(inputs)
    torch.testing.assert_close(expected, fast(inputs), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(folded(inputs), expected, atol=1e-2)
    assert {type(module) for module in folded.modules()} <= {nn.Sequential, nn.Linear, nn.Tanh}
    assert all(module.training is train for module in folded.modules())
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert not folded(inputs).any()


def pruned() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 3, 2), nn.Flatten())
    prune.random_unstructured(model[0], "weight", 0.4)
    prune.l1_unstructured(model[0], "weight", 0.2)  # twice: a container of masks
    prune.random_unstructured(model[0], "bias", 0.5)
    prune.ln_structured(model[3], "weight", 1, n=2, dim=0)
    return model


def normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older weight norm announces the newer one
        return nn.Sequential(
            nn.utils.weight_norm(nn.Linear(6, 8)), nn.Tanh(), nn.utils.spectral_norm(nn.Linear(8, 3, bias=False))
        )


@pytest.mark.parametrize("make", [pruned, normed])
@pytest.mark.parametrize("ran", [False, True])
def test_weights_that_a_hook_computes_are_decorrelated_trained_and_folded(make: Any, ran: bool) -> None:
    """Right after pruning the weight is no leaf of the graph, after a pass without gradients it is one."""
    torch.manual_seed(0)
    plain, inputs = make(), torch.randn(40, 6) + 1
    if ran:
        with torch.no_grad():
            plain(inputs)
    model = nd.decorrelate(plain)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"), row_fraction=1.0)
    for _ in range(5):
        optimiser.zero_grad()
        model(inputs).square().sum(dim=1).mean().backward()
        optimiser.step()
        plasticity.step()
    if make is pruned:
        assert not model[0].weight_orig.grad[model[0].weight_mask == 0].any(), "a cut synapse has learnt"
    folded = nd.fold(model.eval())  # the last step has moved what the weight is computed from
    assert_plain(folded)
    assert [type(module) for module in folded] == [type(module) for module in plain]
    assert {name.split(".")[1] for name in folded.state_dict()} == {"weight", "bias"}
    expected = model(inputs)
    torch.testing.assert_close(folded(inputs), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain(inputs), expected, atol=1e-2)


def test_pruned_weights_that_two_layers_share_come_apart() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)})
    prune.random_unstructured(model["one"], "weight", 0.5)
    prune.random_unstructured(model["two"], "weight", 0.5)
    model["two"].weight_orig = model["one"].weight_orig
    model = nd.decorrelate(model)
    randomise(model)
    inputs = torch.randn(3, 4)
    folded = nd.fold(model)
    for name, layer in folded.items():
        torch.testing.assert_close(layer(inputs), model[name](inputs), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_copied_is_named() -> None:
    model = nn.Sequential(small())
    model[0].cached = [model(torch.randn(2, 6))]  # of a list, as some models keep
    with pytest.raises(Unsupported, match=r"'0' \(Sequential\) cannot be copied because of its attribute 'cached'"):
        nd.decorrelate(model)
    model[0].cached = model(torch.randn(2, 6))
    nd.decorrelate(model)


def test_sharded_models(tmp_path: Path) -> None:
    """Decorrelated first and sharded then, a model trains as one that is not; what needs a copy is refused by name."""
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    state_dict = pytest.importorskip("torch.distributed.checkpoint.state_dict")
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        inputs = torch.randn(20, 6) + 1
        models = nd.decorrelate(small()), nd.decorrelate(small())
        for model in models[1:]:
            for module in (model[0], model):
                fsdp.fully_shard(module, mesh=mesh)
        for model in models:
            optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
            plasticity = nd.Plasticity(model, nd.rules.get("whitening"), row_fraction=1.0)
            for _ in range(3):
                optimiser.zero_grad()
                model(inputs).square().mean().backward()
                optimiser.step()
                plasticity.step()
        expected, sharded = models
        torch.testing.assert_close(sharded(inputs), expected(inputs))
        with pytest.raises(Unsupported, match=r"the model itself \(FSDPSequential\) is sharded by FSDP.*full state"):
            nd.fold(sharded)
        state = state_dict.get_model_state_dict(sharded, options=state_dict.StateDictOptions(full_state_dict=True))
        whole = nd.decorrelate(small())
        whole.load_state_dict(state)
        torch.testing.assert_close(nd.fold(whole)(inputs), expected(inputs), rtol=1e-4, atol=1e-5)
        plain = small()
        fsdp.fully_shard(plain, mesh=mesh)
        with pytest.raises(Unsupported, match=r"is sharded already: nd.decorrelate the model first"):
            nd.decorrelate(plain)
    finally:
        torch.distributed.destroy_process_group()
