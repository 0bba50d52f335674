"""Selection of the layers to decorrelate, with the layers that the user leaves out and those that cannot be."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, StateMismatch, UnknownName, Unsupported, shown, unknown_name
from neuro_decorr.rate.copying import at_rest, is_compiled, is_distributed, place, plain_name, runs_the_original
from neuro_decorr.rate.registered import problem_of_registered
from neuro_decorr.rate.traces import Signal, Trace
from neuro_decorr.rate.weights import (
    WeightLayer,
    computes_of_its_own,
    decorrelation_of,
    is_linear,
    is_weight_layer,
)

Skip: TypeAlias = str | type[nn.Module] | nn.Module | Callable[[str, nn.Module], object]
"""Entry that leaves layers out: a name with wildcards, a class, a module, or a predicate of name and layer."""

_MARK = "_left_out_by"
_DECORRELATED = "is decorrelated already; nd.fold the model first"


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """Layer of a kind that can be decorrelated.

    Attributes:
        name: First qualified name of the layer.
        layer: Layer of the given model.
        skipped: Entry of `skip` that leaves it out; None if none does.
        problem: Reason why it cannot be decorrelated; None if it can.
    """

    name: str
    layer: nn.Module
    skipped: str | None
    problem: str | None


def chosen(model: nn.Module, skip: Skip | Iterable[Skip], signal: Signal | Trace) -> list[Candidate]:
    """Candidates of a model, checked so that those that are not skipped have no problem.

    Args:
        model: Any module; it stays unchanged.
        skip: Layers to leave out, as `neuro_decorr.decorrelate` takes them.
        signal: Signal that will drive the statistics.

    Raises:
        UnknownName: A name, a class or a module in `skip` matches no layer; the message gives the nearest.
        InvalidValue: An entry of `skip` is none of these.
        Unsupported: Layers cannot be decorrelated (one error names all), or no layer is left.
        StateMismatch: Layers are decorrelated already, and there is no other problem.
    """
    found = candidates(model, skip, signal)
    kept = [candidate for candidate in found if candidate.skipped is None]
    wrong = [(candidate.name, candidate.layer, candidate.problem) for candidate in kept if candidate.problem]
    modules = list(problems_of_copying(model))
    lines = [f"{place(plain_name(name), module)} {problem}" for name, module, problem in modules + wrong]
    names = tuple(plain_name(name) for name, _, _ in wrong if name)
    mend = f"Leave {'it' if len(wrong) == 1 else 'them'} out with skip={names!r}." if names else ""
    if len(lines) == 1:
        only = f"{lines[0]}{'.' if not mend else f'; {mend[0].lower()}{mend[1:]}'}"
        raise (StateMismatch if wrong and wrong[0][2] == _DECORRELATED else Unsupported)(only)
    if lines:
        kind = Unsupported if any(problem != _DECORRELATED for *_, problem in modules + wrong) else StateMismatch
        title = f"{len(lines)} parts of {type(model).__name__} cannot be decorrelated:"
        raise kind("\n".join([title, *(f"  {line}." for line in lines), *([mend] if mend else [])]))
    if not kept:
        raise Unsupported(
            f"{type(model).__name__} has no Linear or convolution left to decorrelate"
            f"{'; skip= leaves out all of them' if found else ''}: see nd.coverage(model) for its weights."
        )
    return found


def mark_skipped(layer: nn.Module, by: str) -> None:
    """Mark a layer with the entry that left it out; copies and pickles keep the mark, `state_dict` does not."""
    vars(layer)[_MARK] = by


def skipped_by(layer: nn.Module) -> str | None:
    """Reason why a layer was left out of the decorrelation, or None."""
    by: str | None = vars(layer).get(_MARK)
    return by


def unmark(layer: nn.Module) -> None:
    """Remove the mark of a layer."""
    vars(layer).pop(_MARK, None)


def candidates(
    model: nn.Module, skip: Skip | Iterable[Skip] = (), signal: Signal | Trace = "spikes"
) -> list[Candidate]:
    """All layers of a kind that can be decorrelated, with the entry that leaves them out and their problem.

    Raises:
        UnknownName: A name, a class or a module in `skip` matches no layer.
        InvalidValue: An entry of `skip` is of another kind.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if is_weight_layer(module):
            names.setdefault(module, []).append(name)
    skipped = _skipped(model, names, skip)
    inside_attention = {
        child for module in model.modules() if isinstance(module, nn.MultiheadAttention) for child in module.modules()
    }
    with at_rest(model):
        return [
            Candidate(of[0], layer, skipped.get(layer), _problem(layer, layer in inside_attention, signal))
            for layer, of in names.items()
        ]


