"""The optimiser of the lateral weights: a rule, applied to every Decorrelation of a model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # public, and documented so
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from neuro_decorr.errors import Diverged, InvalidValue, Unsupported
from neuro_decorr.rate.decorrelate import decorrelated_layers
from neuro_decorr.rate.decorrelation import Decorrelation, check_sample
from neuro_decorr.rate.distributed import Processes, gathered, group_of
from neuro_decorr.rate.moments import check_moments, follow_mean_, follow_transform_
from neuro_decorr.rate.record import Record
from neuro_decorr.rate.weights import Weights
from neuro_decorr.rules import Change, Rule, Sample, State, add_, residual_of

Compensation: TypeAlias = Literal["exact", "first_order"] | bool
"""How the weights follow D; True is "exact", False leaves them."""


class Plasticity(torch.optim.Optimizer):
    r"""Moves the lateral weights of a model by a plasticity rule; reads like any optimiser of torch.

    One `step()` consumes what each Decorrelation remembered of the forward passes in train mode since the last step,
    of all micro-batches and of all calls of a shared layer: the running mean moves towards theirs, and the rule updates
    D once. Where torch.distributed is initialised these are the passes of all processes, so that D is the same in each.
    Learning-rate schedulers act on it as on any optimiser: `lr` is the rule's plasticity rate.

    With `compensate`, the weight layer behind each Decorrelation keeps its function while D and the mean move:

    .. math:: W \leftarrow W D_{old} D_{new}^{-1}, \qquad b \leftarrow b + W D\, (\mu_{new} - \mu_{old})

    - `"exact"` (or True): to the last places of a float32, however many updates follow, at the cost of a product with
      the few sampled rows (dense rules) or with the interneurons (low rank). What a float32 cannot hold of W, b and a
      dense D is kept beside them: 2 bytes an entry, in this optimiser's state.
    - `"first_order"`: the local term of constrained parameter inference, W <- (W + eta <a x^T>) / g with the
      activities a = W x, wherever a rule moves D by a product of few rows; what is missing is of the order of the
      squared step at every update. Rules that have nothing cheaper stay exact, but keep no residuals.

    With `moments`, the first moments of the optimiser of the weights (`exp_avg` of Adam, `momentum_buffer` of SGD)
    follow as gradients do, so that a step still goes down a mean of gradients of one and the same function:

    .. math:: m \leftarrow m A^T, \quad A = D_{new} D_{old}^{-1}, \qquad
              m \leftarrow m - m_b\, (D (\mu_{new} - \mu_{old}))^T

    Second moments stay: the mean of an elementwise square does not tell what it is in other coordinates.
    Measured, it makes no difference on the mean (docs/compensation.md), so the moments stay by default.

    Source: Ahmad (2024), arXiv:2407.10780; compensation: Ahmad, Schrader, van Gerven (2022), arXiv:2203.13203;
    Desjardins, Simonyan, Pascanu, Kavukcuoglu (2015), Natural neural networks, arXiv:1507.00210.

    Attributes:
        rule: The rule.
        compensate: Whether, and how, the weight layers keep their function.
        moments: The optimiser whose first moments follow the compensated weights, if any.
        bias: Whether the compensated bias follows the mean.
        mean_rate: Rate of the running means; the first updates average all batches seen so far.
        processes: Whose forward passes drive an update.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: Rule,
        lr: float | None = None,
        *,
        compensate: Compensation = False,
        moments: torch.optim.Optimizer | None = None,
        bias: Literal["follow", "leave"] = "follow",
        mean_rate: float = 0.1,
        sample: float | None = None,
        processes: Processes = True,
    ) -> None:
        """Attach a rule to the Decorrelation modules of a model, which take the structure that it needs.

        Args:
            model: What `decorrelate` returned, or any model with a Decorrelation in it. Build the Plasticity after
                moving the model to its device, as any optimiser.
            rule: From `neuro_decorr.rules.get`.
            lr: Plasticity rate; the rule's own where None.
            compensate: Keep the function of the weight layers: "exact" (or True), "first_order", or False.
            moments: With compensation: the optimiser of the weights (Adam, AdamW or SGD), whose first moments then
                follow them; None leaves them.
            bias: With compensation: "follow" keeps the function while the mean moves; "leave" lets it move with the
                mean, as without compensation.
            mean_rate: Rate of the running means, in (0, 1].
            sample: Fraction of a batch's rows that drive the rule; None leaves each module's own (0.1).
            processes: Whose forward passes drive an update: `True`, those of all processes of torch.distributed where
                it is initialised, each of which must then call `step()`; `False`, of this process alone; or a group.

        Raises:
            InvalidValue: No Decorrelation in the model; a rate or a fraction outside its range.
            StateMismatch: A Decorrelation has learnt already in a structure that the rule cannot continue.
            Unsupported: Compensation of a layer without bias, of tied weights, or with no weight layer known;
                moments of another kind of optimiser.
        """
        layers = list(decorrelated_layers(model))
        if not layers:
            raise InvalidValue(
                f"{type(model).__name__} holds no Decorrelation for a rule to act on: pass nd.decorrelate(model)."
            )
        if not isinstance(rule, Rule):
            raise InvalidValue(f"rule must come from nd.rules.get(name), got {rule!r}.")
        rate = rule.rate if lr is None else lr
        if not rate >= 0:
            raise InvalidValue(f"lr is the plasticity rate, a number >= 0; got {lr!r}.")
        if not 0 < mean_rate <= 1:
            raise InvalidValue(f"mean_rate must lie in (0, 1], got {mean_rate!r}.")
        if compensate not in (True, False, "exact", "first_order"):
            raise InvalidValue(f"compensate must be 'exact' (or True), 'first_order' or False, got {compensate!r}.")
        if bias not in ("follow", "leave"):
            raise InvalidValue(f"bias must be 'follow' or 'leave', got {bias!r}.")
        if compensate:
            _check_compensable(model, layers, bias == "follow")
        elif moments is not None or bias != "follow":
            raise InvalidValue("moments and bias say how weights are compensated: pass compensate='exact' too.")
        if moments is not None:
            check_moments(moments, [(name, weights) for name, _, weights in layers if weights is not None])
        self.rule = rule
        self.compensate: Literal["exact", "first_order", False] = "exact" if compensate is True else compensate
        self.moments = moments
        self.bias = bias
        self.mean_rate = mean_rate
        self.processes = processes
        self._layers = layers
        self._warned = False
        if sample is not None:
            for _, module, _ in layers:
                module.sample = check_sample(sample)
        statistics = [module.take_structure(rule) for _, module, _ in layers]
        super().__init__([module.mean for _, module, _ in layers], {"lr": rate})
        for (_, module, weights), initial in zip(layers, statistics, strict=True):
            kept = _residuals(module, weights) if weights is not None and self.compensate == "exact" else {}
            self.state[module.mean] = {"batches": 0, **initial, **kept}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every Decorrelation once from its forward passes in train mode since the last step.

        Modules without a forward pass since the last step are left alone; that is said once.

        Args:
            closure: Called first, with gradients enabled, as torch's optimisers do.

        Returns:
            What the closure returned.

        Raises:
            Diverged: A layer's activity or transform left the finite numbers; the message names the layer.
        """
        # Torch wraps every optimiser's step in a range of its profiler and in hooks, which takes as long as the update
        # of a small layer: only where somebody looks.
        if self._is_watched():
            return torch.optim.Optimizer.profile_hook_step(Plasticity._step)(self, closure)
        return self._step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # how torch marks a step that needs no more wrapping

    def _is_watched(self) -> bool:
        return bool(
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
            or torch.autograd.profiler._is_profiler_enabled
        )

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        enabled = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # a fifth of the cost of the context manager
        try:
            self._update_layers()
        finally:
            torch._C._set_grad_enabled(enabled)
        return result

    def _update_layers(self) -> None:
        self._follow_moved_buffers()
        idle = []
        rate = float(self.param_groups[0]["lr"])
        for (name, module, weights), record in zip(self._layers, self._records(), strict=True):
            if record is None:
                idle.append(name)
            else:
                self._update(name, module, weights if self.compensate else None, record, rate)
        if idle and not self._warned:
            self._warned = True
            warnings.warn(
                f"Plasticity.step() found no forward pass in train mode since the last step for: {', '.join(idle)}; "
                "nothing was learnt there. Call model.train() and run a batch before each step.",
                stacklevel=4,
            )

    def _records(self) -> list[Record | None]:
        """What was remembered since the last step, layer by layer, in all processes."""
        records = [module.take_record() for _, module, _ in self._layers]
        group = group_of(self.processes)
        return records if group is None else gathered(records, self.param_groups[0]["params"], group)

    def _update(self, name: str, module: Decorrelation, weights: Weights | None, record: Record, rate: float) -> None:
        mean = module.mean
        state = self.state[mean]
        # Before the first batch the mean was not known: its rows were not centred, and teach nothing but the mean.
        learns = state["batches"] > 0 or not module.center
        # What moves the mean is of all rows, not of the sampled ones alone. A product of vectors is the cheapest look.
        if module.center and not math.isfinite(torch.dot(record.deviation, record.deviation).item()):
            raise self._diverged(name, rate, "input")
        if not (learns and self.rule.detects_divergence) and not math.isfinite(record.outputs.sum().item()):
            raise self._diverged(name, rate)
        if learns:
            tensors: State = {**state, **module.transform_state()}
            del tensors["batches"]
            try:
                change = self.rule.update_(tensors, Sample(record.inputs, record.outputs, mean), rate)
                if weights is not None and change is not None:
                    self._compensate(module, weights, change)
            except (LinAlgError, Diverged) as error:  # finite rows whose products or norms are not
                raise self._diverged(name, rate) from error
        state["batches"] += 1
        if module.center:
            rate = max(self.mean_rate, 1 / state["batches"])
            self._move_mean(module, weights, record.deviation, rate / float(record.seen))

    def _compensate(self, module: Decorrelation, weights: Weights, change: Change) -> None:
        matrix = weights.matrix()
        residual = self.state[module.mean].get("weight_residual")
        change.compensate_(matrix, residual, first_order=self.compensate == "first_order")
        weights.write(matrix)
        if self.moments is not None:
            follow_transform_(self.moments, weights, change)

    def _diverged(self, name: str, rate: float, what: str = "decorrelated activity") -> Diverged:
        data = " look at the data, or" if what == "input" else ""
        return Diverged(
            f"the {what} {_place(name)} is not finite, or too large to work with "
            f"(rule '{self.rule.name}', rate {rate:g});{data} lower the rate of the plasticity or of the weights."
        )

    def _move_mean(self, module: Decorrelation, weights: Weights | None, deviation: Tensor, rate: float) -> None:
        if weights is None:
            module.mean.add_(deviation, alpha=rate)
            return
        before = module.mean.clone()
        module.mean.add_(deviation, alpha=rate)
        moved = module.transform_centred(module.mean - before)  # what it moved by, its rounding included
        if self.moments is not None:
            follow_mean_(self.moments, weights, moved)
        if self.bias == "leave":
            return
        bias = weights.bias
        assert bias is not None  # checked at construction
        shift = weights.response(weights.matrix().to(moved.dtype), moved).view(-1, 1)
        add_(bias.view(-1, 1), lambda rows: shift[rows], self.state[module.mean].get("bias_residual"))

    def _follow_moved_buffers(self) -> None:
        """Module.to() makes new buffers: let the states follow them."""
        parameters = self.param_groups[0]["params"]
        for index, (_, module, _) in enumerate(self._layers):
            known = parameters[index]
            if known is not module.mean:
                state = self.state.pop(known)
                self.state[module.mean] = {
                    name: value.to(module.mean) if isinstance(value, Tensor) else value for name, value in state.items()
                }
                parameters[index] = module.mean
                self._keep_residuals(index)

    def _keep_residuals(self, index: int) -> None:
        """Residuals have floating types of their own, of which torch's optimisers know nothing."""
        _, module, weights = self._layers[index]
        if weights is not None and self.compensate == "exact":
            state = self.state[module.mean]
            for name, empty in _residuals(module, weights).items():
                state[name] = state[name].to(empty) if name in state else empty

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the statistics of the rule; D and the means are in the model's own state.

        Args:
            state_dict: From `state_dict()` of a Plasticity with the same rule on the same layers.
        """
        self._follow_moved_buffers()
        super().load_state_dict(state_dict)
        for index in range(len(self._layers)):
            self._keep_residuals(index)


def _place(name: str) -> str:
    """Where a Decorrelation is, for messages; one that is the whole model has no name."""
    return f"before layer '{name}'" if name else "of this Decorrelation"


def _residuals(module: Decorrelation, weights: Weights) -> State:
    """Zeros for what the weights, the bias and a dense D cannot hold; nothing beside float64."""
    values = {"weight_residual": weights.matrix().detach()}
    if weights.bias is not None:
        values["bias_residual"] = weights.bias.detach().view(-1, 1)
    if module.structure == "dense":
        values["matrix_residual"] = module.matrix
    made = {name: residual_of(tensor) for name, tensor in values.items()}
    return {name: residual for name, residual in made.items() if residual is not None}


def _check_compensable(
    model: nn.Module, layers: list[tuple[str, Decorrelation, Weights | None]], bias_follows: bool
) -> None:
    for name, module, weights in layers:
        if weights is None:
            raise Unsupported(
                f"compensate: Decorrelation '{name}' stands by itself, so the weights to compensate are not known; "
                "let nd.decorrelate(model) place it, or use compensate=False."
            )
        layer = weights.layer
        followed = module.center and bias_follows
        if followed and layer.bias is None:
            raise Unsupported(
                f"compensate: layer '{name}' has no bias to take up the moving mean; give it one, "
                "call nd.decorrelate(model, center=False), or use compensate=False."
            )
        if "weight" not in layer._parameters or (followed and "bias" not in layer._parameters):
            raise Unsupported(
                f"compensate: layer '{name}' makes its weight anew from other parameters at every pass, so that it "
                "cannot be moved; remove that parametrization, skip the layer, or use compensate=False."
            )
        for other_name, other in model.named_modules():
            if other is not layer and any(parameter is layer.weight for parameter in other._parameters.values()):
                raise Unsupported(
                    f"compensate: layers '{name}' and '{other_name}' share one weight, which cannot follow two "
                    "transforms; untie them, skip one, or use compensate=False."
                )
