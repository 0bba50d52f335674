"""Parameter groups of a Plasticity: layers with their rule, rate and row fraction."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, final

from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, StateMismatch, shown, unknown_name
from neuro_decorr.rate.copying import check_model, class_name
from neuro_decorr.rate.decorrelate import decorrelated_layers
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.memory import check_row_fraction
from neuro_decorr.rate.weights import Weights
from neuro_decorr.rules import Rule, State, Structure, names

Group: TypeAlias = Mapping[str, Any]
"""Dictionary with `modules`, and any of `rule`, `row_fraction`, `mean_rate` and the parameters of the rule."""

_OPTIONS = ("row_fraction", "mean_rate")
_OF_TORCH = frozenset(
    {"params", "initial_lr", "max_lr", "min_lr", "swa_lr", "swap_lr"}
    | {"momentum", "base_momentum", "max_momentum", "betas"}
)
"""Further keys, which optimisers and schedulers of torch write into a group."""
_RESERVED = frozenset({"params", "modules", "rule", "rate", "lr", "connectivity", *_OPTIONS})
"""Keys with a fixed meaning: a parameter of a rule with one of these names keeps the value of the rule."""


@final
class Settings:
    """Checked settings of a parameter group; the rule is built anew only if a value has changed.

    Attributes:
        rule: The rule with the parameters of the group.
        rate: Plasticity rate.
        mean_rate: Rate of the running means.
    """

    def __init__(self, rule: Rule) -> None:
        """Start with the rule of a group that has not been read yet."""
        self.rule = rule
        self.rate = rule.rate
        self.mean_rate = 1.0
        self._parameters = parameters_of(rule)
        self._read = itemgetter("rule", "lr", *_OPTIONS, *self._parameters)
        self._checked: tuple[Any, ...] | None = None
        self._keys = 0

    def follow(self, group: Group, layers: Iterable[Layer]) -> None:
        """Take over the present values of a group, or none of them if one is refused.

        Args:
            group: Group of plain values, as in `param_groups`.
            layers: Layers of all groups.

        Raises:
            InvalidValue: The rule, or an option, does not allow a value, or a value was deleted.
            UnknownName: Neither the rule nor torch knows a key; the message gives the nearest one.
            StateMismatch: The rule has changed, or a parameter that sets the shapes of the rule's state.
        """
        try:
            values = self._read(group)
        except KeyError as error:
            raise InvalidValue(
                f"a parameter group of the rule '{self.rule.name}' has lost its {error.args[0]!r}: set it again, as "
                f"group[{error.args[0]!r}] = ..., to change it."
            ) from None
        if len(group) != self._keys:
            self._check_keys(group)
        if values == self._checked:
            return
        layers = [layer for layer in layers if layer.settings is self]
        name, rate, row_fraction, mean_rate, *parameters = values
        if name != self.rule.name:
            raise StateMismatch(
                f"a parameter group keeps the rule with which it was built, '{self.rule.name}', and its \"rule\" is "
                f"now {name!r}: build another nd.Plasticity for another rule."
            )
        present = zip(self._parameters, parameters, strict=True)
        changed = {key: value for key, value in present if value != getattr(self.rule, key)}
        rule = replace(self.rule, **changed) if changed else self.rule
        rule.check_rate(rate)
        check_mean_rate(mean_rate)
        if row_fraction is not None:
            check_row_fraction(row_fraction)
        if self._checked is not None and not all(type(value) is float for value in changed.values()):
            self._check_shapes(rule, changed, layers)
        for layer in layers:
            layer.module.rule = rule
            if row_fraction is not None:
                layer.module.row_fraction = float(row_fraction)
        self.rule, self.rate, self.mean_rate, self._checked = rule, rate, mean_rate, values

    def _check_keys(self, group: Group) -> None:
        known = ["rule", "lr", *_OPTIONS, *self._parameters]
        for key in group:
            if key not in known and key not in _OF_TORCH:
                raise unknown_name(f"setting of a parameter group with the rule '{self.rule.name}'", key, known)
        self._keys = len(group)

    def _check_shapes(self, rule: Rule, changed: Mapping[str, object], layers: Iterable[Layer]) -> None:
        for layer in layers:
            before, after = (fresh_state(of, layer.module) for of in (self.rule, rule))
            for name, tensor in before.items():
                if name not in after or after[name].shape != tensor.shape:
                    raise StateMismatch(
                        f"{', '.join(map(repr, changed))} of a parameter group cannot change, since the shape of "
                        f"'{name}' of {layer.title} depends on it: build another nd.Plasticity."
                    )


class Layer(NamedTuple):
    """Decorrelation that learns.

    Attributes:
        title: Name of the layer in messages.
        module: The Decorrelation.
        weights: Weights that act on its outputs, if they are known.
        settings: Settings of its parameter group.
    """

    title: str
    module: Decorrelation
    weights: Weights | None
    settings: Settings

    @property
    def activity(self) -> str:
        """Place of its activity, for messages."""
        return f"of {self.title}" if self.weights is None else f"before {self.title}"


class Prepared(NamedTuple):
    """Parameter group that has been read.

    Attributes:
        values: Plain numbers and strings: the options, the name of the rule and its parameters.
        layers: Layers in the order of the modules.
        roots: Modules that were given.
    """

    values: dict[str, Any]
    layers: list[Layer]
    roots: list[nn.Module]


def groups_of(given: object) -> list[Mapping[str, Any]]:
    """Parameter groups that a Plasticity is given; a model is one group.

    Raises:
        InvalidValue: The argument is neither a model nor parameter groups.
        Unsupported: The model was scripted or traced.
    """
    if isinstance(given, nn.Module):
        check_model("Plasticity", given)
        return [{"modules": given}]
    listed = isinstance(given, Iterable) and not isinstance(given, str | Mapping | Tensor | type)
    groups = list(given) if listed else []  # type: ignore[call-overload]  # an Iterable
    if not groups or not all(isinstance(group, Mapping) for group in groups):
        raise InvalidValue(
            "Plasticity: pass a torch.nn.Module, or a list of parameter groups such as "
            f'[{{"modules": model.features}}], got {shown(given)}.'
        )
    return groups


def prepared(group: Group, defaults: Group, taken: Sequence[Layer], place: str) -> Prepared:
    """Read a parameter group without changing anything.

    Args:
        group: Group that the user gave.
        defaults: `rule` and options for groups without their own.
        taken: Layers of earlier groups.
        place: Name of this group in messages, such as `group 1`; empty for a single group.

    Raises:
        InvalidValue: The modules hold no Decorrelation, or one that another group holds; a value is not allowed.
        UnknownName: A key is no setting of the rule; the message gives the nearest one.
    """
    given: object = group
    if not isinstance(given, Mapping):
        raise InvalidValue(
            f'a parameter group must be a dictionary such as {{"modules": model.features}}, got {shown(group)}.'
        )
    prefix = f"{place}: " if place else ""
    rule = group.get("rule", defaults.get("rule"))
    if not isinstance(rule, Rule):
        known_name = rule if isinstance(rule, str) and rule in names() else "whitening"
        pass_it = f'pass nd.rules.get("{known_name}")' if isinstance(rule, str) else 'such as nd.rules.get("whitening")'
        raise InvalidValue(f"{prefix}rule must come from nd.rules.get(name), got {shown(rule)}: {pass_it}.")
    parameters = ["rate", "connectivity", *parameters_of(rule)]
    known = ["modules", "rule", *_OPTIONS, *parameters]
    for key in group:
        if key not in known:
            raise unknown_name(f"setting of a parameter group with the rule '{rule.name}'", key, known)
    if "modules" not in group:
        raise InvalidValue(f'{prefix}a parameter group must name its layers: {{"modules": model.features, ...}}.')
    rule = replace(rule, **{key: group[key] for key in parameters if key in group})
    options = {key: group.get(key, defaults[key]) for key in _OPTIONS}
    check_mean_rate(options["mean_rate"])
    if options["row_fraction"] is not None:
        check_row_fraction(options["row_fraction"])
    roots = _modules_of(group["modules"])
    layers = _layers_of(roots, Settings(rule), place)
    others = {layer.module: layer for layer in taken}
    for layer in layers:
        if layer.module in others:
            raise InvalidValue(
                f"{layer.title} is already in another parameter group, as {others[layer.module].title}: name it in one "
                "group only, since it learns by one rule at one rate."
            )
    values = {"rule": rule.name, "lr": rule.rate, **options, **{key: getattr(rule, key) for key in parameters[2:]}}
    return Prepared(values, layers, roots)


def parameters_of(rule: Rule) -> list[str]:
    """Parameters of a rule that a group holds: all except the rate, which the group holds as `lr`."""
    return [entry.name for entry in fields(rule) if entry.name not in _RESERVED]


def fresh_state(rule: Rule, module: Decorrelation) -> State:
    """Shapes and floating types of the initial state of a rule (for one group), without memory."""
    return module.confined(rule).layer_state(module.features, dtype=module.mean.dtype, device="meta")


def structure_of(rule: Rule, module: Decorrelation) -> Structure:
    """Structure of a layer's D under a rule."""
    return module.confined(rule).structure_for(module.features)


