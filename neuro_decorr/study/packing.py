"""Packing of nested values into two files without pickle: tensors in safetensors, everything else in sealed JSON."""

from __future__ import annotations

import collections
from collections.abc import Hashable, Mapping
from typing import Any, final

from neuro_decorr.errors import InvalidValue, StateMismatch, require, shown
from neuro_decorr.study import files
from neuro_decorr.study.files import Damaged

_PLAIN = (type(None), bool, int, float, str)
"""Types that JSON holds as they are. Subclasses are excluded: they may hold more than their base class shows."""
_GROUPS: tuple[Any, ...] = (tuple, set, frozenset)
_PAIRS: tuple[Any, ...] = (dict, collections.OrderedDict, collections.Counter)
_DTYPES = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
)  # fmt: skip
"""Number types that safetensors holds; a complex number is stored as a pair of real ones."""


@final
class Packed:
    """Nested values, taken apart so that they can be written.

    Dicts keep their order and the types of their keys; tuples, lists and torch.Size stay what they are; numbers are
    exact, also NaN and infinity; tensors keep type, device, values and the order of their dimensions in memory. Two
    tensors that share memory become separate tensors, which makes no difference to `load_state_dict`, since it copies.

    Args:
        values: Values by name (for the message): None, bool, int, float, str, bytes, tensors, arrays and scalars of
            NumPy, types and devices of torch, and tuples, lists, sets, dicts, OrderedDicts and Counters of these.

    Raises:
        InvalidValue: An entry is of another type; the message names it.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._tensors: list[Any] = []
        self._values = {name: self._pack(value, name) for name, value in values.items()}

    def contents(self) -> tuple[bytes, bytes]:
        """Encode the two files. Cost: three copies of the tensors in memory for a moment.

        Returns:
            The sealed text, which has the checksum of the tensors; and the tensors.
        """
        # Copies, since safetensors refuses tensors that share memory.
        whole = {str(number): tensor.cpu().clone() for number, tensor in enumerate(self._tensors)}
        tensors: bytes = require("safetensors.torch", "study").save(whole)
        return files.seal({"tensors": files.digest(tensors), "values": self._values}), tensors

    def _pack(self, value: Any, name: str) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is list:
            return self._items(value, name)
        if kind is bytes:
            return {"bytes": value.hex()}
        if kind in _GROUPS:
            return {kind.__name__: self._items(value, name)}
        return self._pairs(value, name) if kind in _PAIRS else self._numbers(value, name)

    def _pairs(self, value: Any, name: str) -> dict[str, Any]:
        pairs = [[self._key(key, name), self._pack(item, f"{name}[{key!r}]")] for key, item in value.items()]
        # `_metadata`, where modules keep the versions of their layers.
        metadata = getattr(value, "_metadata", None)
        held = {} if metadata is None else {"metadata": self._pack(metadata, name)}
        return {type(value).__name__: pairs, **held}

    def _items(self, values: Any, name: str) -> list[Any]:
        if all(type(item) in _PLAIN for item in values):  # long columns of numbers
            return list(values)
        return [self._pack(item, f"{name}[{index}]") for index, item in enumerate(values)]

    def _key(self, key: Hashable, name: str) -> Any:
        if isinstance(key, str | int | float | bool | tuple | None):
            return self._pack(key, f"a key of {name}")
        raise _unknown(f"a key of {name}", shown(key))

    def _numbers(self, value: Any, name: str) -> Any:
        import numpy as np
        import torch

        if isinstance(value, np.ndarray | np.generic):
            try:
                tensor = torch.from_numpy(np.array(value))
            except (TypeError, ValueError) as error:
                raise _unknown(name, f"{shown(value)} of {value.dtype}") from error
            return {"array" if isinstance(value, np.ndarray) else "scalar": self._tensor(tensor, name)}
        if type(value) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer):
            return {"tensor": self._tensor(value.detach(), name)}
        if isinstance(value, torch.Size):
            return {"size": list(value)}
        if isinstance(value, torch.dtype | torch.device):
            return {type(value).__name__: str(value).removeprefix("torch.")}
        raise _unknown(name, shown(value))

    def _tensor(self, tensor: Any, name: str) -> dict[str, Any]:
        import torch

        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized or kind not in _DTYPES:
            raise _unknown(name, f"a tensor of {kind}, {tensor.layout}, on {tensor.device}")
        # Keep the order of the dimensions in memory: a sum over a transposed copy would differ in its last bits.
        order = sorted(range(tensor.dim()), key=lambda axis: -tensor.stride(axis))
        plain = tensor.permute(order).contiguous()
        if tensor.is_complex():
            plain = torch.view_as_real(plain.resolve_conj().resolve_neg())
        self._tensors.append(plain)
        return {
            "number": len(self._tensors) - 1,
            "device": str(tensor.device),
            "order": order,
            "complex": tensor.is_complex(),
        }


def unpack(text: bytes, tensors: bytes) -> dict[str, Any]:
    """Restore packed values.

    Args:
        text: First file of `Packed.contents`.
        tensors: Second file of `Packed.contents`.

    Returns:
        The values by name.

    Raises:
        Damaged: A byte of a file has changed.
        StateMismatch: A tensor was on a device that this machine does not have.
    """
    payload = files.unseal(text)
    if files.digest(tensors) != payload.get("tensors"):
        raise Damaged("damaged (its checksum does not fit)")
    held = require("safetensors.torch", "study").load(tensors)
    return {name: _unpack(value, held) for name, value in payload["values"].items()}


def _unpack(value: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    kind, content = next((kind, content) for kind, content in value.items() if kind != "metadata")
    groups, pairs = {each.__name__: each for each in _GROUPS}, {each.__name__: each for each in _PAIRS}
    if kind in groups:
        return groups[kind](_unpack(content, tensors))
    if kind in pairs:
        made: Any = pairs[kind]()
        for key, item in content:
            made[_unpack(key, tensors)] = _unpack(item, tensors)
        if "metadata" in value:
            made._metadata = _unpack(value["metadata"], tensors)
        return made
    if kind == "bytes":
        return bytes.fromhex(content)
    return _unpack_number(kind, content, tensors)


def _unpack_number(kind: str, content: Any, tensors: dict[str, Any]) -> Any:
    import torch

    if kind in ("size", "dtype", "device"):
        makers: dict[str, Any] = {
            "size": torch.Size,
            "device": torch.device,
            "dtype": lambda name: getattr(torch, name),
        }
        return makers[kind](content)
    tensor = tensors[str(content["number"])]
    if content["complex"]:
        tensor = torch.view_as_complex(tensor)
    order = content["order"]
    tensor = tensor.permute([order.index(axis) for axis in range(len(order))])
    if kind != "tensor":
        return tensor.numpy()[() if kind == "scalar" else ...]
    try:
        return tensor.to(content["device"])
    except (RuntimeError, AssertionError) as error:  # AssertionError where torch was built without the device
        raise StateMismatch(f"from the device {content['device']}, which this machine does not have") from error


def _unknown(name: str, told: str) -> InvalidValue:
    return InvalidValue(
        f"{name} is {told}, which a checkpoint cannot hold; allowed are tensors, arrays, numbers, text, None, and "
        "tuples, lists, sets and dicts of these."
    )
