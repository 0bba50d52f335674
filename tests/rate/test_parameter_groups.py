"""Parameter groups, schedules, copies and states of a Plasticity: what users of torch expect of an optimiser."""

from __future__ import annotations

import copy
import io
import math
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import Diverged, InvalidValue, StateMismatch, UnknownName
from neuro_decorr.rate.finite import squares_fit


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nd.decorrelate(nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)))


def batches(count: int, rows: int = 16, seed: int = 0) -> Tensor:
    """Batches with a strong shared mode and a mean."""
    generator = torch.Generator().manual_seed(seed)
    private = torch.randn(count, rows, 8, generator=generator)
    return 1.5 + private + 2 * torch.randn(count, rows, 1, generator=generator)


def advance(model: nn.Module, plasticity: nd.Plasticity, data: Tensor) -> None:
    for inputs in data:
        model(inputs)
        plasticity.step()


def two_groups(model: nn.Sequential) -> nd.Plasticity:
    groups = [
        {"modules": model[0], "rule": nd.rules.get("whitening"), "rate": 0.05, "row_fraction": 1.0, "damping": 2.0},
        {"modules": [model[2], model[4]], "interneurons": 2, "mean_rate": 0.3},
    ]
    return nd.Plasticity(groups, nd.rules.get("interneuron", every=1), row_fraction=0.5)


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == of and torch.equal(a, b) for (name, a), (of, b) in pairs)


def test_a_group_learns_as_a_plasticity_of_its_own_with_its_settings() -> None:
    """Each group against a separate Plasticity on the same layers, built with these settings for all."""
    grouped, apart = network(), network()
    both = two_groups(grouped)
    first = nd.Plasticity(apart[0], nd.rules.get("whitening", damping=2.0, rate=0.05), row_fraction=1.0)
    rule = nd.rules.get("interneuron", interneurons=2, every=1)
    rest = [nd.Plasticity(apart[place], rule, row_fraction=0.5, mean_rate=0.3) for place in (2, 4)]
    for inputs in batches(6):
        for model, steps in ((grouped, [both]), (apart, [first, *rest])):
            model(inputs)
            for plasticity in steps:
                plasticity.step()
    assert equal(grouped, apart)
    assert not grouped[2].decorrelation.is_identity()
    assert [rule.name for rule in both.rules] == ["whitening", "interneuron"]


def test_groups_hold_plain_values_and_load_with_weights_only() -> None:
    plasticity = two_groups(network())
    for group in plasticity.param_groups:
        for key, value in group.items():
            assert key == "params" or type(value) in (int, float, str, bool), key
    assert plasticity.param_groups[0]["rule"] == "whitening"
    assert plasticity.param_groups[1]["interneurons"] == 2
    file = io.BytesIO()
    torch.save(plasticity.state_dict(), file)
    file.seek(0)
    two_groups(network()).load_state_dict(torch.load(file, weights_only=True))


def test_a_changed_parameter_acts_at_the_next_step() -> None:
    """As the pure update of a rule with the new value does, from the state before; the rule checks the value."""
    module = nd.Decorrelation(8, dtype=torch.float64)
    plasticity = nd.Plasticity(module, nd.rules.get("whitening", damping=3.0), row_fraction=1.0)
    data = batches(5).double()
    advance(module, plasticity, data[:4])
    plasticity.param_groups[0]["damping"] = 10
    state = {**plasticity.state[module.mean], **module.transform_state()}
    del state["batches"], state["shift"]
    centred = data[4] - module.mean
    sample = nd.rules.Sample(centred, centred @ module.matrix.T, module.mean.clone())
    expected, kept = (nd.rules.get("whitening", damping=d).update(state, sample)["matrix"] for d in (10.0, 3.0))
    advance(module, plasticity, data[4:])
    torch.testing.assert_close(module.matrix, expected, rtol=1e-12, atol=1e-12)
    assert float((expected - kept).abs().max()) > 1e-3
    assert module.rule == nd.rules.get("whitening", damping=10)
    before = module.matrix.clone()
    plasticity.param_groups[0]["damping"] = -1.0
    module(data[0])
    with pytest.raises(InvalidValue, match="damping must be"):
        plasticity.step()
    assert torch.equal(module.matrix, before)
    plasticity.param_groups[0]["damping"] = 1.0
    plasticity.step()
    assert not torch.equal(module.matrix, before), "the batch is still there once the value is right"


