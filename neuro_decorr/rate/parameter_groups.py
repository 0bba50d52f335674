"""Parameter groups of a Plasticity: which layers learn by which rule, at which rate, from which rows."""

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
from neuro_decorr.rate.decorrelation import Decorrelation, check_row_fraction
from neuro_decorr.rate.weights import Weights
from neuro_decorr.rules import Rule, State, names

Group: TypeAlias = Mapping[str, Any]
"""`modules`, and any of `rule`, `row_fraction`, `mean_rate` and the parameters of the rule, its `rate` among them."""

_OPTIONS = ("row_fraction", "mean_rate")
_OF_TORCH = frozenset(
    {"params", "initial_lr", "max_lr", "min_lr", "swa_lr", "swap_lr"}
    | {"momentum", "base_momentum", "max_momentum", "betas"}
)
"""Further keys, which optimisers and schedulers of torch write into a group."""
_RESERVED = frozenset({"params", "modules", "rule", "rate", "lr", *_OPTIONS})
"""Keys that have a meaning of their own: a parameter of a rule by one of these names stays as the rule was built."""


@final
class Settings:
    """What a parameter group says, checked: the rule is built anew only where a value has changed since.

    Attributes:
        rule: The rule with the parameters of the group.
        rate: Plasticity rate.
        mean_rate: Rate of the running means.
    """

    def __init__(self, rule: Rule) -> None:
        """Of a group that holds the parameters of this rule, not read so far."""
        self.rule = rule
        self.rate = rule.rate
        self.mean_rate = 1.0
        self._parameters = parameters_of(rule)
        self._read = itemgetter("rule", "lr", *_OPTIONS, *self._parameters)
        self._checked: tuple[Any, ...] | None = None
        self._keys = 0

    def follow(self, group: Group, layers: Iterable[Layer]) -> None:
        """Take over what the group says by now; nothing where a value is refused.

        Args:
            group: Of plain values, as it stands in `param_groups`.
            layers: Of all groups.

        Raises:
            InvalidValue: A value that the rule, or an option, does not allow; one that was deleted.
            UnknownName: A key that neither the rule nor torch knows; the nearest one is named.
            StateMismatch: Another rule, or a parameter from which the shapes of the rule's state follow.
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
                f"a parameter group keeps the rule it was built with, '{self.rule.name}', and its \"rule\" is "
                f"{name!r} now: build another nd.Plasticity for another rule."
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
                        f"the shape of '{name}' of {layer.title} follows from {', '.join(map(repr, changed))}, which "
                        "a parameter group therefore keeps from its construction: build another nd.Plasticity."
                    )


class Layer(NamedTuple):
    """One Decorrelation that learns.

    Attributes:
        title: What messages call it.
        module: The Decorrelation.
        weights: What acts on its outputs, where that is known.
        settings: Of its parameter group.
    """

    title: str
    module: Decorrelation
    weights: Weights | None
    settings: Settings

    @property
    def activity(self) -> str:
        """Where its activity is, for messages."""
        return f"of {self.title}" if self.weights is None else f"before {self.title}"


class Prepared(NamedTuple):
    """A parameter group that has been read.

    Attributes:
        values: Plain numbers and strings: the options and the parameters of the rule, which go by its name.
        layers: In the order of the modules.
        roots: The modules that were given.
    """

    values: dict[str, Any]
    layers: list[Layer]
    roots: list[nn.Module]


def groups_of(given: object) -> list[Mapping[str, Any]]:
    """The parameter groups that a Plasticity is given; a model is one.

    Raises:
        InvalidValue: Neither a model nor parameter groups.
        Unsupported: A model that was scripted or traced.
    """
    if isinstance(given, nn.Module):
        check_model("Plasticity", given)
        return [{"modules": given}]
    listed = isinstance(given, Iterable) and not isinstance(given, str | Mapping | Tensor | type)
    groups = list(given) if listed else []  # type: ignore[call-overload]  # an Iterable
    if not groups or not all(isinstance(group, Mapping) for group in groups):
        raise InvalidValue(
            "Plasticity: pass a torch.nn.Module, or a list of parameter groups such as "
            f'[{{"modules": model.features}}]; got {shown(given)}.'
        )
    return groups


def prepared(group: Group, defaults: Group, taken: Sequence[Layer], place: str) -> Prepared:
    """Read a parameter group; nothing is changed.

    Args:
        group: What the user gave.
        defaults: `rule` and options of the groups that do not tell their own.
        taken: Layers of the groups before.
        place: What messages call this group, such as `group 1`; empty where there is only one.

    Raises:
        InvalidValue: No Decorrelation in its modules; one that another group holds; a value that is not allowed.
        UnknownName: A key that the rule of the group does not have; the nearest one is named.
    """
    given: object = group
    if not isinstance(given, Mapping):
        raise InvalidValue(
            f'a parameter group is a dictionary such as {{"modules": model.features}}, got {shown(group)}.'
        )
    prefix = f"{place}: " if place else ""
    rule = group.get("rule", defaults.get("rule"))
    if not isinstance(rule, Rule):
        known_name = rule if isinstance(rule, str) and rule in names() else "whitening"
        pass_it = f'pass nd.rules.get("{known_name}")' if isinstance(rule, str) else 'such as nd.rules.get("whitening")'
        raise InvalidValue(f"{prefix}rule must come from nd.rules.get(name), got {shown(rule)}: {pass_it}.")
    parameters = ["rate", *parameters_of(rule)]
    known = ["modules", "rule", *_OPTIONS, *parameters]
    for key in group:
        if key not in known:
            raise unknown_name(f"setting of a parameter group with the rule '{rule.name}'", key, known)
    if "modules" not in group:
        raise InvalidValue(f'{prefix}a parameter group names its layers: {{"modules": model.features, ...}}.')
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
                f"{layer.title} is in another parameter group already, as {others[layer.module].title}; "
                "it learns by one rule at one rate, so name it in one group only."
            )
    values = {"rule": rule.name, "lr": rule.rate, **options, **{key: getattr(rule, key) for key in parameters[1:]}}
    return Prepared(values, layers, roots)


def parameters_of(rule: Rule) -> list[str]:
    """The parameters of a rule that a group holds: all but its rate, which is there as `lr`."""
    return [entry.name for entry in fields(rule) if entry.name not in _RESERVED]


def fresh_state(rule: Rule, module: Decorrelation) -> State:
    """Shapes and floating types of the state of a rule at its start (of one group), without memory."""
    return rule.initial_state(module.features, dtype=module.mean.dtype, device="meta")


def check_mean_rate(rate: object) -> None:
    """Raise InvalidValue unless the rate of the running means is one."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
        raise InvalidValue(
            f"mean_rate, the weight of the newest batch in the running mean, is in (0, 1], got {shown(rate)}."
        )


