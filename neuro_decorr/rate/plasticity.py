"""The optimiser of the lateral weights: rules, applied to the Decorrelations of a model."""

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
from neuro_decorr.rate.uses import check_not_used_elsewhere
from neuro_decorr.rules import Change, Rule, Sample, State


class Plasticity(torch.optim.Optimizer):
    r"""Moves the lateral weights of a model by a plasticity rule; reads like any optimiser of torch.

    One `step()` consumes what each Decorrelation remembered of the forward passes in train mode since the last step,
    of all micro-batches and of all calls of a shared layer: the running mean moves towards theirs, and the rule updates
    D once.

    $$
    D \leftarrow \text{rule}(D;\, z - \mu,\, D (z - \mu),\, \eta), \qquad
    \mu \leftarrow \mu + \max(\eta_\mu, 1 / t)\, (\langle z \rangle - \mu)
    $$

    with eta the `rate` of the rule, eta_mu the `mean_rate` and t the number of steps so far; a batch counts as at
    most a hundred times as far from the mean as is usual. The first step of a centred layer only finds the mean.
    Where torch.distributed is initialised the passes are those of all processes, so that D is the same in each.

    Parameter groups are as in torch.optim. Each has its `modules` (a module or several, with all Decorrelations in
    them), and its own `rule`, `row_fraction`, `mean_rate` and parameters of the rule, its `rate` among them, where they
    differ from those that are given for all:

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

    `param_groups` hold plain numbers and strings: the rule by its name, its rate as `lr`, which is where torch's
    schedulers look for it. A value that is changed there is checked and acts at the next step; a `row_fraction` from
    the forward passes after that. A Decorrelation in no group does not learn. At an `lr` of 0 D stays, and the mean
    goes on.

    With `compensate`, the weight layer behind each Decorrelation keeps its function while D and the mean move:

    $$W \leftarrow W D_{old} D_{new}^{-1}, \qquad b \leftarrow b + W D\, (\mu_{new} - \mu_{old})$$

    to the last places of a float32, at the cost of a product with the few sampled rows (dense rules) or with the
    interneurons. What a float32 cannot hold of W, b and a dense D is kept beside them.

    A layer without bias gets an offset, a buffer that no optimiser of the weights moves. Call `step()` after backward,
    which still needs the D of the forward pass, and not through a GradScaler: there are no gradients to scale here.

    Cost of a step: the rule's update of each layer, a look at its sampled rows, and the compensation.

    Source: Ahmad (2024), arXiv:2407.10780; compensation: Ahmad, Schrader, van Gerven (2022), arXiv:2203.13203;
    Desjardins, Simonyan, Pascanu, Kavukcuoglu (2015), Natural neural networks, arXiv:1507.00210.

    Attributes:
        compensate: Whether the weight layers keep their function.
        processes: Whose passes drive an update.
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
        """Attach rules to the Decorrelation modules of a model, which take the structure that they need.

        Args:
            model: What `decorrelate` returned, any model with a Decorrelation in it, or parameter groups. Build the
                Plasticity after moving the model to its device, as any optimiser.
            rule: From `neuro_decorr.rules.get`; may be left out where every group has its own.
            compensate: Keep the function of the weight layers while D moves.
            mean_rate: Rate of the running means, in (0, 1]; the first updates average all batches seen so far.
            row_fraction: Fraction of a batch's rows that drive the rule; None leaves each module's own (0.1).
            processes: Whose passes drive an update: `True`, those of all processes of torch.distributed where it is
                initialised, each of which must then call `step()`; `False`, of this one alone; or a group.

        Raises:
            InvalidValue: No Decorrelation in the model or a group, or one in two groups; a rate, a fraction or a
                parameter outside its range.
            UnknownName: A key of a group that its rule does not have; the nearest one is named.
            StateMismatch: A Decorrelation has learnt already in a structure that the rule cannot continue.
            Unsupported: Compensation of tied or computed weights, or with no weight layer known.
        """
        checks.refuse("Plasticity", checks.flag("compensate", compensate))
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
        """Let further layers learn, with options of their own.

        Args:
            param_group: `modules`, and any of `rule`, `row_fraction`, `mean_rate` and parameters of the rule; what is
                left out is what this Plasticity was built with.

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
        """Empty ones, as the compensation of a layer keeps them."""
        kept = layer.weights if self.compensate else None
        return {} if kept is None else residuals_of(layer.module, kept)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rule of every parameter group, as of the last step."""
        return tuple(settings.rule for settings in self._settings)

    @property
    def rule(self) -> Rule:
        """The rule, where all parameter groups have the same; else InvalidValue, which names `rules`."""
        return only_rule(self.rules)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every Decorrelation once from its forward passes in train mode since the last step.

        Modules without a forward pass since the last step are left alone; that is said once. All layers are looked at
        before any moves: after a batch that is not finite, or too large to work with, the error names the layer,
        everything is as it was, and training can go on. What a rule itself finds wrong leaves its layer as it was, and
        those behind it; layers before it have moved.

        Args:
            closure: Called first, with gradients enabled, as torch's optimisers do.

        Returns:
            What the closure returned.

        Raises:
            Diverged: A layer's activity or transform left the finite numbers; the message names the layer.
            InvalidValue: A parameter group was given a value that its rule does not allow; nothing has moved.
            Unsupported: With compensation: something else computes with the weight of a layer; nothing has moved.
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
                "nothing was learnt there. Call model.train() and run a batch before each step.",
                stacklevel=4,
            )

    def _records(self) -> list[Record | None]:
        """What was remembered since the last step, layer by layer, in all processes."""
        records = [layer.module.take_record() for layer in self._layers]
        group = group_of(self.processes)
        return records if group is None else gathered(records, [layer.module.mean for layer in self._layers], group)

    def _check(self, records: list[Record | None]) -> None:
        """Raise unless every layer can be updated from what it remembered."""
        rows: list[Tensor] = []
        for layer, record in zip(self._layers, records, strict=True):
            if record is not None:
                check_structure(layer)
                rows += record[:3]
        if not squares_fit(rows):
            for layer, record in zip(self._layers, records, strict=True):
                if record is not None:
                    self._check_layer(layer, record)
        if self.compensate:
            for layer, record in zip(self._layers, records, strict=True):
                if record is not None and layer.weights is not None:
                    check_not_used_elsewhere(f"compensate: {layer.title}", layer.weights.layer)

    def _check_layer(self, layer: Layer, record: Record) -> None:
        # What moves the mean is of all rows, not of the sampled ones alone; without centring it has no meaning.
        of_inputs = [record.deviation, record.inputs] if layer.module.center else [record.inputs]
        if not squares_fit(of_inputs):
            raise self._diverged(layer, "input")
        if not squares_fit([record.outputs]):
            raise self._diverged(layer, "decorrelated activity")

    def _update(self, layer: Layer, record: Record) -> None:
        _, module, weights, settings = layer
        mean, state = module.mean, self.state[module.mean]
        follows = weights if self.compensate else None
        # Before the first batch the mean was not known: its rows were not centred, and teach nothing but the mean.
        if state["batches"] > 0 or not module.center:
            tensors: State = {**state, **module.transform_state()}
            del tensors["batches"], tensors["shift"]
            sample = Sample(record.inputs, record.outputs, mean)
            try:
                changes: list[Change | None]
                if module.groups == 1:
                    changes = [settings.rule.update_(tensors, sample, settings.rate)]
                else:
                    changes = settings.rule.update_groups_(tensors, sample, settings.rate)
                if follows is not None:
                    follow_transform(follows, changes, state)
            except (LinAlgError, Diverged) as error:  # finite rows whose products or norms are not
                raise self._diverged(layer, "decorrelated activity") from error
        state["batches"] += 1
        if module.center:
            before = mean.clone() if follows is not None else mean
            mean.add_(record.deviation, alpha=heard_shift(state, record, settings.mean_rate))
            if follows is not None:
                follow_mean(module, follows, before, state)

    @staticmethod
    def _diverged(layer: Layer, what: str) -> Diverged:
        rule, rate = layer.settings.rule.name, layer.settings.rate
        data = " look at the data, or" if what == "input" else ""
        return Diverged(
            f"the {what} {layer.activity} is not finite, or too large to work with (rule '{rule}', rate {rate:g});"
            f"{data} lower the rate of the plasticity or of the weights."
        )

    def _follow_moved_buffers(self) -> None:
        """Module.to() makes new buffers: let the states follow them."""
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
            state_dict: From `state_dict()` of a Plasticity with the same rules on the same layers.

        Raises:
            StateMismatch: It is of other rules, layers or shapes; nothing has changed.
            InvalidValue: A value of a group that its rule does not allow.
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
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def __getstate__(self) -> dict[str, Any]:
        """All but the hooks, which torch's optimisers do not copy either."""
        own = ("compensate", "processes", "_layers", "_settings", "_rule", "_warned")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def __deepcopy__(self, memo: dict[int, Any]) -> Plasticity:
        """A copy on copies of the layers: those of the model, where both are copied at once; else its own."""
        memo[id(self.processes)] = self.processes  # a process group is not a thing to copy
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied
