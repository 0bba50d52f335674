"""What torch does to models: compiling, function transforms, checkpoints, single samples."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

import neuro_decorr as nd
from neuro_decorr.rate.record import Record


def network(**options: object) -> nn.Module:
    """Convolutions with and without groups, and linear layers, decorrelated."""
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )
    return nd.decorrelate(plain, **options)


def small() -> nn.Module:
    """For what takes long to compile."""
    torch.manual_seed(0)
    return nd.decorrelate(nn.Sequential(nn.Flatten(), nn.Linear(50, 6), nn.Tanh(), nn.Linear(6, 3)))


def images(count: int, seed: int = 0) -> Tensor:
    return 1 + torch.randn(count, 2, 5, 5, generator=torch.Generator().manual_seed(seed)).cumsum(dim=3)


def records(model: nn.Module) -> dict[str, Record | None]:
    return {name: found.take_record() for name, found, _ in nd.rate.decorrelated_layers(model)}


def assert_same_records(model: nn.Module, other: nn.Module, **tolerance: float) -> None:
    for (name, one), two in zip(records(model).items(), records(other).values(), strict=True):
        assert one is not None and two is not None, name
        assert float(one.seen) == float(two.seen), name
        for tensor, expected in zip(one[:3], two[:3], strict=True):
            torch.testing.assert_close(tensor, expected, **tolerance)


def assert_same_state(model: nn.Module, other: nn.Module, **tolerance: float) -> None:
    for (name, tensor), expected in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(tensor, expected, msg=name, **tolerance)


@pytest.fixture
def compile_afresh() -> Callable[[nn.Module], Callable[..., Tensor]]:
    """torch.compile of the whole graph, through autograd, without the code generator, which needs a compiler."""
    torch._dynamo.reset()
    return lambda model: torch.compile(model, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize(("rule", "make"), [("whitening", network), ("interneuron", small)])
def test_compiled_as_one_graph(
    rule: str, make: Callable[[], nn.Module], compile_afresh: Callable[[nn.Module], Callable[..., Tensor]]
) -> None:
    """Train and eval mode, one and several micro-batches a step: the trajectory of the model that is not compiled."""
    options = {"interneurons": 2, "every": 1} if rule == "interneuron" else {}
    models = [make(), make()]
    plasticities = [nd.Plasticity(model, nd.rules.get(rule, **options), row_fraction=0.5) for model in models]
    compiled = compile_afresh(models[0])
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for step, passes in enumerate((1, 2, 1, 4, 7)):
        for number in range(passes):
            inputs = images(16, seed=10 * step + number)
            outputs = [run(inputs) for run in (compiled, models[1])]
            torch.testing.assert_close(*outputs)
            for output in outputs:
                output.square().sum().backward()
        for plasticity in plasticities:
            plasticity.step()
        assert_same_state(*models)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 2, "a graph for every number of passes"
    for one, two in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    models[0].eval()
    torch.testing.assert_close(compiled(images(16)), models[1].eval()(images(16)))
    assert all(record is None for record in records(models[0]).values())


def test_many_passes_in_a_compiled_graph_count_alike(
    compile_afresh: Callable[[nn.Module], Callable[..., Tensor]],
) -> None:
    """Beyond eight passes rows are thinned out; what stays is of all of them, and the mean is exact."""
    module = nd.Decorrelation(1, row_fraction=1.0)
    compiled = compile_afresh(module)
    for number in range(20):
        compiled(torch.full((100, 1), float(number)))
    record = module.take_record()
    assert record is not None and record.inputs.shape == (800, 1) and record.seen == 2_000
    torch.testing.assert_close(record.deviation / record.seen, torch.tensor([9.5]))
    kept = torch.bincount(record.inputs[:, 0].long(), minlength=20)
    assert kept.sum() == 800 and kept.min() >= 30 and kept.max() <= 50


def test_a_model_that_is_made_without_memory_is_compiled_once_it_is_loaded(
    compile_afresh: Callable[[nn.Module], Callable[..., Tensor]],
) -> None:
    """The count of updates is no buffer, so that loading does not bring it from the meta device."""
    plain = small()
    with torch.device("meta"):
        loaded = small()
    loaded.load_state_dict(copy.deepcopy(plain.state_dict()), assign=True)
    torch.testing.assert_close(compile_afresh(loaded)(images(8)), plain(images(8)))
    assert_same_records(loaded, plain)


def test_autocast_in_a_compiled_graph(compile_afresh: Callable[[nn.Module], Callable[..., Tensor]]) -> None:
    models = [small(), small()]
    compiled = compile_afresh(models[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = compiled(images(8)), models[1](images(8))
    assert outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(*outputs, rtol=0.05, atol=0.05)
    assert all(record.inputs.dtype == torch.float32 for record in records(models[0]).values())


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_counts_once(reentrant: bool) -> None:
    """Backward runs the forward pass again; one update a step, the same as without the checkpoint."""
    plain, saving = network(), network()
    inputs = images(8).requires_grad_()
    plain(inputs).sum().backward()
    checkpoint(saving, inputs, use_reentrant=reentrant).sum().backward()
    torch.testing.assert_close(saving[0].weight.grad, plain[0].weight.grad)
    assert_same_records(saving, plain, rtol=0, atol=0)


def test_a_checkpoint_of_a_compiled_block_counts_once(
    compile_afresh: Callable[[nn.Module], Callable[..., Tensor]],
) -> None:
    plain, saving = small(), small()
    plain(images(8))
    checkpoint(compile_afresh(saving), images(8).requires_grad_(), use_reentrant=False).sum().backward()
    assert_same_records(saving, plain)


def test_a_checkpoint_inside_a_compiled_graph_counts_once(
    compile_afresh: Callable[[nn.Module], Callable[..., Tensor]],
) -> None:
    """The compiler refuses what a module remembers unless told that the recomputation need not remember it again."""

    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = small()

        def forward(self, inputs: Tensor) -> Tensor:
            return checkpoint(self.block, inputs, use_reentrant=False)

    plain, saving = small(), Saving()
    plain(images(8))
    with torch._dynamo.config.patch(skip_fwd_side_effects_in_bwd_under_checkpoint=True):
        compile_afresh(saving)(images(8)).sum().backward()
    assert_same_records(saving, plain)


@pytest.mark.parametrize("transform", ["vmap", "grad"])
def test_a_compiled_transform_runs_as_if_not_compiled_or_is_refused(transform: str) -> None:
    """What is remembered cannot leave a graph through vmap or grad: no graph of it is made."""
    torch._dynamo.reset()
    model, plain = small(), small()
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def mapped(parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return vmap(lambda image: functional_call(model, parameters, (image.unsqueeze(0),)))(inputs)

    def slope(parameters: dict[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        return grad(lambda given: functional_call(model, given, (inputs,)).sum())(parameters)

    function = mapped if transform == "vmap" else slope
    torch.compile(function, backend="aot_eager")(parameters, images(8))
    plain(images(8))
    assert_same_records(model, plain)
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(parameters, images(8))
    records(model)
    with nd.rate.unremembered(model):
        compiled(parameters, images(8))
    assert all(record is None for record in records(model).values())


def test_functional_call_drives_the_plasticity_of_the_module() -> None:
    model, other = network(), network()
    inputs = images(8)
    torch.testing.assert_close(functional_call(model, dict(other.named_parameters()), (inputs,)), other(inputs))
    assert_same_records(model, other)


def test_gradients_of_every_sample() -> None:
    """vmap of grad: the gradients of a loop over samples, and the record of the batch; nothing of torch.func stays."""
    model, other = network(row_fraction=1.0).double(), network(row_fraction=1.0).double()
    inputs = images(5).double()

    def loss(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(model, parameters, (sample.unsqueeze(0),)).square().sum()

    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
    gradients = vmap(grad(loss), in_dims=(None, 0))(parameters, inputs)
    for number, sample in enumerate(inputs):
        other.zero_grad()
        other(sample.unsqueeze(0)).square().sum().backward()
        for name, parameter in other.named_parameters():
            torch.testing.assert_close(gradients[name][number], parameter.grad)
    steps = [nd.Plasticity(one, nd.rules.get("norm_preserving", rate=1e-3)) for one in (model, other)]
    for plasticity in steps:
        plasticity.step()
    assert_same_state(model, other)
    inside = copy.deepcopy(model)
    grad(loss)(parameters, inputs[0])
    inside(inputs[:1])
    assert_same_records(model, inside)


def test_an_ensemble_with_transforms_of_its_own_leaves_the_module_alone() -> None:
    """Stacked parameters and buffers, as torch.func.stack_module_state makes them."""
    models = [network() for _ in range(3)]
    for number, model in enumerate(models):
        model[0].decorrelation.matrix.mul_(1 + number)
    parameters, buffers = torch.func.stack_module_state(models)
    base, inputs = copy.deepcopy(models[0]), images(4)
    outputs = vmap(lambda p, b: functional_call(base, (p, b), (inputs,)))(parameters, buffers)
    torch.testing.assert_close(outputs, torch.stack([model(inputs) for model in models]), rtol=1e-4, atol=1e-4)
    assert all(record is None for record in records(base).values())


@pytest.mark.parametrize("rule", ["norm_preserving", "whitening"])
def test_a_batch_of_one_is_enough(rule: str) -> None:
    """Image by image: the mean is found and correlations fall."""
    model = nd.decorrelate(nn.Sequential(nn.Flatten(), nn.Linear(50, 6)))
    plasticity = nd.Plasticity(model, nd.rules.get(rule, rate=2e-3))
    data = images(1_000)
    for image in data:
        model(image.unsqueeze(0))
        plasticity.step()
    found = model[1].decorrelation.eval()
    before, after = data.flatten(1), found(data.flatten(1))
    assert nd.metrics.mean_squared_correlation(after) < 0.7 * nd.metrics.mean_squared_correlation(before)
