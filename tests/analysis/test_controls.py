"""What the tables of arms and their controls say of a chosen setting."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import controls


@pytest.mark.parametrize(
    ("chosen", "low", "high", "expected"),
    [(0.1, 0.1, 0.4, "lowest"), (0.2, 0.1, 0.4, ""), (0.4, 0.1, 0.4, "highest"), (0.1, 0.1, 0.1, "")],
)
def test_the_edge_is_the_end_of_a_grid_of_several(chosen: float, low: float, high: float, expected: str) -> None:
    assert controls.edge(chosen, low, high) == expected


@pytest.mark.parametrize(
    ("diverged", "edge", "expected"),
    [
        (0, "", ""),
        (2, "", "; 2 diverged"),
        (0, "lowest", "; lowest learning rate of its grid"),
        (1, "highest", "; 1 diverged; highest learning rate of its grid"),
    ],
)
def test_remarks_name_divergence_and_edge_only_where_there_is_one(diverged: int, edge: str, expected: str) -> None:
    assert controls.remarks(pd.Series({"diverged": diverged, "edge": edge})) == expected
