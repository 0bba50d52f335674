"""Plasticity: one update a step, the same as the rule by hand, function kept on request, torch's habits."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import neuro_decorr as nd
from neuro_decorr.errors import Diverged, InvalidValue, Unsupported
from neuro_decorr.rules import Sample, transform

RULES = [
    nd.rules.get("center"),
    nd.rules.get("norm_preserving", rate=1e-2),
    nd.rules.get("norm_preserving", rate=1e-2, norm_reference="raw", form="published"),
    nd.rules.get("whitening", rate=5e-2, damping=3.0),
    nd.rules.get("whitening", rate=5e-2, damping=0.0),
    nd.rules.get("decorrelating", rate=1e-2),
    nd.rules.get("interneuron", interneurons=3, damping=3.0, every=1),
]
each_rule = pytest.mark.parametrize(
    "rule", RULES, ids=lambda rule: f"{rule.name}-{getattr(rule, 'damping', getattr(rule, 'norm_reference', ''))}"
)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 6), nn.LeakyReLU(), nn.Linear(6, 6), nn.LeakyReLU(), nn.Linear(6, 3))


def batches(count: int, rows: int = 16, features: int = 8, seed: int = 0) -> torch.Tensor:
    """Batches with a strong shared mode and a mean."""
    generator = torch.Generator().manual_seed(seed)
    private = torch.randn(count, rows, features, generator=generator)
    return 1.5 + private + 2 * torch.randn(count, rows, 1, generator=generator)


@each_rule
def test_a_step_is_the_rules_update_by_hand(rule: nd.rules.Rule) -> None:
    """The trajectory of D and mean equals the float64 loop over the same rows."""
    module = nd.Decorrelation(8, dtype=torch.float64)
    plasticity = nd.Plasticity(module, rule, row_fraction=1.0, mean_rate=0.3)
    state = rule.initial_state(8, dtype=torch.float64)
    mean = torch.zeros(8, dtype=torch.float64)
    for count, inputs in enumerate(batches(20).double(), start=1):
        module(inputs)
        plasticity.step()
        centred = inputs - mean
        if count > 1:  # the first batch only finds the mean
            state = rule.update(state, Sample(centred, transform(state, centred), mean))
        mean = mean + max(0.3, 1 / count) * (inputs.mean(dim=0) - mean)
        torch.testing.assert_close(module.mean, mean)
        torch.testing.assert_close(module.matrix, nd.rules.dense_matrix(state, 8, mean), rtol=1e-9, atol=1e-9)


@each_rule
def test_it_decorrelates_a_network(rule: nd.rules.Rule) -> None:
    model = nd.decorrelate(network())
    plasticity = nd.Plasticity(model, rule, row_fraction=1.0)
    data = batches(400)
    for inputs in data:
        model(inputs)
        plasticity.step()
    layer = model[0].decorrelation.eval()
    before, after = (torch.corrcoef(rows.T) for rows in (data.flatten(0, 1), layer(data.flatten(0, 1))))
    off = ~torch.eye(8, dtype=torch.bool)
    if rule.name == "center":
        torch.testing.assert_close(before, after)
    else:
        assert after[off].square().mean() < 0.6 * before[off].square().mean()


@each_rule
def test_compensated_layers_keep_their_function(rule: nd.rules.Rule) -> None:
    """300 updates with zero error: outputs unchanged to 1e-5 of their size; not so without compensation."""
    probe = batches(1, rows=64, seed=1)[0]
    change = {}
    for compensate in (True, False):
        model = nd.decorrelate(network())
        expected = model.eval()(probe).detach()
        plasticity = nd.Plasticity(model, rule, row_fraction=0.5, compensate=compensate)
        model.train()
        for inputs in batches(300):
            model(inputs)
            plasticity.step()
        drift = (model.eval()(probe).detach() - expected).abs().max() / expected.abs().max()
        change[compensate] = float(drift)
    assert change[True] < 1e-5
    assert change[False] > 1e-2


def test_compensation_needs_a_layer_and_weights_of_its_own() -> None:
    rule = nd.rules.get("whitening")
    with pytest.raises(Unsupported, match="Decorrelation '0' stands by itself"):
        nd.Plasticity(nn.Sequential(nd.Decorrelation(3)), rule, compensate=True)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(Unsupported, match="share one weight"):
        nd.Plasticity(nd.decorrelate(tied), rule, compensate=True)


def test_centre_false_is_compensated_without_bias() -> None:
    model = nd.decorrelate(nn.Linear(8, 3, bias=False), center=False)
    inputs = batches(1)[0]
    expected = model(inputs)
    plasticity = nd.Plasticity(model, nd.rules.get("norm_preserving"), compensate=True)
    for _ in range(50):
        model(inputs)
        plasticity.step()
    torch.testing.assert_close(model(inputs), expected, rtol=1e-4, atol=1e-4)
    assert not model.decorrelation.mean.any()


@each_rule
def test_save_load_continue_is_the_same_as_never_stopping(rule: nd.rules.Rule) -> None:
    data = batches(12)

    def advance(model: nn.Module, plasticity: nd.Plasticity, part: torch.Tensor) -> None:
        for inputs in part:
            model(inputs)
            plasticity.step()

    straight = nd.decorrelate(network())
    plasticity = nd.Plasticity(straight, rule, row_fraction=1.0)
    advance(straight, plasticity, data[:6])
    saved = copy.deepcopy((straight.state_dict(), plasticity.state_dict()))
    advance(straight, plasticity, data[6:])

    fresh = nd.decorrelate(network(seed=1))
    fresh.load_state_dict(saved[0])
    resumed = nd.Plasticity(fresh, rule, row_fraction=1.0)
    resumed.load_state_dict(saved[1])
    advance(fresh, resumed, data[6:])
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name]), name


@each_rule
def test_buffers_are_updated_in_place(rule: nd.rules.Rule) -> None:
    model = nd.decorrelate(network())
    plasticity = nd.Plasticity(model, rule)
    pointers = {name: buffer.data_ptr() for name, buffer in model.named_buffers()}
    for inputs in batches(10):
        model(inputs)
        plasticity.step()
    assert {name: buffer.data_ptr() for name, buffer in model.named_buffers()} == pointers
    assert not any(buffer.requires_grad for buffer in model.buffers())


def test_nothing_without_a_forward_and_said_once() -> None:
    model = nd.decorrelate(network())
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"))
    before = copy.deepcopy(model.state_dict())
    with pytest.warns(UserWarning, match="no forward pass in train mode"):
        plasticity.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plasticity.step()
        model.eval()(batches(1)[0])
        plasticity.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@each_rule
def test_accumulated_micro_batches_are_one_batch(rule: nd.rules.Rule) -> None:
    """One update a step, from the rows and the mean of all forward passes since the last one, however unequal."""
    parts = (3, 1, 12)
    whole, split = nd.Decorrelation(8, dtype=torch.float64), nd.Decorrelation(8, dtype=torch.float64)
    steps = [nd.Plasticity(module, rule, row_fraction=1.0) for module in (whole, split)]
    for inputs in batches(8).double():
        whole(inputs)
        for part in inputs.split(parts):
            split(part)
        for plasticity in steps:
            plasticity.step()
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], tensor, rtol=1e-9, atol=1e-9)
    assert rule.name == "center" or not torch.equal(whole.matrix, torch.eye(8))


def test_schedulers_act_on_the_plasticity_rate() -> None:
    module = nd.Decorrelation(8)
    plasticity = nd.Plasticity(module, nd.rules.get("norm_preserving", rate=0.5))
    scheduler = torch.optim.lr_scheduler.ExponentialLR(plasticity, gamma=0.0)
    data = batches(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants a step before the schedule's
        scheduler.step()
    assert plasticity.param_groups[0]["lr"] == 0
    for inputs in data:
        module(inputs - 1.5)
        plasticity.step()
    off = module.matrix - torch.diag(module.matrix.diagonal())
    assert not off.any(), "a rate of zero may rescale the norms, never mix units"


def test_state_follows_a_model_that_is_cast_after_construction() -> None:
    model = nd.decorrelate(network())
    plasticity = nd.Plasticity(model, nd.rules.get("interneuron", interneurons=2, every=1))
    model(batches(1)[0])
    plasticity.step()
    model.double()
    for inputs in batches(5).double():
        model(inputs)
        plasticity.step()
    assert model[0].decorrelation.matrix.dtype == torch.float64
    assert all(len(state) for state in plasticity.state.values()) and len(plasticity.state) == 3


def test_divergence_is_an_error_that_names_the_layer() -> None:
    model = nd.decorrelate(network())
    plasticity = nd.Plasticity(model, nd.rules.get("norm_preserving", rate=1e6, form="published"))

    def train() -> None:
        for inputs in batches(200):
            model(inputs)
            plasticity.step()

    with pytest.raises(Diverged, match=r"before layer '[024]' is not finite"):
        train()


def test_closure_and_zero_grad_as_in_torch() -> None:
    model = nd.decorrelate(network())
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"))

    def closure() -> torch.Tensor:
        loss = model(batches(1)[0]).square().mean()
        loss.backward()
        return loss

    assert plasticity.step(closure).item() > 0
    plasticity.zero_grad()
    assert model[0].weight.grad is not None, "the weights belong to another optimiser"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mean_rate": 0.0}, "mean_rate"), ({"row_fraction": 2.0}, "row_fraction")],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.Plasticity(nd.decorrelate(network()), nd.rules.get("whitening"), **options)


def test_bad_model_and_rule() -> None:
    with pytest.raises(InvalidValue, match=r"nd\.decorrelate\(model\)"):
        nd.Plasticity(network(), nd.rules.get("whitening"))
    with pytest.raises(InvalidValue, match=r"nd\.rules\.get"):
        nd.Plasticity(nd.decorrelate(network()), "whitening")


def test_hooks_and_the_profiler_see_a_step() -> None:
    """The step leaves torch's wrapper out where nobody looks; whoever looks finds it."""
    module = nd.Decorrelation(8)
    plasticity = nd.Plasticity(module, nd.rules.get("norm_preserving"))
    calls: list[str] = []
    handles = [
        plasticity.register_step_pre_hook(lambda *_: calls.append("before")),
        plasticity.register_step_post_hook(lambda *_: calls.append("after")),
        register_optimizer_step_post_hook(lambda *_: calls.append("any optimiser")),
    ]
    data = batches(3)
    module(data[0])
    plasticity.step()
    assert calls == ["before", "after", "any optimiser"]
    for handle in handles:
        handle.remove()
    module(data[1])
    with torch.autograd.profiler.profile() as profile:
        plasticity.step()
    assert "Optimizer.step#Plasticity.step" in {event.key for event in profile.key_averages()}
    before = module.matrix.clone()
    module(data[2])
    plasticity.step()
    assert len(calls) == 3 and not torch.equal(module.matrix, before)


