"""Decorrelated convolutions against patches cut out one by one."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate.convolution import some_patches
from neuro_decorr.row_choice import patches

KINDS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """Any kernel, stride, dilation, groups, padding and padding mode, non-square, with a batch that fits."""
    dimensions = draw(st.integers(1, 3))
    sizes = st.tuples(*[st.integers(1, 3)] * dimensions)
    kernel, stride, dilation = draw(sizes), draw(sizes), draw(sizes)
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    padding: Any = draw(st.tuples(*[st.integers(0, 2)] * dimensions))
    if set(stride) == {1} and mode == "zeros" and draw(st.booleans()):
        padding = "same"
    positions = [(k - 1) * d + 1 + draw(st.integers(2, 4)) for k, d in zip(kernel, dilation, strict=True)]
    options = {"stride": stride, "dilation": dilation, "padding": padding, "padding_mode": mode}
    groups, channels = draw(st.sampled_from([1, 1, 2, 4])), draw(st.integers(1, 3))
    layer = KINDS[dimensions](groups * channels, 4, kernel, groups=groups, bias=draw(st.booleans()), **options)
    inputs = torch.randn(3, layer.in_channels, *positions, generator=torch.Generator().manual_seed(0))
    return layer.double(), inputs.double()


def learnt(layer: nn.Module, **options: object) -> nn.Module:
    model = nd.decorrelate(layer, **options)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nd.Decorrelation):
            module.matrix.copy_(torch.randn(module.matrix.shape, generator=generator))
            module.mean.copy_(torch.randn(module.mean.shape, generator=generator))
    return model


def grouped(layer: nn.Module) -> list[tuple[Tensor, Tensor, slice, slice]]:
    """Of every group its D and mean, its outputs, and its columns of the patches."""
    held = layer.decorrelation
    matrices, means = (held.matrix, held.mean) if layer.groups > 1 else (held.matrix[None], held.mean[None])
    outputs, features = 4 // layer.groups, layer.weight[0].numel()
    return [
        (matrix, mean, slice(g * outputs, (g + 1) * outputs), slice(g * features, (g + 1) * features))
        for g, (matrix, mean) in enumerate(zip(matrices, means, strict=True))
    ]


@given(convolutions(), st.booleans())
def test_any_convolution(case: tuple[nn.Module, Tensor], center: bool) -> None:
    """Patches are what the layer sees; outputs are W D (patch - mean) + b; the folded layer computes the same."""
    layer, inputs = case
    plain = layer(inputs)
    seen = patches(layer, inputs)
    bias = torch.zeros(4).double() if layer.bias is None else layer.bias
    flat = plain.flatten(2).transpose(1, 2).reshape(-1, 4)
    model = learnt(layer, center=center)
    outputs = model(inputs)
    rows = outputs.flatten(2).transpose(1, 2).reshape(-1, 4)
    for matrix, mean, units, columns in grouped(model):
        weight = layer.weight[units].flatten(1)
        torch.testing.assert_close(seen[:, columns] @ weight.T + bias[units], flat[:, units])
        shifted = seen[:, columns] - (mean if center else 0)
        expected = torch.stack([weight @ (matrix @ patch) for patch in shifted]) + bias[units]
        torch.testing.assert_close(rows[:, units], expected)
    assert_folds(model, inputs, outputs)


@given(convolutions(), st.booleans())
def test_channels_alone(case: tuple[nn.Module, Tensor], center: bool) -> None:
    """D acts on the channels at every position of the padded input; then the plain kernel, without padding."""
    layer, inputs = case
    model = learnt(layer, center=center, convolution="channels")
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = nn.functional.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    parts = []
    for (matrix, mean, *_), part in zip(grouped(model), padded.chunk(layer.groups, dim=1), strict=True):
        rows = part.movedim(1, -1) - (mean if center else 0)
        parts.append((rows @ matrix.T).movedim(-1, 1))
    convolve = getattr(nn.functional, type(layer).__name__.lower())
    options = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    outputs = model(inputs)
    torch.testing.assert_close(outputs, convolve(torch.cat(parts, dim=1), layer.weight, layer.bias, **options))
    assert_folds(model, inputs, outputs)


def assert_folds(model: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    folded = nd.fold(model)
    torch.testing.assert_close(folded(inputs), outputs)
    assert type(folded) is type(model).plain_class and not folded._modules


def test_channels_are_sampled_from_the_unpadded_map() -> None:
    """With every position sampled the record is the map's rows; a zero padding would pull the mean down."""
    model = nd.decorrelate(nn.Conv2d(4, 4, 3, padding=2, groups=2), convolution="channels", row_fraction=1.0)
    inputs = torch.randn(2, 4, 5, 6) + 3
    model(inputs)
    record = model.decorrelation.take_record()
    assert record.seen == 60 and record.inputs.shape == (2, 60, 2)
    for group, part in enumerate(inputs.chunk(2, 1)):
        rows = part.movedim(1, -1).reshape(-1, 2)
        torch.testing.assert_close(record.inputs[group], rows)
        torch.testing.assert_close(record.deviation[group], rows.sum(dim=0))


