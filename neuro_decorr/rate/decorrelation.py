"""The structure: a layer that centres and decorrelates what passes through it. It never learns by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported
from neuro_decorr.rate.plain import plain_pass
from neuro_decorr.rate.precision import exactly
from neuro_decorr.rate.record import (
    Record,
    in_backward,
    in_plain_python,
    in_transform,
    joined,
    traced_in_transform,
    transformed,
    unwrapped,
)
from neuro_decorr.rate.shared import Shared
from neuro_decorr.rate.steps import check_sequence, flat_steps, rows_of_pass, rows_of_steps, steps_of
from neuro_decorr.rate.traces import Signal, Trace, TraceState, trace_of
from neuro_decorr.rules import TRANSFORM, Rule, State, Structure, dense_matrix, transform, transform_


class Decorrelation(nn.Module):
    r"""Centre and decorrelate: :math:`x = D (z - \mu)`, in row form ``F.linear(z - mean, D)``.

    D and the running mean are buffers that only a `Plasticity` moves, in place; a forward pass never does. For that
    the module remembers some rows of its input and output of every forward pass in train mode since the last step:
    those of all calls of a shared layer and of all micro-batches. What checkpointing computes again during backward
    does not count twice, and inside `vmap` the rows of all mapped examples count, unless D itself is mapped (an
    ensemble), which is then not the module's own. Train and eval mode compute the same.

    Buffers are float32 or wider, whatever the model is cast to, and the product ignores autocast.

    Shapes: z (..., features) to x (..., features). Cost: 2 features^2 flop a row with a dense D, 4 k features with k
    interneurons, none for centring alone.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780.

    Attributes:
        features: Number of units.
        center: Whether the running mean is subtracted.
        structure: `dense`, `low_rank` or `centering`; the rule of the Plasticity decides.
        sample: Fraction of the rows of a batch that is remembered: floor(sample * rows) + 1, evenly spaced. Over many
            passes without a step no more than 1,024, or the rows of the last pass: evenly spaced over all of them.
        remembers: Whether passes in train mode are remembered; see `neuro_decorr.rate.unremembered`.
        trace: What drives the statistics in place of z, for sequences; None for z itself.
        rule: The rule of the last `Plasticity` that was attached; None before.
    """

    def __init__(
        self,
        features: int,
        center: bool = True,
        *,
        sample: float = 0.1,
        structure: Literal["dense", "centering"] = "dense",
        signal: Signal | Trace = "spikes",
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Start as the identity, with mean zero.

        Args:
            features: Number of units, the last dimension of the input.
            center: Subtract the running mean.
            sample: Fraction of rows remembered for the plasticity, in (0, 1].
            structure: `dense`, or `centering` to hold no matrix until a rule brings its own structure.
            signal: What drives the statistics: `spikes`, the input z itself, or for sequences (steps, ..., features)
                its `trace` or its `rate`. It is z that is centred and transformed: what is linear in time, such as a
                synapse behind, may act before D or after it.
            device: Where the buffers live.
            dtype: float32 or float64.

        Raises:
            InvalidValue: Features that are not a positive whole number, a sample outside (0, 1], another dtype, a
                signal that does not exist.
        """
        super().__init__()
        if type(features) is not int or features < 1:
            raise InvalidValue(f"Decorrelation: features must be a whole number >= 1, got {features!r}.")
        if structure not in ("dense", "centering"):
            raise InvalidValue(
                f"Decorrelation: structure must be 'dense' or 'centering' to start with, got {structure!r}."
            )
        if dtype not in (torch.float32, torch.float64):
            raise InvalidValue(f"Decorrelation: dtype must be float32 or float64, got {dtype}.")
        self.features = features
        self.center = center
        self.structure: Structure = structure
        self.sample = check_sample(sample)
        self.trace = trace_of(signal)
        self.rule: Rule | None = None
        self.remembers = True
        self._record: Record | None = None
        self._shared: Shared | None = None
        self._spread: tuple[int, int, Tensor] | None = None  # rows, how many stay, which: see plain_pass
        self._buffers["mean"] = torch.zeros(features, dtype=dtype, device=device)
        if structure == "dense":
            self._buffers["matrix"] = torch.eye(features, dtype=dtype, device=device)

    @property
    def mean(self) -> Tensor:
        """Buffer, the running mean, shape (features,)."""
        return self._buffers["mean"]  # type: ignore[return-value]  # never None; past nn.Module's slow look-up

    @property
    def matrix(self) -> Tensor:
        """D, shape (features, features): the buffer itself where it is dense, else its dense equivalent (a copy)."""
        return dense_matrix(self.transform_state(), self.features, self.mean)

    def transform_state(self) -> State:
        """The buffers that make up D, by name: the tensors themselves, not copies."""
        return {name: self._buffers[name] for name in TRANSFORM[self.structure]}  # type: ignore[misc]  # never None

    def take_structure(self, rule: Rule) -> State:
        """Give D the structure that a rule needs, and return the rule's statistics at its start.

        Args:
            rule: The rule that is going to move D.

        Returns:
            The part of the rule's initial state that is not the transform.

        Raises:
            StateMismatch: D has learnt already in another structure, so that changing it would lose something.
        """
        self.rule = rule
        initial = rule.initial_state(self.features, dtype=self.mean.dtype, device=self.mean.device)
        names = TRANSFORM[rule.structure]
        present = self.transform_state()
        if rule.structure != self.structure or any(initial[name].shape != t.shape for name, t in present.items()):
            if not self.is_identity():
                raise StateMismatch(
                    f"this Decorrelation holds a {self.structure} transform that has learnt, and the rule "
                    f"'{rule.name}' needs a {rule.structure} one: start from a fresh nd.decorrelate(model), "
                    "or nd.fold the model first."
                )
            self._set_structure(rule.structure, {name: initial[name] for name in names})
        elif rule.structure == "low_rank" and self.is_identity():
            for name, tensor in self.transform_state().items():
                tensor.copy_(initial[name])
        return {name: tensor for name, tensor in initial.items() if name not in names}

    def is_identity(self) -> bool:
        """Whether D is the identity exactly."""
        if self.structure == "dense":
            matrix = self.matrix
            # Without a second matrix of the size of D.
            return bool((matrix.diagonal() == 1).all()) and int(torch.count_nonzero(matrix)) == self.features
        return not any(bool(tensor.any()) for name, tensor in self.transform_state().items() if name == "suppression")

    def transform_centred(self, centred: Tensor) -> Tensor:
        """D times centred rows, shape (..., features): no mean is subtracted, nothing is remembered."""
        if self.structure == "dense":  # done at every forward pass: past the dictionary and nn.Module's look-up
            return F.linear(centred, self._buffers["matrix"])  # type: ignore[arg-type]  # never None
        return transform(self.transform_state(), centred)

    def _transform_own(self, centred: Tensor) -> Tensor:
        """The same in the place of the rows, which nobody else holds: a gradient of the directions would need them."""
        state = self.transform_state()
        own = centred.dim() == 2 and in_plain_python() and not state["directions"].requires_grad
        return transform_(state, centred) if own else transform(state, centred)

    def subtracted(self) -> Tensor:
        """What a forward pass subtracts, shape (features,): the running mean, or zeros without centring."""
        return self.mean if self.center else torch.zeros_like(self.mean)

    def take_record(self) -> Record | None:
        """Hand out what the forward passes in train mode since the last call left, and forget it."""
        record = self._record
        object.__setattr__(self, "_record", None)
        return record if record is None or record.kept is None else record.settled()

    def forward(self, inputs: Tensor) -> Tensor:
        """Transform a batch.

        Args:
            inputs: z, shape (..., features).

        Returns:
            x = D (z - mean), the same shape and dtype.

        Raises:
            InvalidValue: Another number of features, or an empty batch in train mode.
        """
        own = self.center and self.structure == "low_rank"
        compute: Callable[[Tensor], Tensor] = self._transform_own if own else self.transform_centred
        if self._shared is not None:
            compute = self._shared.once(inputs, (self.mean, *self.transform_state().values()), compute)
        return self.run(inputs, compute)

    def share_passes(self, inputs: Tensor | None) -> None:
        """Until called with None: passes that give this layer the model's input, unchanged, take x of the first.

        Args:
            inputs: What the model is called with in all of them; kept, with one x.
        """
        self._shared = None if inputs is None else Shared(inputs)

    def run(self, inputs: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """A forward pass in which something else computes x from z - mean, such as a circuit that settles.

        Args:
            inputs: z, shape (..., features).
            compute: From z - mean to x, the same shape; called without autocast, in float32 or wider.

        Returns:
            x, the same shape and dtype as z; in train mode it is what the plasticity learns from.

        Raises:
            InvalidValue: Another number of features, or an empty batch in train mode.
        """
        if self.training and (plain := plain_pass(self, inputs, compute)) is not None:
            return plain
        values, centred, outputs = self._computed(inputs, compute)
        if self.training:
            self.check_not_empty(values)
        if self.is_observed():
            if self.trace is None:
                self._remember(values, None if outputs is centred else centred, outputs)
            else:
                check_sequence(values)
                self._remember_steps(values, self.trace.filtered(values, None)[0])
        return outputs.to(inputs.dtype)

    def run_steps(self, inputs: Tensor, state: TraceState | None) -> tuple[Tensor, TraceState | None]:
        """A forward pass over time steps, which remembers the same rows for one step at a time and for all at once.

        Args:
            inputs: z, shape (steps, batch, features), or one step (batch, features) or (features,).
            state: Of the trace that drives the statistics; None at the start of a sequence.

        Returns:
            x = D (z - mean), the same shape and dtype, and the state after the last step: None without a trace.

        Raises:
            InvalidValue: Another number of features, or an empty input.
        """
        values, _, outputs = self._computed(inputs, self.transform_centred)
        self.check_not_empty(values)
        signal = values
        if self.trace is not None:
            signal, state = self.trace.filtered(steps_of(values), state)
        if self.is_observed():
            self._remember_steps(values, signal)
        return outputs.to(inputs.dtype), state

    def _computed(self, inputs: Tensor, compute: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The input in float32 or wider, the same centred, and the output."""
        if not inputs.dim() or inputs.shape[-1] != self.features:
            raise InvalidValue(
                f"Decorrelation of {self.features} features got an input of shape {tuple(inputs.shape)}; "
                f"its last dimension must be {self.features}."
            )
        values = inputs.to(self.mean.dtype) if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
        with exactly(inputs):
            centred = values - self.mean if self.center else values
            return values, centred, compute(centred)

    def fold_into(self, weight: Tensor) -> Tensor:
        """W D, shape (outputs, features), in the type of the weight; differentiable in W."""
        state = {name: tensor.to(weight.dtype) for name, tensor in self.transform_state().items()}
        with exactly(weight):
            return weight @ state["matrix"] if self.structure == "dense" else transform(state, weight)  # symmetric

    def check_not_empty(self, values: Tensor) -> None:
        """Raise InvalidValue for a batch without rows in train mode."""
        if values.numel() == 0:
            raise InvalidValue(
                f"Decorrelation got an empty batch of shape {tuple(values.shape)} in train mode, from which nothing "
                "can be learnt; leave empty batches out, or call model.eval()."
            )

    def is_observed(self) -> bool:
        """Whether the forward pass that is running is one to remember."""
        return (
            self.training
            and self.remembers
            and not in_backward()
            and not (in_transform() and any(transformed(b) for b in self._buffers.values() if b is not None))
        )

    @torch.no_grad()
    def remember(self, rows: Tensor, seen: int) -> None:
        """Remember rows of z that were sampled elsewhere: they drive the next plasticity.

        Args:
            rows: Shape (rows, features).
            seen: How many rows they were sampled from.
        """
        centred = rows - self.mean if self.center else rows
        with exactly(rows):
            outputs = self.transform_centred(centred)
        self._add_record(centred, outputs, centred.mean(dim=0).mul_(seen), seen)

    def _remember(self, values: Tensor, centred: Tensor | None, outputs: Tensor) -> None:
        """Remember rows of z - mean and of x; the former are `values` less the mean where x has taken their place."""
        drive = values if centred is None else centred
        if outputs.requires_grad or drive.requires_grad:
            values, drive, outputs = values.detach(), drive.detach(), outputs.detach()
        if in_transform():
            values, drive, outputs = (unwrapped(tensor.detach()) for tensor in (values, drive, outputs))
        if values.dim() != 2:
            drive, outputs, values = (tensor.reshape(-1, self.features) for tensor in (drive, outputs, values))
        rows = values.shape[0]  # several times faster than len
        kept = min(rows, int(self.sample * rows) + 1)
        if kept < rows:
            spread = rows_of_pass(rows, kept, self._record)
            drive, outputs = drive[spread], outputs[spread]
        deviation = (values.mean(dim=0) - self.mean).mul_(rows) if self.center else self.mean
        # Copies: the whole batch need not stay alive, and a later layer may work in place on it.
        drive = drive - self.mean if centred is None and self.center else drive.clone()
        self._add_record(drive, outputs.clone(), deviation, rows)

    @torch.no_grad()
    def _remember_steps(self, values: Tensor, signal: Tensor) -> None:
        """Remember rows of a signal at every time step: those that the steps would leave one after the other."""
        values, signal = flat_steps(values), flat_steps(signal)
        steps, rows, _ = signal.shape
        sampled = rows_of_steps(signal, min(rows, int(self.sample * rows) + 1), self._record)
        with exactly(sampled):
            centred = sampled - self.mean if self.center else sampled
            outputs = self.transform_centred(centred)
        deviation = (values.mean(dim=(0, 1)) - self.mean).mul_(steps * rows) if self.center else self.mean
        self._add_record(centred, outputs, deviation, steps * rows, passes=steps)

    def _add_record(self, inputs: Tensor, outputs: Tensor, deviation: Tensor, seen: int, passes: int = 1) -> None:
        record = Record(inputs, outputs, deviation, seen)
        if traced_in_transform():
            raise Unsupported(
                "a compiled graph of vmap or grad of a model in train mode cannot hand out what the model remembers: "
                "compile with fullgraph=False, call model.eval(), or use neuro_decorr.rate.unremembered(model)."
            )
        if self._record is not None or passes > 1 or torch.compiler.is_compiling():
            record = joined(self._record, record, passes)
        if in_transform() and transformed(record.deviation):  # inside torch.func.grad every result is seen through it
            inputs, outputs, deviation = map(unwrapped, record[:3])
            record = Record(inputs, outputs, deviation, record.seen, record.kept)
        self._record = record

    def extra_repr(self) -> str:
        """What print(model) shows."""
        rank = f", interneurons={self.transform_state()['suppression'].numel()}" if self.structure == "low_rank" else ""
        return f"{self.features}, center={self.center}, structure={self.structure}{rank}"

    def _set_structure(self, structure: Structure, tensors: State) -> None:
        for name in TRANSFORM[self.structure]:
            del self._buffers[name]
        self.structure = structure
        self._buffers.update(tensors)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Decorrelation:
        """Moves and casts as any module, but never to less than float32: updates of 1e-5 would round to nothing."""

        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        self._record = self._spread = None
        super()._apply(at_least_float32, recurse)  # type: ignore[no-untyped-call]  # torch types it not
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """A fresh module takes the structure of the state that it is given."""
        if prefix + "mean" in state_dict:
            found: Structure = (
                "dense"
                if prefix + "matrix" in state_dict
                else "low_rank"
                if prefix + "directions" in state_dict
                else "centering"
            )
            names = [name for name in TRANSFORM[found] if prefix + name in state_dict]
            if found != self.structure or (found == "low_rank" and self.is_identity()):
                # Only shapes are made here; the copying, and complaints about what is missing, are torch's.
                shapes = {name: state_dict[prefix + name].shape for name in names}
                self._set_structure(found, {name: self.mean.new_empty(shape) for name, shape in shapes.items()})
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def check_sample(sample: float) -> float:
    """The fraction of rows that is remembered, checked.

    Raises:
        InvalidValue: It lies outside (0, 1].
    """
    if type(sample) not in (int, float) or not 0 < sample <= 1:
        raise InvalidValue(
            f"sample, the fraction of a batch's rows that drive the plasticity, is in (0, 1]: {sample!r}."
        )
    return float(sample)
