"""Two processes with half of every batch each, against one process with all of it."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import neuro_decorr as nd

RULES = {"whitening": {"rate": 5e-2}, "interneuron": {"interneurons": 2, "every": 1}}


def make(rule: str, processes: bool) -> tuple[nn.Module, nd.Plasticity]:
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv1d(2, 4, 3, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 2)
    )
    model = nd.decorrelate(plain.double())
    rules = nd.rules.get(rule, **RULES[rule])
    return model, nd.Plasticity(model, rules, row_fraction=1.0, compensate=True, processes=processes)


def data() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 1 + torch.randn(6, 8, 2, 6, generator=generator, dtype=torch.float64).cumsum(dim=3)


def train(network: nn.Module, plasticity: nd.Plasticity, batches: Tensor) -> None:
    """Weights by gradient, lateral weights by plasticity."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02)
    for batch in batches:
        optimiser.zero_grad()
        network(batch).square().mean().backward()
        optimiser.step()
        plasticity.step()


def uneven(features: int = 3) -> tuple[nd.Decorrelation, list[list[Tensor]]]:
    """Rows of two processes at four steps: as many, more of one, none of one, few."""
    generator = torch.Generator().manual_seed(1)
    sizes = [(4, 4), (6, 2), (0, 5), (3, 1)]
    rows = [[torch.randn(n, features, generator=generator) + 1 for n in pair] for pair in sizes]
    return nd.Decorrelation(features, row_fraction=1.0), rows


def worker(rank: int, folder: str) -> None:
    """One of the two processes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    for rule in RULES:
        model, plasticity = make(rule, processes=True)
        train(DistributedDataParallel(model), plasticity, data()[:, 4 * rank : 4 * rank + 4])
        found[rule] = model.state_dict()
    model, plasticity = make("whitening", processes=False)
    train(model, plasticity, data()[:, 4 * rank : 4 * rank + 4])
    found["alone"] = model.state_dict()
    module, rows = uneven()
    plasticity = nd.Plasticity(module, nd.rules.get("norm_preserving", rate=1e-2))
    for pair in rows:
        if len(pair[rank]):
            module(pair[rank])
        plasticity.step()
    found["uneven"] = module.state_dict()
    torch.save(found, Path(folder) / f"{rank}.pt")
    # No process leaves while the other is in an operation. Threads that gloo keeps now and then abort a process which
    # takes itself down in order; what is tested is in the file by now.
    del model, plasticity, module
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each of the two processes ended with."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("rule", RULES)
def test_the_same_in_all_processes_and_as_in_one(rule: str, processes: list[dict[str, dict[str, Tensor]]]) -> None:
    model, plasticity = make(rule, processes=True)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, plasticity, data())
    for name, tensor in model.state_dict().items():
        one, other = (found[rule][name] for found in processes)
        assert torch.equal(one, other), f"{name} differs between the processes"
        torch.testing.assert_close(one, tensor, rtol=1e-8, atol=1e-9, msg=name)
        assert not torch.equal(tensor, start[name]), f"{name} never moved"


def test_processes_with_unequal_rows_and_with_none(processes: list[dict[str, dict[str, Tensor]]]) -> None:
    module, rows = uneven()
    plasticity = nd.Plasticity(module, nd.rules.get("norm_preserving", rate=1e-2))
    for pair in rows:
        module(torch.cat(pair))
        plasticity.step()
    for name, tensor in module.state_dict().items():
        assert torch.equal(processes[0]["uneven"][name], processes[1]["uneven"][name])
        torch.testing.assert_close(processes[0]["uneven"][name], tensor)


def test_a_process_may_learn_alone(processes: list[dict[str, dict[str, Tensor]]]) -> None:
    one, other = (found["alone"]["0.decorrelation.matrix"] for found in processes)
    assert not torch.allclose(one, other)
