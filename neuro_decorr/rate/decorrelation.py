"""The structure: a layer that centres and decorrelates what passes through it. It never learns by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, StateMismatch, shown
from neuro_decorr.rate.memory import Memory
from neuro_decorr.rate.precision import exactly, widened
from neuro_decorr.rate.record import Record, in_backward, in_plain_python, in_transform, transformed
from neuro_decorr.rate.shared import Shared
from neuro_decorr.rate.steps import check_sequence, steps_of
from neuro_decorr.rate.traces import Signal, Trace, TraceState, trace_of
from neuro_decorr.rate.transforms import blank, is_identity, stacked, structure_in
from neuro_decorr.rate.weighing import Weighing
from neuro_decorr.rules import Rule, State, Structure, dense_matrix, transform
from neuro_decorr.rules._rule import TRANSFORM, transform_


class Decorrelation(nn.Module):
    r"""Centre and decorrelate: $x = D (z - \mu)$, in row form ``F.linear(z - mean, D)``.

    D and the running mean are buffers that only a `Plasticity` moves, in place; a forward pass never does. For that
    the module remembers some rows of its input and output of every forward pass in train mode since the last step:
    those of all calls of a shared layer and of all micro-batches. What checkpointing computes again during backward
    does not count twice, and inside `vmap` the rows of all mapped examples count, unless D itself is mapped (an
    ensemble), which is then not the module's own. Train and eval mode compute the same.

    Buffers are float32 or wider, whatever the model is cast to, and the product ignores autocast.

    With several groups, each has a D and a mean of its own, as the groups of a grouped convolution need. The buffers
    and all that a rule sees are then stacked along a first dimension, and group g acts on the g-th part of the input.

    Where `subtract` is False the mean is tracked and used for the statistics, but not subtracted, for layers behind
    which no bias could carry it alike everywhere:

    $$x = D z, \qquad \text{remembered: } z - \mu \text{ and } D (z - \mu)$$

    Shapes: z (..., groups * features) to x of the same shape. Cost: 2 features^2 flop a row and group with a dense D,
    4 k features with k interneurons, none for centring alone.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780.

    Attributes:
        features: Number of units of each group.
        center: Whether there is a running mean.
        groups: Number of groups.
        subtract: Whether the running mean is subtracted from what passes; it always is from what is remembered.
        structure: `dense`, `low_rank`, or `centering` where D holds no tensors; the rule of the Plasticity decides.
        row_fraction: Share r of the rows of a batch that is remembered: floor(r * rows) + 1, evenly spaced. Over many
            passes without a step no more than 1,024, or the rows of the last pass: evenly spaced over all of them.
        remembers: Whether passes in train mode are remembered; see `neuro_decorr.rate.unremembered`.
        trace: What drives the statistics in place of z, for sequences; None for z itself.
        rule: The rule of the last `Plasticity` that was attached; None before.
        weighing: How much each row counts; see `neuro_decorr.rate.row_weights`. None: all alike.
    """

    def __init__(
        self,
        features: int,
        center: bool = True,
        *,
        groups: int = 1,
        subtract: bool = True,
        row_fraction: float = 0.1,
        signal: Signal | Trace = "spikes",
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Start as the identity, with mean zero, and without a matrix: the rule of a Plasticity brings its structure.

        Args:
            features: Number of units of each group; of one group, the last dimension of the input.
            center: Track the running mean, and subtract it.
            groups: Number of groups, which follow one another in the last dimension of the input.
            subtract: False: track the mean for the statistics, but let it pass.
            row_fraction: Fraction of rows remembered for the plasticity, in (0, 1].
            signal: What drives the statistics: `spikes`, the input z itself, or for sequences (steps, ..., features)
                its `trace` or its `rate`. It is z that is centred and transformed: what is linear in time, such as a
                synapse behind, may act before D or after it.
            device: Where the buffers live.
            dtype: float32 or float64.

        Raises:
            InvalidValue: Features or groups that are not a positive whole number, a row fraction outside (0, 1],
                another dtype, a signal that does not exist.
        """
        super().__init__()
        checks.refuse(
            "Decorrelation",
            checks.whole_number("features", features, least=1),
            checks.flag("center", center),
            checks.whole_number("groups", groups, least=1),
            checks.flag("subtract", subtract),
        )
        if dtype not in (torch.float32, torch.float64):
            raise InvalidValue(f"Decorrelation: dtype must be float32 or float64, got {dtype}.")
        self.features = features
        self.center = center
        self.groups = groups
        self.subtract = subtract
        self.structure: Structure = "centering"
        self.row_fraction = check_row_fraction(row_fraction)
        self.trace = trace_of(signal)
        self.rule: Rule | None = None
        self.remembers = True
        self.weighing: Weighing | None = None
        self._memory = Memory()
        self._shared: Shared | None = None
        shape = (groups, features) if groups > 1 else (features,)
        self._buffers["mean"] = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def mean(self) -> Tensor:
        """Buffer, the running mean, shape (features,), or (groups, features) where there are several."""
        return self._buffers["mean"]  # type: ignore[return-value]  # never None; past nn.Module's slow look-up

    @property
    def matrix(self) -> Tensor:
        """D: the buffer itself where it is dense, else its dense equivalent (a copy).

        Shape (features, features), or (groups, features, features) where there are several. Before there was a rule D
        is the identity, which becomes a dense buffer when it is asked for here, so that it can be set by hand.
        """
        if self.rule is None and self.structure == "centering":
            identity = {"matrix": torch.eye(self.features, dtype=self.mean.dtype, device=self.mean.device)}
            self._set_structure("dense", stacked(identity, self.groups) if self.groups > 1 else identity)
        matrix = dense_matrix(self.transform_state(), self.features, self.mean)
        return matrix if self.groups == 1 or matrix.dim() == 3 else matrix.repeat(self.groups, 1, 1)

    def transform_state(self) -> State:
        """The buffers that make up D, by name: the tensors themselves, not copies."""
        return {name: self._buffers[name] for name in TRANSFORM[self.structure]}  # type: ignore[misc]  # never None

    def take_structure(self, rule: Rule) -> State:
        """Give D the structure that a rule needs, and return the rule's statistics at its start.

        Args:
            rule: The rule that is going to move D.

        Returns:
            The part of the rule's initial state that is not the transform; that of several groups stacked.

        Raises:
            StateMismatch: D has learnt already in another structure, so that changing it would lose something.
        """
        self.rule = rule
        initial = rule.initial_state(self.features, dtype=self.mean.dtype, device=self.mean.device)
        initial = stacked(initial, self.groups) if self.groups > 1 else initial
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
        """Whether D is the identity exactly, in all groups."""
        return is_identity(self.transform_state())

    def transform_centred(self, centred: Tensor) -> Tensor:
        """D times centred rows: no mean is subtracted, nothing is remembered.

        Args:
            centred: Shape (..., features); with several groups (groups, features) or (groups, rows, features).
        """
        if self.groups > 1 and centred.dim() == 2:
            return transform(self.transform_state(), centred.unsqueeze(1)).squeeze(1)
        if self.structure == "dense" and self.groups == 1:  # at every forward pass: past nn.Module's look-up
            return F.linear(centred, self._buffers["matrix"])  # type: ignore[arg-type]  # never None
        return transform(self.transform_state(), centred)

    def transform_flat(self, centred: Tensor) -> Tensor:
        """The same for rows as `forward` takes them, shape (..., groups * features)."""
        if self.groups == 1:
            return self.transform_centred(centred)
        split = centred.reshape(-1, self.groups, self.features).transpose(0, 1)
        return transform(self.transform_state(), split).transpose(0, 1).reshape(centred.shape)

    def _transform_own(self, centred: Tensor) -> Tensor:
        """The same in the place of the rows, which nobody else holds: a gradient of the directions would need them."""
        state = self.transform_state()
        learnt = state["directions"].requires_grad or state["gain"].requires_grad
        own = centred.dim() == 2 and in_plain_python() and not learnt
        return transform_(state, centred) if own else transform(state, centred)

    def subtracted(self) -> Tensor:
        """What a forward pass subtracts: the running mean, or zeros of its shape."""
        return self.mean if self.center and self.subtract else torch.zeros_like(self.mean)

    @property
    def flat_mean(self) -> Tensor:
        """The running mean as rows of the input have it, shape (groups * features,)."""
        mean: Tensor = self._buffers["mean"]  # type: ignore[assignment]  # never None
        return mean if self.groups == 1 else mean.flatten()

    def take_record(self) -> Record | None:
        """Hand out what the forward passes in train mode since the last call left, and forget it."""
        record, self._memory.record = self._memory.record, None
        return record if record is None or record.kept is record.weights is None else record.settled()

    def forward(self, inputs: Tensor) -> Tensor:
        """Transform a batch; an empty one leaves nothing to learn from.

        Args:
            inputs: z, shape (..., groups * features).

        Returns:
            x = D (z - mean), the same shape and dtype.

        Raises:
            InvalidValue: Another number of features, or a type that is not real and floating, or wider than D.
            Unsupported: Row weights in a compiled graph or inside vmap.
        """
        compute: Callable[[Tensor], Tensor] = self.transform_centred
        if self.groups > 1:
            compute = self.transform_flat
        elif self.structure == "low_rank" and self.center and self.subtract:
            compute = self._transform_own
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
            inputs: z, shape (..., groups * features).
            compute: From z - mean to x, the same shape; called without autocast, in float32 or wider.

        Returns:
            x, the same shape and dtype as z; in train mode it is what the plasticity learns from.

        Raises:
            InvalidValue: Another number of features, or a type that is not real and floating, or wider than D.
            Unsupported: Row weights in a compiled graph or inside vmap.
        """
        plain = in_plain_python()
        values, mean, centred = self._centred(inputs)
        observed = self.training and self.remembers and (not in_backward() if plain else self.is_observed())
        taken = self._memory.take(self, centred, mean, plain) if observed and self.trace is None else None
        if plain and not torch._C._is_any_autocast_enabled():  # the context takes its time
            outputs = compute(centred)
        else:
            with exactly(inputs):
                outputs = compute(centred)
        if taken is not None:
            self._memory.put(self, taken, outputs, plain)
        elif observed and self.trace is not None and values.numel():
            check_sequence(values)
            self._memory.put_steps(self, values, self.trace.filtered(values, None)[0])
        return outputs if outputs.dtype == inputs.dtype else outputs.to(inputs.dtype)

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
        values, _, centred = self._centred(inputs)
        with exactly(inputs):
            outputs = self.transform_flat(centred)
        if values.numel() == 0:
            raise InvalidValue(
                f"Decorrelation got an empty input of shape {tuple(values.shape)}: time steps without rows have no "
                "state to hand on; leave them out."
            )
        signal = values
        if self.trace is not None:
            signal, state = self.trace.filtered(steps_of(values), state)
        if self.is_observed():
            self._memory.put_steps(self, values, signal)
        return outputs.to(inputs.dtype), state

    def _centred(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The input in the type of D, the mean as its rows have it, and what D acts on."""
        mean: Tensor = self._buffers["mean"]  # type: ignore[assignment]  # never None
        if self.groups > 1:
            mean = mean.flatten()
        width, shape = mean.shape[0], inputs.shape
        if not shape or shape[-1] != width:
            of = f"{self.groups} groups of {self.features}" if self.groups > 1 else f"{self.features}"
            raise InvalidValue(
                f"Decorrelation of {of} features got an input of shape {tuple(shape)}; "
                f"its last dimension must be {width}."
            )
        values = inputs if inputs.dtype == mean.dtype else widened(inputs, mean.dtype)
        return values, mean, values - mean if self.center and self.subtract else values

    def fold_into(self, weight: Tensor) -> Tensor:
        """W D, in the type of the weight; differentiable in W.

        Args:
            weight: W, shape (outputs, features), or (groups, outputs, features) where there are several groups.
        """
        state = {name: tensor.to(weight.dtype) for name, tensor in self.transform_state().items()}
        with exactly(weight):
            return weight @ state["matrix"] if self.structure == "dense" else transform(state, weight)  # symmetric

    def is_observed(self) -> bool:
        """Whether the forward pass that is running is one to remember."""
        if not (self.training and self.remembers):
            return False
        if in_plain_python():
            return not in_backward()
        return not (in_transform() and any(transformed(b) for b in self._buffers.values() if b is not None))

    def remember(self, rows: Tensor, seen: int) -> None:
        """Remember rows of z that were sampled elsewhere: they drive the next plasticity.

        Args:
            rows: Shape (rows, features), or (groups, rows, features) where there are several groups.
            seen: How many rows they were sampled from.
        """
        self._memory.put_rows(self, rows, seen)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        text = f"{self.features}, center={self.center}, structure={self.structure}"
        if self.structure == "low_rank":
            text += f", interneurons={self.transform_state()['suppression'].shape[-1]}"
        if self.groups > 1:
            text += f", groups={self.groups}"
        return text if self.subtract else f"{text}, subtract=False"

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

        self._memory = Memory()
        super()._apply(at_least_float32, recurse)  # type: ignore[no-untyped-call]  # torch types it not
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """A fresh module takes the structure of the state that it is given."""
        if prefix + "mean" in state_dict:
            found = structure_in(state_dict, prefix)
            if found != self.structure or (found == "low_rank" and self.is_identity()):
                # Only shapes are made here; the copying, and complaints about what is missing, are torch's.
                self._set_structure(found, blank(found, state_dict, prefix, self.mean))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def check_row_fraction(row_fraction: float) -> float:
    """The fraction of rows that is remembered, checked.

    Raises:
        InvalidValue: It lies outside (0, 1].
    """
    if type(row_fraction) not in (int, float) or not 0 < row_fraction <= 1:
        raise InvalidValue(
            f"row_fraction, the share of a batch's rows that drive the plasticity, is in (0, 1]: {shown(row_fraction)}."
        )
    return float(row_fraction)