@pytest.mark.parametrize("compensate", [False, True])
def test_rows_whose_norm_overflows_are_a_divergence_that_names_the_layer(compensate: bool | str) -> None:
    model = nd.decorrelate(torch.nn.Sequential(torch.nn.Linear(4, 2)), center=False, row_fraction=1.0)
    plasticity = nd.Plasticity(model, nd.rules.get("norm_preserving"), compensate=compensate)
    matrix = model[0].decorrelation.matrix.mul_(1e20)
    before = matrix.clone()
    model(torch.tensor([[2e18, -2e18, 2e18, -2e18]]))  # outputs of 2e38: finite, as is their sum; their norm is not
    with pytest.raises(Diverged, match="before layer '0' is not finite, or too large to work with"):
        plasticity.step()
    assert torch.equal(matrix, before)


@each_rule
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(("first", "row_fraction"), [(True, 1.0), (False, 1.0), (False, 0.1)])
def test_a_batch_that_is_not_finite_leaves_everything_as_it_was(
    rule: nd.rules.Rule, bad: float, first: bool, row_fraction: float
) -> None:
    """Whether the row is one of those that are sampled for the rule or not: it would move the mean."""
    model = nd.decorrelate(network(), row_fraction=row_fraction)
    plasticity = nd.Plasticity(model, rule)
    if not first:
        for inputs in batches(3):
            model(inputs)
            plasticity.step()
    module = model[0].decorrelation
    state = plasticity.state[module.mean]
    before = copy.deepcopy((module.state_dict(), dict(state)))
    poisoned = batches(1)[0]
    poisoned[2, 5] = bad
    model(poisoned)
    with pytest.raises(Diverged, match="before layer '0' is not finite"):
        plasticity.step()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[0][name]), name
    for name, value in state.items():
        assert torch.equal(value, before[1][name]) if isinstance(value, torch.Tensor) else value == before[1][name]
