"""Undoing what a forward pass does besides returning its output."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._layers import name_of
from neuro_decorr.errors import StateMismatch


@final
class Buffers:
    """Undoes what passes write into the buffers of a model (running statistics).

    Modules that remember passes for a plasticity, told by their attribute `remembers`, do not remember these.

    The first pass in every combination of train and eval modes is surveyed with a copy of all buffers; from then on
    only those that are known to be written are copied.
    """

    def __init__(self) -> None:
        self._written: set[tuple[int, str]] = set()
        self._surveyed: list[bool] | None = None

    @contextmanager
    def restored(self, model: nn.Module, modules: list[nn.Module]) -> Iterator[None]:
        """Run a pass, then put all buffers back.

        Args:
            model: The model, for messages.
            modules: All its modules, always in the same order.

        Yields:
            Nothing; the pass is to be run inside.

        Raises:
            StateMismatch: A buffer was written that was never written before in these modes.
        """
        modes = [module.training for module in modules]
        survey = modes != self._surveyed
        before: list[tuple[tuple[int, str], nn.Module, Tensor, int, Tensor | None]] = []
        for index, module in enumerate(modules):
            if not module._buffers:
                continue
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    key = (index, name)
                    copied = buffer.clone() if survey or key in self._written else None
                    before.append((key, module, buffer, buffer._version, copied))
        lost = []
        remembering: list[Any] = [module for module in modules if vars(module).get("remembers")]
        for module in remembering:
            module.remembers = False
        try:
            yield
        finally:
            for module in remembering:
                module.remembers = True
            for key, module, buffer, version, copied in before:
                name = key[1]
                untouched = module._buffers.get(name) is buffer and buffer._version == version
                if survey and untouched and copied is not None:
                    untouched = torch.equal(buffer, copied)  # batch normalisation writes without a new version
                if untouched and key not in self._written:
                    continue
                self._written.add(key)
                if copied is None:
                    lost.append(f"buffer '{name}' of {name_of(model, module)}")
                    continue
                module._buffers[name] = buffer
                with torch.no_grad():
                    buffer.copy_(copied)
        self._surveyed = modes
        if lost:
            raise StateMismatch(
                f"a perturbed pass wrote {', '.join(lost)}, which earlier passes had left alone, so that it could not "
                "be put back; run the step again from saved weights: it is protected from now on."
            )


@final
class RandomState:
    """Torch's random state before the passes, so that all of them see the same dropout.

    Args:
        devices: Where the passes run.
    """

    def __init__(self, devices: Set[torch.device]) -> None:
        self._on_cpu = torch.get_rng_state()
        self._elsewhere = []
        for device in devices:
            if device.type == "cpu":
                continue
            backend = torch.get_device_module(device)
            self._elsewhere.append((backend, device, backend.get_rng_state(device)))

    def restore(self) -> None:
        """Put the state back."""
        torch.set_rng_state(self._on_cpu)
        for backend, device, state in self._elsewhere:
            backend.set_rng_state(state, device)

    def was_used(self) -> bool:
        """Whether random numbers have been drawn since."""
        return not torch.equal(self._on_cpu, torch.get_rng_state()) or any(
            not torch.equal(state, backend.get_rng_state(device)) for backend, device, state in self._elsewhere
        )