def _modules_of(given: object) -> list[nn.Module]:
    modules: list[nn.Module] = []
    listed = isinstance(given, Iterable) and not isinstance(given, nn.Module)  # a Sequential is one module
    for module in given if listed else (given,):  # type: ignore[attr-defined]  # an Iterable
        if not isinstance(module, nn.Module):
            raise InvalidValue(f"modules of a parameter group are torch modules, got {shown(module)}.")
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
    """A layer's name among the modules of its group; the only one of a module goes by its class."""
    kind = "Decorrelation" if weights is None else "layer"
    alone = class_name(module if weights is None else weights.layer)
    if not place:
        return f"{kind} '{name}'" if name else f"this {alone}"
    return f"{kind} '{name}' of {place}" if name else f"the {alone} of {place}"


def tell_narrow_layers(layers: Sequence[Layer]) -> None:
    """Warn the caller's caller of layers with fewer inputs than their rule has interneurons."""
    narrow = []
    for layer in layers:
        rule, features = layer.settings.rule, layer.module.features
        interneurons_of = getattr(rule, "interneurons_of", None)
        if interneurons_of is not None and interneurons_of(features) < rule.parameters()["interneurons"]:
            narrow.append(f"{layer.title} ({features})")
    if narrow:
        warnings.warn(
            f"fewer inputs than interneurons: {', '.join(narrow)}; these have one interneuron for every input, "
            "as many as can have directions of their own.",
            stacklevel=3,
        )


def only_rule(rules: tuple[Rule, ...]) -> Rule:
    """The rule that all parameter groups have.

    Raises:
        InvalidValue: They have several.
    """
    if len(set(rules)) > 1:
        raise InvalidValue(f"the groups have {len(rules)} rules: take plasticity.rules, one a group.")
    return rules[0]