def test_what_shapes_follow_from_and_the_rule_itself_cannot_change() -> None:
    plasticity = two_groups(network())
    plasticity.param_groups[1]["interneurons"] = 3
    with pytest.raises(
        StateMismatch,
        match=r"'interneurons' of a parameter group cannot change, .* 'directions' of the Linear of group 1",
    ):
        plasticity.step()
    plasticity.param_groups[1].update(interneurons=2, rule="whitening")
    with pytest.raises(StateMismatch, match="keeps the rule with which it was built, 'interneuron'"):
        plasticity.step()


def test_schedulers_write_any_rate_of_any_group_and_are_checked() -> None:
    model = network()
    plasticity = two_groups(model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(plasticity, [lambda _: 0.5, lambda n: 0.0 if n else 1.0])
    data = batches(4)
    advance(model, plasticity, data[:3])
    frozen, moving = model[2].decorrelation.matrix.clone(), model[0].decorrelation.matrix.clone()
    mean = model[2].decorrelation.mean.clone()
    scheduler.step()
    assert [group["lr"] for group in plasticity.param_groups] == [0.025, 0.0]
    advance(model, plasticity, data[3:])
    assert not torch.equal(moving, model[0].decorrelation.matrix)
    torch.testing.assert_close(frozen, model[2].decorrelation.matrix)
    assert not torch.equal(mean, model[2].decorrelation.mean), "at a rate of zero the mean goes on"
    cycle = torch.optim.lr_scheduler.OneCycleLR(plasticity, max_lr=0.1, total_steps=10, cycle_momentum=False)
    advance(model, plasticity, data)
    cycle.step()


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.inf, math.nan, True, "0.1", torch.tensor(0.25)], ids=repr)
@pytest.mark.parametrize("option", ["lr", "mean_rate"])
def test_rates_are_checked_at_construction_and_when_they_change(option: str, bad: object) -> None:
    rule = nd.rules.get("whitening")
    with pytest.raises(InvalidValue, match="rate"):
        nd.Plasticity([{"modules": network(), {"lr": "rate"}.get(option, option): bad}], rule)
    model = network()
    plasticity = nd.Plasticity(model, rule)
    before = copy.deepcopy(model)
    model(batches(1)[0])
    plasticity.param_groups[0][option] = bad
    with pytest.raises(InvalidValue, match="rate"):
        plasticity.step()
    assert equal(model, before)


def test_groups_that_do_not_fit() -> None:
    model, rule = network(), nd.rules.get("interneuron", interneurons=2)
    with pytest.raises(UnknownName, match="rule 'interneuron' 'dampin'; did you mean 'damping'"):
        nd.Plasticity([{"modules": model, "dampin": 1.0}], rule)
    with pytest.raises(InvalidValue, match=r"layer '0' of group 1 is already in another .* as the Linear of group 0"):
        nd.Plasticity([{"modules": model[0]}, {"modules": model}], rule)
    with pytest.raises(InvalidValue, match=r"Tanh in group 1 holds no Decorrelation"):
        nd.Plasticity([{"modules": model[0]}, {"modules": model[1]}], rule)
    with pytest.raises(InvalidValue, match=r"group 0: rule must come from nd\.rules\.get"):
        nd.Plasticity([{"modules": model}])
    with pytest.raises(InvalidValue, match="must name its layers"):
        nd.Plasticity([{"damping": 1.0}], rule)
    with pytest.raises(InvalidValue, match=r"pass a torch\.nn\.Module, or a list of parameter groups"):
        nd.Plasticity([model[0]], rule)
    with pytest.raises(InvalidValue, match="damping must be"):
        nd.Plasticity([{"modules": model, "damping": 0.0}], rule)
    assert all(module.is_identity() and module.rule is None for _, module, _ in nd.rate.decorrelated_layers(model))


def test_layers_in_no_group_do_not_learn_until_they_are_added() -> None:
    model, data = network(), batches(6)
    plasticity = nd.Plasticity([{"modules": model[0]}], nd.rules.get("whitening"), row_fraction=1.0)
    advance(model, plasticity, data[:3])
    assert model[2].decorrelation.is_identity() and not model[2].decorrelation.mean.any()
    plasticity.add_param_group({"modules": model[2], "damping": 1.0})
    advance(model, plasticity, data[3:])
    assert not model[2].decorrelation.is_identity()
    assert plasticity.param_groups[1]["damping"] == 1.0
    with pytest.raises(InvalidValue, match="already in another parameter group"):
        plasticity.add_param_group({"modules": model[0]})
    with pytest.raises(UnknownName, match="'params'"):
        plasticity.add_param_group({"params": list(model.parameters())})