@given(convolutions(), st.integers(1, 40))
def test_sampled_patches_are_patches(case: tuple[nn.Module, Tensor], rows: int) -> None:
    layer, inputs = case
    everything, some = patches(layer, inputs), some_patches(layer, inputs, rows)
    assert 1 <= len(some) <= len(everything)
    assert all((everything == patch).all(dim=1).any() for patch in some)


@given(convolutions(), st.sampled_from([0.05, 0.3, 1.0]))
def test_what_is_remembered_are_patches_of_each_group(case: tuple[nn.Module, Tensor], row_fraction: float) -> None:
    """Some of them, and all where there is room."""
    layer, inputs = case
    model = learnt(layer, row_fraction=row_fraction)
    model(inputs)
    record, seen = model.decorrelation.take_record(), patches(layer, inputs)
    assert record.seen == len(seen)
    for g, (matrix, mean, _, columns) in enumerate(grouped(model)):
        rows, outputs, deviation = record.inputs, record.outputs, record.deviation
        if layer.groups > 1:
            rows, outputs, deviation = rows[g], outputs[g], deviation[g]
        torch.testing.assert_close(outputs, rows @ matrix.T)
        torch.testing.assert_close(deviation, rows.mean(dim=0) * len(seen))
        distances = torch.cdist(rows, seen[:, columns] - mean, compute_mode="donot_use_mm_for_euclid_dist")
        assert distances.min(dim=1).values.max() < 1e-6
        if row_fraction == 1.0 and len(seen) <= 64:
            torch.testing.assert_close(rows, seen[:, columns] - mean)


def test_gradients_reach_the_kernel_through_d() -> None:
    layer = learnt(nn.Conv2d(2, 3, 3, padding=1).double())
    inputs = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    layer(inputs).square().sum().backward()
    decorrelation = layer.decorrelation
    weight = layer.weight.detach().clone().requires_grad_()
    outputs = (patches(layer, inputs) - decorrelation.mean) @ decorrelation.matrix.T @ weight.flatten(1).T
    (outputs + layer.bias.detach()).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


RULES = [
    nd.rules.get("norm_preserving", rate=1e-3),
    nd.rules.get("whitening", rate=5e-2),
    nd.rules.get("interneuron", interneurons=4, every=1),
]


def images(count: int) -> Tensor:
    """Batches of smooth images: neighbouring pixels are correlated, and so are the channels."""
    noise = torch.randn(count, 8, 2, 12, 10, generator=torch.Generator().manual_seed(0))
    noise[:, :, 1] += noise[:, :, 0]
    return nn.functional.avg_pool2d(noise.flatten(0, 1), 3, 1).view(count, 8, 2, 10, 8) * 3 + 1


COMPENSATED = [
    *[("patches", torch.contiguous_format, rule) for rule in RULES],
    ("patches", torch.channels_last, RULES[1]),
    ("channels", torch.contiguous_format, nd.rules.get("interneuron", interneurons=2, every=1)),
    ("channels", torch.channels_last, RULES[1]),
]


@pytest.mark.parametrize(("form", "memory", "rule"), COMPENSATED)
def test_compensated_convolutions_keep_their_function(
    form: str, memory: torch.memory_format, rule: nd.rules.Rule
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, groups=2), nn.Flatten(), nn.Linear(192, 3)
    )
    model = nd.decorrelate(network.to(memory_format=memory), convolution=form)
    data = images(200)
    probe = data[0]
    expected = model.eval()(probe).detach()
    plasticity = nd.Plasticity(model, rule, compensate=True)
    for batch in data:
        model.train()(batch)
        plasticity.step()
    held = [found for _, found, _ in nd.rate.decorrelated_layers(model)]
    assert [found.groups for found in held] == [1, 2, 1]
    moved = [(found.matrix - torch.eye(found.features)).norm(dim=(-2, -1)).min() for found in held]
    assert min(moved) > 0.1
    drift = (model.eval()(probe).detach() - expected).abs().max() / expected.abs().max()
    assert drift < 1e-5


