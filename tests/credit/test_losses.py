"""The loss of every sample: however it is obtained, it is the same, and what cannot be obtained is refused."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.credit.loops import gradients


@pytest.fixture
def network() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    return model, torch.randn(5, 4).double(), torch.randint(3, (5,))


def estimate(network, loss_function, targets=None) -> tuple[Tensor, Tensor]:
    model, inputs, labels = network
    model.zero_grad()
    loss = credit.get("node_perturbation", model).backward(
        loss_function, inputs, labels if targets is None else targets
    )
    return loss, torch.cat([gradient.flatten() for gradient in gradients(model)])


def lambda_loss(outputs, targets) -> Tensor:
    return F.cross_entropy(outputs, targets)


def by_hand(outputs, targets) -> Tensor:
    return -torch.log_softmax(outputs, 1).gather(1, targets[:, None]).mean()


@functools.wraps(F.cross_entropy)
def wrapped(*arguments, **keywords) -> Tensor:
    return F.cross_entropy(*arguments, **keywords)


class OwnModule(nn.Module):
    def forward(self, outputs, targets) -> Tensor:
        return F.cross_entropy(outputs, targets)


@pytest.mark.parametrize(
    "loss_function",
    [
        nn.CrossEntropyLoss(),
        nn.NLLLoss(),
        lambda_loss,
        by_hand,
        wrapped,
        functools.partial(F.cross_entropy, label_smoothing=0.0),
        OwnModule(),
    ],
    ids=["module", "nll", "lambda", "by hand", "wrapped", "partial", "own module"],
)
def test_every_way_to_state_a_loss_gives_the_same(network, loss_function) -> None:
    if isinstance(loss_function, nn.NLLLoss):
        network[0].append(nn.LogSoftmax(1))
    loss, gradient = estimate(network, loss_function)
    if isinstance(loss_function, nn.NLLLoss):
        del network[0][-1]
    expected_loss, expected = estimate(network, F.cross_entropy)
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-12)


def test_a_module_keeps_its_reduction(network) -> None:
    loss_function = nn.CrossEntropyLoss()
    estimate(network, loss_function)
    assert loss_function.reduction == "mean"


def test_a_sum_over_samples_counts_every_sample_fully(network) -> None:
    loss, gradient = estimate(network, functools.partial(F.cross_entropy, reduction="sum"))
    mean_loss, mean = estimate(network, F.cross_entropy)
    torch.testing.assert_close(loss, 5 * mean_loss)
    torch.testing.assert_close(gradient, 5 * mean, rtol=1e-8, atol=1e-12)


def test_a_mean_over_features_too(network) -> None:
    targets = torch.randn(5, 3).double()
    _, mean = estimate(network, F.mse_loss, targets)
    _, vmapped = estimate(network, lambda outputs, targets: ((outputs - targets) ** 2).mean(), targets)
    _, total = estimate(network, nn.MSELoss(reduction="sum"), targets)
    torch.testing.assert_close(mean, vmapped, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(15 * mean, total, rtol=1e-8, atol=1e-12)


def test_targets_may_be_missing(network) -> None:
    _, ours = estimate(network, lambda outputs, _: outputs.square().mean(), targets=())
    _, expected = estimate(network, F.mse_loss, targets=torch.zeros(5, 3).double())
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)


def test_targets_may_be_several_and_a_loss_may_branch_on_values(network) -> None:
    model, inputs, labels = network
    values = torch.randn(5, 3).double()
    several = {"labels": labels, "more": (values, 0.5)}

    def both(outputs, targets) -> Tensor:
        wanted, share = targets["more"]
        return F.cross_entropy(outputs, targets["labels"]) + share * F.mse_loss(outputs, wanted)

    def branching(outputs, targets) -> Tensor:
        assert float(outputs.abs().max()) >= 0  # reads a number, which vmap cannot
        return both(outputs, targets)

    def coupled(outputs, targets) -> Tensor:
        assert float(outputs.abs().max()) >= 0
        return both(outputs, targets).sqrt()

    _, classes = estimate((model, inputs, labels), F.cross_entropy)
    _, squares = estimate((model, inputs, labels), F.mse_loss, values)
    for loss_function in (both, branching):
        loss, gradient = estimate((model, inputs, labels), loss_function, several)
        torch.testing.assert_close(loss, both(model(inputs), several).detach())
        torch.testing.assert_close(gradient, classes + 0.5 * squares, rtol=1e-8, atol=1e-12)
    loss, gradient = estimate((model, inputs, labels), coupled, several)
    # The chain rule, to the order of sigma, 1e-3, of the differences that node perturbation takes.
    torch.testing.assert_close(gradient, (classes + 0.5 * squares) / (2 * loss), rtol=0.01, atol=2e-3)


WEIGHT = torch.tensor([1.0, 2.0, 5.0])


@pytest.mark.filterwarnings("ignore:no perturbed pass changed the loss")  # across samples, of one sample
@pytest.mark.parametrize(
    "loss_function",
    [
        nn.CrossEntropyLoss(weight=WEIGHT.double()),
        nn.CrossEntropyLoss(weight=WEIGHT.double(), ignore_index=1, label_smoothing=0.1),
        functools.partial(F.cross_entropy, ignore_index=1),
        functools.partial(F.cross_entropy, weight=WEIGHT.double(), reduction="sum"),
        lambda outputs, targets: F.cross_entropy(outputs, targets, weight=WEIGHT.double()),
        lambda outputs, targets: F.cross_entropy(outputs, targets, ignore_index=1),
        lambda outputs, _: (outputs - outputs.mean(0) + 0.1).square().mean().sqrt(),
    ],
    ids=["weight", "weight and ignored", "ignored", "weight, sum", "lambda, weight", "lambda, ignored", "couples"],
)
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("name", ["node_perturbation", "forward_gradient"])
def test_class_weights_ignored_targets_and_losses_across_samples(loss_function, samples, name) -> None:
    """A sample gets (g xi) xi of its own noise, with g the gradient of the user's own loss by its outputs."""
    torch.manual_seed(1)
    outputs, targets = torch.randn(samples, 3).double(), torch.tensor([0, 1, 2, 1, 0])[-samples:]
    model = Shifted(samples)
    loss = loss_function(model(outputs), targets)
    loss.backward()
    exact = model.shift.grad.clone()
    options = {"sigma": 1e-6} if name == "node_perturbation" else {"tangents": "activities"}
    model.zero_grad()
    found = credit.get(name, model, seed=5, **options).backward(loss_function, outputs, targets)
    noise = torch.empty_like(exact).normal_(generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(model.shift.grad, (exact * noise).sum(1, True) * noise, rtol=1e-4, atol=1e-6)


class Shifted(nn.Module):
    """Outputs with learned shifts, whose gradient is that of the loss by the outputs."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(samples, 3).double())

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.shift


def test_the_losses_of_a_model_in_float32_are_float64_whatever_the_loss_holds(network) -> None:
    """A change of 1e-9 of the loss, far below float32, is seen through weights of the classes in float32."""
    _, inputs, targets = network
    outputs = inputs[:, :3].float()
    for loss_function in (nn.CrossEntropyLoss(weight=WEIGHT), lambda o, t: F.cross_entropy(o, t, weight=WEIGHT)):
        losses = SampleLosses(loss_function, targets)
        losses.attribute(outputs)
        change = losses.of(outputs.double() + 1e-9 * torch.eye(5, 3).double()) - losses.of(outputs.double())
        exact = SampleLosses(nn.CrossEntropyLoss(weight=WEIGHT.double()), targets)
        exact.attribute(outputs)
        expected = exact.of(outputs.double() + 1e-9 * torch.eye(5, 3).double()) - exact.of(outputs.double())
        torch.testing.assert_close(change / change.abs().max(), expected / expected.abs().max(), rtol=1e-4, atol=1e-5)


def test_a_penalty_on_the_weights_is_refused(network) -> None:
    weight = network[0][0].weight
    with pytest.raises(Unsupported, match="other than through the model's output"):
        estimate(network, lambda outputs, targets: F.cross_entropy(outputs, targets) + weight.square().sum())


def test_a_loss_that_ignores_its_reduction_is_refused(network) -> None:
    def stubborn(outputs, targets, reduction="mean") -> Tensor:
        assert reduction in {"mean", "none"}
        return F.cross_entropy(outputs, targets)

    with pytest.raises(Unsupported, match="one number even when its reduction is 'none'"):
        estimate(network, stubborn)


def test_float32_parameters_of_the_loss_do_not_matter(network) -> None:
    model, inputs, targets = network
    network = (model.float(), inputs.float(), targets)
    loss, gradient = estimate(network, nn.CrossEntropyLoss(weight=torch.ones(3)))
    _, expected = estimate(network, F.cross_entropy)
    assert loss.dtype == torch.float32
    assert torch.cosine_similarity(gradient, expected, dim=0) > 0.99


def test_a_diverged_loss_is_returned_not_refused(network) -> None:
    model = network[0]
    model[2].weight.data.fill_(torch.nan)
    loss, _ = estimate(network, F.cross_entropy)
    assert loss.isnan()


@pytest.mark.parametrize("name", [name for name in credit.names() if name != "eprop"])
def test_the_loss_must_be_one_number(network, name) -> None:
    model, inputs, targets = network

    def loss_function(outputs, _) -> Tensor:
        return outputs.sum(1)

    with pytest.raises(InvalidValue, match="must return a scalar tensor, got shape"):
        credit.get(name, model).backward(loss_function, inputs, targets)


@pytest.mark.parametrize("name", [name for name in credit.names() if name != "eprop"])
def test_an_error_of_the_loss_keeps_its_message(network, name) -> None:
    model, inputs, targets = network
    with pytest.raises((ValueError, RuntimeError), match=r"batch_size|size"):
        credit.get(name, model).backward(F.cross_entropy, inputs, targets[:3])
