"""Parts shared by the benchmarks: alternating rounds, ratios of the same round, tables, and allocations of a step."""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

Step = Callable[[], object]
Clock = Callable[[], float]


def options(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=_positive, default=rounds, help="alternating rounds (default: %(default)s)")
    parser.add_argument(
        "--threads", type=_positive, default=len(os.sched_getaffinity(0)), help="of torch (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="also write the table to this CSV file")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1, got {text!r}")
    return int(text)


def alternate(
    steps: Mapping[str, Step],
    rounds: int,
    least_seconds: float = 0.02,
    multiple: int = 1,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds a call of every step in every round; the order turns around from round to round.

    Args:
        steps: Functions to time, by name.
        rounds: Number of rounds.
        least_seconds: A measurement repeats its step until it takes about so long.
        multiple: The repetitions are a multiple of this, for steps whose cost has a period.
        clock: Of the wall, or `time.process_time`, which counts the process alone on a machine that others use.

    Returns:
        One list a step, as long as there are rounds; entries of equal index were measured side by side.
    """
    repeats = {}
    for name, step in steps.items():
        seconds(step, multiple)  # warm: memory, caches, states of optimisers
        repeats[name] = multiple * max(1, round(least_seconds / seconds(step, multiple) / multiple))
    measured: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds):
        for name in list(steps)[:: 1 if index % 2 == 0 else -1]:
            measured[name].append(seconds(steps[name], repeats[name], clock))
    return measured


def seconds(step: Step, repeats: int = 1, clock: Clock = time.perf_counter) -> float:
    """Seconds a call, by default of the wall."""
    start = clock()
    for _ in range(repeats):
        step()
    return (clock() - start) / repeats


def flop(step: Step, repeats: int) -> float:
    """Floating-point operations of the products and convolutions of a call: what bounds its time from below."""
    with FlopCounterMode(display=False) as counter:
        for _ in range(repeats):
            step()
    return float(counter.get_total_flops()) / repeats


def ratio(numerator: list[float], denominator: list[float]) -> str:
    """Median over rounds of the ratio within a round, with its quartiles."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def milliseconds(measured: list[float]) -> str:
    """Median in milliseconds."""
    return f"{1e3 * statistics.median(measured):.3g}"


def show(rows: list[dict[str, str]], out: Path | None) -> None:
    """Print rows of equal keys as a table of Markdown, and write them as CSV where asked."""
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    print("| " + " | ".join(key.ljust(width) for key, width in widths.items()) + " |")
    print("|" + "|".join("-" * (width + 2) for width in widths.values()) + "|")
    for row in rows:
        print("| " + " | ".join(row[key].ljust(width) for key, width in widths.items()) + " |")
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Memory of the results of all operations inside the context: new storages, and how many live at once.

    Tensors that existed before are not counted, nor is what a kernel allocates and frees inside itself.

    Attributes:
        largest: Bytes of the largest new storage.
        peak: Most bytes of new storages alive at the same time.
    """

    def __init__(self, *existing: torch.Tensor) -> None:
        """Count nothing of the storages of `existing`."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0
        self.peak = 0
        self._known = {tensor.untyped_storage().data_ptr() for tensor in existing}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at what it returns."""
        # In-place results and views share a storage with an argument: that one is known or was not counted.
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if _is_strided(t)}
        result = func(*args, **(kwargs or {}))
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}  # type: ignore[no-untyped-call]
        for tensor in tree_leaves(result):
            if _is_strided(tensor):
                storage = tensor.untyped_storage()
                key = storage.data_ptr()
                if key not in given and key not in self._known:
                    self._alive[key] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]
                    self.largest = max(self.largest, storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


def _is_strided(found: object) -> TypeGuard[torch.Tensor]:
    """Return True for a tensor with a storage; of a sparse tensor only the parts have one."""
    return isinstance(found, torch.Tensor) and found.layout == torch.strided
