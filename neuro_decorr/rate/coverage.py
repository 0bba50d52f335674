"""Table of the layers of a model: decorrelated or not, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final

from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.copying import at_rest, check_model, class_name, plain_name
from neuro_decorr.rate.decorrelate import decorrelated_layers
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.selection import Candidate, Skip, candidates, problems_of_copying, skipped_by
from neuro_decorr.rate.weights import groups_of, is_weight_layer

Status: TypeAlias = Literal["decorrelated", "would be decorrelated", "skipped", "refused", "left"]
"""Status of a layer, now or after `decorrelate`; `left`: a layer of a kind that stays as it is."""

_REASONS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Embedding, "a table that indices look up: its inputs are not activities"),
    (nn.EmbeddingBag, "a table that indices look up: its inputs are not activities"),
    (nn.RNNBase, "one call computes all steps, so no D can precede its weights; write it with Linear layers"),
    (nn.RNNCellBase, "one call multiplies input and state, so no D can precede its weights"),
    (nn.Bilinear, "a product of two inputs, not a linear map of one"),
    (nn.MultiheadAttention, "it projects its inputs in one call; write the projections as Linear layers"),
    (nn.LayerNorm, "scales every unit separately"),
    (nn.RMSNorm, "scales every unit separately"),
)


class Fraction(NamedTuple):
    """Fraction of a model that is decorrelated, or would be.

    Attributes:
        matrices: Fraction of its weight matrices, in [0, 1].
        weights: Fraction of its weights, in [0, 1].
    """

    matrices: float
    weights: float


class Row(NamedTuple):
    """Row of the table: a layer, a Decorrelation that stands by itself, or a parameter outside of all layers.

    Attributes:
        name: Qualified name; empty for the model itself.
        kind: Class of the layer, or `Parameter`.
        status: Status of the layer.
        reason: Reason why it is not decorrelated; empty if it is.
        matrices: Number of weight matrices, or kernels, that it holds.
        weights: Number of weights in them.
        share: Fraction of all weights of the model. A weight that several layers share counts in the first of them that
            is decorrelated, or else in the first, so that shares add up to one.
        structure: Structure of D, such as `dense` or `low_rank`; `centering` also before the first rule; None without
            D.
        rule: Name of the rule of the last Plasticity; None before.
        features: Number of units that a D decorrelates, in each group.
        groups: Number of groups with their own D.
        center: True if the running mean is subtracted.
    """

    name: str
    kind: str
    status: Status
    reason: str
    matrices: int
    weights: int
    share: float
    structure: str | None = None
    rule: str | None = None
    features: int | None = None
    groups: int | None = None
    center: bool | None = None


@final
@dataclass(frozen=True)
class Coverage:
    """Layers of a model, decorrelated or not, with the reason; `print` shows a table.

    Attributes:
        rows: Rows for all layers with weights, in the order of the model.
        fraction: Fraction of the matrices and of the weights that are, or would be, decorrelated; shared ones count
            once.
        total: Number of weight matrices of the model; shared ones count once.
    """

    rows: tuple[Row, ...]
    fraction: Fraction
    total: int

    def __str__(self) -> str:
        """Table with a line for every layer and a line with the sum."""
        table = [("layer", "class", "weights", "", "")]
        for row in self.rows:
            what = row.reason
            if row.features is not None:
                size = f"{row.groups} x {row.features}" if row.groups and row.groups > 1 else str(row.features)
                centred = "centred" if row.center else "not centred"
                structure = "identity" if (row.structure, row.rule) == ("centering", None) else row.structure
                what = f"{structure} {size}, {centred}, {row.rule or 'no rule yet'}"
            share = "shared" if row.weights and not row.share else f"{row.share:.1%}"
            table.append((row.name or "(the model)", row.kind, share, row.status, what))
        widths = [max(len(line[column]) for line in table) for column in range(4)]
        lines = ["  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[4]]) for line in table]
        found = round(self.fraction.matrices * self.total)
        total = f"{found} of {self.total} weight matrices, {self.fraction.weights:.1%} of the weights."
        return "\n".join([*(line.rstrip() for line in lines), total])


def coverage(model: nn.Module, skip: Skip | Iterable[Skip] = ()) -> Coverage:
    """List the layers of a model: decorrelated or not, with the reason.

    Example:
        >>> import neuro_decorr as nd
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Embedding(8, 4), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 4))
        >>> print(nd.coverage(nd.decorrelate(model, skip="3")))
        layer  class      weights
        0      Embedding  33.3%    left          a table that indices look up: its inputs are not activities
        2      Linear     50.0%    decorrelated  identity 12, centred, no rule yet
        3      Linear     16.7%    skipped       skip='3'
        1 of 3 weight matrices, 50.0% of the weights.

    Args:
        model: Result of `neuro_decorr.decorrelate`, or a plain model. For a plain model the table shows the effect that
            `decorrelate` would have, including layers that it would refuse.
        skip: Layers of a plain model that would be left out.

    Returns:
        The table, to be printed or read row by row. Weights are all floating parameters of two dimensions or more.

    Raises:
        InvalidValue: The argument is not a model; `skip` is given for a model that is decorrelated already.
        UnknownName: A name, class or module in `skip` matches no layer.
    """
    check_model("coverage", model)
    found: dict[nn.Module, Decorrelation] = {
        weights.layer: module for _, module, weights in decorrelated_layers(model) if weights is not None
    }
    if found and skip != ():
        raise InvalidValue(
            "coverage: skip= is for a plain model, and this one is decorrelated and remembers its own: leave skip= out."
        )
    layers = {candidate.layer: candidate for candidate in candidates(model, skip)}
    rows: list[Row] = []
    keys: dict[int, set[int]] = {}
    all_of: dict[int, int] = {}
    covered: dict[int, int] = {}
    with at_rest(model):
        listed = [(name, module, _matrices(module)) for name, module in model.named_modules()]
    for _, _, matrices in listed:
        all_of |= {key: tensor.numel() for _, key, tensor in matrices}
    whole = sum(all_of.values()) or 1
    refused = {} if found else {module: problem for _, module, problem in problems_of_copying(model)}
    alone = set(model.modules()) - set(found.values())
    for full_name, module, matrices in listed:
        name = plain_name(full_name)
        if module in layers and not matrices:  # its size is not known yet
            refused[module] = layers[module].problem or ""
        if module in refused:
            rows.append(Row(name, class_name(module), "refused", refused[module], 0, 0, 0.0))
        if isinstance(module, Decorrelation) and module in alone:
            rows.append(_decorrelated(module, 1)._replace(name=name, kind=class_name(module)))
        for title, kind, part, row in _rows(name, module, matrices, layers, found):
            numbers = sum(tensor.numel() for _, _, tensor in part)
            keys[len(rows)] = {key for _, key, _ in part}
            rows.append(row._replace(name=title, kind=kind, matrices=len(part), weights=numbers))
            if row.status in ("decorrelated", "would be decorrelated"):
                covered |= {key: tensor.numel() for _, key, tensor in part}
    fraction = Fraction(len(covered) / (len(all_of) or 1), sum(covered.values()) / whole)
    counted: set[int] = set()
    for index in sorted(keys, key=lambda index: rows[index].status not in ("decorrelated", "would be decorrelated")):
        own = keys[index] - counted
        rows[index] = rows[index]._replace(share=sum(all_of[key] for key in own) / whole)
        counted |= own
    return Coverage(tuple(rows), fraction, len(all_of))


_Matrix: TypeAlias = tuple[str, int, Tensor]
"""Name, identity and tensor of a weight matrix."""


def _rows(
    name: str,
    module: nn.Module,
    matrices: list[_Matrix],
    layers: dict[nn.Module, Candidate],
    found: dict[nn.Module, Decorrelation],
) -> Iterator[tuple[str, str, list[_Matrix], Row]]:
    """Title, kind and matrices of each row of a module, with the rest of the row."""
    kind = class_name(module)
    own = [matrix for matrix in matrices if matrix[0] == "weight"] if is_weight_layer(module) else []
    if own:
        yield name, kind, own, _of_layer(module, layers[module], found.get(module), bool(found))
    rest = [matrix for matrix in matrices if not own or matrix[0] != "weight"]
    reason = next((reason for known, reason in _REASONS if isinstance(module, known)), None)
    if reason is not None and rest:
        yield name, kind, rest, _left(reason)
    elif len(rest) == 1 and not own and rest[0][0] == "weight" and rest[0][2].dim() == 2:
        yield name, kind, rest, _left(_hint(kind, module, rest[0][2]))
    else:
        for matrix in rest:
            title = f"{name}.{matrix[0]}".lstrip(".")
            yield title, "Parameter", [matrix], _left("a parameter that belongs to no layer")


def _hint(kind: str, module: nn.Module, weight: Tensor) -> str:
    """Advice for a layer of an unknown class; its bias shows the order of its weight, unless the weight is square."""
    bias = getattr(module, "bias", None)
    outputs = bias.shape[0] if isinstance(bias, Tensor) and bias.dim() == 1 else None
    orders = {"outputs_first": weight.shape[0], "inputs_first": weight.shape[1]}
    fitting = [order for order, size in orders.items() if size == outputs] or list(orders)
    told = f'nd.rate.register_linear({kind}, weight="{fitting[0]}")'
    if len(fitting) > 1:
        told += ', or "inputs_first" for a weight (inputs, outputs),'
    return f"of an unknown class; if it is linear, {told} lets it be decorrelated"


def _of_layer(module: nn.Module, candidate: Candidate, found: Decorrelation | None, decorrelated: bool) -> Row:
    if found is not None:
        row = _decorrelated(found, groups_of(module) if is_weight_layer(module) else 1)
    elif (by := candidate.skipped or skipped_by(module)) is not None:
        row = Row("", "", "skipped", by, 0, 0, 0.0)
    elif candidate.problem is not None:
        row = Row("", "", "refused", candidate.problem, 0, 0, 0.0)
    elif decorrelated:
        row = _left("added after the call of nd.decorrelate")
    else:
        row = Row("", "", "would be decorrelated", "", 0, 0, 0.0)
    return row


def _decorrelated(found: Decorrelation, groups: int) -> Row:
    rule = None if found.rule is None else found.rule.name
    return Row("", "", "decorrelated", "", 0, 0, 0.0, found.structure, rule, found.features, groups, found.center)


def _left(reason: str) -> Row:
    return Row("", "", "left", reason, 0, 0, 0.0)


def _matrices(module: nn.Module) -> list[_Matrix]:
    """Floating parameters of two dimensions or more that a module owns, or the tensors that it computes from them."""
    if isinstance(module, parametrize.ParametrizationList):
        return []  # they belong to the layer
    held: dict[str, tuple[int, object]] = {n: (id(p), p) for n, p in module.named_parameters(recurse=False)}
    computed = [*module.parametrizations] if parametrize.is_parametrized(module) else []  # type: ignore[misc]
    for name in computed:
        held[name] = (id(module), getattr(module, name))
    if isinstance(vars(module).get("weight"), Tensor):  # by a hook, from parameters of names of their own
        held = {n: of for n, of in held.items() if not n.startswith("weight_")} | {
            "weight": (id(module), vars(module)["weight"])
        }
    return [
        (name, key, tensor)
        for name, (key, tensor) in held.items()
        if isinstance(tensor, Tensor)
        and not nn.parameter.is_lazy(tensor)
        and (tensor.is_floating_point() or tensor.is_complex())
        and tensor.dim() >= 2
    ]
