"""What the passes of the perturbation credits leave alone, restore, resume and refuse."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.errors import StateMismatch, Unsupported
from tests.credit.loops import gradients, make_case

NAMES = ["node_perturbation", "activity_perturbation"]


@pytest.mark.parametrize("name", NAMES)
def test_the_clean_pass_alone_drives_the_statistics(name) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()
    reference = nn.BatchNorm1d(6).double()
    inputs, targets = torch.randn(8, 4).double(), torch.randn(8, 2).double()
    assignment = credit.get(name, model, sigma=0.5)
    for step in range(1, 4):
        assignment.backward(F.mse_loss, inputs + step, targets)
        reference(model[0](inputs + step))
        assert model[1].num_batches_tracked == step
        torch.testing.assert_close(model[1].running_mean, reference.running_mean)
        torch.testing.assert_close(model[1].running_var, reference.running_var)
    assert all(parameter.grad is not None for parameter in model.parameters())


class Habit(nn.Module):
    """Remembers its last input and counts its calls, one of them in a buffer that it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("means", torch.zeros(()))
        self.count_from = 0
        self.last = torch.zeros(())

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and self.count_from <= 0:
            self.calls += 1
            self.means = self.means + inputs.detach().mean()
        self.count_from -= 1
        self.last = inputs.detach()
        return inputs


@pytest.mark.parametrize("name", NAMES)
def test_modules_with_a_memory_see_one_clean_pass(name) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), Habit(), nn.Linear(6, 2))
    inputs, targets = torch.randn(3, 4), torch.randn(3, 2)
    buffer = model[1].calls
    assignment = credit.get(name, model, sigma=0.5)
    for step in range(1, 4):
        assignment.backward(F.mse_loss, inputs, targets)
        assert model[1].calls is buffer
        assert buffer == step
        assert torch.equal(model[1].last, model[0](inputs))
        torch.testing.assert_close(model[1].means, step * model[0](inputs).detach().mean())
    model.eval()
    assignment.backward(F.mse_loss, inputs, targets)
    model.train()
    assignment.backward(F.mse_loss, inputs, targets)
    assert buffer == 4


def test_a_buffer_that_is_written_late_is_reported_and_protected_from_then_on() -> None:
    model = nn.Sequential(nn.Linear(4, 6), Habit(), nn.Linear(6, 2))
    model[1].count_from = 1  # the passes of the first step leave the buffers alone
    inputs, targets = torch.randn(3, 4), torch.randn(3, 2)
    assignment = credit.get("node_perturbation", model)
    assignment.backward(F.mse_loss, inputs, targets)
    with pytest.raises(StateMismatch, match=r"'calls' of '1' \(Habit\).*protected from now on"):
        assignment.backward(F.mse_loss, inputs, targets)
    before = model[1].calls.item()
    assignment.backward(F.mse_loss, inputs, targets)
    assert model[1].calls == before + 1


@pytest.mark.parametrize("directions", [1, 3])
def test_all_passes_see_the_same_dropout(directions) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 2)).double()
    inputs, targets = torch.randn(3, 4).double(), torch.randn(3, 2).double()
    results = []
    for sigma in (1e-3, 1e-5):  # with another mask in every pass, the estimate would grow as 1 / sigma
        torch.manual_seed(3)
        model.zero_grad()
        credit.get("node_perturbation", model, sigma=sigma, directions=directions).backward(F.mse_loss, inputs, targets)
        results.append(torch.cat([gradient.flatten() for gradient in gradients(model)]))
        after = torch.get_rng_state()
        torch.manual_seed(3)
        model(inputs)
        assert torch.equal(after, torch.get_rng_state())  # as if there had been the clean pass only
    assert torch.cosine_similarity(*results, dim=0) > 0.999
    assert (results[0] - results[1]).norm() < 0.05 * results[0].norm()


