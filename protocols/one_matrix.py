"""One matrix, many names: is the update behind decorrelated inputs that of six other methods?

Question. Decorrelation in front of a layer, gradients divided by second moments, orthogonal projection against
forgetting, semi-implicit back propagation, implicit gradient descent, recursive least squares and the dual of ridge
regression: how far are their updates of one layer from G (S + l I)^-1, and how near do the local rules come to it?

Sources. Ahmad (2024), arXiv:2407.10780; Benzing (2022), arXiv:2201.12250 (FOOF); Zeng et al. (2019),
doi:10.1038/s42256-019-0080-x (orthogonal weight modification); Liu and Zhang (2020), arXiv:2002.03516; Li, Chen and
Huang (2023), arXiv:2303.01767 (implicit); Kouritzin, Styles and Vritsiou (2023), arXiv:2305.03099, and Haykin (2002),
Adaptive filter theory (least squares); Lin et al. (2024), arXiv:2310.20581 (dual).

Data. One batch of handwritten digits with common modes; one linear layer, squared errors; centred inputs. And the same
inputs whitened exactly.

Conditions. Every method by its own algorithm: that of the library where there is one, else the recursion or the linear
system that the source gives. The local rules (`LEARNT`) learn D from batches first.

Measured. Relative distance of the best multiple of every update from G (S + l I)^-1; on whitened inputs from the plain
gradient. How much is left of the gradient in every principal direction of the inputs, which is l / (s + l) for power s.

Does not say. One linear layer, squared errors, one batch, one damping: an identity, checked by independent algorithms.
It does not say that the methods learn alike: where the credit is noisy, where a layer below gets the error through D,
or where an optimiser keeps moments, they differ. The local rules are compared after one budget of batches, at one rate
each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import one_matrix as analysis
from neuro_decorr import data, study

LEARNT: dict[str, dict[str, object]] = {
    "whitening": {"rate": 0.05},
    "interneuron": {"rate": 0.05, "interneurons": 16},
    "norm_preserving": {"rate": 0.01},
}
"""Rules, which learn D from batches; those with a damping get that of the others."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    samples: int = Field(512, ge=128, description="number of images in the batch")
    strength: float = Field(1.0, ge=0, description="strength of the common modes")
    damping: float = Field(0.3, gt=0, description="damping, relative to the mean power")
    updates: int = Field(1_000, ge=1, description="number of updates of the rules that learn")


