"""Decorrelation alone: the rule on the image layer, what is left of the correlations, and what it costs."""

from __future__ import annotations

import time
from functools import partial

import torch
from torch import Tensor

import neuro_decorr as nd
from neuro_decorr import study
from neuro_decorr.data import Dataset, batches, stream
from neuro_decorr.rules.connectivity import Connectivity

RULE = partial(nd.rules.get, "norm_preserving", rate=0.1, floor=1e-3)
"""Rule of D where decorrelation is measured without learning."""
TIMED = 10
"""Updates and forward passes that are timed, after the others."""


def settle(
    images: Dataset,
    connectivity: Connectivity | None,
    recorder: study.Recorder,
    count: int,
    batch_size: int,
    row_fraction: float,
    seed: int,
) -> None:
    """Let D of the image layer learn from batches, and measure what is left, and what it costs.

    Args:
        images: The data.
        connectivity: To what D is confined; None: all pairs.
        recorder: Takes a row `settled` and a timing row.
        count: Updates, of whole passes over the images.
        batch_size: Images a step.
        row_fraction: Fraction of them that drives D.
        seed: Seed of their order.
    """
    layer = nd.Decorrelation(images.features, row_fraction=row_fraction)
    plasticity = nd.Plasticity(layer, RULE(connectivity=connectivity))
    updates, passes, done = [], [], 0
    with torch.no_grad():
        while done < count:
            for inputs, _ in batches(*images.train, batch_size, stream(seed, f"settling {done}"), last="drop"):
                begun = time.process_time()
                layer(inputs)
                passed = time.process_time()
                plasticity.step()
                passes.append(passed - begun)
                updates.append(time.process_time() - passed)
                done += 1
        before = images.test.inputs - images.test.inputs.mean(dim=0)
        after = layer.eval()(images.test.inputs)
    pairs = None if connectivity is None else connectivity.pairs(images.features)
    (all_before, near_before), (all_after, near_after) = (squared_correlations(x, pairs) for x in (before, after))
    held = layer.transform_state().values()
    recorder.row(
        "settled", units=images.features, connections=sum(t.numel() for t in held if t.is_floating_point()),
        bytes=sum(t.numel() * t.element_size() for t in held), all_before=all_before, all_after=all_after,
        connected_before=near_before, connected_after=near_after,
    )  # fmt: skip
    middle = TIMED // 2
    recorder.time(update=sorted(updates[-TIMED:])[middle], forward=sorted(passes[-TIMED:])[middle])


def squared_correlations(samples: Tensor, pairs: tuple[Tensor, Tensor] | None) -> tuple[float, float]:
    r"""The mean squared correlation of all pairs of units and of some; without a matrix of all pairs.

    $$\sum_{ij} r_{ij}^2 = \lVert Z Z^T \rVert_F^2 / T^2$$

    with Z the T samples in units of their standard deviation. Units that never vary are left out.

    Args:
        samples: Shape (samples, units).
        pairs: First and second units; None: all.
    """
    centred = samples.double() - samples.double().mean(dim=0)
    power = centred.square().mean(dim=0)
    varies = power > 1e-12 * power.mean()
    normal = (centred * power.clamp_min(1e-300).rsqrt() * varies).T.contiguous()
    units, count = int(varies.sum()), normal.shape[1]
    whole = (float((normal.T @ normal).square().sum()) / count**2 - units) / (units * (units - 1))
    if pairs is None:
        return whole, whole
    rows, columns = (part[(pairs[0] != pairs[1]) & varies[pairs[0]] & varies[pairs[1]]] for part in pairs)
    some = zip(torch.split(rows, 10_000), torch.split(columns, 10_000), strict=True)
    squares = [((normal[one] * normal[other]).mean(dim=1) ** 2).sum() for one, other in some]
    return whole, float(torch.stack(squares).sum()) / len(rows)