def check_mean_rate(rate: object) -> None:
    """Raise InvalidValue unless a value can be the rate of the running means."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
        raise InvalidValue(
            f"mean_rate, the weight of the newest batch in the running mean, must be in (0, 1], got {shown(rate)}."
        )


def _modules_of(given: object) -> list[nn.Module]:
    modules: list[nn.Module] = []
    listed = isinstance(given, Iterable) and not isinstance(given, nn.Module)  # a Sequential is one module
    for module in given if listed else (given,):  # type: ignore[attr-defined]  # an Iterable
        if not isinstance(module, nn.Module):
            raise InvalidValue(f"modules of a parameter group must be torch modules, got {shown(module)}.")
        modules.append(module)
    return modules


def _layers_of(modules: list[nn.Module], settings: Settings, place: str) -> list[Layer]:
    found: dict[nn.Module, Layer] = {}
    for module in modules:
        for name, decorrelation, weights in decorrelated_layers(module):
            title = _title(name, decorrelation, weights, place)
            found.setdefault(decorrelation, Layer(title, decorrelation, weights, settings))
    if not found:
        kinds = ", ".join(dict.fromkeys(type(module).__name__ for module in modules)) or "an empty list of modules"
        raise InvalidValue(
            f"{kinds} {f'in {place} ' if place else ''}holds no Decorrelation for a rule to act on: "
            "pass nd.decorrelate(model), or parts of it."
        )
    return list(found.values())


def _title(name: str, module: Decorrelation, weights: Weights | None, place: str) -> str:
    """Name of a layer among the modules of its group; the only layer of a module is named by its class."""
    kind = "Decorrelation" if weights is None else "layer"
    alone = class_name(module if weights is None else weights.layer)
    if not place:
        return f"{kind} '{name}'" if name else f"this {alone}"
    return f"{kind} '{name}' of {place}" if name else f"the {alone} of {place}"


def tell_narrow_layers(layers: Sequence[Layer]) -> None:
    """Warn of layers with fewer inputs than their rule has interneurons; the warning names the caller's caller."""
    narrow = []
    for layer in layers:
        rule, features = layer.settings.rule, layer.module.features
        interneurons_of = getattr(rule, "interneurons_of", None)
        if interneurons_of is not None and interneurons_of(features) < rule.parameters()["interneurons"]:
            narrow.append(f"{layer.title} ({features})")
    if narrow:
        warnings.warn(
            f"fewer inputs than interneurons: {', '.join(narrow)}; these layers get one interneuron for every input, "
            "since more cannot have distinct directions.",
            stacklevel=3,
        )


def only_rule(rules: tuple[Rule, ...]) -> Rule:
    """Rule of all parameter groups.

    Raises:
        InvalidValue: The groups have different rules.
    """
    if len(set(rules)) > 1:
        raise InvalidValue(f"the parameter groups have {len(rules)} rules: use plasticity.rules, one per group.")
    return rules[0]