def test_patches_are_decorrelated() -> None:
    model = nd.decorrelate(nn.Conv2d(2, 3, 3, padding=1))
    plasticity = nd.Plasticity(model, nd.rules.get("whitening", rate=5e-2, damping=0.3), row_fraction=1.0)
    data = images(200)
    for batch in data:
        model(batch)
        plasticity.step()
    seen = patches(model, data[:20].flatten(0, 1))
    after = model.decorrelation.transform_centred(seen - model.decorrelation.mean)
    assert nd.metrics.mean_squared_correlation(after) < 0.3 * nd.metrics.mean_squared_correlation(seen)


def test_copies_casts_and_states() -> None:
    model = learnt(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1, groups=2)))
    inputs = torch.randn(2, 2, 6, 6)
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(inputs), model(inputs))
    twin[0].weight.data.zero_()
    assert not torch.allclose(twin(inputs), model(inputs)), "the copy computes with the original's kernel"
    fresh = nd.decorrelate(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1, groups=2)))
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh(inputs), model(inputs))
    assert model.to(torch.bfloat16)(inputs.bfloat16()).dtype == torch.bfloat16
    assert model[0].decorrelation.matrix.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fresh(inputs).dtype == torch.bfloat16


def test_an_image_without_batch_dimension() -> None:
    layer = learnt(nn.Conv2d(2, 3, 3), row_fraction=1.0)
    image = torch.randn(2, 5, 5)
    torch.testing.assert_close(layer(image), layer(image.unsqueeze(0))[0])
    assert layer.decorrelation.take_record().seen == 2 * 9


def test_perturbation_learns_through_a_convolution() -> None:
    """Node perturbation's gradient is linear in D^T as backprop's: their mean directions agree."""
    model = learnt(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 1)).double(), center=False)
    inputs, targets = torch.randn(4, 1, 3, 3).double(), torch.randn(4, 1).double()
    gradients = {}
    for name, draws in (("backprop", 1), ("node_perturbation", 400)):
        parameters = {} if name == "backprop" else {"seed": 0, "sigma": 1e-5}
        credit = nd.credit.get(name, model, **parameters)
        model.zero_grad()
        for _ in range(draws):
            credit.backward(nn.functional.mse_loss, inputs, targets)
        gradients[name] = [parameter.grad.clone() / draws for parameter in model.parameters()]
    assert nd.metrics.alignment(gradients["backprop"], gradients["node_perturbation"]).cosine > 0.9


