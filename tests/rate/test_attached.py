"""Decorrelated layers as instances of a class of their own: what torch and Python do with classes and instances."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.attached import attach, decorrelated_class, detach


class Scaled(nn.Linear):
    """A Linear of a user's own, with a second argument."""

    def forward(self, input: Tensor, factor: float = 1.0) -> Tensor:
        return super().forward(input) * factor


class Made(nn.Linear):
    """A Linear that pickles itself in a way of its own."""

    def __reduce__(self) -> tuple[object, ...]:
        return Made, (self.in_features, self.out_features), vars(self)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(4, 3),
    "subclass": lambda: Scaled(4, 3),
    "reduced": lambda: Made(4, 3),
    "convolution": lambda: nn.Conv1d(4, 3, 2),
    "transposed": lambda: nn.ConvTranspose1d(4, 3, 2),
}


def inputs_of(layer: nn.Module) -> Tensor:
    shape = (5, 4) if isinstance(layer, nn.Linear) else (5, 4, 6)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def randomise(model: nn.Module, seed: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nd.Decorrelation):
            module.matrix.copy_(torch.randn(module.matrix.shape, generator=generator) / module.features**0.5)
            module.mean.copy_(torch.randn(module.mean.shape, generator=generator))
    return model


def learnt(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return randomise(nd.decorrelate(LAYERS[kind]()))


def by_hand(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """Of a decorrelated Linear: W D (z - mean) + b, row by row."""
    held = layer.decorrelation
    return torch.stack([layer.weight @ (held.matrix @ (row - held.mean)) + layer.bias for row in inputs])


@pytest.mark.parametrize("kind", LAYERS)
def test_the_class_is_one_below_the_layers_own(kind: str) -> None:
    plain = LAYERS[kind]()
    layer, other = nd.decorrelate(plain), nd.decorrelate(plain)
    assert isinstance(layer, type(plain)) and type(layer) is not type(plain)
    assert type(layer) is type(other) is decorrelated_class(type(plain))
    assert type(layer).__name__ == f"Decorrelated{type(plain).__name__}"
    assert not layer._forward_pre_hooks and not layer._forward_hooks and "forward" not in vars(layer)
    if kind != "subclass":  # with a forward of its own, which fold cannot know
        folded = nd.fold(layer)
        assert type(folded) is type(plain) and not folded._modules
    detach(layer)
    assert type(layer) is type(plain) and not layer._modules


def test_arguments_reach_the_plain_class() -> None:
    layer = learnt("subclass").eval()
    inputs = inputs_of(layer)
    expected = by_hand(layer, inputs)
    for outputs in (layer(inputs), layer(input=inputs), layer(inputs, 2.0) / 2, layer(input=inputs, factor=2.0) / 2):
        torch.testing.assert_close(outputs, expected)


def saved_and_loaded(layer: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # the module itself, which this process has just written


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "torch.save": saved_and_loaded,
    **{f"pickle {p}": lambda layer, p=p: pickle.loads(pickle.dumps(layer, p)) for p in (2, pickle.HIGHEST_PROTOCOL)},
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", LAYERS)
def test_copies_compute_with_what_is_theirs(kind: str, way: str) -> None:
    layer = learnt(kind).eval()
    inputs = inputs_of(layer)
    expected = layer(inputs).detach()
    twin = COPIES[way](layer)
    assert type(twin) is type(layer)
    torch.testing.assert_close(twin(inputs), expected, rtol=0, atol=0)
    with torch.no_grad():
        twin.weight.zero_()
        twin.bias.zero_()
        twin.decorrelation.mean.zero_()
    assert not twin(inputs).any()
    torch.testing.assert_close(layer(inputs), expected, rtol=0, atol=0)
    detach(twin)
    assert type(twin) is type(LAYERS[kind]())


@pytest.mark.parametrize("replicate", [copy.copy, lambda layer: layer._replicate_for_data_parallel()])
@pytest.mark.parametrize("kind", LAYERS)
def test_shallow_copies_compute_with_what_is_theirs(kind: str, replicate: Callable[[nn.Module], nn.Module]) -> None:
    """DataParallel gives its replicas other parameters in the place of the original's."""
    layer = learnt(kind).eval()
    twin = replicate(layer)
    twin._parameters = {name: nn.Parameter(torch.zeros_like(p)) for name, p in layer._parameters.items()}
    with nd.rate.unremembered(layer):
        layer.decorrelation.mean.zero_()
        assert not twin(inputs_of(layer)).any()
        assert layer(inputs_of(layer)).any()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(1, 3, 3), nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("order", list(itertools.permutations(["plain", "decorrelated", "folded"])))
@pytest.mark.parametrize("fullgraph", [True, False])
def test_graphs_of_one_process_are_not_confused(order: tuple[str, ...], fullgraph: bool) -> None:
    """A plain baseline, the decorrelated model and its folded copy, compiled in any order, each its own function."""
    inputs = torch.randn(5, 1, 6, generator=torch.Generator().manual_seed(1)) + 2
    plain = network()
    decorrelated = randomise(nd.decorrelate(plain))
    models = {"plain": plain, "decorrelated": decorrelated, "folded": nd.fold(decorrelated)}
    expected = {name: model.eval()(inputs).detach() for name, model in models.items()}
    assert (expected["plain"] - expected["decorrelated"]).abs().max() > 0.1
    compiled = {name: torch.compile(models[name], backend="aot_eager", fullgraph=fullgraph) for name in order}
    for name in (*order, *order):
        torch.testing.assert_close(compiled[name](inputs).detach(), expected[name], rtol=1e-5, atol=1e-5)
    decorrelated.train()
    compiled["decorrelated"](inputs)
    assert all(found.take_record() is not None for _, found, _ in nd.rate.decorrelated_layers(decorrelated))


class Doubled(nn.Module):
    """A parametrization: the weight is twice what is stored."""

    def forward(self, stored: Tensor) -> Tensor:
        return 2 * stored

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / 2


@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("first", ["parametrize", "decorrelate"])
def test_parametrizations_come_and_go(kind: str, first: str) -> None:
    """Either may come first; both are taken off in any order; neither touches the original."""
    expected = learnt(kind).eval()
    plain = LAYERS[kind]()
    plain.load_state_dict({name: expected.state_dict()[name] for name in ("weight", "bias")})
    if first == "parametrize":
        parametrize.register_parametrization(plain, "weight", Doubled())
        layer = randomise(nd.decorrelate(plain)).eval()
    else:
        layer = randomise(nd.decorrelate(plain)).eval()
        parametrize.register_parametrization(layer, "weight", Doubled())
    inputs = inputs_of(layer)
    for twin in (layer, copy.deepcopy(layer)):
        torch.testing.assert_close(twin(inputs), expected(inputs))
        twin.parametrizations["weight"].original.data.mul_(3)
        assert not torch.allclose(twin(inputs), expected(inputs))
        twin.parametrizations["weight"].original.data.div_(3)
    torch.testing.assert_close(nd.fold(layer)(inputs), expected(inputs))
    detached = copy.deepcopy(layer)
    if first == "parametrize":
        detach(detached)
        torch.testing.assert_close(detached(inputs), plain(inputs))
        assert parametrize.type_before_parametrizations(detached) is type(LAYERS[kind]())
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is decorrelated_class(type(LAYERS[kind]())) and "weight" in layer._parameters
    torch.testing.assert_close(layer(inputs), expected(inputs))
    torch.testing.assert_close(pickle.loads(pickle.dumps(layer))(inputs), expected(inputs))
    if first == "parametrize":
        assert parametrize.is_parametrized(plain)
        assert torch.equal(plain.weight, 2 * plain.parametrizations["weight"].original)


def test_parametrized_layers_train_behind_d() -> None:
    """Spectral normalisation, with a state of its own: the weight's largest singular value is one, D is not part."""
    torch.manual_seed(0)
    layer = randomise(nd.decorrelate(parametrizations.spectral_norm(nn.Linear(4, 3), n_power_iterations=30)))
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        layer(torch.randn(5, 4)).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(torch.linalg.matrix_norm(layer.weight, 2), torch.tensor(1.0), rtol=1e-4, atol=1e-4)
    assert layer.parametrizations["weight"].original.grad.any()


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    distributed = torch.distributed
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_sharding_after_decorrelation() -> None:
    """FSDP2 exchanges the class of a layer as well, above ours."""
    from torch.distributed.fsdp import FSDPModule, fully_shard

    model = randomise(nd.decorrelate(network()))
    alone = copy.deepcopy(model)
    for layer in (model[0], model[2], model[4]):
        fully_shard(layer)
    fully_shard(model)
    assert isinstance(model[2], FSDPModule) and isinstance(model[2], nn.Linear)
    inputs = torch.randn(5, 1, 6)
    plasticities = [nd.Plasticity(one, nd.rules.get("whitening")) for one in (alone, model)]
    optimisers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (alone, model)]
    for _ in range(3):
        losses = []
        for one, plasticity, optimiser in zip((alone, model), plasticities, optimisers, strict=True):
            optimiser.zero_grad()
            losses.append(one(inputs).square().mean())
            losses[-1].backward()
            optimiser.step()
            plasticity.step()
        torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(model[2].decorrelation.matrix, alone[2].decorrelation.matrix)


def encoder(**options: object) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2)


@pytest.fixture
def fast_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    yield
    torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.usefixtures("fast_path")
# Of torch, about nested tensors as such.
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype:UserWarning")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_transformer_in_eval_mode_passes_through_d(masked: bool, activation: str) -> None:
    """The fast path of torch would read the weights of the layers; with a padding mask it nests the sequences."""
    model = randomise(nd.decorrelate(encoder(activation=activation), skip="*.out_proj")).eval()
    inputs = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(2))
    padding = torch.arange(5) >= torch.tensor([[5], [3], [1]])
    mask = {"src_key_padding_mask": padding} if masked else {}
    with torch.no_grad():
        torch.backends.mha.set_fastpath_enabled(False)
        expected, undecorrelated = (one(inputs, **mask) for one in (model, encoder(activation=activation).eval()))
        torch.backends.mha.set_fastpath_enabled(True)
        kept = ~padding if masked else torch.ones(3, 5, dtype=torch.bool)
        assert (expected - undecorrelated)[kept].abs().max() > 0.1
        outputs = model(inputs, **mask)
        torch.testing.assert_close(outputs[kept], expected[kept], rtol=1e-4, atol=1e-5)
        # The fast path of the folded model leaves zeros at the padding.
        torch.testing.assert_close(nd.fold(model)(inputs, **mask), outputs, rtol=1e-4, atol=1e-5)
    assert not any(module._forward_hooks for module in nd.fold(model).modules())