def test_the_noise_resumes_where_it_was_saved() -> None:
    case = make_case()
    assignment = credit.get("node_perturbation", case.model, seed=1)
    for saved_after in (0, 2):
        for _ in range(saved_after):
            assignment.backward(F.mse_loss, case.inputs, case.targets)
        state = {key: value.clone() for key, value in assignment.state_dict().items()}
        case.model.zero_grad()
        assignment.backward(F.mse_loss, case.inputs, case.targets)
        expected = gradients(case.model)
        resumed = credit.get("node_perturbation", case.model, seed=99)
        resumed.load_state_dict(state)
        case.model.zero_grad()
        resumed.backward(F.mse_loss, case.inputs, case.targets)
        for one, other in zip(gradients(case.model), expected, strict=True):
            assert torch.equal(one, other)


def test_a_state_of_another_kind_of_device_is_refused() -> None:
    case = make_case()
    assignment = credit.get("node_perturbation", case.model)
    assignment.load_state_dict({"noise._extra_state": torch.zeros(16, dtype=torch.uint8)})
    with pytest.raises(StateMismatch, match="does not fit a generator on cpu"):
        assignment.backward(F.mse_loss, case.inputs, case.targets)


class Refused(nn.Module):
    """One layer, and one thing that perturbation cannot treat."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.numbers = itertools.count()

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        hidden = self.first(inputs.mul_(2) if self.kind == "in place" else inputs)
        if self.kind == "tied output":
            return F.linear(self.last(hidden), self.first.weight)
        if self.kind == "tied inside":
            hidden = F.linear(hidden, self.first.weight)
        if self.kind == "pair":
            return self.last(hidden), hidden
        if self.kind == "path":
            clean = F.linear(inputs, self.first.weight, self.first.bias)
            return self.last(hidden) if torch.equal(hidden, clean) else hidden
        if self.kind == "hidden state":
            return self.last(hidden) + next(self.numbers)
        if self.kind == "fold":
            return self.last(hidden.reshape(-1, 2, 4)).sum(1)
        return self.last(hidden)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("tied output", Unsupported, "outside the forward of the layer that owns them"),
        ("tied inside", Unsupported, r"input of layer 'last' \(Linear\) depends on trainable parameters"),
        ("in place", StateMismatch, "or works in place on its inputs"),
        ("pair", Unsupported, "returns one tensor, got tuple: wrap the model"),
        ("path", StateMismatch, "did not visit the same nodes"),
        ("hidden state", StateMismatch, "neither a buffer nor an attribute.*give it to the model as an input"),
        ("fold", Unsupported, r"layer 'first' \(Linear\) has shape \(6, 4\), but there are 3 losses"),
    ],
)
def test_what_would_go_wrong_silently_is_refused(name, kind, error, message) -> None:
    targets = torch.randn(3 if kind == "fold" else 6, 4)
    with pytest.raises(error, match=message):
        credit.get(name, Refused(kind)).backward(F.mse_loss, torch.randn(6, 4), targets)


class Named(nn.Linear):
    """Returns its output by name."""

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"output": super().forward(inputs)}


@pytest.mark.parametrize("name", NAMES)
def test_layers_without_a_single_output_are_refused(name) -> None:
    model = nn.Sequential(nn.LSTM(4, 4))
    with pytest.raises(Unsupported, match=r"layer '0' \(LSTM\) runs over one sequence without a dimension of samples"):
        credit.get(name, model).backward(F.mse_loss, torch.randn(6, 4), torch.randn(6, 4))
    with pytest.raises(Unsupported, match=r"layer '0' \(Named\) returns dict"):
        credit.get(name, nn.Sequential(Named(4, 4))).backward(F.mse_loss, torch.randn(6, 4), torch.randn(6, 4))
    with pytest.raises(Unsupported, match=r"bfloat16; perturbation needs"):
        credit.get(name, nn.Linear(4, 4).bfloat16()).backward(
            F.mse_loss, torch.randn(6, 4).bfloat16(), torch.randn(6, 4)
        )
    with pytest.raises(Unsupported, match=r"\(MultiheadAttention\) owns parameters and contains .*out_proj"):
        credit.get(name, nn.Sequential(nn.MultiheadAttention(4, 2)))


def test_inputs_that_carry_a_gradient_get_none() -> None:
    model, inputs = nn.Linear(4, 2), torch.randn(3, 4, requires_grad=True)
    credit.get("node_perturbation", model).backward(F.mse_loss, inputs, torch.randn(3, 2))
    assert inputs.grad is None
    assert model.weight.grad is not None
