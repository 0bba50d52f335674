"""Cosine of an average over noisy copies to the gradient of a batch, and its closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import neuro_decorr as nd
from protocols._controls import Batch, gradients
from protocols.likelihood_ratio.nodes import Form, spread


def cosine(
    model: nn.Module, batch: Batch, form: Form, copies: int, options: dict[str, Any], seed: int
) -> tuple[float, float]:
    r"""Cosine between the likelihood ratio and the gradient of all weights of a batch, and its closed form.

    $$\cos \approx \Big(1 + \frac{V}{R |G|^2}\Big)^{-1/2}, \qquad
    V = \frac{1}{B^2} \sum_b \sum_l |x_{lb}|^2 (f N_l |g_b|^2 - s |g_{lb}|^2)$$

    with R copies and the law of `nodes.weight_variance` for each of the B samples. Biases are left out.

    Args:
        model: A network of Linear layers.
        batch: Its inputs and classes.
        form: Whose law holds.
        copies: R.
        options: Options of the credit.
        seed: Seed of the noise.
    """
    training = model.training
    model.eval()
    signals = nd.conditioning.Signals(model, errors=True)
    exact = _gradient(model, nd.credit.get("backprop", model), batch)
    errors = [layer.errors * len(batch.inputs) for layer in signals]  # the loss is a mean over samples
    powers = [layer.inputs.square().sum(1) for layer in signals]
    signals.close()
    variance = spread(form, errors, powers) / len(batch.inputs) ** 2
    credit = nd.credit.get("likelihood_ratio", model, directions=copies, seed=seed, **options)
    estimate = _gradient(model, credit, batch)
    model.zero_grad()
    model.train(training)
    predicted = (1 + variance / copies / exact.square().sum()) ** -0.5
    return float(torch.cosine_similarity(exact, estimate, dim=0)), float(predicted)


def _gradient(model: nn.Module, credit: nd.credit.Credit, batch: Batch) -> Tensor:
    return torch.cat([layer.flatten() for layer in gradients(model, credit, batch).values()])
