"""What every credit promises, whichever it is."""

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError, checkpoint

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported
from tests.credit.loops import gradients, make_case

# Every credit but eprop, which is for spiking networks: tests/credit/test_eprop.py.
FEEDBACK = {"feedback_alignment", "direct_feedback_alignment", "sign_symmetry", "kolen_pollack", "weight_mirror"}
pytestmark = pytest.mark.parametrize("name", [name for name in credit.names() if name != "eprop"])


def test_the_loss_is_the_one_of_the_clean_network(name) -> None:
    case = make_case()
    loss = credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
    expected = F.mse_loss(case.model(case.inputs), case.targets)
    assert loss.dim() == 0
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-13, atol=0)


def test_gradients_accumulate(name) -> None:
    case = make_case()
    credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
    once = gradients(case.model)
    credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
    for twice, one in zip(gradients(case.model), once, strict=True):
        torch.testing.assert_close(twice, 2 * one, rtol=1e-13, atol=0)


def test_an_empty_batch_is_refused(name) -> None:
    case = make_case()
    assignment = credit.get(name, case.model)
    with pytest.raises(InvalidValue, match=r"at least one sample, got an empty tensor of shape \(0, \d+\)"):
        assignment.backward(F.mse_loss, case.inputs[:0], case.targets[:0])
    assert all(parameter.grad is None for parameter in case.model.parameters())


def test_where_gradients_are_switched_off_it_works_or_says_so(name) -> None:
    case, again = make_case(), make_case()
    with torch.no_grad():
        if credit.get(name, case.model).needs_autograd:
            with pytest.raises(StateMismatch, match=rf"{name} needs gradients, which are switched off here"):
                credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
            return
        credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
    credit.get(name, again.model).backward(F.mse_loss, again.inputs, again.targets)
    for without, usual in zip(gradients(case.model), gradients(again.model), strict=True):
        torch.testing.assert_close(without, usual, rtol=0, atol=0)


def test_frozen_parameters_get_nothing(name) -> None:
    case = make_case()
    case.layers[0].bias.requires_grad_(False)
    case.layers[1].requires_grad_(False)
    credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
    learned = [parameter.grad is not None for parameter in case.model.parameters()]
    assert learned == [True, False, False, False, True, True]


def test_where_nothing_learns_it_is_told(name) -> None:
    case = make_case()
    case.model.requires_grad_(False)
    with pytest.raises(Unsupported, match="needs a model with trainable parameters; this one has none"):
        credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)


def test_the_same_seed_gives_the_same_gradients(name) -> None:
    results = []
    for _ in range(2):
        case = make_case()
        assignment = credit.get(name, case.model)
        for _ in range(2):
            case.model.zero_grad()
            assignment.zero_grad()
            assignment.backward(F.mse_loss, case.inputs, case.targets)
        results.append(gradients(case.model))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_a_state_gives_the_next_gradients_again(name) -> None:
    case = make_case()
    assignment = credit.get(name, case.model, seed=1)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    state = copy.deepcopy(assignment.state_dict())
    case.model.zero_grad()
    assignment.zero_grad()
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    expected = gradients(case.model)
    other = credit.get(name, case.model)
    other.load_state_dict(state)
    case.model.zero_grad()
    other.backward(F.mse_loss, case.inputs, case.targets)
    assert all(torch.equal(a, b) for a, b in zip(gradients(case.model), expected, strict=True))


def test_the_model_is_not_part_of_the_credit(name) -> None:
    case = make_case()
    before = set(case.model.state_dict())
    assignment = credit.get(name, case.model)
    theirs = {id(parameter) for parameter in case.model.parameters()}
    assert not theirs & {id(parameter) for parameter in assignment.parameters()}
    assert not before & set(assignment.state_dict())
    assignment.eval().float()
    assert case.model.training
    assert case.layers[0].weight.dtype == torch.float64
    assert set(case.model.state_dict()) == before
    assert assignment.model is case.model


def test_a_copy_of_the_pair_is_a_pair(name) -> None:
    case = make_case()
    model, assignment = copy.deepcopy((case.model, credit.get(name, case.model)))
    assert assignment.model is model
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    assert gradients(case.model) == []
    ours = gradients(model)
    credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
    assert all(torch.equal(a, b) for a, b in zip(ours, gradients(case.model), strict=True))


def attributes(model) -> list[tuple]:
    return [
        (module, set(module.__dict__), module.forward, list(module._forward_pre_hooks), list(module._forward_hooks))
        for module in model.modules()
    ]