def _problem(layer: nn.Module, inside_attention: bool, signal: Signal | Trace) -> str | None:
    """Reason why a layer cannot be decorrelated, as the end of a sentence that begins with its name."""
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
        return "does not know its input size yet: run one batch through the model"
    assert is_weight_layer(layer)
    problem = None
    if decorrelation_of(layer) is not None:
        problem = _DECORRELATED
    elif hasattr(layer, "decorrelation"):
        problem = "has an attribute 'decorrelation' of its own; rename that"
    elif "forward" in vars(layer):
        problem = (
            "has a forward that was set on this one instance (as accelerate does), which would bypass the "
            "decorrelation: remove it first (del layer.forward, or accelerate.hooks.remove_hook_from_module)"
        )
    elif not is_linear(layer) and computes_of_its_own(layer):
        problem = "has a forward of its own, which a convolution with decorrelated inputs replaces"
    elif inside_attention:
        problem = (
            "lies in an attention module that reads the weight without calling the layer, so its input cannot be "
            "decorrelated"
        )
    elif signal != "spikes" and not is_linear(layer):
        problem = "has no traces, which need a Linear layer: use signal='spikes'"
    return problem or _problem_of_weight(layer)


def _problem_of_weight(layer: WeightLayer) -> str | None:
    weight: object = getattr(layer, "weight", None)
    if weight is None:
        return problem_of_registered(layer)
    if not isinstance(weight, Tensor):
        return f"has a {type(weight).__name__} where its weight should be"
    problem = None
    if is_distributed(weight):
        problem = "is sharded already: nd.decorrelate the model first, and shard it then"
    elif weight.is_complex():
        problem = f"has complex weights ({weight.dtype}), and the rules are for real activities"
    elif not weight.is_floating_point():
        problem = f"holds its weights as {weight.dtype}, in a form for inference that does not learn"
    elif isinstance(layer, nn.Linear) and weight.shape != (layer.out_features, layer.in_features):
        problem = (
            f"holds a weight of shape {tuple(weight.shape)}, which is not its (outputs, inputs), "
            f"({layer.out_features}, {layer.in_features}): it is packed or spread over processes"
        )
    elif not weight.numel():
        problem = f"has a weight without entries, of shape {tuple(weight.shape)}"
    else:
        problem = problem_of_registered(layer)
    return problem


