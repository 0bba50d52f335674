"""Optimiser of the lateral weights, which applies rules to the Decorrelations of a model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # public, and documented so
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from neuro_decorr import checks
from neuro_decorr.errors import Diverged
from neuro_decorr.rate.compensation import (
    check_compensable,
    follow_mean,
    follow_transform,
    make_offset,
    residuals_of,
)
from neuro_decorr.rate.distributed import Processes, check_processes, gathered, group_of
from neuro_decorr.rate.finite import squares_fit
from neuro_decorr.rate.parameter_groups import (
    Group,
    Layer,
    Prepared,
    Settings,
    groups_of,
    only_rule,
    prepared,
    tell_narrow_layers,
)
from neuro_decorr.rate.plasticity_state import check_groups, check_saved, check_structure, moved_state, restored
from neuro_decorr.rate.precision import without_autocast
from neuro_decorr.rate.record import Record
from neuro_decorr.rate.shift import heard_shift
from neuro_decorr.rate.traces import check_time_steps
from neuro_decorr.rate.uses import check_not_used_elsewhere
from neuro_decorr.rules import Change, Rule, Sample, State


class Plasticity(torch.optim.Optimizer):
    r"""Optimiser that moves the lateral weights of a model by a plasticity rule; used like any optimiser of torch.

    One `step()` consumes the rows that each Decorrelation remembered of the forward passes in train mode since the last
    step, from all micro-batches and all calls of a shared layer. The running mean moves towards their mean, and the
    rule updates D once.

    $$
    D \leftarrow \text{rule}(D;\, z - \mu,\, D (z - \mu),\, \eta), \qquad
    \mu \leftarrow \mu + \max(\eta_\mu, 1 / t)\, (\langle z \rangle - \mu)
    $$

    with eta the `rate` of the rule, eta_mu the `mean_rate` and t the number of steps so far. A batch counts as at most
    a hundred times as far from the mean as is usual. The first step of a centred layer only finds the mean. If
    torch.distributed is initialised the passes are those of all processes, so that D is the same in each process.

    Parameter groups work as in torch.optim. Each group has its `modules` (one module or several, with all
    Decorrelations in them). It may have its own `rule`, `row_fraction`, `mean_rate` and parameters of the rule,
    including `rate`; the others are those given for all groups:

        >>> import neuro_decorr as nd
        >>> from torch import nn
        >>> model = nd.decorrelate(nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)))
        >>> plasticity = nd.Plasticity(
        ...     [
        ...         {"modules": model[0], "rule": nd.rules.get("whitening", rate=1e-2), "row_fraction": 0.5},
        ...         {"modules": model[2], "interneurons": 8, "rate": 0.3},
        ...     ],
        ...     nd.rules.get("interneuron"),
        ... )
        >>> plasticity.param_groups[1]["lr"]
        0.3

    `param_groups` hold plain numbers and strings: the rule by its name, and its rate as `lr`, where schedulers of torch
    look for it. A value that you change there is checked and acts at the next step; a `row_fraction` acts on the
    forward passes after that step. A Decorrelation in no group does not learn. At an `lr` of 0 D stays as it is, and
    the mean continues to move.

    With `compensate`, the weight layer behind each Decorrelation keeps its function while D and the mean move:

    $$W \leftarrow W D_{old} D_{new}^{-1}, \qquad b \leftarrow b + W D\, (\mu_{new} - \mu_{old})$$

    up to float32 rounding, at the cost of a product with the few sampled rows (dense rules) or with the interneurons.
    The rounding errors of W, b and a dense D are kept in tensors beside them.

    A layer without bias gets an offset, a buffer that no optimiser of the weights moves. Call `step()` after backward,
    which still needs the D of the forward pass, and not through a GradScaler: the plasticity has no gradients.

    Cost of a step: the rule's update of each layer, one pass over its sampled rows, and the compensation.

    Source: Ahmad (2024), arXiv:2407.10780; compensation: Ahmad, Schrader, van Gerven (2023), arXiv:2203.13203;
    Desjardins, Simonyan, Pascanu, Kavukcuoglu (2015), Natural neural networks, arXiv:1507.00210.

    Attributes:
        compensate: True if the weight layers keep their function.
        processes: Processes whose passes drive an update.
    """

    def __init__(
        self,
        model: nn.Module | Iterable[Group],
        rule: Rule | None = None,
        *,
        compensate: bool = False,
        mean_rate: float = 0.1,
        row_fraction: float | None = None,
        processes: Processes = True,
    ) -> None:
        """Attach rules to the Decorrelation modules of a model, which take the structure that the rules need.

        Args:
            model: Result of `decorrelate`, any model with a Decorrelation in it, or parameter groups. As for any
                optimiser, move the model to its device first.
            rule: Rule from `neuro_decorr.rules.get`; may be left out if every group has its own.
            compensate: True keeps the function of the weight layers while D moves.
            mean_rate: Rate of the running means, in (0, 1]; the first updates average all batches seen so far.
            row_fraction: Fraction of a batch's rows that drive the rule. None: that of each module (0.1).
            processes: Processes whose passes drive an update. `True`: all processes of torch.distributed, if it is
                initialised; each of them must then call `step()`. `False`: this process alone. Or a process group.

        Raises:
            InvalidValue: The model or a group holds no Decorrelation, or one is in two groups; a rate, a fraction or a
                parameter is outside its range.
            UnknownName: A key of a group is no setting of its rule; the message gives the nearest one.
            StateMismatch: A Decorrelation has already learned in a structure that the rule cannot continue.
            Unsupported: Weights to compensate are tied or computed, or no weight layer is known.
        """
        checks.refuse("Plasticity", checks.flag("compensate", compensate))
        if isinstance(model, nn.Module):
            check_time_steps(model)
        self.compensate = compensate
        self.processes = check_processes(processes)
        self._layers: list[Layer] = []
        self._settings: list[Settings] = []
        self._warned = False
        shared = {"row_fraction": row_fraction, "mean_rate": mean_rate}
        groups = groups_of(model)
        made: list[Prepared] = []
        for index, group in enumerate(groups):
            taken = [layer for of_group in made for layer in of_group.layers]
            place = "" if isinstance(model, nn.Module) else f"group {index}"
            made.append(prepared(group, {"rule": rule, **shared}, taken, place))
        self._check_compensable(made)
        self._rule = rule
        # Torch hands each group back to add_param_group.
        super().__init__([{"params": [], "prepared": one} for one in made], shared)
        tell_narrow_layers(self._layers)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Let further layers learn, with their own options.

        Args:
            param_group: `modules`, and any of `rule`, `row_fraction`, `mean_rate` and parameters of the rule; missing
                ones are those with which this Plasticity was built.

        Raises:
            InvalidValue, UnknownName, StateMismatch, Unsupported: As at construction.
        """
        given: object = param_group  # users may err
        if isinstance(given, dict) and isinstance(one := given.get("prepared"), Prepared):
            self._attach(one)
            return
        place = f"group {len(self.param_groups)}"
        one = prepared(param_group, {"rule": self._rule, **self.defaults}, self._layers, place)
        self._check_compensable([one])
        self._attach(one)
        tell_narrow_layers(one.layers)

    def _check_compensable(self, groups: list[Prepared]) -> None:
        if not self.compensate:
            return
        layers = [*self._layers, *(layer for one in groups for layer in one.layers)]
        owners = [layer.weights.layer for layer in self._layers if layer.weights is not None]
        check_compensable(layers, [*owners, *(root for one in groups for root in one.roots)])

    def _attach(self, one: Prepared) -> None:
        settings = one.layers[0].settings
        states = [module.take_structure(settings.rule) for _, module, _, _ in one.layers]
        settings.follow(one.values, one.layers)
        for layer in one.layers:
            if self.compensate and layer.weights is not None:
                make_offset(layer.module, layer.weights)
        super().add_param_group({"params": [layer.module.mean for layer in one.layers], **one.values})
        self._layers += one.layers
        self._settings.append(settings)
        for layer, initial in zip(one.layers, states, strict=True):
            self.state[layer.module.mean] = {"batches": 0, "shift": 0.0, **initial, **self._residuals(layer)}

    def _residuals(self, layer: Layer) -> State:
        """Residuals of zero for the compensation of a layer."""
        kept = layer.weights if self.compensate else None
        return {} if kept is None else residuals_of(layer.module, kept)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Rule of every parameter group, as of the last step."""
        return tuple(settings.rule for settings in self._settings)

    @property
    def rule(self) -> Rule:
        """Rule of all parameter groups; raises InvalidValue if they have different rules."""
        return only_rule(self.rules)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every Decorrelation once from its forward passes in train mode since the last step.

        Modules without a forward pass since the last step stay as they are; a warning says so once. The step checks all
        layers before it changes any: after a batch that is not finite, or too large to work with, nothing has changed,
        and training can continue. If a rule finds an error, its layer and the later ones stay as they were.

        Args:
            closure: Function that is called first, with gradients enabled, as by torch's optimisers.

        Returns:
            Result of the closure.

        Raises:
            Diverged: A layer's activity or transform is not finite; the message names the layer.
            InvalidValue: A parameter group has a value that its rule does not allow; nothing has changed.
            Unsupported: With compensation: the weight of a layer is used outside of the layer; nothing has changed.
        """
        # torch wraps every optimiser's step in a range of its profiler and in hooks, which takes as long as the update
        # of a small layer. It is done only if a profiler or a hook is active.
        if self._is_watched():
            return torch.optim.Optimizer.profile_hook_step(Plasticity._step)(self, closure)
        return self._step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # how torch marks a step that needs no more wrapping

    def _is_watched(self) -> bool:
        own = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        global_ones = _global_optimizer_pre_hooks or _global_optimizer_post_hooks
        return bool(own or global_ones or torch.autograd.profiler._is_profiler_enabled)

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        enabled = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # a fifth of the cost of the context manager
        try:
            with without_autocast():
                self._update_layers()
        finally:
            torch._C._set_grad_enabled(enabled)
        return result

    def _update_layers(self) -> None:
        self._follow_moved_buffers()
        for group, settings in zip(self.param_groups, self._settings, strict=True):
            settings.follow(group, self._layers)
        records = self._records()
        self._check(records)
        for layer, record in zip(self._layers, records, strict=True):
            if record is not None:
                self._update(layer, record)
        if not self._warned and None in records:
            self._warned = True
            idle = [layer.title for layer, record in zip(self._layers, records, strict=True) if record is None]
            warnings.warn(
                f"Plasticity.step() found no forward pass in train mode since the last step for: {', '.join(idle)}; "
                "nothing was learned there. Call model.train() and run a batch before each step, with a credit made "
                "for the model that decorrelate() returned, which is a copy.",
                stacklevel=4,
            )

    def _records(self) -> list[Record | None]:
        """Records of the passes since the last step, layer by layer, in all processes."""
        records = [layer.module.take_record() for layer in self._layers]
        group = group_of(self.processes)
        return records if group is None else gathered(records, self._layers, self.state, group)

    def _check(self, records: list[Record | None]) -> None:
        """Raise an error unless every layer can be updated from its record."""
        rows: list[Tensor] = []
        for layer, record in zip(self._layers, records, strict=True):
            if record is not None:
                check_structure(layer)
                rows += [*record.sizes, record.deviation]
        if not squares_fit(rows):
            for layer, record in zip(self._layers, records, strict=True):
                if record is not None:
                    self._check_layer(layer, record)
        if self.compensate:
            for layer, record in zip(self._layers, records, strict=True):
                if record is not None and layer.weights is not None:
                    check_not_used_elsewhere(f"compensate: {layer.title}", layer.weights.layer)

    def _check_layer(self, layer: Layer, record: Record) -> None:
        # The deviation that moves the mean is that of all rows, not only sampled ones; it matters only with centring.
        inputs, outputs = record.sizes
        if not squares_fit([record.deviation, inputs] if layer.module.center else [inputs]):
            raise self._diverged(layer, "input")
        if not squares_fit([outputs]):
            raise self._diverged(layer, "decorrelated activity")

    def _update(self, layer: Layer, record: Record) -> None:
        _, module, weights, settings = layer
        mean, state = module.mean, self.state[module.mean]
        follows, rule = weights if self.compensate else None, module.confined(settings.rule)
        # Before the first batch the mean was not known, so that its rows were not centred and only set the mean.
        if state["batches"] > 0 or not module.center:
            tensors: State = {**state, **module.transform_state()}
            del tensors["batches"], tensors["shift"]
            sample = Sample(record.inputs, record.outputs, mean, record.joint)
            try:
                changes: list[Change | None]
                if module.groups == 1:
                    changes = [rule.step_(tensors, sample, settings.rate)]
                else:
                    changes = rule.step_groups_(tensors, sample, settings.rate)
                if follows is not None:
                    follow_transform(follows, changes, state)
            except (LinAlgError, Diverged) as error:  # finite rows whose products or norms are not finite
                raise self._diverged(layer, "decorrelated activity") from error
        state["batches"] += 1
        module.memory.set_updates(state["batches"])
        if module.center:
            before = mean.clone() if follows is not None else mean
            mean.add_(record.deviation, alpha=heard_shift(state, record, settings.mean_rate))
            if follows is not None:
                follow_mean(module, follows, before, state)

    @staticmethod
    def _diverged(layer: Layer, what: str) -> Diverged:
        rule, rate = layer.settings.rule.name, layer.settings.rate
        data = " check the data, or" if what == "input" else ""
        return Diverged(
            f"the {what} {layer.activity} is not finite, or too large to work with (rule '{rule}', rate {rate:g});"
            f"{data} lower the plasticity rate of the rule or the learning rate of the weights."
        )

    def _follow_moved_buffers(self) -> None:
        """Move the states to the new buffers that Module.to() makes."""
        layers = iter(self._layers)
        for group in self.param_groups:
            parameters = group["params"]
            for index, known in enumerate(parameters):
                layer = next(layers)
                mean = layer.module.mean
                if known is not mean:
                    self.state[mean] = moved_state(layer, self.state.pop(known), self._residuals(layer))
                    parameters[index] = mean

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the statistics of the rules and the values of the groups; D and the means are in the model's state.

        Every tensor keeps its own floating type.

        Args:
            state_dict: Result of `state_dict()` of a Plasticity with the same rules on the same layers.

        Raises:
            StateMismatch: The state is of other rules, layers or shapes; nothing has changed.
            InvalidValue: A group has a value that its rule does not allow.
        """
        self._follow_moved_buffers()
        check_saved(state_dict)
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        saved, present = copy.deepcopy(state_dict["param_groups"]), self.param_groups
        check_groups(saved, present)
        indices = [index for group in saved for index in group["params"]]
        states = [
            restored(layer, state_dict["state"].get(index, {}), self.state[layer.module.mean])
            for index, layer in zip(indices, self._layers, strict=True)
        ]
        for settings, theirs in zip(self._settings, saved, strict=True):
            settings.follow(theirs, self._layers)
        for theirs, ours in zip(saved, present, strict=True):
            theirs["params"] = ours["params"]
        self.param_groups[:] = saved
        for layer, state in zip(self._layers, states, strict=True):
            self.state[layer.module.mean] = state
            layer.module.memory.set_updates(state["batches"])
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def __getstate__(self) -> dict[str, Any]:
        """State without the hooks, which torch's optimisers do not copy either."""
        own = ("compensate", "processes", "_layers", "_settings", "_rule", "_warned")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def __deepcopy__(self, memo: dict[int, Any]) -> Plasticity:
        """Copy that acts on copies of the layers: those of the model if both are copied at once, else its own."""
        memo[id(self.processes)] = self.processes  # a process group cannot be copied
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied
