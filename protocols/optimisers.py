"""What are decorrelated inputs worth beside optimisers that precondition, at equal processor time?

Question. Optimisers that precondition (SOAP, K-FAC, FOOF), or orthogonalise the update (Muon), undo on the side of the
gradient what correlated inputs do to it. Does a network whose inputs are decorrelated reach with Adam what they reach,
in less time, and do they gain by decorrelated inputs themselves?

Sources. Vyas, Morwani, Zhao et al. (2024), SOAP, arXiv:2409.11321; Martens and Grosse (2015), K-FAC, arXiv:1503.05671;
Benzing (2022), FOOF, arXiv:2201.12250; Jordan, Jin, Boza et al. (2024), Muon,
https://kellerjordan.github.io/posts/muon.

Data. 6,000 images of Fashion-MNIST that come with the package; CIFAR-10, CIFAR-100, MNIST or all of Fashion-MNIST from
files. The mean of a pixel is not removed.

Conditions. Optimiser x arm; arms: centring, and interneurons. Backpropagation, a dense network. Optimisers: gradient
descent with momentum; Adam; `muon`, the momentum of every hidden weight matrix replaced by its orthogonal factor, which
is computed exactly (Adam for the output and the biases); `torch_muon`, torch's own, which comes close to that factor in
bfloat16 and is fast only on processors that have it; `soap` (pytorch-optimizer; sides above 2,000 are not
preconditioned); `foof` and `kfac`, gradient descent with momentum on conditioned gradients.

Budget. As many learning rates for every optimiser and arm, around a middle of the optimiser; chosen on the validation
split with a seed that is not measured. Then paired seeds.

Measured. Accuracy on the validation and the test split after every epoch, and the processor seconds of the training
alone; nothing is chosen by the test split. The table compares at the epoch with the best validation accuracy: of
all, and of those within the time that centred Adam takes.

Does not say. One width, one processor, few images; on processors with bfloat16 Muon costs less, and at other widths
the ratio of the costs differs. The damping of interneurons, FOOF and K-FAC was not tuned. With three seeds differences
of a percent are not resolved. Every network overfits such few images, so that the comparison is of how soon the best
is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import optimisers as analysis
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.errors import require
from neuro_decorr.learning import accuracy, train
from protocols._arms import condition_gradients
from protocols._images import ImagesName, batch_problems, dataset, evaluated

OptimiserName: TypeAlias = Literal["momentum", "adam", "muon", "torch_muon", "soap", "foof", "kfac"]
ArmName: TypeAlias = Literal["center", "interneuron"]

RATES: dict[OptimiserName, float] = {
    "momentum": 0.03,
    "adam": 2e-3,
    "muon": 0.02,
    "torch_muon": 0.02,
    "soap": 3e-3,
    "foof": 0.02,
    "kfac": 0.01,
}
"""Middle of the grid of learning rates."""
SPAN = 8.0
"""Ratio of the ends of the grid to its middle."""
MOMENTUM = 0.9
LARGEST_SIDE = 2_000
"""Side of a weight matrix above which SOAP leaves it as it is: its eigenproblem would take longer than the training."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    images: ImagesName = Field("embedded", description="embedded: 6,000 images of Fashion-MNIST; the others need files")
    data_dir: study.DataPath | None = Field(
        None, description="folder of the files; missing files are downloaded into it"
    )
    training: int | None = Field(
        None, ge=10, description="number of training images, where they come from files; all if not given"
    )
    evaluated: int = Field(4_000, ge=10, description="largest number of validation images, and of test images")
    hidden: tuple[int, ...] = Field((100, 100), min_length=1, description="units of the hidden layers")
    optimisers: tuple[OptimiserName, ...] = Field(("adam", "muon", "foof"), description="optimisers; adam is required")
    arms: tuple[ArmName, ...] = Field(get_args(ArmName), description="arms; center is required")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    damping: float = Field(10.0, gt=0, description="damping of interneurons, foof and kfac, relative to the mean power")
    row_fraction: float = Field(0.5, gt=0, le=1, description="fraction of a batch that drives plasticity and moments")
    epochs: int = Field(6, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")
    selection_runs: int = Field(
        5, ge=2, description="number of learning rates that are tried for every optimiser and arm"
    )
    selection_epochs: int | None = Field(2, ge=1, description="passes of a selection run; --epochs if not given")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Check combinations of values, and the data; all problems are reported at once."""
        problems = []
        if "adam" not in self.optimisers or "center" not in self.arms:
            problems.append("--optimisers, --arms: centred Adam is the reference; name both")
        if min(self.hidden) < self.interneurons and "interneuron" in self.arms:
            problems.append(f"--hidden: got {self.hidden}, allowed is layers of at least --interneurons units")
        problems += batch_problems(self.images, self.data_dir, self.training, self.batch_size)
        if problems:
            raise ValueError("\n".join(problems))
        return self


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Optimiser x arm."""
    return [{"optimiser": name, "arm": arm} for name in configuration.optimisers for arm in configuration.arms]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: as many learning rates."""
    middle = RATES[levels["optimiser"]]
    rates = study.logarithmic_grid(middle / SPAN, middle * SPAN, configuration.selection_runs)
    return [{"learning_rate": rate} for rate in rates]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0)


@final
class Together(torch.optim.Optimizer):
    """Several optimisers, each with weights of its own, that step as one."""

    def __init__(self, *optimisers: torch.optim.Optimizer) -> None:
        super().__init__([group for one in optimisers for group in one.param_groups], {})
        self.optimisers = optimisers

    def step(self, closure: Any = None) -> Any:
        """Take one step of each optimiser; they take no closure."""
        assert closure is None
        for one in self.optimisers:
            one.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each optimiser."""
        return {"optimisers": [one.state_dict() for one in self.optimisers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back the result of `state_dict`."""
        for one, state in zip(self.optimisers, state_dict["optimisers"], strict=True):
            one.load_state_dict(state)
        self.param_groups = [group for one in self.optimisers for group in one.param_groups]


@final
class OrthogonalMomentum:
    r"""Replaces gradients by the orthogonal factor of their momentum, exactly.

    $$M \leftarrow \beta M + G, \qquad G \leftarrow \sqrt{\max(1, o / d)}\; \mathrm{polar}(G + \beta M)$$

    Source: Jordan et al. (2024), Muon, https://kellerjordan.github.io/posts/muon, which approximates the factor.

    Args:
        weights: Matrices (outputs o, features d).
    """

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self._momenta: list[tuple[nn.Parameter, Tensor]] = [(weight, torch.zeros_like(weight)) for weight in weights]

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return the momenta, for a checkpoint."""
        return {"momenta": [momentum for _, momentum in self._momenta]}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Go on with these."""
        for (_, momentum), saved in zip(self._momenta, state["momenta"], strict=True):
            momentum.copy_(saved)

    def __call__(self) -> None:
        """Change the gradients of a step."""
        for weight, momentum in self._momenta:
            assert weight.grad is not None
            momentum.mul_(MOMENTUM).add_(weight.grad)
            outputs, features = weight.shape
            factor = nd.conditioning.polar(weight.grad + MOMENTUM * momentum)
            weight.grad = factor * max(1.0, outputs / features) ** 0.5


def optimiser_of(
    name: OptimiserName, model: nn.Module, learning_rate: float, rows: int, damping: float
) -> tuple[torch.optim.Optimizer, Callable[[], None] | None]:
    """An optimiser of the weights, and what changes the gradients before it.

    Args:
        name: Name of the optimiser.
        model: The network.
        learning_rate: Learning rate of the hidden weights; under Muon the output and the biases have Adam's usual 1e-3.
        rows: Samples of a batch that the moments of FOOF and K-FAC are taken of.
        damping: Damping of these.

    Raises:
        MissingExtra: `soap` without pytorch-optimizer.
    """
    every = list(model.parameters())
    hidden = [parameter for parameter in every if parameter.ndim == 2][:-1]
    others = [parameter for parameter in every if all(parameter is not one for one in hidden)]
    if name == "muon":
        descent = torch.optim.SGD(hidden, lr=learning_rate)
        return Together(descent, torch.optim.Adam(others, lr=1e-3)), OrthogonalMomentum(hidden)
    if name == "torch_muon":
        muon = torch.optim.Muon(hidden, lr=learning_rate, weight_decay=0.0, momentum=MOMENTUM)
        return Together(muon, torch.optim.Adam(others, lr=1e-3)), None
    if name == "adam":
        return torch.optim.Adam(every, lr=learning_rate), None
    if name == "soap":
        soap = require("pytorch_optimizer", "optimisers").SOAP
        return soap(every, lr=learning_rate, weight_decay=0.0, max_precondition_dim=LARGEST_SIDE), None
    momentum = torch.optim.SGD(every, lr=learning_rate, momentum=MOMENTUM)
    if name == "momentum":
        return momentum, None
    signals = nd.conditioning.Signals(model, rows=rows, errors=name == "kfac")
    condition = condition_gradients if name == "foof" else _kronecker
    return momentum, partial(condition, signals, damping)


def _kronecker(signals: nd.conditioning.Signals, damping: float) -> None:
    for layer in signals:
        layer.gradient = nd.conditioning.kfac(layer.gradient, layer.inputs, layer.errors, damping=damping)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, level, seed = configuration, condition.factors, condition.seed
    images = evaluated(dataset(c.images, c.data_dir, c.training, seed), c.evaluated)
    model = nd.decorrelate(dense([images.features, *c.hidden, images.classes], seed=seed))
    options = {} if level["arm"] == "center" else {"interneurons": c.interneurons, "damping": c.damping}
    plasticity = nd.Plasticity(model, nd.rules.get(level["arm"], **options), row_fraction=c.row_fraction)
    rows = round(c.row_fraction * c.batch_size)
    optimiser, conditioned = optimiser_of(level["optimiser"], model, level["learning_rate"], rows, c.damping)
    measured = condition.stage == "measure"
    finished = train(
        model, nd.credit.get("backprop", model), optimiser, images, recorder, plasticity=plasticity,
        conditioned=conditioned, seed=seed, test=measured, batch_size=c.batch_size,
        epochs=c.epochs if measured else c.selection_epochs or c.epochs,
    )  # fmt: skip
    if measured:
        right = accuracy(model, images.test) if finished else None
        recorder.row("tests", test_accuracy=right, chance=1 / images.classes)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Table, figure and the finding in words."""
    analysis.draw(tables, directory)


PROTOCOL = study.Protocol(
    name="optimisers",
    question="What are decorrelated inputs worth beside optimisers that precondition, at equal processor time?",
    configuration=Configuration,
    full={
        "training": 10_000,
        "hidden": (300,) * 4,
        "optimisers": ("momentum", "adam", "muon", "soap", "foof", "kfac"),
        "interneurons": 64,
        "damping": 30.0,
        "row_fraction": 0.25,
        "epochs": 10,
        "batch_size": 256,
    },
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
