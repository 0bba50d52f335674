"""Products in blocks are the products: against float64, for sizes with and without a fitting divisor."""

from __future__ import annotations

import pytest
import torch

from neuro_decorr.rules import _blocks

SIZES = [7, 511, 512, 600, 1000, 1021, 3 * 320]  # 1021 is prime


@pytest.mark.parametrize("features", SIZES)
@pytest.mark.parametrize("rows", [1, 26, 49])
def test_project_and_add_equal_the_plain_products(features: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(features + rows)
    matrix = torch.randn(features, features, generator=generator)
    left, right = (torch.randn(rows, features, generator=generator) for _ in range(2))
    projected = _blocks.project(right, matrix)
    torch.testing.assert_close(projected.double(), right.double() @ matrix.double(), rtol=1e-4, atol=2e-3)
    expected = 0.7 * matrix.double() - 0.3 * left.double().T @ right.double()
    pointer = matrix.data_ptr()
    _blocks.scale_and_add_(matrix, 0.7, left, right, -0.3)
    torch.testing.assert_close(matrix.double(), expected, rtol=1e-5, atol=1e-4)
    assert matrix.data_ptr() == pointer


def test_blocks_tile_the_matrix() -> None:
    for features in (512, 1000, 1021, 3072, 4096):
        for least, most in ((96, 160), (192, 320)):
            size = _blocks._block(features, least, most)
            fitting = [n for n in range(least, most + 1) if features % n == 0]
            assert size == (min(fitting) if fitting else 0)