def problems_of_copying(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Modules whose copy would run the original."""
    modules = frozenset(model.modules())
    for name, module in model.named_modules():
        if is_compiled(module):
            first = "and compile its part then" if name else "and compile then, torch.compile(nd.decorrelate(model))"
            yield (
                name,
                module,
                f"is compiled, and a copy would run the plain layers: decorrelate the plain model {first}",
            )
        elif not is_weight_layer(module) and runs_the_original(module, modules):
            yield (
                name,
                module,
                "has a forward put on this one instance that would run the original's layers: take it off",
            )


def _skipped(model: nn.Module, names: dict[nn.Module, list[str]], skip: Skip | Iterable[Skip]) -> dict[nn.Module, str]:
    """Layers that are left out, each with its entry of `skip`."""
    entries: list[Skip] = [skip] if isinstance(skip, str | type | nn.Module) or callable(skip) else _listed(skip)
    every = dict(model.named_modules(remove_duplicate=False))
    around = {layer: [every[prefix] for name in of for prefix in _prefixes(name)] for layer, of in names.items()}
    left_out: dict[nn.Module, str] = {}
    for entry in entries:
        if isinstance(entry, str):
            matched = [n for n, of in names.items() if any(m == entry or fnmatch.fnmatchcase(m, entry) for m in of)]
            title = repr(entry)
        elif isinstance(entry, nn.Module):
            matched = [layer for layer, holders in around.items() if any(holder is entry for holder in holders)]
            title = f"the {type(entry).__name__} {next((repr(n) for n, m in every.items() if m is entry), '')}".strip()
        elif isinstance(entry, type) and issubclass(entry, nn.Module):
            matched = [layer for layer, holders in around.items() if any(isinstance(h, entry) for h in holders)]
            title = entry.__name__
        elif not isinstance(entry, type) and callable(entry):
            matched = [layer for layer, of in names.items() if _says(entry, of[0], layer)]
            title = _title(entry)
        else:
            raise _no_skip(entry)
        if not matched and isinstance(entry, str | type | nn.Module):
            raise _matches_nothing(entry, names, every)
        for layer in matched:
            left_out.setdefault(layer, f"skip={title}")
    return left_out


def _listed(skip: Iterable[Skip]) -> list[Skip]:
    given: object = skip
    if not isinstance(given, Iterable) or isinstance(given, Mapping | Tensor | bytes):
        raise _no_skip(skip)
    return list(skip)


def _no_skip(got: object) -> InvalidValue:
    return InvalidValue(
        "skip= takes qualified names, classes of layers, modules of the model, and predicates (name, layer) -> bool, "
        f"one or several of them, () for none, got {shown(got)}."
    )


def _says(predicate: Callable[[str, nn.Module], object], name: str, layer: nn.Module) -> bool:
    """Answer of a predicate for a layer; an error of the predicate names the predicate and the layer."""
    try:
        return bool(predicate(name, layer))
    except Exception as error:
        told = str(error).splitlines() or [""]
        raise InvalidValue(
            f"skip={_title(predicate)}: this predicate of (name, layer) raised {type(error).__name__} for "
            f"{place(plain_name(name), layer)}: {told[0]}"
        ) from error


def _title(predicate: object) -> str:
    return getattr(predicate, "__qualname__", type(predicate).__name__)


def _prefixes(name: str) -> Iterator[str]:
    """Names of a layer and of all modules that hold it."""
    parts = name.split(".") if name else []
    return (".".join(parts[:depth]) for depth in range(len(parts) + 1))


def _matches_nothing(
    entry: str | type | nn.Module, names: dict[nn.Module, list[str]], every: dict[str, nn.Module]
) -> UnknownName:
    if isinstance(entry, type):
        return unknown_name("layer to skip of class", entry.__name__, {type(layer).__name__ for layer in names})
    if isinstance(entry, str):
        held = every.get(entry)
        if held is not None and any(module in names for module in held.modules()):
            return UnknownName(
                f"there is no layer to skip '{entry}': that is a {type(held).__name__} with layers in it, which "
                f"skip='{entry}.*' leaves out."
            )
        return unknown_name("layer to skip", entry, [name for of in names.values() for name in of])
    if any(entry is module for module in every.values()):
        return UnknownName(
            f"there is no layer to skip in the given {type(entry).__name__}, since nothing in it is decorrelated: "
            "leave it out of skip=."
        )
    alike = {of[0]: repr(layer) for layer, of in names.items()}
    nearest = difflib.get_close_matches(repr(entry), alike.values(), n=1, cutoff=0)
    hint = "; ".join(f"the nearest is '{name}', {text}" for name, text in alike.items() if text in nearest)
    return UnknownName(
        f"the module to skip, {type(entry).__name__}, is not in this {type(every['']).__name__}: pass a module of the "
        f"very model that is decorrelated{f' ({hint})' if hint else ''}."
    )
