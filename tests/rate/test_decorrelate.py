"""decorrelate and fold on any model: what changes, what stays, what is refused."""

from __future__ import annotations

import copy
import functools
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, StateMismatch, UnknownName, Unsupported


class Residual(nn.Module):
    """A model of a user's own: a skip connection, a keyword argument, a layer used twice, a layer without bias."""

    def __init__(self, width: int = 7) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, width)
        self.block = nn.ModuleDict({"inner": nn.Linear(width, width, bias=False), "outer": nn.Linear(width, width)})
        self.head = nn.Linear(width, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.encoder(input=inputs))
        for _ in range(2):
            hidden = hidden + self.block["outer"](torch.relu(self.block["inner"](hidden)))
        return self.head(hidden)


def randomise(model: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nd.Decorrelation):
            noise = torch.randn(module.features, module.features, generator=generator)
            module.matrix.add_(noise, alpha=0.3 / module.features**0.5)
            module.mean.copy_(torch.randn(module.features, generator=generator))


def test_the_model_keeps_its_function_names_and_classes() -> None:
    model = Residual()
    decorrelated = nd.decorrelate(model)
    inputs = torch.randn(4, 5)
    torch.testing.assert_close(decorrelated(inputs), model(inputs))
    assert [n for n, _ in decorrelated.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert isinstance(decorrelated.encoder, nn.Linear)
    assert not any(isinstance(module, nd.Decorrelation) for module in model.modules()), "the original was changed"
    assert sum(isinstance(module, nd.Decorrelation) for module in decorrelated.modules()) == 4


def test_every_layer_receives_transformed_inputs() -> None:
    model = nd.decorrelate(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    randomise(model)
    inputs = torch.randn(6, 4).double()
    first, second = model[0], model[2]
    hidden = inputs
    for layer in (first, second):
        decorrelated = (hidden - layer.decorrelation.mean) @ layer.decorrelation.matrix.double().T
        hidden = decorrelated @ layer.weight.double().T + layer.bias.double()
        hidden = hidden.relu() if layer is first else hidden
    torch.testing.assert_close(model(inputs.float()).double(), hidden, rtol=1e-5, atol=1e-5)


def test_a_single_layer_and_a_copy_of_a_copy() -> None:
    layer = nd.decorrelate(nn.Linear(3, 2))
    randomise(layer)
    twin = copy.deepcopy(layer)
    inputs = torch.randn(5, 3)
    torch.testing.assert_close(twin(inputs), layer(inputs))
    twin.decorrelation.matrix.zero_()
    assert not torch.allclose(twin(inputs), layer(inputs))


def decorrelated_names(model: nn.Module) -> list[str]:
    return [name for name, _, _ in nd.rate.decorrelated_layers(model)]


def test_skip() -> None:
    assert decorrelated_names(nd.decorrelate(Residual(), skip=("head", "block.*"))) == ["encoder"]
    with pytest.raises(UnknownName, match="did you mean 'head'"):
        nd.decorrelate(Residual(), skip=("heat",))
    with pytest.raises(Unsupported, match=r"no Linear or convolution left.*skip= leaves out all"):
        nd.decorrelate(Residual(), skip="*")


def test_skip_by_class_module_predicate_and_a_mix_of_them() -> None:
    plain = Residual()
    plain.filter = nn.Conv1d(2, 2, 1)
    everything = ["encoder", "block.inner", "block.outer", "head", "filter"]
    assert decorrelated_names(nd.decorrelate(plain)) == everything

    def left(skip: object) -> set[str]:
        return set(everything) - set(decorrelated_names(nd.decorrelate(plain, skip=skip)))

    assert left(nn.Conv1d) == {"filter"}
    assert left(nn.Linear) == set(everything) - {"filter"}
    assert left(plain.block["inner"]) == {"block.inner"}
    assert left(plain.block) == left([nn.ModuleDict]) == {"block.inner", "block.outer"}, "all that lies in it"
    assert left(lambda name, layer: name == "head" or layer is plain.encoder) == {"head", "encoder"}
    assert left(lambda name, layer: False) == set()  # noqa: ARG005  # of the interface
    mixed = ("h*d", nn.Conv1d, plain.encoder, lambda _, layer: getattr(layer, "bias", 0) is None)
    assert left(iter(mixed)) == {"head", "filter", "encoder", "block.inner"}


def test_what_skip_cannot_find_names_the_nearest() -> None:
    plain = Residual()
    with pytest.raises(UnknownName, match=r"that is a ModuleDict with layers in it, which skip='block.\*' leaves out"):
        nd.decorrelate(plain, skip="block")
    with pytest.raises(UnknownName, match="class 'LinearReLU'; did you mean 'Linear'"):
        nd.decorrelate(plain, skip=type("LinearReLU", (nn.Linear,), {}))
    twin = copy.deepcopy(plain)
    with pytest.raises(UnknownName, match=r"not in this Residual.*nearest is 'head'"):
        nd.decorrelate(plain, skip=twin.head)
    plain.norm = nn.LayerNorm(3)
    with pytest.raises(UnknownName, match="nothing in it is decorrelated"):
        nd.decorrelate(plain, skip=plain.norm)
    for wrong in (3, int, [None]):
        with pytest.raises((InvalidValue, TypeError)):
            nd.decorrelate(plain, skip=wrong)


def test_every_name_of_a_shared_layer_skips_it() -> None:
    layer = nn.Linear(3, 3)
    model = nn.ModuleDict({"one": layer, "two": layer, "other": nn.Linear(3, 3)})
    for name in ("one", "two"):
        assert decorrelated_names(nd.decorrelate(model, skip=name)) == ["other"]


def test_weights_of_the_plain_model_load() -> None:
    plain, decorrelated = Residual(), nd.decorrelate(Residual())
    missing, unexpected = decorrelated.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(".decorrelation." in key for key in missing)


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    bias=st.booleans(),
    center=st.booleans(),
    seed=st.integers(0, 100),
)
def test_fold_computes_the_same(widths: list[int], bias: bool, center: bool, seed: int) -> None:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), nn.LeakyReLU()]
    model = nd.decorrelate(nn.Sequential(*layers), center=center)
    randomise(model, seed)
    folded = nd.fold(model)
    inputs = torch.randn(5, widths[0])
    expected = model.eval()(inputs)
    tolerance = 1e-5 * max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(folded.eval()(inputs), expected, rtol=1e-5, atol=tolerance)
    assert {type(module).__module__.split(".")[0] for module in folded.modules()} == {"torch"}
    assert not any(module._forward_pre_hooks for module in folded.modules())