class Standardised(nn.Conv2d):
    """A convolution of a user's own: it standardises its kernel."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight / self.weight.std(), self.bias)


def test_channels_last_stays_and_changes_nothing() -> None:
    model = learnt(nn.Conv2d(3, 4, 3, padding=1))
    inputs = torch.randn(2, 3, 6, 7)
    expected = model(inputs)
    for twin in (model, nd.fold(model)):
        outputs = twin.to(memory_format=torch.channels_last)(inputs.to(memory_format=torch.channels_last))
        assert outputs.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-4)


@given(convolutions(), st.booleans(), st.sampled_from(["patches", "channels"]), st.booleans())
def test_the_memory_layout_is_that_of_the_plain_layer(
    case: tuple[nn.Module, Tensor], last: bool, form: str, weights_last: bool
) -> None:
    """The strides of the outputs, for inputs and kernels in either layout, so that view behind a layer goes on."""
    layer, inputs = case
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if inputs.dim() in formats:
        inputs = inputs.to(memory_format=formats[inputs.dim()]) if last else inputs
        layer = layer.to(memory_format=formats[inputs.dim()]) if weights_last else layer
    assert learnt(layer, convolution=form)(inputs).stride() == layer(inputs).stride()


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=4)])
@pytest.mark.parametrize("form", ["patches", "channels"])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_single_precision_keeps_the_layout_too(layer: nn.Module, form: str, memory: torch.memory_format) -> None:
    """Other kernels of torch compute it, with rules of their own for the layout."""
    plain = copy.deepcopy(layer).to(memory_format=memory)
    for inputs in (torch.randn(2, layer.in_channels, 6, 5), torch.randn(2, 6, 5, layer.in_channels).movedim(-1, 1)):
        assert learnt(plain, convolution=form)(inputs).stride() == plain(inputs).stride()


def test_depthwise_layers_are_one_batch_of_products() -> None:
    """As many products, of matrices or of batches of them, for 64 groups as for two."""
    counts = []
    for groups in (2, 64):
        layer = nd.decorrelate(nn.Conv2d(groups, groups, 3, groups=groups))
        plasticity = nd.Plasticity(layer, nd.rules.get("whitening"))
        inputs = torch.randn(4, groups, 6, 6)
        layer(inputs).sum().backward()
        plasticity.step()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            layer(inputs).sum().backward()
        counts.append(sum(event.count for event in profile.key_averages() if event.key.startswith("aten::")))
    assert counts[0] == counts[1]


def residual_network() -> nn.Module:
    """Convolutions without bias, each with batch normalisation behind it, one of them grouped."""

    class Block(nn.Module):
        def __init__(self, channels: int, groups: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=groups)
            self.first_norm = nn.BatchNorm2d(channels)
            self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.second_norm = nn.BatchNorm2d(channels)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = torch.relu(self.first_norm(self.first(inputs)))
            return torch.relu(inputs + self.second_norm(self.second(hidden)))

    torch.manual_seed(0)
    stem = [nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3, bias=False)]
    return nn.Sequential(*stem, Block(4, 1), Block(4, 2), *head)


@pytest.mark.parametrize("rule", ["whitening", "norm_preserving"])
def test_compensation_without_bias(rule: str) -> None:
    """The offset in the place of a bias takes up the moving mean; in eval mode the function stays, for 200 updates."""
    network = residual_network()
    for batch in images(20):
        network(batch)  # the running statistics of the normalisation
    model = nd.decorrelate(network)
    probe, data = images(1)[0], images(200)
    expected = network.eval()(probe).detach()
    plasticity = nd.Plasticity(model, nd.rules.get(rule, rate=1e-2 if rule == "whitening" else 1e-3), compensate=True)
    for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.momentum = 0.0  # of eval mode is asked, so these stay
    for batch in data:
        model.train()(batch)
        plasticity.step()
    model.eval()
    scale = expected.abs().max()
    assert (model(probe) - expected).abs().max() / scale < 1e-5
    assert (nd.fold(model)(probe) - expected).abs().max() / scale < 1e-5
    layers = [weights.layer for _, _, weights in nd.rate.decorrelated_layers(model)]
    assert all("bias" in layer._buffers and layer.bias.any() for layer in layers)
    assert {name for name, _ in model.named_parameters()} == {name for name, _ in network.named_parameters()}
    folded = nd.fold(model)
    assert folded[0].bias.requires_grad and isinstance(folded[0].bias, nn.Parameter)
    fresh = nd.decorrelate(residual_network())
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh.eval()(probe), model(probe))


def test_a_model_is_pickled_whole() -> None:
    """What a process of its own receives: the whole model, not its state alone."""
    model = learnt(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(16, 2)))
    twin = pickle.loads(pickle.dumps(model))
    inputs = torch.randn(2, 4, 4, 4)
    torch.testing.assert_close(twin(inputs), model(inputs))
    twin[0].weight.data.zero_()
    assert not torch.allclose(twin(inputs), model(inputs))


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(2, 4, 3), nn.Conv2d(2, 4, 3, groups=2)])
def test_an_empty_batch_teaches_nothing(layer: nn.Module) -> None:
    model = nd.decorrelate(layer)
    assert model(torch.randn(0, 2, 5, 5)).shape == layer(torch.randn(0, 2, 5, 5)).shape
    assert model.decorrelation.take_record() is None


def test_refusals() -> None:
    with pytest.raises(InvalidValue, match=r"'patches', 'channels', got 'pixels'"):
        nd.decorrelate(nn.Conv2d(1, 2, 3), convolution="pixels")
    with pytest.raises(Unsupported, match="a forward of its own"):
        nd.decorrelate(nn.Sequential(Standardised(1, 2, 3)))
    for layer in (nn.Conv2d(2, 4, 3), nn.Conv2d(2, 4, 3, groups=2), nn.ConvTranspose2d(2, 4, 3)):
        for shape in ((3, 1, 5, 5), (3, 5, 5), (3, 2, 5), (2,)):
            with pytest.raises(InvalidValue, match=r"shape \(batch, 2 channels, 2 dimensions of positions\)"):
                nd.decorrelate(layer)(torch.randn(*shape))
