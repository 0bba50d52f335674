"""Rows count by their weights: padding drives neither the mean nor D."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate import row_weights
from neuro_decorr.rate.record import Record

LENGTHS = torch.tensor([7, 3, 1, 5])
COUNTS = torch.arange(7) < LENGTHS.unsqueeze(1)  # (4, 7), 16 rows of 28
NOISE = 1e6
"""What padding holds: any part of it in a statistic would be seen."""


def tokens(features: int = 5, seed: int = 0) -> Tensor:
    values = 2 + torch.randn(4, 7, features, generator=torch.Generator().manual_seed(seed))
    return torch.where(COUNTS.unsqueeze(2), values, torch.full((), NOISE))


def learnt(row_fraction: float = 0.3, **options: object) -> nd.Decorrelation:
    module = nd.Decorrelation(5, row_fraction=row_fraction, **options)
    generator = torch.Generator().manual_seed(3)
    module.mean.copy_(torch.randn(module.mean.shape, generator=generator))
    module.matrix.copy_(torch.randn(module.matrix.shape, generator=generator))
    return module


def assert_same(found: Record | None, expected: Record | None) -> None:
    assert found is not None and expected is not None
    assert torch.equal(found.inputs, expected.inputs) and torch.equal(found.deviation, expected.deviation)
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=1e-5, atol=1e-5)  # a product of other rows
    assert found.seen == expected.seen and found.weights is None


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"center": False}, {"subtract": False}])
def test_rows_of_weight_zero_are_as_if_they_were_not_there(kind: torch.dtype, options: dict[str, bool]) -> None:
    """To the last bit, whatever they hold, over several passes; x stays what it is."""
    module, expected = learnt(**options), learnt(**options)
    for seed in range(3):
        inputs = tokens(seed=seed)
        with row_weights(module, COUNTS.to(kind)):
            outputs = module(inputs)
        expected(inputs[COUNTS])
        assert torch.equal(outputs, learnt(**options)(inputs))
    assert_same(module.take_record(), expected.take_record())


def test_not_even_what_is_not_finite_reaches_the_statistics() -> None:
    module, inputs = learnt(), tokens()
    inputs[~COUNTS] = torch.nan
    with row_weights(module, COUNTS):
        module(inputs)
    assert all(tensor.isfinite().all() for tensor in module.take_record()[:3])


@pytest.mark.parametrize("subtract", [True, False])
def test_weighted_mean_and_covariance(subtract: bool) -> None:
    """Against sums over rows in float64, with weights that differ within a pass and between two of one step."""
    module = learnt(row_fraction=1.0, subtract=subtract)
    generator = torch.Generator().manual_seed(1)
    total, first, second = 0.0, torch.zeros(5).double(), torch.zeros(5, 5).double()
    for seed, strength in ((0, 1.0), (1, 0.2)):
        weights = strength * torch.rand(4, 7, generator=generator) * COUNTS
        inputs = tokens(seed=seed)
        with row_weights(module, weights):
            module(inputs)
        for row, weight in zip(inputs.double().flatten(0, 1), weights.double().flatten(), strict=True):
            if weight > 0:
                centred = row - module.mean.double()
                total, first, second = (
                    total + weight,
                    first + weight * centred,
                    second + weight * centred.outer(centred),
                )
    record = module.take_record()
    torch.testing.assert_close(record.seen, float(total), rtol=1e-6, atol=0)
    torch.testing.assert_close(record.deviation.double(), first, rtol=1e-5, atol=1e-4)
    rows, outputs, matrix = record.inputs.double(), record.outputs.double(), module.matrix.double()
    assert len(rows) == 32
    torch.testing.assert_close(rows.T @ rows / len(rows), second / total, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs.T @ outputs / 32, matrix @ (second / total) @ matrix.T, rtol=1e-4, atol=1e-4)


def test_equal_weights_scale_nothing() -> None:
    """0.25 is exact in binary: the sums are a quarter, and the rows are those of the mask."""
    module, expected = learnt(), learnt()
    with row_weights(module, 0.25 * COUNTS):
        module(tokens())
    expected(tokens()[COUNTS])
    found, whole = module.take_record(), expected.take_record()
    assert torch.equal(found.inputs, whole.inputs) and found.seen == 0.25 * whole.seen == 4
    assert torch.equal(found.deviation, 0.25 * whole.deviation)


@pytest.mark.parametrize("rule", ["whitening", "interneuron"])
def test_a_model_learns_as_from_the_batch_without_padding(rule: str) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    models = [nd.decorrelate(plain) for _ in range(2)]
    options = {"interneurons": 2} if rule == "interneuron" else {}
    steps = [nd.Plasticity(model, nd.rules.get(rule, **options), row_fraction=0.5) for model in models]
    for seed in range(6):
        inputs = tokens(seed=seed)
        with row_weights(models[0], COUNTS):
            models[0](inputs)
        models[1](inputs[COUNTS])
        for plasticity in steps:
            plasticity.step()
    for (name, found), expected in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=name)


def test_groups() -> None:
    module, expected = (nd.Decorrelation(1, groups=5, row_fraction=1.0) for _ in range(2))
    weights = torch.where(COUNTS, torch.tensor([1.0, 2.0, 3.0, 4.0]).unsqueeze(1), 0.0)
    with row_weights(module, weights):
        module(tokens())
    expected(
        tokens().repeat_interleave(torch.tensor([1, 2, 3, 4]), dim=0)[
            COUNTS.repeat_interleave(torch.tensor([1, 2, 3, 4]), dim=0)
        ]
    )
    found, whole = module.take_record(), expected.take_record()
    assert found.inputs.shape == (5, 16, 1) and found.seen == whole.seen
    torch.testing.assert_close(found.deviation, whole.deviation)
    torch.testing.assert_close(found.inputs.square().mean(dim=1), whole.inputs.square().mean(dim=1))


def test_all_rows_masked_is_an_empty_batch() -> None:
    module = learnt()
    with row_weights(module, torch.zeros(4, 7)):
        assert module(tokens()).shape == (4, 7, 5)
    assert module.take_record() is None


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_counts_once(reentrant: bool) -> None:
    module, expected = learnt(), learnt()
    inputs = tokens().requires_grad_()
    with row_weights(module, COUNTS):
        checkpoint(module, inputs, use_reentrant=reentrant).sum().backward()
    expected(tokens()[COUNTS])
    assert_same(module.take_record(), expected.take_record())


def test_autocast_and_narrow_inputs() -> None:
    module, inputs = learnt(), tokens().clamp(max=100).bfloat16()
    with row_weights(module, COUNTS), torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(inputs).dtype == torch.bfloat16
    expected = learnt()
    expected(inputs.float()[COUNTS])
    assert_same(module.take_record(), expected.take_record())


def test_pooled_inputs_count_all_their_rows() -> None:
    class Pooling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = nn.Linear(5, 4), nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.encoder(inputs).mean(dim=1))

    model = nd.decorrelate(Pooling())
    with row_weights(model, COUNTS):
        model(tokens())
    assert model.encoder.decorrelation.take_record().seen == 16 and model.head.decorrelation.take_record().seen == 4


@pytest.mark.parametrize("arrange", [lambda z: z.flatten(0, 1), lambda z: z.transpose(0, 1), lambda z: z[:, :, None]])
def test_rows_of_another_layout_are_refused_unless_they_have_weights(arrange: Callable[[Tensor], Tensor]) -> None:
    module, inputs = learnt(row_fraction=1.0), arrange(tokens())
    with (
        pytest.raises(
            InvalidValue, match=r"row_weights of shape \(4, 7\) do not fit the rows of an input of shape .*lay them out"
        ),
        row_weights(module, COUNTS),
    ):
        module(inputs)
    assert module.weighing is None, "an error leaves the weights behind"
    with row_weights(module, COUNTS, arrange(COUNTS.unsqueeze(2)).squeeze(-1)):
        module(inputs)
        module(tokens())
    assert module.take_record().seen == 32


def test_the_innermost_weights_hold_and_the_last_is_none() -> None:
    module = learnt()
    with row_weights(module, COUNTS):
        with row_weights(module, torch.ones(4, 7)):
            module(tokens().clamp(max=1))
        assert module.take_record().seen == 28
        module(tokens())
    assert module.take_record().seen == 16 and module.weighing is None


def test_passes_with_and_without_weights_add_up() -> None:
    module, expected = learnt(), learnt()
    module(tokens(seed=1))
    with row_weights(module, COUNTS):
        module(tokens())
    expected(tokens(seed=1))
    expected(tokens()[COUNTS])
    found, whole = module.take_record(), expected.take_record()
    assert found.seen == whole.seen == 44
    torch.testing.assert_close(found.deviation, whole.deviation)


def test_eval_mode_and_probes_are_not_concerned() -> None:
    module = learnt()
    with row_weights(module, COUNTS):
        module.eval()(torch.randn(3, 5))
        with nd.rate.unremembered(module.train()):
            module(torch.randn(3, 5))
    assert module.take_record() is None


def test_weights_that_meet_no_layer_are_said() -> None:
    module = learnt()
    with pytest.raises(InvalidValue, match=r"\(4, 8\) met no layer"), row_weights(module, COUNTS, torch.ones(4, 8)):
        module(tokens())


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_none(wrong: float) -> None:
    weights = torch.ones(4, 7)
    weights[1, 2] = wrong
    with pytest.raises(InvalidValue, match=r"finite numbers >= 0.*\(4, 7\)"), row_weights(learnt(), weights):
        pass


def test_bad_arguments() -> None:
    for arguments, message in (
        ((learnt(),), "got none"),
        ((learnt(), [1, 2]), "got list"),
        ((learnt(), COUNTS, COUNTS), "two weights have the same shape"),
        ((nn.Linear(2, 2), COUNTS), "Linear holds no Decorrelation"),
    ):
        with pytest.raises(InvalidValue, match=message), row_weights(*arguments):
            pass


def test_gradients_by_torch_func_count_and_maps_are_refused() -> None:
    model, expected = nd.decorrelate(nn.Linear(5, 2)), nd.decorrelate(nn.Linear(5, 2))
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def loss(given: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return functional_call(model, given, (inputs,)).sum()

    with row_weights(model, COUNTS):
        grad(loss)(parameters, tokens())
    expected(tokens()[COUNTS])
    assert_same(model.decorrelation.take_record(), expected.decorrelation.take_record())
    with pytest.raises(Unsupported, match="does not work inside vmap"), row_weights(model, COUNTS):
        vmap(grad(loss), in_dims=(None, 0))(parameters, tokens())


def test_a_compiled_model_runs_as_if_not_compiled_or_is_refused() -> None:
    """How many rows count is not known in a graph: none is made."""
    torch._dynamo.reset()
    module, expected = learnt(), learnt()
    with row_weights(module, COUNTS):
        torch.compile(module, backend="aot_eager")(tokens())
    expected(tokens()[COUNTS])
    assert_same(module.take_record(), expected.take_record())
    torch._dynamo.reset()
    whole = torch.compile(module, backend="aot_eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported), row_weights(module, COUNTS):
        whole(tokens())


@pytest.mark.parametrize("signal", ["trace", "rate"])
def test_time_steps_are_refused(signal: str) -> None:
    module = nd.Decorrelation(5, signal=signal)
    with pytest.raises(Unsupported, match="cannot act on a Decorrelation of time steps"), row_weights(module, COUNTS):
        module(tokens())