def test_fold_of_a_users_model_trains_on() -> None:
    model = nd.decorrelate(Residual())
    randomise(model)
    folded = nd.fold(model)
    inputs = torch.randn(4, 5)
    torch.testing.assert_close(folded(inputs), model(inputs), rtol=1e-4, atol=1e-4)
    assert folded.block["inner"].bias is not None, "a layer without bias needs one to carry the mean"
    folded(inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in folded.parameters())
    assert nd.decorrelate(folded) is not folded


def test_fold_of_a_decorrelation_that_stands_alone() -> None:
    model = nn.Sequential(nd.Decorrelation(4), nn.Tanh(), nn.Linear(4, 2))
    randomise(model)
    inputs = torch.randn(3, 4)
    folded = nd.fold(model)
    assert type(folded[0]) is nn.Linear
    torch.testing.assert_close(folded(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    assert type(nd.fold(nd.Decorrelation(2))) is nn.Linear


def test_refusals() -> None:
    with pytest.raises(Unsupported, match="reads the weight without calling"):
        nd.decorrelate(nn.TransformerEncoderLayer(4, 1, 4))
    with pytest.raises(Unsupported, match="run one batch"):
        nd.decorrelate(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(StateMismatch, match="decorrelated already"):
        nd.decorrelate(nd.decorrelate(Residual()))
    own = type("Own", (nn.Conv1d,), {"forward": lambda self, inputs: self._conv_forward(inputs, self.weight, None)})
    with pytest.raises(Unsupported, match=r"'filter' \(Own\) has a forward of its own.*skip=\('filter',\)"):
        nd.decorrelate(nn.ModuleDict({"filter": own(2, 2, 1)}))
    with pytest.raises(Unsupported, match=r"'0' \(Linear\) has complex weights \(torch.complex64\)"):
        nd.decorrelate(nn.Sequential(nn.Linear(3, 2, dtype=torch.complex64)))
    with pytest.raises(Unsupported, match=r"'0' \(Packed\) holds its weights as torch.uint8"):
        nd.decorrelate(nn.Sequential(Packed(4, 3)))
    empty = nn.Linear(3, 2)
    empty.weight, empty.in_features = nn.Parameter(torch.zeros(2, 0)), 0
    with pytest.raises(Unsupported, match=r"'0' \(Linear\) has a weight without entries"):
        nd.decorrelate(nn.Sequential(empty))
    with pytest.raises(Unsupported, match=r"no Linear or convolution left to decorrelate: see nd.coverage"):
        nd.decorrelate(nn.Sequential(nn.ReLU()))


class Packed(nn.Linear):
    """As layers for inference in four bits hold their weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.weight = nn.Parameter(torch.zeros(inputs * outputs // 2, 1, dtype=torch.uint8), requires_grad=False)


def test_all_that_is_wrong_is_told_at_once_with_the_line_that_mends_it() -> None:
    model = Residual()
    model.attention = nn.MultiheadAttention(4, 2)
    model.lazy = nn.LazyConv2d(3, 3)
    model.phases = nn.Linear(2, 2, dtype=torch.complex64)
    with pytest.raises(Unsupported) as told:
        nd.decorrelate(model, signal="trace")
    title, *lines, mend = str(told.value).splitlines()
    assert title == "3 parts of Residual cannot be decorrelated:"
    assert [line.split("'")[1] for line in lines] == ["attention.out_proj", "lazy", "phases"]
    skip = mend.removeprefix("Leave them out with skip=").removesuffix(".")
    assert decorrelated_names(nd.decorrelate(model, skip=eval(skip))) == [  # of our own message
        "encoder",
        "block.inner",
        "block.outer",
        "head",
    ]


def test_a_single_layer_is_called_by_its_class() -> None:
    with pytest.raises(Unsupported, match=r"^the model itself \(Linear\) has complex weights \(.*activities\.$"):
        nd.decorrelate(nn.Linear(3, 2, dtype=torch.complex64))
    with pytest.raises(StateMismatch, match=r"^the model itself \(Linear\) is decorrelated already"):
        nd.decorrelate(nd.decorrelate(nn.Linear(3, 2)))


def test_a_forward_of_one_instance_is_refused() -> None:
    """As accelerate puts it on every module it moves between devices."""
    model = Residual()
    model.head.forward = functools.partial(type(model.head).forward, model.head)
    with pytest.raises(Unsupported, match=r"'head' \(Linear\) has a forward that was set on this one instance"):
        nd.decorrelate(model)
    assert decorrelated_names(nd.decorrelate(model, skip="head")) == ["encoder", "block.inner", "block.outer"]
    del model.head.forward
    inner = model.forward
    model.forward = lambda inputs: 2 * inner(inputs)
    with pytest.raises(
        Unsupported, match=r"the model itself \(Residual\) has a forward .* that would run the original's layers"
    ):
        nd.decorrelate(model)
    model.forward = functools.partial(type(model).forward, model)  # copied with what it holds
    decorrelated = nd.decorrelate(model)
    randomise(decorrelated)
    inputs = torch.randn(3, 5)
    assert not torch.allclose(decorrelated(inputs), model(inputs), atol=1e-2)


def test_compiled_models_are_refused_by_name() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(Residual(), backend="eager")
    with pytest.raises(Unsupported, match=r"is compiled, .*torch.compile\(nd.decorrelate\(model\)\)"):
        nd.decorrelate(compiled)
    model = nn.Sequential(nn.Linear(5, 5), torch.compile(Residual(), backend="eager"))
    with pytest.raises(Unsupported, match=r"'1' \(OptimizedModule\) is compiled"):
        nd.decorrelate(model)
    with pytest.raises(Unsupported, match=r"'1' \(OptimizedModule\) is compiled"):
        nd.decorrelate(model, skip="1.*")


@pytest.mark.parametrize("called", [False, True])
def test_a_model_compiled_in_place_is_decorrelated_as_the_plain_one(called: bool) -> None:
    torch._dynamo.reset()
    plain = Residual()
    plain.compile(backend="eager")
    plain.block["outer"].compile(backend="eager")
    inputs = torch.randn(3, 5)
    if called:
        plain(inputs)
    model = nd.decorrelate(plain)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert not model(inputs).any(), "the plain original was run"


def test_the_original_stays_as_it_is() -> None:
    """Reading a parametrized weight in train mode moves spectral norm on."""
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 3)))
    before = copy.deepcopy(model.state_dict())
    inputs = torch.randn(2, 4)
    decorrelated = nd.decorrelate(model)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) and torch.equal(value, decorrelated.state_dict()[key])
    assert all(module.training for module in (*model.modules(), *decorrelated.modules()))
    torch.testing.assert_close(decorrelated(inputs), model(inputs))


def test_attention_with_its_inside_skipped() -> None:
    model = nn.TransformerEncoderLayer(4, 1, 8, dropout=0.0, batch_first=True)
    decorrelated = nd.decorrelate(model, skip="self_attn.*")
    randomise(decorrelated)
    inputs = torch.randn(2, 3, 4)
    with torch.no_grad():  # the fast path of eval mode would read the weights behind our back
        fast, plain = decorrelated.eval()(inputs), decorrelated.train()(inputs)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(nd.fold(decorrelated)(inputs), plain, rtol=1e-4, atol=1e-5)


def test_a_layer_trains_through_its_hook() -> None:
    model = nd.decorrelate(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)))
    randomise(model)
    model(torch.randn(5, 3)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("center", [True, False])
def test_the_mean_is_a_constant_to_the_gradient(center: bool) -> None:
    """Through the mean of the batch, as published, the gradient of z has no mean: the common error is not heard."""
    torch.manual_seed(0)
    model = nd.decorrelate(nn.Linear(4, 3), center=center)
    randomise(model)
    inputs = torch.randn(6, 4, requires_grad=True)
    error = torch.randn(6, 3)
    model(inputs).backward(error)
    behind = error.double() @ model.weight.detach().double()
    matrix = model.decorrelation.matrix.double()
    torch.testing.assert_close(inputs.grad.double(), behind @ matrix, rtol=1e-5, atol=1e-5)

    published = inputs.detach().double().requires_grad_()
    ((published - published.mean(dim=0)) @ matrix.T).backward(behind)
    torch.testing.assert_close(
        inputs.grad.double() - published.grad, (behind.mean(dim=0) @ matrix).expand(6, 4), rtol=1e-4, atol=1e-5
    )