@pytest.mark.parametrize("failing", [None, "model", "loss", "backward"])
def test_the_model_is_left_as_it_was(name, failing) -> None:
    case = make_case(transform=True)
    if failing == "model":
        case.layers[1].register_forward_pre_hook(lambda *_: 1 / 0)

    def loss_function(outputs: Tensor, targets: Tensor) -> Tensor:
        if failing == "loss":
            raise ZeroDivisionError
        if failing == "backward" and outputs.requires_grad:
            outputs.register_hook(lambda _: 1 / 0)
        return F.mse_loss(outputs, targets)

    case.layers[0].forward = own = lambda inputs: F.linear(inputs, case.layers[0].weight, case.layers[0].bias)
    if name in FEEDBACK:  # refused: a forward of one's own may transport its weights
        del case.layers[0].forward
    assignment = credit.get(name, case.model)
    before = attributes(case.model)
    try:
        assignment.backward(loss_function, case.inputs, case.targets)
    except ZeroDivisionError:
        assert failing is not None
    else:
        assert failing is None or (
            failing == "backward" and name.endswith(("perturbation", "forward_gradient", "ratio"))
        )
    assert attributes(case.model) == before
    assert name in FEEDBACK or case.layers[0].forward is own


def test_nothing_is_kept_after_the_step(name) -> None:
    case = make_case(transform=True)
    alive: list[weakref.ref] = []

    def watch(_module: nn.Module, arguments: tuple[Tensor], output: Tensor) -> None:
        alive.extend((weakref.ref(arguments[0]), weakref.ref(output)))

    for module in case.model:
        module.register_forward_hook(watch)
    assignment = credit.get(name, case.model)
    inputs = case.inputs.clone()
    assignment.backward(F.mse_loss, inputs, case.targets)
    del inputs
    gc.collect()
    assert len(alive) >= 10
    assert [reference for reference in alive if reference() is not None] == []


def test_a_changed_model_is_noticed(name) -> None:
    case = make_case()
    assignment = credit.get(name, case.model)
    case.model[1] = nn.Sigmoid()
    with pytest.raises(StateMismatch, match="modules of the model have changed"):
        assignment.backward(F.mse_loss, case.inputs, case.targets)


def test_an_optimiser_lowers_the_loss(name) -> None:
    case = make_case()
    assignment = credit.get(name, case.model)
    optimiser = torch.optim.SGD([*case.model.parameters(), *assignment.parameters()], lr=0.01)
    losses = []
    for _ in range(200):
        optimiser.zero_grad()
        losses.append(assignment.backward(F.mse_loss, case.inputs, case.targets).item())
        optimiser.step()
    assert losses[-1] < losses[0]


def test_a_decorrelated_model_learns(name) -> None:
    torch.manual_seed(0)
    model = nd.decorrelate(nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)))
    assignment = credit.get(name, model)
    assignment.backward(F.cross_entropy, torch.randn(16, 5), torch.randint(3, (16,)))
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_clean_pass_alone_drives_the_plasticity(name) -> None:
    case = make_case()
    model = nd.decorrelate(case.model, row_fraction=1.0)
    model(case.inputs)
    expected = {n: found.take_record() for n, found, _ in nd.rate.decorrelated_layers(model)}
    credit.get(name, model).backward(F.mse_loss, case.inputs, case.targets)
    for layer, found, _ in nd.rate.decorrelated_layers(model):
        record = found.take_record()
        assert record.seen == expected[layer].seen
        torch.testing.assert_close(record.inputs, expected[layer].inputs, rtol=1e-12, atol=1e-12)


def test_one_layer_without_bias_and_one_sample(name) -> None:
    case = make_case((3, 1), bias=False, batch=1)
    credit.get(name, case.model).backward(F.mse_loss, case.inputs, case.targets)
    assert len(gradients(case.model)) == 1


class Saving(nn.Module):
    """Runs all layers but the last in a checkpoint."""

    def __init__(self, model: nn.Sequential, reentrant: bool) -> None:
        super().__init__()
        self.first, self.last, self.reentrant = model[:-1], model[-1], reentrant

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(checkpoint(self.first, inputs, use_reentrant=self.reentrant))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_in_a_checkpoint_learn_the_same_or_the_credit_is_refused(name, reentrant) -> None:
    """Never silently nothing, or something else."""
    plain, case = make_case(), make_case()
    credit.get(name, plain.model, seed=1).backward(F.mse_loss, plain.inputs, plain.targets)
    assignment = credit.get(name, Saving(case.model, reentrant), seed=1)
    try:
        assignment.backward(F.mse_loss, case.inputs.requires_grad_(), case.targets)
    except (Unsupported, CheckpointError):
        assert name not in FEEDBACK | {"backprop", "weight_perturbation"}
        return
    for found, expected in zip(gradients(case.model), gradients(plain.model), strict=True):
        torch.testing.assert_close(found, expected)
