"""Weight perturbation against the noise and the losses themselves, its variance, and models that only it can treat."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.credit.loops import gradients, make_case

SIGMA = 1e-2


class Recurrent(nn.Module):
    """What node perturbation refuses: an LSTM, a learned initial state, and weights used outside their layer."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(3, 4, batch_first=True)
        self.readout = nn.Linear(4, 4)
        self.start = nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        start = self.start.expand(1, len(inputs), 4)
        outputs, _ = self.cells(inputs, (start, torch.zeros_like(start)))
        last = self.readout(outputs[:, -1])
        return last, F.linear(last, self.readout.weight)


def of_both(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    return F.mse_loss(outputs[0], targets) + outputs[1].square().mean().sqrt()


@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
@pytest.mark.parametrize("directions", [1, 3])
def test_any_model_and_any_loss(noise, directions) -> None:
    torch.manual_seed(0)
    model = Recurrent().double()
    model.readout.bias.requires_grad_(False)
    inputs, targets = torch.randn(5, 6, 3).double(), torch.randn(5, 4).double()
    penalised = model.readout.weight

    def loss_function(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        return of_both(outputs, targets) + penalised.square().sum()

    assignment = credit.get("weight_perturbation", model, sigma=SIGMA, noise=noise, directions=directions, seed=2)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    loss = assignment.backward(loss_function, inputs, targets)
    torch.testing.assert_close(loss, loss_function(model(inputs), targets).detach())
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())

    generator = torch.Generator().manual_seed(2)
    learning = {name: before[name] for name, parameter in model.named_parameters() if parameter.requires_grad}
    expected = {name: torch.zeros_like(parameter) for name, parameter in learning.items()}
    for _ in range(directions):
        xi = {}
        for name, parameter in learning.items():
            xi[name] = torch.empty_like(parameter)
            if noise == "gaussian":
                xi[name].normal_(generator=generator)
            else:
                xi[name].random_(0, 2, generator=generator).mul_(2).sub_(1)
        moved = {name: parameter + SIGMA * xi[name] for name, parameter in learning.items()}
        with torch.no_grad():
            outputs = functional_call(model, moved, (inputs,))
            change = of_both(outputs, targets) + moved["readout.weight"].square().sum() - loss
        for name, noise_of in xi.items():
            expected[name] += change / SIGMA * noise_of / directions
    assert model.readout.bias.grad is None
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("noise", "excess"), [("gaussian", 1), ("rademacher", -1)])
def test_it_is_unbiased_with_the_variance_law(noise, excess) -> None:
    draws = 2000
    case = make_case((2, 2), activation="identity")
    F.mse_loss(case.model(case.inputs), case.targets).backward()
    exact = torch.cat([gradient.flatten() for gradient in gradients(case.model)])
    assignment = credit.get("weight_perturbation", case.model, sigma=1e-5, noise=noise)
    found = []
    for _ in range(draws):
        case.model.zero_grad()
        assignment.backward(F.mse_loss, case.inputs, case.targets)
        found.append(torch.cat([gradient.flatten() for gradient in gradients(case.model)]))
    estimates = torch.stack(found)
    assert ((estimates.mean(0) - exact).abs() / (estimates.std(0) / draws**0.5)).max() < 4.5
    squares = (estimates - exact).square().sum(1) / exact.square().sum()
    error = 4.5 * squares.std() / draws**0.5
    assert abs(squares.mean() - (len(exact) + excess)) < error < 2  # precise enough to tell N + 1 from N - 1


def test_the_clean_pass_alone_drives_the_statistics() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double()
    reference = nn.BatchNorm1d(5).double()
    inputs, targets = torch.randn(7, 3).double(), torch.randn(7, 2).double()
    assignment = credit.get("weight_perturbation", model, sigma=0.3, directions=2)
    for step in range(1, 3):
        assignment.backward(F.mse_loss, inputs + step, targets)
        reference(model[0](inputs + step))
        assert model[1].num_batches_tracked == step
        torch.testing.assert_close(model[1].running_mean, reference.running_mean)


def test_what_it_refuses() -> None:
    with pytest.raises(Unsupported, match="half precision"):
        credit.get("weight_perturbation", nn.Linear(3, 2).bfloat16()).backward(
            F.mse_loss, torch.zeros(4, 3).bfloat16(), torch.zeros(4, 2).bfloat16()
        )
    with pytest.raises(Unsupported, match="this one has none"):
        credit.get("weight_perturbation", nn.Tanh()).backward(F.mse_loss, torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(InvalidValue, match=r"weight_perturbation: sigma .*; directions .*; seed"):
        credit.get("weight_perturbation", nn.Tanh(), sigma=-1, directions=0, seed=-1)


def test_an_error_in_the_loss_leaves_the_weights_alone() -> None:
    case = make_case()
    before = [parameter.detach().clone() for parameter in case.model.parameters()]
    with pytest.raises(ZeroDivisionError):
        credit.get("weight_perturbation", case.model).backward(lambda *_: 1 / 0, case.inputs, case.targets)
    assert all(torch.equal(a, b) for a, b in zip(case.model.parameters(), before, strict=True))
