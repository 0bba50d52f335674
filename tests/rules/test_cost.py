"""The cost that a rule declares, against the matrix products that torch counts in an update."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import neuro_decorr as nd

FEATURES, ROWS, BEFORE, COUNTED = 384, 16, 200, 20
# The counter of torch leaves out products into an existing matrix.
IN_PLACE = {
    torch.ops.aten.addmm_: lambda _out, a, b, *_, **__: 2 * a[0] * a[1] * b[1],
    torch.ops.aten.baddbmm_: lambda _out, a, b, *_, **__: 2 * a[0] * a[1] * a[2] * b[2],
    torch.ops.aten.addmv_: lambda _out, a, _b, *_, **__: 2 * a[0] * a[1],
}
NAMES = (
    "anti_hebbian",
    "decorrelating",
    "iterative_norm",
    "lateral",
    "norm_preserving",
    "variance_weighted",
    "whitening",
    "zca",
)


def declared(rule: Any, without_cubes: bool = False) -> float:
    """The formula of a rule in numbers; inverses and roots, which torch does not count, are its terms in cubes."""
    formula, *where = re.split(r", r = ", rule.cost)
    known = {"d": FEATURES, "k": ROWS, "T": getattr(rule, "iterations", 0), "rate": rule.rate}

    def value(text: str) -> float:
        python = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", text.replace("^", "**"))
        return float(eval(python, {"__builtins__": {}}, known))

    if where:
        known["r"] = value(where[0])
    terms = [term for term in formula.split(" + ") if not (without_cubes and term.endswith("^3"))]
    return sum(value(term) for term in terms)


@pytest.mark.parametrize("name", NAMES)
def test_an_update_costs_what_the_rule_declares(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    rule = nd.rules.get(name)
    layer = nd.Decorrelation(FEATURES)
    plasticity = nd.Plasticity(layer, rule, row_fraction=1.0)
    batch = torch.randn(ROWS, FEATURES, generator=generator)

    def update() -> None:
        with torch.no_grad():
            layer(batch)
        plasticity.step()

    for _ in range(BEFORE if ", r" in rule.cost else 1):  # the first updates weigh a batch more, and so take more axes
        update()
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as every:
        for _ in range(COUNTED):
            update()
    forward = 2 * ROWS * FEATURES**2
    counted = every.get_total_flops() / COUNTED - forward
    assert counted <= 1.15 * declared(rule)
    assert counted >= 0.6 * declared(rule, without_cubes=True)
