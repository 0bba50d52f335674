"""What other libraries' modules do that torch's own do not: rate and credit ask here, and know no library by name.

A library is described by one `Library`, which is registered below. Describing it imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from torch import nn

ModuleTest = Callable[[Any], bool]


@final
@dataclass(frozen=True)
class Library:
    """What has to be known of the modules of a library.

    Attributes:
        package: Its import name; its modules are those whose class, or a class above, is defined in there.
        spikes: Of a module: whether it is neurons that spike.
        chains: Of a module: whether it hands the output of each of its children to the next, and keeps their states.
        became_stateless: Called with such a module and the name of a child that was replaced by one without a state.
    """

    package: str
    spikes: ModuleTest
    chains: ModuleTest
    became_stateless: Callable[[Any, str], None]


_libraries: dict[str, Library] = {}


def register(library: Library) -> None:
    """Let rate and credit know the modules of a library; a second description takes the place of the first."""
    _libraries[library.package] = library


def spiking_library(module: nn.Module) -> str | None:
    """The library whose neurons a module is, by its import name; None for anything else."""
    found = _library_of(module)
    return found.package if found is not None and found.spikes(module) else None


def is_chain(module: nn.Module) -> bool:
    """Whether a module hands the output of each of its children to the next: a Sequential, of torch or of a library."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return True
    found = _library_of(module)
    return found is not None and found.chains(module)


def replaced_by_stateless(parent: nn.Module, name: str) -> None:
    """Tell a module that one of its children was replaced by a module without a state."""
    found = _library_of(parent)
    if found is not None and found.chains(parent):
        found.became_stateless(parent, name)


def _library_of(module: nn.Module) -> Library | None:
    packages = (kind.__module__.partition(".")[0] for kind in type(module).__mro__)
    return next((_libraries[package] for package in packages if package in _libraries), None)


def _norse_forget_state(sequence: Any, name: str) -> None:
    sequence.stateful_layers[int(name)] = False  # noted at its construction, child by child


register(
    Library(
        "norse",
        # Norse has no common class of neurons; whatever is no container counts.
        spikes=lambda module: not isinstance(module, nn.Sequential),
        chains=lambda module: hasattr(module, "stateful_layers"),  # SequentialState
        became_stateless=_norse_forget_state,
    )
)