def saved_and_loaded(pair: object) -> object:
    file = io.BytesIO()
    torch.save(pair, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair)), saved_and_loaded])
@pytest.mark.parametrize("compensate", [False, True])
def test_a_copied_pair_goes_on_as_the_original_does(how: Callable[..., object], compensate: bool | str) -> None:
    model, data = network(), batches(8)
    rule = nd.rules.get("interneuron", interneurons=2, every=1)
    plasticity = nd.Plasticity(model, rule, row_fraction=1.0, compensate=compensate)
    advance(model, plasticity, data[:4])
    model_copy, plasticity_copy = how((model, plasticity))  # type: ignore[misc]
    before = copy.deepcopy(model)
    advance(model_copy, plasticity_copy, data[4:])
    assert equal(model, before), "the original stays"
    advance(model, plasticity, data[4:])
    assert equal(model, model_copy) and not equal(model, before)


def test_a_copy_of_a_plasticity_alone_has_layers_of_its_own() -> None:
    model, data = network(), batches(4)
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"), row_fraction=1.0)
    alone = copy.deepcopy(plasticity)
    before = copy.deepcopy(model)
    own = alone._layers[0].module
    own(data[0])
    with pytest.warns(UserWarning, match="no forward pass"):
        alone.step()
    assert bool(own.mean.any()) and equal(model, before)


def test_state_keeps_the_type_of_every_tensor_through_saving_and_moving() -> None:
    """A count past 2^24 and a power in double precision are exact; torch's own loading rounds both to float32."""
    module = nd.Decorrelation(8)
    plasticity = nd.Plasticity(module, nd.rules.get("zca"))
    advance(module, plasticity, batches(3))
    state = plasticity.state[module.mean]
    state["updates"].fill_(2**24 + 1)
    state["power"].fill_(1 + 1e-12)
    fresh = nd.Decorrelation(8)
    resumed = nd.Plasticity(fresh, nd.rules.get("zca"))
    resumed.load_state_dict(plasticity.state_dict())
    loaded = resumed.state[fresh.mean]
    for name, value in state.items():
        assert torch.equal(loaded[name], value) if isinstance(value, Tensor) else loaded[name] == value, name
        if isinstance(value, Tensor):
            assert loaded[name].dtype == value.dtype and loaded[name].data_ptr() != value.data_ptr()
    types = {name: value.dtype for name, value in state.items() if isinstance(value, Tensor)}
    for cast in (module.double, module.float):
        cast()
        plasticity._follow_moved_buffers()
        moved = plasticity.state[module.mean]
        assert moved["covariance"].dtype == module.mean.dtype
        assert int(moved["updates"]) == 2**24 + 1 and float(moved["power"]) == 1 + 1e-12
    assert {name: value.dtype for name, value in moved.items() if isinstance(value, Tensor)} == types


def test_a_state_that_does_not_fit_is_refused_and_nothing_changes() -> None:
    def of(rule: str, features: int = 8, **parameters: object) -> nd.Plasticity:
        return nd.Plasticity(nd.Decorrelation(features), nd.rules.get(rule, **parameters))

    plasticity = of("interneuron", interneurons=3)
    with pytest.raises(StateMismatch, match="of the rule 'whitening', this Plasticity has 'interneuron'"):
        plasticity.load_state_dict(of("whitening").state_dict())
    with pytest.raises(StateMismatch, match=r"'variance' of this Decorrelation has the shape \(2,\).* needs \(3,\)"):
        plasticity.load_state_dict(of("interneuron", interneurons=2).state_dict())
    with pytest.raises(StateMismatch, match="2 parameter groups, this Plasticity has 1"):
        plasticity.load_state_dict(two_groups(network()).state_dict())
    with pytest.raises(StateMismatch, match="is of 3 layers, this Plasticity acts on 1"):
        of("whitening").load_state_dict(nd.Plasticity(network(), nd.rules.get("whitening")).state_dict())
    lacking = copy.deepcopy(plasticity.state_dict())
    del lacking["state"][0]["power"]
    with pytest.raises(StateMismatch, match="lacks 'power'"):
        plasticity.load_state_dict(lacking)
    assert plasticity.param_groups[0]["interneurons"] == 3


def test_fewer_inputs_than_interneurons_are_told_once() -> None:
    with pytest.warns(UserWarning, match=r"fewer inputs than interneurons: layer '0' \(8\), layer '2' \(6\)") as told:
        plasticity = nd.Plasticity(model := network(), nd.rules.get("interneuron", interneurons=10))
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advance(model, plasticity, batches(3))
    assert model[2].decorrelation.transform_state()["directions"].shape == (6, 6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e25, 3e18])
