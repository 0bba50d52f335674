"""What reaches the weight layers of a model in a pass: their inputs, and the errors at their outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.conditioning._rows import WeightLayer, error_rows, groups_of, input_rows
from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported, shown

Kind = Literal["inputs", "errors"]


@final
class LayerSignals:
    """One Linear or ConvNd: its gradient as a matrix, and what reached it in the last pass of the model.

    Rows are samples, time steps or patches; the features of a patch are in the order of `weight.flatten(1)`. Of a
    decorrelated layer the inputs are what its weights see, D (z - mean), as D is when they are asked for: before
    `plasticity.step()`, therefore.

    Attributes:
        name: Qualified name of the layer.
        layer: The layer.
    """

    def __init__(self, name: str, layer: WeightLayer, most: int | None, decay: float | None) -> None:
        self.name = name
        self.layer = layer
        self._most = most
        self._decay = decay
        self._heard: dict[Kind, list[Tensor | None]] = {"inputs": [], "errors": []}  # one of each a call
        self._moments: dict[Kind, tuple[Tensor, int]] = {}  # with the number of passes in the average
        self._averaged: set[Kind] = set()  # what of the last pass is in the average already

    @property
    def gradient(self) -> Tensor:
        """The gradient of the weights, shape (outputs, features), or (groups, outputs, features); assign to change it.

        Raises:
            StateMismatch: There is none.
            InvalidValue: What is assigned has another shape.
        """
        found = self.layer.weight.grad
        if found is None:
            raise StateMismatch(f"layer '{self.name}' has no gradient: run credit.backward(...) before.")
        matrix = found.flatten(1)
        groups = groups_of(self.layer)
        return matrix if groups == 1 else matrix.reshape(groups, -1, matrix.shape[1])

    @gradient.setter
    def gradient(self, changed: Tensor) -> None:
        if changed.shape != (present := self.gradient).shape:
            raise InvalidValue(
                f"the gradient of layer '{self.name}' has the shape {tuple(present.shape)}, got {shown(changed)}."
            )
        held = self.layer.weight.grad
        assert held is not None  # there is a present one
        with torch.no_grad():
            held.copy_(changed.reshape(held.shape))

    @property
    def inputs(self) -> Tensor:
        """The rows that the weights saw, shape (rows, features), or (groups, rows, features).

        Raises:
            StateMismatch: The layer was not called in the last pass of the model.
        """
        return self._rows("inputs")

    @property
    def errors(self) -> Tensor:
        """Derivatives of the loss at the outputs, shape (rows, outputs), or (groups, rows, outputs of a group).

        Row by row those of `inputs`, where all rows are taken: the gradient is `errors.mT @ inputs`.

        Raises:
            StateMismatch: None arrived since the last pass of the model, or they are not listened for.
        """
        return self._rows("errors")

    @property
    def input_moment(self) -> Tensor:
        """X^T X / k, shape (features, features), or one a group: of the last pass, or the running average."""
        return self._moment("inputs")

    @property
    def error_moment(self) -> Tensor:
        """The same of the errors, shape (outputs, outputs), or one a group."""
        return self._moment("errors")

    def _begin(self) -> None:
        self._averaged.clear()
        self._heard = {"inputs": [], "errors": []}  # new lists: errors of an earlier pass that come late go nowhere

    def _rows(self, kind: Kind) -> Tensor:
        heard = [each for each in self._heard[kind] if each is not None]
        if not heard:
            why = {
                "inputs": "its weights are used elsewhere, or the last pass of the model left it out: leave it out too,"
                " with skip=",
                "errors": "make the signals with errors=True, and read them after a backward pass through the layer; a "
                "credit that perturbs nodes sends no errors",
            }[kind]
            raise StateMismatch(f"no {kind} reached layer '{self.name}': {why}.")
        rows_of = input_rows if kind == "inputs" else error_rows
        with torch.no_grad():
            wide = torch.promote_types(self.layer.weight.dtype, torch.float32)
            return torch.cat([rows_of(self.layer, each, self._most).to(wide) for each in heard], dim=-2)

    def _moment(self, kind: Kind) -> Tensor:
        if kind in self._averaged:
            return self._moments[kind][0]
        rows = self._rows(kind)
        moment = rows.mT @ rows / rows.shape[-2]
        if self._decay is not None:
            before, passes = self._moments.get(kind, (moment, 0))
            # Weights that add to one from the first pass on, so that the average is not drawn to zero.
            weight = (1 - self._decay) / (1 - self._decay ** (passes + 1))
            moment = before.lerp(moment, weight)
            self._moments[kind] = moment, passes + 1
            self._averaged.add(kind)
        return moment


@final
class Signals:
    """Listens to the Linear and ConvNd layers of a model, and hands out what reached them in its last pass.

    The model is not changed: each of these layers gets a forward hook, the model a forward pre-hook, which forgets what
    an earlier pass left. Every credit assignment runs its clean pass last, so that it is the one that counts; with
    micro-batches it is the last of them. What passes is held by reference, nothing is computed before it is asked for.
    Biases, normalisation layers and whatever else learns keep the gradient that they have.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> credit = nd.credit.get("backprop", model)
        >>> signals = nd.conditioning.Signals(model)
        >>> loss = credit.backward(torch.nn.functional.cross_entropy, torch.randn(16, 4), torch.arange(16) % 2)
        >>> for layer in signals:
        ...     layer.gradient = nd.conditioning.foof(layer.gradient, layer.inputs, damping=3.0)
        >>> [layer.name for layer in signals]
        ['0', '2']

    Cost: memory for the inputs of the layers until the next pass of the model, which autograd would free before; rows
    and moments are made when they are read. All patches of a convolution are many: limit them with `rows`.

    Args:
        model: Any model; decorrelated or not.
        errors: Listen for the errors at the outputs too, as `kfac` needs them. They arrive with every credit that sends
            them through the outputs (backprop, feedback alignment); perturbation of nodes sends none.
        rows: At most about so many rows of a call of a layer, evenly spaced over images and positions; all where None.
        decay: Weight of the earlier passes in the running averages `input_moment` and `error_moment`, in (0, 1): an
            average over 1 / (1 - decay) passes, of the passes in which it was read. None: of the last pass alone.
        skip: Names of layers to leave alone.

    Raises:
        InvalidValue: Not a model; no such layers in it; an option out of range; a name to skip that is none of theirs.
        Unsupported: Two layers share a weight, whose gradient would be conditioned twice; a weight that is not a
            parameter of its layer (parametrized, pruned, or not made yet).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        errors: bool = False,
        rows: int | None = None,
        decay: float | None = None,
        skip: Collection[str] = (),
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InvalidValue(f"Signals takes a torch.nn.Module, got {shown(model)}.")
        checks.refuse(
            "Signals",
            checks.flag("errors", errors),
            None if rows is None else checks.whole_number("rows", rows, least=1),
            None if decay is None else checks.number("decay", decay, above=0, below=1),
        )
        found = {name: m for name, m in model.named_modules() if isinstance(m, WeightLayer)}
        unknown = sorted(set(skip) - set(found))
        if unknown or not set(found) - set(skip):
            raise InvalidValue(
                f"Signals: the Linear and ConvNd layers of the model are {', '.join(map(repr, found)) or 'none'}; "
                f"to be skipped: {', '.join(map(repr, unknown or skip)) or 'none'}. At least one must be left."
            )
        self._layers = [LayerSignals(name, m, rows, decay) for name, m in found.items() if name not in skip]
        _check_weights(self._layers)
        self._handles = [model.register_forward_pre_hook(self._begin, prepend=True)]
        for layer in self._layers:
            hook = _Listener(layer, errors)
            self._handles.append(layer.layer.register_forward_hook(hook, with_kwargs=True))

    def __iter__(self) -> Iterator[LayerSignals]:
        """The layers whose weights have a gradient, in the order of the model."""
        return (layer for layer in self._layers if layer.layer.weight.grad is not None)

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening: every hook goes, and what was heard is forgotten; averages stay."""
        for handle in self._handles:
            handle.remove()
        self._begin()

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The running averages, by layer and kind, with the number of passes in each."""
        return {
            layer.name: {
                kind: {"moment": moment, "passes": passes} for kind, (moment, passes) in layer._moments.items()
            }
            for layer in self._layers
        }

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Go on with saved averages.

        Raises:
            StateMismatch: They are of other layers.
        """
        names = [layer.name for layer in self._layers]
        if list(state) != names:
            raise StateMismatch(f"the averages are of the layers {', '.join(state)}; here are {', '.join(names)}.")
        for layer in self._layers:
            layer._moments = {kind: (held["moment"], held["passes"]) for kind, held in state[layer.name].items()}  # type: ignore[misc]

    def _begin(self, *_: object) -> None:
        for layer in self._layers:
            layer._begin()


@final
class _Listener:
    """The hook of a layer."""

    def __init__(self, signals: LayerSignals, errors: bool) -> None:
        self._signals = signals
        self._errors = errors

    def __call__(self, _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> None:
        heard = self._signals._heard
        inputs: Tensor = arguments[0] if arguments else keywords["input"]
        heard["inputs"].append(inputs.detach())
        if self._errors and output.requires_grad:
            errors, call = heard["errors"], len(heard["errors"])
            errors.append(None)

            def hear(error: Tensor) -> None:
                errors[call] = error.detach()

            output.register_hook(hear)  # type: ignore[no-untyped-call]  # torch types it not


def _check_weights(layers: list[LayerSignals]) -> None:
    owners: dict[int, str] = {}
    for signals in layers:
        weight = signals.layer._parameters.get("weight")
        if weight is None or nn.parameter.is_lazy(weight):
            raise Unsupported(
                f"layer '{signals.name}' makes its weight of something else, or has not made it yet: there is no "
                "gradient of it to condition. Run a lazy layer once; leave others out with skip=."
            )
        first = owners.setdefault(id(weight), signals.name)
        if first != signals.name:
            raise Unsupported(
                f"layers '{first}' and '{signals.name}' share their weight, whose gradient would be conditioned twice; "
                "leave one of them out with skip=."
            )
