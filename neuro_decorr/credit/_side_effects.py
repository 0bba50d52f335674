"""Reversal of the side effects of a forward pass on a model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._layers import name_of
from neuro_decorr.credit._run import NO_STATE, is_record, output_of, run
from neuro_decorr.errors import StateMismatch


@final
class SideEffects:
    """Reversal of changes that passes make to a model: running statistics in buffers, state of neurons in attributes.

    Buffers and attributes are restored, with the tensors and collections in them. Modules that remember passes for a
    plasticity, which have an attribute `remembers`, do not remember these passes.

    The first pass in every combination of train and eval modes is surveyed with a copy of all tensors; later passes
    copy only tensors that are known to be written.
    """

    def __init__(self) -> None:
        self._written: set[tuple[int, str]] = set()
        self._surveyed: list[bool] | None = None

    def are_known(self, modules: list[nn.Module]) -> bool:
        """True if a pass in these modes has been surveyed."""
        return self._surveyed == [module.training for module in modules]

    @contextmanager
    def restored(self, model: nn.Module, modules: list[nn.Module]) -> Iterator[None]:
        """Context for a pass, after which everything is restored.

        Args:
            model: The model, for messages.
            modules: All modules of the model, always in the same order.

        Yields:
            Nothing; run the pass inside.

        Raises:
            StateMismatch: A tensor was written in place that was never written before in these modes.
        """
        modes = [module.training for module in modules]
        modules = list(dict.fromkeys(modules))  # shared ones once
        before = _Snapshot(modules, self._written, survey=modes != self._surveyed)
        remembering: list[Any] = [module for module in modules if vars(module).get("remembers")]
        for module in remembering:
            module.remembers = False
        try:
            yield
        finally:
            for module in remembering:
                module.remembers = True
            lost = before.put_back()
        self._surveyed = modes
        if lost:
            names = [f"'{name}' of {name_of(model, modules[index])}" for index, name in sorted(lost)]
            raise StateMismatch(
                f"a perturbed pass wrote {', '.join(names)}, which earlier passes had not written, so that it could "
                "not be restored: run the step again from saved weights, since it is protected from now on."
            )


@final
class _Snapshot:
    """Buffers and attributes of modules before a pass.

    Args:
        modules: The modules, each once.
        written: Index of the module and name of every tensor known to be written in place; extended here.
        survey: True copies everything.
    """

    def __init__(self, modules: list[nn.Module], written: set[tuple[int, str]], survey: bool) -> None:
        self._modules = modules
        self._written = written
        self._survey = survey
        self._attributes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._collections: list[tuple[Any, Any]] = []
        self._tensors: list[tuple[tuple[int, str], Tensor, int, Tensor | None]] = []
        self._stand_ins: list[tuple[tuple[int, str], Tensor, int, Tensor]] = []
        self._seen: set[int] = set()  # objects may refer to each other in circles
        for index, module in enumerate(modules):
            own = {name: value for name, value in vars(module).items() if name not in NO_STATE}
            self._attributes.append((vars(module), own))
            for name, value in own.items():
                self._add((index, name), value)
            if module._buffers:
                self._add_buffers(index, module._buffers)

    def put_back(self) -> set[tuple[int, str]]:
        """Restore everything, and return what was written in place without a copy."""
        for key, buffer, version, stand_in in self._stand_ins:
            written = stand_in._version != version or self._modules[key[0]]._buffers.get(key[1]) is not stand_in
            if written or not torch.equal(stand_in, buffer):  # batch normalisation writes without a new version
                self._written.add(key)
        for own, before in self._attributes:
            for name in [name for name in own if name not in before and name not in NO_STATE]:
                del own[name]
            own.update(before)
        for collection, copied in self._collections:
            _fill(collection, copied)
        lost = set()
        for key, tensor, version, copied in self._tensors:
            if tensor._version == version:
                continue
            self._written.add(key)
            if copied is None:
                lost.add(key)
            else:
                with torch.no_grad():
                    tensor.copy_(copied)
        return lost

    def _add(self, key: tuple[int, str], value: Any) -> None:
        """Add a value with all that it consists of."""
        if isinstance(value, Tensor):
            if not (value.requires_grad and value.is_leaf):  # a parameter is no state
                copied = value.detach().clone() if self._survey or key in self._written else None
                self._tensors.append((key, value, value._version, copied))
        elif isinstance(value, (dict, list, tuple, set, deque)):
            if id(value) in self._seen:
                return
            self._seen.add(id(value))
            if not isinstance(value, tuple):
                self._collections.append((value, value.copy()))
            for item in value.values() if isinstance(value, dict) else value:
                self._add(key, item)
        elif is_record(value) and id(value) not in self._seen:
            self._seen.add(id(value))
            self._attributes.append((vars(value), dict(vars(value))))
            for item in list(vars(value).values()):
                self._add(key, item)

    def _add_buffers(self, index: int, buffers: dict[str, Tensor | None]) -> None:
        """Add buffers; the pass works on copies of those that it may write, so that its graph keeps their values."""
        self._collections.append((buffers, buffers.copy()))
        for name, buffer in buffers.items():
            if buffer is None:
                continue
            key = (index, name)
            self._tensors.append((key, buffer, buffer._version, None))
            if self._survey or key in self._written:
                stand_in = buffers[name] = buffer.clone()
                self._stand_ins.append((key, buffer, stand_in._version, stand_in))


@final
class RandomState:
    """Random state of torch before the passes, by which all passes see the same dropout.

    Args:
        devices: Devices on which the passes run.
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
        """Restore the state."""
        torch.set_rng_state(self._on_cpu)
        for backend, device, state in self._elsewhere:
            backend.set_rng_state(state, device)

    def was_used(self) -> bool:
        """True if random numbers have been drawn since."""
        return not torch.equal(self._on_cpu, torch.get_rng_state()) or any(
            not torch.equal(state, backend.get_rng_state(device)) for backend, device, state in self._elsewhere
        )


