"""Bytes and time of a training step on several processes of gloo, decorrelated, against DistributedDataParallel alone.

Each process has a batch of its own, one thread, SGD by backpropagation, and after its optimiser's step the step of the
plasticity; times are means over four steps, since interneurons move at every fourth. All conditions take turns in the
same processes; ratios are of the same round.

`kB` is what a process sends in a step, in rings: a number that is summed leaves it 2 (P - 1) / P times, one that is
gathered P - 1 times. `plasticity` is what the plasticity adds to the gradients; `all rows` what it would be if inputs
and outputs of all sampled rows were gathered, `matrices` if a features x features matrix of each layer were averaged.

Usage: python benchmarks/several_processes.py [--processes 2 4] [--rounds N] [--threads N] [--out FILE.csv]
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import Step, alternate, milliseconds, options, ratio, show
from models.dense import dense

BATCH, CLASSES, EVERY = 64, 10, 4


def convolutional() -> nn.Sequential:
    """Three convolutions, whose patches are many rows of few units, and two dense layers."""
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(before, after, 3, stride=2), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 3 * 3, 128), nn.LeakyReLU(), nn.Linear(128, CLASSES))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense 784 - 2 x 500 - 10": (partial(dense, [784, 500, 500, CLASSES], seed=0), (784,)),
    "3 convolutions, 2 dense": (convolutional, (3, 32, 32)),
}
RULES: dict[str, nd.rules.Rule | None] = {
    "none": None,
    "8 interneurons": nd.rules.get("interneuron", interneurons=8, every=EVERY),
    "dense, whitening": nd.rules.get("whitening"),
}


def summed(size: float) -> float:
    """Bytes that a process sends in a ring of so many that are summed."""
    world = dist.get_world_size()
    return size * 2 * (world - 1) / world


def gathered(size: float) -> float:
    """Bytes that a process sends in a ring of so many that are gathered."""
    return size * (dist.get_world_size() - 1)


class Traffic:
    """Bytes that a process sends in rings while in the context, as it asks torch.distributed for it."""

    def __init__(self) -> None:
        self.bytes = 0.0
        self._given = {name: getattr(dist, name) for name in ("all_reduce", "all_gather")}

    def __enter__(self) -> Traffic:
        def all_reduce(tensor: Tensor, **options: Any) -> object:
            self.bytes += summed(tensor.nbytes)
            return self._given["all_reduce"](tensor, **options)

        def all_gather(received: list[Tensor], tensor: Tensor, **options: Any) -> object:
            self.bytes += gathered(tensor.nbytes)
            return self._given["all_gather"](received, tensor, **options)

        vars(dist).update(all_reduce=all_reduce, all_gather=all_gather)
        return self

    def __exit__(self, *_: object) -> None:
        vars(dist).update(self._given)


class Training:
    """A network on its part of every batch, in all processes."""

    def __init__(self, name: str, rule: nd.rules.Rule | None) -> None:
        make, shape = NETWORKS[name]
        torch.manual_seed(0)
        network = make()
        if rule is not None:
            network = nd.decorrelate(network)
        self.plasticity = None if rule is None else nd.Plasticity(network, rule)
        self.network = DistributedDataParallel(network)
        self.optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(dist.get_rank())
        self.inputs = torch.randn(BATCH, *shape, generator=generator)
        self.labels = torch.randint(CLASSES, (BATCH,), generator=generator)

    def learn(self) -> None:
        """A step of the weights."""
        self.optimiser.zero_grad()
        F.cross_entropy(self.network(self.inputs), self.labels).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def step(self) -> None:
        """A step of the weights, and of the lateral weights."""
        self.learn()
        if self.plasticity is not None:
            self.plasticity.step()

    def gradients(self) -> float:
        """Bytes that DistributedDataParallel sends."""
        return summed(sum(p.nbytes for p in self.network.parameters()))

    def sent(self) -> float:
        """Bytes that the plasticity sends in a step, in the mean over as many as interneurons wait."""
        if self.plasticity is None:
            return 0.0
        traffic = Traffic()
        for _ in range(EVERY):
            self.learn()
            with traffic:
                self.plasticity.step()
        return traffic.bytes / EVERY

    def alternatives(self) -> tuple[float, float]:
        """Bytes that all rows would be, inputs and outputs, and one matrix a layer."""
        self.learn()
        rows = matrices = 0.0
        for module in self.network.modules():
            if isinstance(module, nd.Decorrelation):
                record = module.take_record()
                assert record is not None
                rows += gathered(record.inputs.nbytes + record.outputs.nbytes)
                matrices += summed(module.features**2 * module.mean.element_size())
        return rows, matrices


def measure(rank: int, world: int, rounds: int, threads: int, folder: str) -> None:
    """Run all conditions in turn in one process; the first process saves the rows of the table."""
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    rows = []
    for network in NETWORKS:
        trainings = {name: Training(network, rule) for name, rule in RULES.items()}
        taken = alternate({name: _together(of.step) for name, of in trainings.items()}, rounds, 0, multiple=EVERY)
        for name, training in trainings.items():
            gradients, sent = training.gradients(), training.sent()
            whole, matrices = training.alternatives() if training.plasticity is not None else (0.0, 0.0)
            rows.append(
                {
                    "processes": str(world),
                    "network": network,
                    "lateral weights": name,
                    "ms": milliseconds(taken[name]),
                    "it / plain": ratio(taken[name], taken["none"]),
                    "kB, gradients": f"{gradients / 1e3:.0f}",
                    "kB, plasticity": f"{sent / 1e3:.1f}",
                    "kB, all rows": f"{whole / 1e3:.0f}",
                    "kB, matrices": f"{matrices / 1e3:.0f}",
                }
            )
    if rank == 0:
        torch.save(rows, Path(folder) / "rows.pt")
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # threads that gloo keeps now and then abort a process that takes itself down in order


def _together(step: Step) -> Step:
    """A step that begins in all processes at once: `alternate` repeats it equally often in all of them."""

    def started() -> None:
        dist.barrier()
        step()

    return started


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = options("Bytes and time of a step on several processes.", rounds=9)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], help="how many (default: %(default)s)")
    parser.set_defaults(threads=1)
    given = parser.parse_args(arguments)
    rows: list[dict[str, str]] = []
    for world in given.processes:
        with tempfile.TemporaryDirectory() as folder:
            spawn(measure, (world, given.rounds, given.threads, folder), nprocs=world)  # type: ignore[no-untyped-call]
            rows += torch.load(Path(folder) / "rows.pt")
    print(f"{given.threads} thread a process, {given.rounds} rounds; ratios: median [quartiles] over rounds\n")
    show(rows, given.out)


if __name__ == "__main__":
    main()
