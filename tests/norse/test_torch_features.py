"""What torch does to modules: state dicts, types, autocast, compilation, transforms."""

from __future__ import annotations

import copy

import torch
from norse.torch import SequentialState
from torch import Tensor, nn

import neuro_decorr as nd
from tests.norse.spike_trains import spike_trains, step_by_step


def network(signal: str = "trace", dtype: torch.dtype = torch.float64) -> SequentialState:
    torch.manual_seed(0)
    return SequentialState(
        nd.norse.Decorrelation(6, True, signal=signal, row_fraction=0.5),
        nn.Linear(6, 8),
        nd.norse.LIF(8, threshold=0.05),
        nd.norse.Decorrelation(8, True, signal=signal, row_fraction=0.5),
        nn.Linear(8, 3),
        nd.norse.LIF(3, threshold=0.05),
    ).to(dtype)


def test_all_that_is_learnt_is_in_the_state_dict() -> None:
    one, other = network(), network()
    plasticity = nd.Plasticity(one, nd.rules.get("norm_preserving", rate=0.05))
    for seed in range(5):
        one(spike_trains(10, 4, 6, seed))
        plasticity.step()
    assert not torch.equal(one[0].matrix, torch.eye(6, dtype=torch.float64))
    inputs = spike_trains(10, 4, 6, 9)
    assert not torch.equal(one(inputs)[0], other(inputs)[0])
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert torch.equal(one(inputs)[0], other(inputs)[0])
    assert {"0.decorrelation.matrix", "0.decorrelation.mean", "2.threshold"} <= set(one.state_dict())


def test_moves_and_casts_but_never_below_float32() -> None:
    cast = network(dtype=torch.float32).half()
    assert all(buffer.dtype == torch.float32 for buffer in cast.buffers())
    assert cast[1].weight.dtype == torch.float16
    outputs, state = cast(spike_trains(5, 2, 6, dtype=torch.float16))
    assert outputs.dtype == torch.float16 and state[2].potential.dtype == state[0].mean.dtype == torch.float32
    wide = network(dtype=torch.float32).double()
    assert all(buffer.dtype == torch.float64 for buffer in wide.buffers())
    moved = network().to("meta")
    assert all(buffer.device.type == "meta" for buffer in moved.buffers())


def test_autocast_reaches_neither_statistics_nor_states() -> None:
    model = network(dtype=torch.float32)
    model[0].matrix.copy_(torch.randn(6, 6))
    inputs = spike_trains(5, 4, 6, dtype=torch.float32)
    expected = model[0](inputs)[0]
    model[0].decorrelation.take_record()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, state = model(inputs)
        assert torch.equal(model[0](inputs)[0], expected)
    assert state[0].mean.dtype == state[2].potential.dtype == state[2].current.dtype == torch.float32
    assert model[0].decorrelation.take_record().outputs.dtype == torch.float32
    assert set(outputs.unique().tolist()) <= {0.0, 1.0}


def test_compiles_without_a_graph_break() -> None:
    torch._dynamo.reset()
    model, inputs = network("trace"), spike_trains(6, 4, 6)
    copied = copy.deepcopy(model)
    gradients = []
    for each, run in ((model, model), (copied, torch.compile(copied, backend="aot_eager", fullgraph=True))):
        outputs, _ = run(inputs)
        (outputs * torch.arange(3.0)).sum().backward()
        gradients.append((outputs, each[1].weight.grad, each[0].decorrelation.take_record()))
    (outputs, gradient, record), (compiled_outputs, compiled_gradient, compiled_record) = gradients
    assert outputs.sum() > 0 and torch.equal(outputs, compiled_outputs)
    torch.testing.assert_close(gradient, compiled_gradient)
    assert torch.equal(record.inputs, compiled_record.inputs)


def test_single_steps_compile_without_a_graph_break_and_once() -> None:
    torch._dynamo.reset()
    model, inputs = network("trace"), spike_trains(12, 4, 6)
    compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)
    state = [each.initial_state(4) if hasattr(each, "initial_state") else None for each in model]
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=4, fail_on_recompile_limit_hit=True):
        expected, _ = step_by_step(model, inputs, list(state))
        outputs, _ = step_by_step(compiled, inputs, list(state))
    assert expected.sum() > 0 and torch.equal(outputs, expected)


def test_vmap_over_noise_draws_is_a_loop_over_them() -> None:
    model, inputs = network(), spike_trains(7, 4, 6)
    draws = 0.5 * torch.randn(5, 7, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(noise: Tensor) -> Tensor:
        return model(inputs + noise)[0].mean()

    expected = torch.stack([loss(noise) for noise in draws])
    looped = [module.decorrelation.take_record() for module in (model[0], model[3])]
    assert torch.equal(torch.vmap(loss)(draws), expected) and expected.std() > 0
    mapped = [module.decorrelation.take_record() for module in (model[0], model[3])]
    for one, other in zip(looped, mapped, strict=True):
        assert one.seen == other.seen == 5 * 7 * 4
        torch.testing.assert_close(one.deviation, other.deviation)


def test_gradients_and_forward_derivatives_under_vmap() -> None:
    model, inputs = network(), spike_trains(5, 2, 6)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(weights: dict[str, Tensor], z: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, (z.unsqueeze(1),))[0].square().mean()

    examples = inputs.unbind(dim=1)
    gradients = torch.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, inputs)
    directions = {name: torch.randn(2, *p.shape, dtype=p.dtype) for name, p in parameters.items()}

    def forward(direction: dict[str, Tensor], z: Tensor) -> Tensor:
        return torch.func.jvp(lambda weights: loss(weights, z), (parameters,), (direction,))[1]

    derivatives = torch.vmap(forward, in_dims=(0, 1))(directions, inputs)
    for index, example in enumerate(examples):
        model.zero_grad()
        loss(dict(model.named_parameters()), example).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][index], parameter.grad)
        expected = sum((p.grad * directions[name][index]).sum() for name, p in model.named_parameters())
        torch.testing.assert_close(derivatives[index], expected)
    assert gradients["1.weight"].abs().max() > 0