def last_pass(
    model: nn.Module,
    inputs: Any,
    modules: list[nn.Module],
    side_effects: SideEffects,
    random_state: RandomState,
    known: bool,
    between: Callable[[], Any] = lambda: None,
) -> Any:
    """Run the clean pass, whose effects on the model stay; the first time after a trial that checks that it repeats.

    Args:
        model: The model.
        inputs: Inputs of the model.
        modules: All modules of the model.
        side_effects: Reversal of the trial.
        random_state: Random state from which both start.
        known: True if the pass has been tried in these modes.
        between: Function to be called after the trial.

    Returns:
        Outputs of the model.

    Raises:
        StateMismatch: The model returned two different results.
    """
    if known:
        return run(model, inputs)
    with torch.no_grad(), side_effects.restored(model, modules):
        first = output_of(model(inputs))
    random_state.restore()
    between()
    second = run(model, inputs)
    if isinstance(first, Tensor) and isinstance(second, Tensor) and not _alike(first, second.detach()):
        raise StateMismatch(
            "the model returns something else for the same inputs a second time, which a perturbed pass would take for "
            "an effect of the noise: it holds a state that is neither a buffer nor an attribute of its modules, draws "
            "random numbers that are not torch's, or works in place on its inputs. Keep the state in buffers or "
            "attributes, or give it to the model as an input."
        )
    return second


def _alike(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    size = float(second.abs().max()) if second.numel() else 0.0
    # Not checked on a device that sums in any order, nor for a diverged network.
    return not math.isfinite(size) or torch.allclose(first, second, rtol=1e-3, atol=1e-4 * size)


def _fill(collection: Any, before: Any) -> None:
    """Restore the content of a collection that changed."""
    now, then = ([*c, *c.values()] if isinstance(c, dict) else c for c in (collection, before))
    if len(collection) == len(before) and all(a is b for a, b in zip(now, then, strict=True)):
        return
    collection.clear()
    (collection.extend if isinstance(collection, (list, deque)) else collection.update)(before)
