"""State of a rule: the tensors of one layer's transform and statistics, and their change by an update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal, NamedTuple, final

from torch import Tensor

from neuro_decorr.rules._residual import Increment, add_

State = dict[str, Tensor]
"""Tensors of one layer: those of its transform (see `TRANSFORM`) and the statistics of the rule. The tensors of a
grouped layer are stacked along a first dimension."""

Structure = Literal["centering", "dense", "low_rank", "blocks", "sparse"]
"""Structure of D. `centering`: D = I. `dense`: a full matrix. `low_rank`: D = g (I - U diag(s) U^T) with k columns and
a scalar g. `blocks`: one matrix for each of disjoint groups of units. `sparse`: the values of some connections."""

TRANSFORM: dict[Structure, tuple[str, ...]] = {
    "centering": (),
    "dense": ("matrix",),
    "low_rank": ("directions", "suppression", "gain"),
    "blocks": ("blocks", "members"),
    "sparse": ("values", "columns", "row_starts"),
}
"""Names of the tensors of a state that make up the transform; the others are statistics of the rule. If D consists of
blocks, the name of every tensor ends with the size of its groups, such as `blocks_16`."""


def transform_names(structure: Structure, names: Iterable[str]) -> list[str]:
    """Names that belong to the transform.

    Args:
        structure: Structure of D.
        names: Names of the tensors of a state, or of buffers.
    """
    known = TRANSFORM[structure]
    if structure == "blocks":
        return [name for name in names if name.rpartition("_")[0] in known]
    return [name for name in names if name in known]


class Joint(ABC):
    """Rows of several processes that update one layer together, each process holding a part of the rows.

    Attributes:
        rows: Number of rows of all processes.
        rows_before: Number of rows that come before those of this process.
        input_squares: Sum of the squares of all inputs.
        output_squares: Sum of the squares of all outputs.
    """

    rows: int
    rows_before: int
    input_squares: float
    output_squares: float

    @abstractmethod
    def total(self, part: Tensor) -> Tensor:
        """Sum of a tensor over the processes, bitwise the same in each process.

        Every process must make the same calls, with tensors of the same shapes; the call overwrites the tensor.
        """


class Sample(NamedTuple):
    """Rows of one layer's activity on which a rule acts.

    Attributes:
        inputs: Centred drive z - mean, shape (rows, features).
        outputs: Decorrelated activity x = D (z - mean), shape (rows, features).
        mean: The mean that was subtracted, shape (features,).
        joint: Rows of all processes, of which these rows are a part; None if these are all. Only rules that ask for it
            get it, see `Rule.needs`.
    """

    inputs: Tensor
    outputs: Tensor
    mean: Tensor
    joint: Joint | None = None


class Needs(NamedTuple):
    """Rows that an update needs, which several processes send each other.

    Attributes:
        rows: `all`: inputs and outputs; `inputs`: inputs alone; `outputs`: outputs and the norm of each input.
        sums: Number of sums over the rows that the update can use in their place, see `Joint`. None: it needs the rows.
    """

    rows: Literal["all", "inputs", "outputs"] = "all"
    sums: int | None = None


class Change(ABC):
    """Change of the transform by one update, by which the weights of the layer can be compensated."""

    @abstractmethod
    def increment(self, weight: Tensor) -> Increment:
        r"""Increment of the weights that keeps the layer's function exactly: rows of $W (D_{old} D_{new}^{-1} - I)$.

        The method returns the increment and not the new weight, since a small increment has a small rounding error.

        Args:
            weight: W, shape (outputs, features).
        """

    @final
    def compensate_(self, weight: Tensor, residual: Tensor | None = None) -> None:
        r"""Set $W \leftarrow W D_{old} D_{new}^{-1}$ in place, which keeps the layer's function.

        Args:
            weight: W, shape (outputs, features).
            residual: Rounding error of the weight so far, see `residual_of`; changed in place.
        """
        add_(weight, self.increment(weight), residual)
