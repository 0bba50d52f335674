"""Signals of the weight layers of a model in a pass: their inputs, and the errors at their outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.conditioning._rows import WeightLayer, error_rows, groups_of, input_rows
from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported, shown
from neuro_decorr.libraries import in_backward

Kind = Literal["inputs", "errors"]


@final
class LayerSignals:
    """Signals of one Linear or ConvNd: its gradient as a matrix, and its inputs and errors in the model's last pass.

    Rows are samples, time steps or patches; the features of a patch are in the order of `weight.flatten(1)`. The inputs
    of a decorrelated layer are those of its weights, D (z - mean), with D at the time of reading: read them before
    `plasticity.step()`.

    Attributes:
        name: Qualified name of the layer.
        layer: The layer.
    """

    def __init__(self, name: str, layer: WeightLayer, most: int | None, decay: float | None) -> None:
        self.name = name
        self.layer = layer
        self._most = most
        self._decay = decay
        self._heard: dict[Kind, list[Tensor | None]] = {"inputs": [], "errors": []}  # one of each per call
        self._moments: dict[Kind, tuple[Tensor, int]] = {}  # with the number of passes in the average
        self._passes = 0  # of the model, each of which takes other rows
        self._averaged: set[Kind] = set()  # kinds whose last pass is already in the average

    @property
    def gradient(self) -> Tensor:
        """Gradient of the weights, shape (outputs, features), or (groups, outputs, features); assign to change it.

        Raises:
            StateMismatch: The layer has no gradient.
            InvalidValue: The assigned gradient has another shape.
        """
        found = self.layer.weight.grad
        if found is None:
            raise StateMismatch(f"layer '{self.name}' has no gradient: run credit.backward(...) first.")
        matrix = found.flatten(1)
        groups = groups_of(self.layer)
        return matrix if groups == 1 else matrix.reshape(groups, -1, matrix.shape[1])

    @gradient.setter
    def gradient(self, changed: Tensor) -> None:
        if changed.shape != (present := self.gradient).shape:
            raise InvalidValue(
                f"the gradient of layer '{self.name}' must have the shape {tuple(present.shape)}, got {shown(changed)}."
            )
        held = self.layer.weight.grad
        assert held is not None  # there is a present one
        with torch.no_grad():
            held.copy_(changed.reshape(held.shape))

    @property
    def inputs(self) -> Tensor:
        """Rows that the weights saw, shape (rows, features), or (groups, rows, features).

        Raises:
            StateMismatch: The layer was not called in the last pass of the model.
        """
        return self._rows("inputs")

    @property
    def errors(self) -> Tensor:
        """Derivatives of the loss at the outputs, shape (rows, outputs), or (groups, rows, outputs of a group).

        They are of the same places as the rows of `inputs`; if all are taken, the gradient is `errors.mT @ inputs`.

        Raises:
            StateMismatch: No errors arrived since the last pass of the model, or `errors` of `Signals` is False.
        """
        return self._rows("errors")

    @property
    def input_moment(self) -> Tensor:
        """Moment X^T X / k, shape (features, features), or one per group: of the last pass, or a running average."""
        return self._moment("inputs")

    @property
    def error_moment(self) -> Tensor:
        """Second moment of the errors, shape (outputs, outputs), or one per group: of the last pass, or an average."""
        return self._moment("errors")

    def _begin(self) -> None:
        self._passes += 1
        self._averaged.clear()
        self._heard = {"inputs": [], "errors": []}  # new lists, so that late errors of an earlier pass are ignored

    def _rows(self, kind: Kind) -> Tensor:
        heard = [each for each in self._heard[kind] if each is not None]
        if not heard:
            why = {
                "inputs": "its weights are used outside of the layer, or the last pass of the model did not call it: "
                "leave it out with skip=",
                "errors": "make the signals with errors=True, and read them after a backward pass through the layer; a "
                "credit that perturbs nodes sends no errors",
            }[kind]
            raise StateMismatch(f"no {kind} reached layer '{self.name}': {why}.")
        rows_of = input_rows if kind == "inputs" else error_rows
        with torch.no_grad():
            wide = torch.promote_types(self.layer.weight.dtype, torch.float32)
            return torch.cat([rows_of(self.layer, each, self._most, self._passes).to(wide) for each in heard], dim=-2)

    def _moment(self, kind: Kind) -> Tensor:
        if kind in self._averaged:
            return self._moments[kind][0]
        rows = self._rows(kind)
        moment = rows.mT @ rows / rows.shape[-2]
        if self._decay is not None:
            before, passes = self._moments.get(kind, (moment, 0))
            # The weights add up to one from the first pass on, so that the average is not biased to zero.
            weight = (1 - self._decay) / (1 - self._decay ** (passes + 1))
            moment = before.lerp(moment, weight)
            self._moments[kind] = moment, passes + 1
            self._averaged.add(kind)
        return moment


@final
class Signals:
    """Collection of the inputs and errors of the Linear and ConvNd layers of a model in its last pass.

    The model stays as it is: each of these layers gets a forward hook, and the model gets a forward pre-hook, which
    forgets the earlier pass. Every credit assignment runs its clean pass last, so that this pass counts; with
    micro-batches the last of them counts. What a checkpoint computes again counts once. Tensors are held by reference,
    and nothing is computed before it is read.
    Biases, normalisation layers and all other parameters keep their gradients.

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

    Cost: memory for the inputs of the layers until the next pass of the model, which autograd would free earlier; rows
    and moments are computed when they are read. A convolution has many patches: limit them with `rows`.

    Args:
        model: Any model, decorrelated or not.
        errors: True also keeps the errors at the outputs, which `kfac` needs. They arrive with every credit that sends
            them through the outputs (backprop, feedback alignment); perturbation of nodes sends none.
        rows: Largest number of rows per call of a layer, evenly spaced over images and positions, others in every pass
            of the model. None: all.
        decay: Weight of the earlier passes in the running averages `input_moment` and `error_moment`, in (0, 1). The
            average extends over 1 / (1 - decay) of the passes in which it was read. None: the last pass alone.
        skip: Names of layers to leave out.

    Raises:
        InvalidValue: The argument is not a model or has no such layers; an option is out of range; a name to skip
            matches no such layer.
        Unsupported: Two layers share a weight, whose gradient would be conditioned twice; a weight is not a parameter
            of its layer (parametrized, pruned, or not made yet).
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
            raise InvalidValue(f"the model of Signals must be a torch.nn.Module, got {shown(model)}.")
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
                "Signals needs a Linear or ConvNd layer that is not skipped, and skip may name such layers only, got "
                f"{', '.join(map(repr, unknown or skip)) or 'none'}: the layers of the model are "
                f"{', '.join(map(repr, found)) or 'none'}."
            )
        self._layers = [LayerSignals(name, m, rows, decay) for name, m in found.items() if name not in skip]
        _check_weights(self._layers)
        self._passed = False
        self._handles = [model.register_forward_pre_hook(self._begin, prepend=True)]
        for layer in self._layers:
            hook = _Listener(layer, errors)
            self._handles.append(layer.layer.register_forward_hook(hook, with_kwargs=True))

    def __iter__(self) -> Iterator[LayerSignals]:
        """Iterate over the layers whose weights have a gradient, in the order of the model.

        Raises:
            StateMismatch: The model had no forward pass since the signals were made, so that there is nothing to
                condition.
        """
        if not self._passed:
            raise StateMismatch(
                "the model of these Signals had no forward pass since they were made. `decorrelate` returns a copy: "
                "make the Signals after it, of the model that you train."
            )
        return (layer for layer in self._layers if layer.layer.weight.grad is not None)

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove all hooks and forget the collected signals; running averages stay."""
        for handle in self._handles:
            handle.remove()
        self._begin()

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Running averages by layer and kind, with the number of passes in each; and the passes of the model."""
        return {
            layer.name: {
                "passes": layer._passes,
                "moments": {k: {"moment": moment, "passes": count} for k, (moment, count) in layer._moments.items()},
            }
            for layer in self._layers
        }

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Continue with saved averages, and with the rows of the next pass.

        Args:
            state: Result of `state_dict()` of Signals of the same layers.

        Raises:
            StateMismatch: The averages are of other layers.
        """
        names = [layer.name for layer in self._layers]
        if list(state) != names:
            raise StateMismatch(
                f"the saved averages are of the layers {', '.join(state)}, and this model has {', '.join(names)}: make "
                "the Signals for the same layers."
            )
        for layer in self._layers:
            saved = state[layer.name]
            layer._passes = saved["passes"]
            layer._moments = {kind: (held["moment"], held["passes"]) for kind, held in saved["moments"].items()}

    def _begin(self, *_: object) -> None:
        if in_backward():  # a checkpoint computes the same pass again
            return
        self._passed = True
        for layer in self._layers:
            layer._begin()


@final
class _Listener:
    """Hook of a layer."""

    def __init__(self, signals: LayerSignals, errors: bool) -> None:
        self._signals = signals
        self._errors = errors

    def __call__(self, _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> None:
        heard = self._signals._heard
        inputs: Tensor = arguments[0] if arguments else keywords["input"]
        if not in_backward():  # a checkpoint gives the same inputs again; their errors may come with the first or now
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
                f"layer '{signals.name}' computes its weight from other parameters, or has not made it yet, so that "
                "the weight has no gradient: run a lazy layer once, and leave others out with skip=."
            )
        first = owners.setdefault(id(weight), signals.name)
        if first != signals.name:
            raise Unsupported(
                f"layers '{first}' and '{signals.name}' share their weight, whose gradient would be conditioned twice: "
                "leave one of them out with skip=."
            )