@pytest.mark.parametrize("rule", ["norm_preserving", "decorrelating", "whitening", "zca", "interneuron", "center"])
def test_a_bad_batch_of_any_layer_moves_none_and_training_goes_on(rule: str, bad: float) -> None:
    """3e18: finite, and so are its squares, though not their sum. The last layer alone meets it."""
    parameters = {"interneurons": 2, "every": 1} if rule == "interneuron" else {}
    first, last = nd.Decorrelation(8), nd.Decorrelation(8)
    model = nn.ModuleDict({"first": first, "last": last})
    plasticity = nd.Plasticity(model, nd.rules.get(rule, **parameters), row_fraction=1.0)
    spared_model = copy.deepcopy(model)
    spared = nd.Plasticity(spared_model, nd.rules.get(rule, **parameters), row_fraction=1.0)
    data = batches(8)
    for count, inputs in enumerate(data):
        if count == 4:
            poisoned = inputs.clone()
            poisoned[3:] *= bad
            first(inputs)
            last(poisoned)
            with pytest.raises(Diverged, match="the input of Decorrelation 'last' is not finite"):
                plasticity.step()
        for of, steps in ((model, plasticity), (spared_model, spared)):
            of["first"](inputs)
            of["last"](inputs)
            steps.step()
    assert equal(model, spared_model), "as if the batch had never been"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_squares_fit_up_to_the_largest_number(dtype: torch.dtype) -> None:
    root = math.sqrt(torch.finfo(dtype).max)
    assert squares_fit([torch.ones(3, dtype=dtype), torch.full((4,), 0.49 * root, dtype=dtype)])
    assert not squares_fit([torch.full((4,), 0.51 * root, dtype=dtype), torch.ones(3, dtype=dtype)])
    assert not squares_fit([torch.ones(3, dtype=dtype), torch.tensor([math.nan], dtype=dtype)])
    assert squares_fit([])


def test_one_layer_is_called_by_its_class() -> None:
    plasticity = nd.Plasticity(nd.decorrelate(nn.Linear(8, 3)), nd.rules.get("whitening"))
    with pytest.warns(UserWarning, match="since the last step for: this Linear; nothing"):
        plasticity.step()


def test_the_rule_is_that_of_all_groups_or_asked_for_by_group() -> None:
    model = nd.decorrelate(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
    rule = nd.rules.get("whitening")
    assert nd.Plasticity(model, rule).rule == rule
    several = nd.Plasticity([{"modules": model[0]}, {"modules": model[1], "damping": 30.0}], rule)
    assert several.rules == (rule, nd.rules.get("whitening", damping=30.0))
    with pytest.raises(InvalidValue, match=r"use plasticity\.rules"):
        _ = several.rule


def test_what_is_written_into_a_group_later_is_checked() -> None:
    """A key that nobody reads, and one that is gone, are told at the next step; torch's own keys pass."""
    model = network()
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"))
    group = plasticity.param_groups[0]
    torch.optim.lr_scheduler.CyclicLR(plasticity, 0.01, 0.1, cycle_momentum=False)
    model(torch.randn(4, 8))
    plasticity.step()
    group["dampin"] = 1.0
    with pytest.raises(UnknownName, match="did you mean 'damping'"):
        plasticity.step()
    del group["dampin"]
    model(torch.randn(4, 8))
    plasticity.step()
    del group["lr"]
    with pytest.raises(InvalidValue, match="has lost its 'lr': set it again"):
        plasticity.step()


def test_what_is_no_group_no_rule_and_no_state_is_told_in_one_line() -> None:
    model = network()
    with pytest.raises(InvalidValue, match=r"got 'zca': pass nd\.rules\.get\(\"zca\"\)"):
        nd.Plasticity(model, "zca")
    with pytest.raises(InvalidValue, match=r"got None: such as nd\.rules\.get\(\"whitening\"\)"):
        nd.Plasticity(model)
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"))
    for wrong in (None, 3, [model]):
        with pytest.raises(InvalidValue, match="a parameter group must be a dictionary"):
            plasticity.add_param_group(wrong)
    with pytest.raises(InvalidValue, match=r"load_state_dict takes .* got None"):
        plasticity.load_state_dict(None)
    for state in ({}, model.state_dict()):
        with pytest.raises(StateMismatch, match=f"this dictionary has {len(state)} keys"):
            plasticity.load_state_dict(state)