def update_of_gradient(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """G itself: the mean over samples."""
    return errors.T @ inputs / len(inputs)


def update_of_decorrelation(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """Update of W D by a gradient step of W, where D is the symmetric root that whitens to this damping."""
    powers, directions = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
    layer = nn.Linear(inputs.shape[1], errors.shape[1], bias=False).double()
    model = nd.decorrelate(layer, center=False)
    held = model.get_submodule("decorrelation")
    assert isinstance(held, nd.Decorrelation)
    held.matrix.copy_((directions * (1 + powers.clamp_min(0) / damping).rsqrt()) @ directions.T)
    (model(inputs) * errors).sum().backward()
    assert isinstance(model.weight.grad, Tensor)
    return model.weight.grad @ held.matrix / len(inputs)


def update_of_foof(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """The gradient side."""
    relative = damping / float(inputs.square().mean())
    return nd.conditioning.foof(update_of_gradient(inputs, errors, damping), inputs, damping=relative)


def update_of_projection(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """Orthogonal weight modification: the projector is reduced by one sample after the other."""
    projector = torch.eye(inputs.shape[1], dtype=inputs.dtype)
    for row in inputs:
        seen = projector @ row
        projector -= torch.outer(seen, seen) / (damping * len(inputs) + row @ seen)
    return update_of_gradient(inputs, errors, damping) @ projector


def update_of_semi_implicit(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """The credit, of a layer that starts at zero."""
    layer = nn.Linear(inputs.shape[1], errors.shape[1], bias=False).double()
    nn.init.zeros_(layer.weight)
    credit = nd.credit.get("semi_implicit", layer, eta=1.0, damping=damping)
    credit.backward(lambda outputs, targets: 0.5 * (outputs - targets).square().sum(1).mean(), inputs, -errors)
    assert layer.weight.grad is not None
    return layer.weight.grad


def update_of_implicit_descent(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """Minimise the loss at the new weights plus the distance from the old ones, as one least-squares problem."""
    held = (damping * len(inputs)) ** 0.5 * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    wanted = torch.cat([errors, errors.new_zeros(len(held), errors.shape[1])])
    found: Tensor = torch.linalg.lstsq(torch.cat([inputs, held]), wanted).solution
    return found.T


def update_of_least_squares(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """Recursive least squares: one sample after the other, its inverse by Sherman and Morrison."""
    inverse = torch.eye(inputs.shape[1], dtype=inputs.dtype) / (damping * len(inputs))
    weight = errors.new_zeros(errors.shape[1], inputs.shape[1])
    for row, wanted in zip(inputs, errors, strict=True):
        gain = inverse @ row / (1 + row @ inverse @ row)
        inverse -= torch.outer(gain, row @ inverse)
        weight += torch.outer(wanted - weight @ row, gain)
    return weight


def update_of_dual(inputs: Tensor, errors: Tensor, damping: float) -> Tensor:
    """Ridge regression by one coefficient a sample."""
    kernel = inputs @ inputs.T + damping * len(inputs) * torch.eye(len(inputs), dtype=inputs.dtype)
    coefficients: Tensor = torch.linalg.solve(kernel, errors)
    return coefficients.T @ inputs


METHODS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "gradient": update_of_gradient,
    "decorrelated inputs": update_of_decorrelation,
    "FOOF": update_of_foof,
    "orthogonal projection": update_of_projection,
    "semi-implicit": update_of_semi_implicit,
    "implicit descent": update_of_implicit_descent,
    "recursive least squares": update_of_least_squares,
    "dual of ridge": update_of_dual,
}
"""Update of the weights, shape (outputs, features), from inputs (samples, features) and errors (samples, outputs)."""


def update_of_rule(name: str, inputs: Tensor, errors: Tensor, damping: float, updates: int, seed: int) -> Tensor:
    """G D^T D with a D that a rule has learnt from batches of 64."""
    rule = nd.rules.get(name, **LEARNT[name])
    if "damping" in rule.parameters():
        rule = nd.rules.get(name, **LEARNT[name], damping=damping / float(inputs.square().mean()))
    held = nd.Decorrelation(inputs.shape[1], center=False, dtype=torch.float64)
    plasticity = nd.Plasticity(held, rule, row_fraction=1.0)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(updates):
        held(inputs[torch.randint(len(inputs), (64,), generator=generator)])
        plasticity.step()
    matrix = held.matrix
    return update_of_gradient(inputs, errors, damping) @ matrix.T @ matrix


def distance(update: Tensor, reference: Tensor) -> float:
    """Relative distance of the best multiple of an update from a reference: the sine of the angle between them."""
    scale = (update * reference).sum() / update.square().sum()
    return float((scale * update - reference).norm() / reference.norm())


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Compute all methods with one seed."""
    c, seed = configuration, condition.seed
    images = data.with_common_modes(data.digits(seed), c.strength, seed)
    inputs = images.train.inputs[: c.samples].double()
    inputs = inputs - inputs.mean(0)
    targets = torch.nn.functional.one_hot(images.train.targets[: c.samples], images.classes).double()
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(images.classes, inputs.shape[1], generator=generator, dtype=torch.float64) / 8
    errors = inputs @ weight.T - targets
    moment = inputs.T @ inputs / len(inputs)
    damping = c.damping * float(moment.trace()) / len(moment)
    powers, directions = torch.linalg.eigh(moment)
    kept = powers > 1e-9 * powers.max()
    white = inputs @ (directions[:, kept] * powers[kept].rsqrt())
    gradient = update_of_gradient(inputs, errors, damping)
    reference = gradient @ (directions / (powers + damping)) @ directions.T
    updates = {name: method(inputs, errors, damping) for name, method in METHODS.items()}
    updates |= {name: update_of_rule(name, inputs, errors, damping, c.updates, seed) for name in LEARNT}
    for name, update in updates.items():
        whitened = None
        if name in METHODS:
            whitened = distance(METHODS[name](white, errors, c.damping), update_of_gradient(white, errors, c.damping))
        recorder.row("distances", method=name, distance=distance(update, reference), whitened=whitened)
        scale = (update * reference).sum() / reference.square().sum() if name != "gradient" else damping
        gains = ((update / scale * damping) @ directions).norm(dim=0) / (gradient @ directions).norm(dim=0)
        for power, gain, shown in zip(powers.tolist(), gains.tolist(), kept.tolist(), strict=True):
            if shown:
                recorder.row("directions", method=name, power=power / damping, gain=gain)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the table and the figure."""
    print(analysis.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="one_matrix",
    question="Is the update behind decorrelated inputs that of FOOF, projection, implicit steps and least squares?",
    configuration=Configuration,
    seeds=5,
    stages=(lambda configuration, seeds, tables: [study.Condition("measure", seed, {}) for seed in seeds],),
    run=run,
    report=report,
)
