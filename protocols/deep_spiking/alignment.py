"""Alignment of each layer's credit with the exact gradient of the same network, and firing rates of its layers."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import metrics
from neuro_decorr.credit import Credit
from neuro_decorr.data import Split
from neuro_decorr.study import Recorder
from protocols.deep_spiking.network import DeepSpiking


def record(recorder: Recorder, model: DeepSpiking, credit: Credit, samples: Split, *, when: str) -> None:
    """Rows of the kind `alignment`: of every weight layer (1 the first, L + 1 the readout) cosine, rate and silence.

    `rate` is in spikes a neuron and step, `silent` the part of the neurons that never fire; the readout has none.
    """
    rates = [*model.rates(samples.inputs), (None, None)]
    cosines = alignments(model, credit, *samples)
    for layer, (cosine, (rate, silent)) in enumerate(zip(cosines, rates, strict=True), start=1):
        recorder.row("alignment", when=when, layer=layer, cosine=cosine, rate=rate, silent=silent)


def alignments(model: DeepSpiking, credit: Credit, inputs: Tensor, targets: Tensor) -> list[float]:
    """Cosines of the credit's gradient of the weights with that of backpropagation through time, layer by layer.

    Both in eval mode and before anything conditions them, in the network's own weights. One estimate: of a credit that
    perturbs, the cosine holds its noise over these samples. Zero where a layer gets no gradient. Everything is left as
    it was, the state of the credit too.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    training, state = model.training, copy.deepcopy(credit.state_dict())
    model.eval().zero_grad()
    F.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
    exact = [_gradient(layer) for layer in layers]
    model.zero_grad()
    credit.backward(F.cross_entropy, inputs, targets)
    given = [_gradient(layer) for layer in layers]
    model.train(training).zero_grad()
    credit.zero_grad()
    credit.load_state_dict(state)
    found = [metrics.alignment([one], [other]).cosine for one, other in zip(given, exact, strict=True)]
    return [cosine if not math.isnan(cosine) else 0.0 for cosine in found]


def _gradient(layer: nn.Linear) -> Tensor:
    gradient = layer.weight.grad
    return torch.zeros_like(layer.weight) if gradient is None else gradient.detach().clone()
