"""The loss of every sample: however it is obtained, it is the same, and what cannot be obtained is refused."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
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


def test_a_weighted_mean_cannot_be_attributed(network) -> None:
    weight = torch.tensor([1.0, 2.0, 5.0]).double()
    with pytest.raises(InvalidValue, match=r"neither the mean \(.*\) nor the sum"):
        estimate(network, nn.CrossEntropyLoss(weight=weight))


def test_a_loss_across_samples_cannot_be_attributed(network) -> None:
    with pytest.raises(InvalidValue, match="neither the mean"):
        estimate(network, lambda outputs, _: (outputs - outputs.mean(0)).square().mean() + 1.0 / len(outputs))


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
