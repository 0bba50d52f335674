"""Modules of other libraries that behave unlike torch's own; `rate` and `credit` ask here and name no library.

Here are also the signs of passes that something else than the user runs: an exporter, or autograd for a checkpoint.

One `Library`, registered below, describes each library. The description imports nothing of that library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from neuro_decorr.errors import Unsupported

_CALL = nn.Module.__call__

ModuleTest = Callable[[Any], bool]


@final
@dataclass(frozen=True)
class Library:
    """Facts about the modules of a library.

    Attributes:
        package: Import name; the modules of a library are those whose class, or a base class, is defined in it.
        spikes: Function of a module: True for spiking neurons.
        chains: Function of a module: True if the module feeds the output of each child to the next child and keeps
            their states.
        became_stateless: Function that is called with such a module and the name of a child that a module without a
            state has replaced.
        sequences: Function of a module: True if the module runs over sequences, whose first dimension is time.
        reset: Call that makes a model forget the state of its neurons, for messages; empty where none is kept.
        copied: Function that is called with every module of a copy, for libraries that list their modules as they make
            them, since a copy is not made but filled.
    """

    package: str
    spikes: ModuleTest
    chains: ModuleTest = lambda _: False
    became_stateless: Callable[[Any, str], None] = lambda *_: None
    sequences: ModuleTest = lambda _: False
    reset: str = ""
    copied: Callable[[Any], None] = lambda _: None


_libraries: dict[str, Library] = {}


def register(library: Library) -> None:
    """Register a library for `rate` and `credit`; a second description of the same package replaces the first."""
    _libraries[library.package] = library


def spiking_library(module: nn.Module) -> str | None:
    """Import name of the library if a module is spiking neurons of a registered library; None otherwise."""
    found = _library_of(module)
    return found.package if found is not None and found.spikes(module) else None


def runs_over_sequences(module: nn.Module) -> bool:
    """True if a module of a registered library runs over sequences, whose first dimension is time."""
    found = _library_of(module)
    return found is not None and found.sequences(module)


def reset_of(module: nn.Module) -> str:
    """Call that makes a model with this module forget its state; empty if no registered library names one."""
    found = _library_of(module)
    return found.reset if found is not None else ""


def was_copied(module: nn.Module) -> None:
    """Tell the library of a module, if it is registered, that the module is a copy."""
    if (found := _library_of(module)) is not None:
        found.copied(module)


def is_chain(module: nn.Module) -> bool:
    """True if a module feeds the output of each child to the next: a Sequential of torch or of a registered library."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return True
    found = _library_of(module)
    return found is not None and found.chains(module)


def replaced_by_stateless(parent: nn.Module, name: str) -> None:
    """Inform a module that a module without a state has replaced one of its children."""
    found = _library_of(parent)
    if found is not None and found.chains(parent):
        found.became_stateless(parent, name)


def check_not_traced_by_nirtorch(what: str) -> None:
    """Raise Unsupported while nirtorch traces a network, as `norse.torch.to_nir` does.

    nirtorch would export the weights of the layers that it knows and omit the decorrelation that they have learnt.
    While it traces, it replaces the call of all modules, by which this function recognises it.

    Args:
        what: Name of the module that asks.

    Raises:
        Unsupported: nirtorch is tracing.
    """
    if nn.Module.__call__ is not _CALL and getattr(nn.Module.__call__, "__module__", "") == "nirtorch.graph":
        raise Unsupported(
            f"this NIR exporter would write the network without the {what}: use nd.norse.to_nir(network), which writes "
            "both, or give the exporter nd.fold(network)."
        )


def in_backward() -> bool:
    """True if autograd is running backward, in which a forward pass can only be a recomputed checkpoint."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _library_of(module: nn.Module) -> Library | None:
    packages = (kind.__module__.partition(".")[0] for kind in type(module).__mro__)
    return next((_libraries[package] for package in packages if package in _libraries), None)


def _norse_forget_state(sequence: Any, name: str) -> None:
    sequence.stateful_layers[int(name)] = False  # noted at its construction, child by child


def _norse_class(module: nn.Module) -> str:
    """Name of the class of Norse that a module is an instance of, perhaps through a subclass."""
    return next(kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("norse."))


def _norse_spikes(module: nn.Module) -> bool:
    # Norse has no common base class of neurons: every module counts that is no container and no leaky integrator.
    name = _norse_class(module)
    integrates = name.startswith("LI") and not name.startswith("LIF")
    return not integrates and name not in ("SequentialState", "RecurrentSequential", "Lift")


def _norse_runs_over_sequences(module: nn.Module) -> bool:
    kinds = [kind.__name__ for kind in type(module).__mro__]
    return "SNN" in kinds or "SNNRecurrent" in kinds or "Lift" in kinds


register(
    Library(
        "norse",
        spikes=_norse_spikes,
        chains=lambda module: hasattr(module, "stateful_layers"),  # SequentialState
        became_stateless=_norse_forget_state,
        sequences=_norse_runs_over_sequences,
    )
)

# SpikingJelly's modules run step by step or, in step mode 'm', over sequences; neurons keep their state in attributes.
register(
    Library(
        "spikingjelly",
        spikes=lambda module: any(kind.__name__ == "BaseNode" for kind in type(module).__mro__),
        sequences=lambda module: getattr(module, "step_mode", "s") == "m",
        reset="spikingjelly.activation_based.functional.reset_net(model)",
    )
)


def _snntorch_copied(module: Any) -> None:
    for kind in type(module).__mro__:
        if kind.__name__ == "SpikingNeuron":
            kind.instances.append(module)  # type: ignore[attr-defined]  # what snntorch.utils.reset goes through
            return


# The neurons of snnTorch take one step a call, in a loop of the user; all else that is asked here depends on nothing.
register(Library("snntorch", spikes=lambda _: False, copied=_snntorch_copied))
