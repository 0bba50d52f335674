"""Structure: a layer that centres and decorrelates its input. A Plasticity makes it learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, StateMismatch
from neuro_decorr.libraries import check_not_traced_by_nirtorch, in_backward
from neuro_decorr.rate.memory import Memory, check_row_fraction
from neuro_decorr.rate.precision import exactly, widened
from neuro_decorr.rate.record import Record, in_plain_python, in_transform, transformed
from neuro_decorr.rate.shared import Shared
from neuro_decorr.rate.steps import check_sequence, steps_of
from neuro_decorr.rate.traces import Signal, Trace, TraceState, trace_of
from neuro_decorr.rate.transforms import blank, confined_to, is_identity, same_form, stacked, structure_in
from neuro_decorr.rate.weighing import Weighing
from neuro_decorr.rules import Rule, State, Structure, dense_matrix, transform
from neuro_decorr.rules._state import transform_names
from neuro_decorr.rules._transform import passed_on, transform_
from neuro_decorr.rules.connectivity import Connectivity


class Decorrelation(nn.Module):
    r"""Layer that centres and decorrelates its input: $x = D (z - \mu)$, in row form ``F.linear(z - mean, D)``.

    D and the running mean are buffers that only a `Plasticity` changes, in place; a forward pass never does. For the
    plasticity the module remembers some rows of its input and output of every forward pass in train mode since the last
    step, including all calls of a shared layer and all micro-batches. A pass that checkpointing repeats during backward
    does not count twice. Inside `vmap` the rows of all mapped examples count, unless D itself is mapped (an ensemble)
    and thus does not belong to the module. Train and eval mode compute the same.

    Buffers are float32 or wider, whatever type the model is cast to, and the product ignores autocast.

    With several groups, each has its own D and mean, as the groups of a grouped convolution need. The buffers and all
    tensors of a rule are then stacked along a first dimension, and group g acts on the g-th part of the input.

    If `subtract` is False the mean is tracked and used for the statistics, but not subtracted. This serves layers whose
    bias cannot carry the mean equally to all outputs:

    $$x = D z, \qquad \text{remembered: } z - \mu \text{ and } D (z - \mu)$$

    Shapes: z (..., groups * features), x of the same shape. Cost: 2 features^2 flop per row and group with a dense D,
    4 k features with k interneurons, none for centring alone.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780.

    Attributes:
        features: Number of units of each group.
        center: True if the layer has a running mean.
        groups: Number of groups.
        subtract: True if the running mean is subtracted from the input; it is always subtracted from remembered rows.
        structure: `dense`, `low_rank`, `blocks`, `sparse`, or `centering` if D holds no tensors. The rule of the
            Plasticity and the connectivity set it.
        row_fraction: Fraction r of the rows of a batch that is remembered: floor(r * rows) + 1 rows, evenly spaced,
            others in every pass; of a convolution about as many, at most about max(64, 2 d) patches of d features.
            Many passes without a step leave at most 1,024 rows, or as many as the last pass.
        remembers: True if passes in train mode are remembered; see `neuro_decorr.rate.unremembered`.
        trace: Trace that drives the statistics in place of z, for sequences; None: z itself.
        rule: Rule of the last `Plasticity` that was attached; None before.
        weighing: Weights of the rows; see `neuro_decorr.rate.row_weights`. None: all rows count equally.
        connectivity: Pairs of units to which every rule has to confine D. None: those of the rule, if it has any.
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
        connectivity: Connectivity | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Start as the identity with mean zero and without a matrix; the rule of a Plasticity sets the structure.

        Args:
            features: Number of units of each group; of one group, the last dimension of the input.
            center: True tracks the running mean and subtracts it.
            groups: Number of groups, which follow one another in the last dimension of the input.
            subtract: False tracks the mean for the statistics but does not subtract it from the input.
            row_fraction: Fraction of rows remembered for the plasticity, in (0, 1].
            signal: Signal that drives the statistics: `spikes`, the input z itself, or for sequences (steps, ...,
                features) its `trace` or its `rate`. The layer centres and transforms z in any case, since operations
                that are linear in time, such as the next synapse, may act before D or after it.
            connectivity: Pairs of units to which D is confined, whatever the rule.
            device: Device of the buffers.
            dtype: float32 or float64.

        Raises:
            InvalidValue: Features or groups are not a positive whole number, the row fraction is outside (0, 1], or
                the dtype or the signal is not allowed.
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
        self.connectivity = connectivity
        self.memory = Memory()
        self._shared: Shared | None = None
        shape = (groups, features) if groups > 1 else (features,)
        self._buffers["mean"] = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def mean(self) -> Tensor:
        """Running mean, a buffer of shape (features,), or (groups, features) for several groups."""
        return self._buffers["mean"]  # type: ignore[return-value]  # never None; past nn.Module's slow look-up

    @property
    def matrix(self) -> Tensor:
        """Decorrelation matrix D: the buffer itself if D is dense, else its dense equivalent (a copy).

        Its shape is (features, features), or (groups, features, features) for several groups. Before the first rule D
        is the identity. Reading it here makes it a dense buffer, so that it can be set by hand.
        """
        if self.rule is None and self.structure == "centering":
            identity = {"matrix": torch.eye(self.features, dtype=self.mean.dtype, device=self.mean.device)}
            self._set_structure("dense", stacked(identity, self.groups) if self.groups > 1 else identity)
        matrix = dense_matrix(self.transform_state(), self.features, self.mean)
        return matrix if self.groups == 1 or matrix.dim() == 3 else matrix.repeat(self.groups, 1, 1)

    def transform_state(self) -> State:
        """Buffers that make up D, by name: the tensors themselves, not copies."""
        names = transform_names(self.structure, self._buffers)
        return {name: self._buffers[name] for name in names}  # type: ignore[misc]  # never None

    def confined(self, rule: Rule) -> Rule:
        """Rule as it acts here: confined to the connections of this layer, if it has any."""
        return rule if self.connectivity is None else confined_to(rule, self.connectivity)

    def take_structure(self, rule: Rule) -> State:
        """Give D the structure that a rule needs, and return the initial statistics of the rule.

        Args:
            rule: Rule that will move D.

        Returns:
            Initial state of the rule without the transform; stacked for several groups.

        Raises:
            StateMismatch: D has already learned in another structure, which the change would lose.
        """
        self.rule = rule
        acting = self.confined(rule)
        structure = acting.structure_for(self.features)
        initial = acting.layer_state(self.features, dtype=self.mean.dtype, device=self.mean.device)
        initial = stacked(initial, self.groups) if self.groups > 1 else initial
        names = transform_names(structure, initial)
        if not same_form(self.transform_state(), {name: initial[name] for name in names}):
            if not self.is_identity():
                other = "one of other connections" if structure == self.structure else f"a {structure} one"
                raise StateMismatch(
                    f"this Decorrelation holds a {self.structure} transform that has learned, and the rule "
                    f"'{rule.name}' needs {other}: start from a fresh nd.decorrelate(model), or nd.fold this one first."
                )
            self._set_structure(structure, {name: initial[name] for name in names})
        elif structure == "low_rank" and self.is_identity():
            for name, tensor in self.transform_state().items():
                tensor.copy_(initial[name])
        return {name: tensor for name, tensor in initial.items() if name not in names}

    def is_identity(self) -> bool:
        """True if D is exactly the identity in all groups."""
        return is_identity(self.transform_state())

    def transform_centred(self, centred: Tensor) -> Tensor:
        """Apply D to centred rows, without subtracting the mean and without remembering anything.

        Args:
            centred: Rows of shape (..., features); for several groups (groups, features) or (groups, rows, features).
        """
        if self.groups > 1 and centred.dim() == 2:
            return transform(self.transform_state(), centred.unsqueeze(1)).squeeze(1)
        if self.structure == "dense" and self.groups == 1:  # runs at every forward pass: skips nn.Module's look-up
            return F.linear(centred, self._buffers["matrix"])  # type: ignore[arg-type]  # never None
        return transform(self.transform_state(), centred)

    def transform_flat(self, centred: Tensor) -> Tensor:
        """Apply D to centred rows as `forward` takes them, shape (..., groups * features)."""
        if self.groups == 1:
            return self.transform_centred(centred)
        split = centred.reshape(-1, self.groups, self.features).transpose(0, 1)
        return transform(self.transform_state(), split).transpose(0, 1).reshape(centred.shape)

    def _transform_own(self, centred: Tensor) -> Tensor:
        """Apply D in place to rows that nothing else holds; not if a gradient of the directions needs the rows."""
        state = self.transform_state()
        learnt = state["directions"].requires_grad or state["gain"].requires_grad
        own = centred.dim() == 2 and in_plain_python() and not learnt
        return transform_(state, centred) if own else transform(state, centred)

    def subtracted(self) -> Tensor:
        """Vector that a forward pass subtracts: the running mean, or zeros of its shape."""
        return self.mean if self.center and self.subtract else torch.zeros_like(self.mean)

    @property
    def flat_mean(self) -> Tensor:
        """Running mean in the layout of the input's rows, shape (groups * features,)."""
        mean: Tensor = self._buffers["mean"]  # type: ignore[assignment]  # never None
        return mean if self.groups == 1 else mean.flatten()

    def take_record(self) -> Record | None:
        """Return the record of the forward passes in train mode since the last call, and forget it."""
        record, self.memory.record = self.memory.record, None
        return record if record is None or record.kept is record.weights is None else record.settled()

    def forward(self, inputs: Tensor) -> Tensor:
        """Transform a batch; an empty batch leaves nothing to learn from.

        Args:
            inputs: z, shape (..., groups * features).

        Returns:
            x = D (z - mean), the same shape and dtype.

        Raises:
            InvalidValue: The input has another number of features, or a type that is not real and floating or is wider
                than D.
            Unsupported: Row weights are set in a compiled graph or inside vmap.
        """
        check_not_traced_by_nirtorch("Decorrelation")
        compute: Callable[[Tensor], Tensor] = self.transform_centred
        if self.groups > 1:
            compute = self.transform_flat
        elif self.structure == "low_rank" and self.center and self.subtract:
            compute = self._transform_own
        if self._shared is not None:
            compute = self._shared.once(inputs, (self.mean, *self.transform_state().values()), compute)
        return self.run(inputs, compute)

    def share_passes(self, inputs: Tensor | None) -> None:
        """Let passes that give this layer the unchanged input of the model share x, until called with None.

        Args:
            inputs: Input of the model in all of these passes; the layer keeps it, with one x.
        """
        self._shared = None if inputs is None else Shared(inputs)

    def run(self, inputs: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Run a forward pass in which another function computes x from z - mean, such as a circuit that settles.

        Args:
            inputs: z, shape (..., groups * features).
            compute: Function from z - mean to x of the same shape; called without autocast, in float32 or wider.

        Returns:
            x, of the shape and dtype of z; in train mode the plasticity learns from it.

        Raises:
            InvalidValue: The input has another number of features, or a type that is not real and floating or is wider
                than D.
            Unsupported: Row weights are set in a compiled graph or inside vmap.
        """
        plain = in_plain_python()
        values, mean, centred = self._centred(inputs)
        observed = self.training and self.remembers and (not in_backward() if plain else self.is_observed())
        taken = self.memory.take(self, centred, mean, plain) if observed and self.trace is None else None
        if plain and not torch._C._is_any_autocast_enabled():  # the context takes its time
            outputs = compute(centred)
        else:
            with exactly(inputs):
                outputs = compute(centred)
        if taken is not None:
            self.memory.put(self, taken, outputs, plain)
        elif observed and self.trace is not None and values.numel():
            check_sequence(values)
            self.memory.put_steps(self, values, self.trace.filtered(values, None)[0])
        return outputs if outputs.dtype == inputs.dtype else outputs.to(inputs.dtype)

    def run_steps(self, inputs: Tensor, state: TraceState | None) -> tuple[Tensor, TraceState | None]:
        """Run a forward pass over time steps, which remembers the same rows step by step and for all steps at once.

        Args:
            inputs: z, shape (steps, batch, features), or one step (batch, features) or (features,).
            state: State of the trace that drives the statistics; None at the start of a sequence.

        Returns:
            x = D (z - mean), of the same shape and dtype, and the state after the last step, None without a trace.

        Raises:
            InvalidValue: The input has another number of features, or is empty.
        """
        values, _, centred = self._centred(inputs)
        with exactly(inputs):
            outputs = self.transform_flat(centred)
        if values.numel() == 0:
            raise InvalidValue(
                f"Decorrelation got an empty input of shape {tuple(values.shape)}: leave out time steps without rows, "
                "which have no state."
            )
        signal = values
        if self.trace is not None:
            signal, state = self.trace.filtered(steps_of(values), state)
        if self.is_observed():
            self.memory.put_steps(self, values, signal)
        return outputs.to(inputs.dtype), state

    def _centred(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input in the type of D, the mean in the layout of its rows, and the rows on which D acts."""
        mean: Tensor = self._buffers["mean"]  # type: ignore[assignment]  # never None
        if self.groups > 1:
            mean = mean.flatten()
        width, shape = mean.shape[0], inputs.shape
        if not shape or shape[-1] != width:
            of = f"{self.groups} groups of {self.features}" if self.groups > 1 else f"{self.features}"
            raise InvalidValue(
                f"Decorrelation of {of} features got an input of shape {tuple(shape)}: "
                f"its last dimension must be {width}."
            )
        values = inputs if inputs.dtype == mean.dtype else widened(inputs, mean.dtype)
        return values, mean, values - mean if self.center and self.subtract else values

    def fold_into(self, weight: Tensor) -> Tensor:
        """Product W D, in the type of the weight; differentiable in W.

        Args:
            weight: W, shape (outputs, features), or (groups, outputs, features) for several groups.
        """
        held = self.transform_state().items()
        state = {name: tensor.to(weight.dtype) if tensor.is_floating_point() else tensor for name, tensor in held}
        with exactly(weight):
            return passed_on(state, weight)

    def is_observed(self) -> bool:
        """True if the present forward pass is to be remembered."""
        if not (self.training and self.remembers):
            return False
        if in_plain_python():
            return not in_backward()
        return not (in_transform() and any(transformed(b) for b in self._buffers.values() if b is not None))

    def remember(self, rows: Tensor, seen: int) -> None:
        """Remember rows of z that were sampled elsewhere, which drive the next update of the plasticity.

        Args:
            rows: Sampled rows of z, shape (rows, features), or (groups, rows, features) for several groups.
            seen: Number of rows from which they were sampled.
        """
        self.memory.put_rows(self, rows, seen)

    def extra_repr(self) -> str:
        """Text of `print(model)`."""
        text = f"{self.features}, center={self.center}, structure={self.structure}"
        if self.structure == "low_rank":
            text += f", interneurons={self.transform_state()['suppression'].shape[-1]}"
        if self.groups > 1:
            text += f", groups={self.groups}"
        return text if self.subtract else f"{text}, subtract=False"

    def _set_structure(self, structure: Structure, tensors: State) -> None:
        for name in transform_names(self.structure, list(self._buffers)):
            del self._buffers[name]
        self.structure = structure
        self._buffers.update(tensors)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Decorrelation:
        """Move or cast the module, but never below float32, in which updates of 1e-5 would round to nothing."""

        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        self.memory = Memory(self.memory.updates)
        super()._apply(at_least_float32, recurse)  # type: ignore[no-untyped-call]  # torch types it not
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Load a state; a fresh module takes the structure of that state."""
        if prefix + "mean" in state_dict:
            found = structure_in(state_dict, prefix)
            if found != self.structure or (found in ("low_rank", "blocks", "sparse") and self.is_identity()):
                # Only shapes are made here; torch copies the values and reports what is missing.
                self._set_structure(found, blank(found, state_dict, prefix, self.mean))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