# Of torch, about nested tensors as such.
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_sequences_of_unequal_lengths(layout: torch.layout) -> None:
    layer = learnt("linear")
    sequences = [torch.randn(steps, 4) for steps in (3, 1, 5)]
    outputs = layer(torch.nested.nested_tensor(sequences, layout=layout))
    record = layer.decorrelation.take_record()
    assert record is not None and record.seen == 9
    torch.testing.assert_close(record.deviation, (torch.cat(sequences) - layer.decorrelation.mean).sum(dim=0))
    for sequence, output in zip(sequences, outputs.unbind(), strict=True):
        torch.testing.assert_close(output, by_hand(layer, sequence))


def test_a_layer_can_be_attached_by_hand() -> None:
    layer = nn.Linear(4, 3)
    attach(layer, nd.Decorrelation(4))
    randomise(layer)
    inputs = inputs_of(layer)
    torch.testing.assert_close(layer(inputs), by_hand(layer, inputs))


@pytest.mark.parametrize(
    "wrong", [None, [1.0], torch.zeros(2, 4).half(), torch.zeros(2, 4).double(), torch.ones(2, 4).int()]
)
def test_an_input_that_no_linear_layer_takes_is_one_clear_error(wrong: object) -> None:
    model = nd.decorrelate(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(
        InvalidValue, match=r"a decorrelated Linear (must be a tensor|with weights of torch\.float32 got)"
    ):
        model(wrong)
    assert model[0].decorrelation.take_record() is None
    with torch.autocast("cpu", torch.bfloat16):  # which casts the weights as well
        assert model(torch.zeros(2, 4).bfloat16()).dtype == torch.bfloat16
