import collections
import math
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study.files import Damaged
from neuro_decorr.study.packing import Packed, unpack


def through(value: Any) -> Any:
    return unpack(*Packed({"value": value}).contents())["value"]


def told_apart(value: Any) -> Any:
    """A value in which all that == does not see is visible: types, bits of floats, order."""
    if isinstance(value, dict):
        return type(value), [(told_apart(key), told_apart(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [told_apart(item) for item in value]
    if isinstance(value, float):
        return float, "nan" if math.isnan(value) else struct.pack("d", value)
    return type(value), value


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.integers() | st.text() | st.booleans() | st.none() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner)
        | st.dictionaries(KEYS, inner).map(collections.OrderedDict)
    ),
)  # fmt: skip


@settings(max_examples=30)
@given(VALUES)
def test_nested_values_come_back_exactly(value: Any) -> None:
    assert told_apart(through(value)) == told_apart(value)


def bits(tensor: torch.Tensor) -> bytes:
    """Independent of safetensors: the bytes in memory of a plain copy."""
    return bytes(tensor.detach().clone(memory_format=torch.contiguous_format).untyped_storage())


KINDS = [
    torch.bool, torch.uint8, torch.uint16, torch.uint64, torch.int8, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128, torch.float8_e4m3fn,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 4), (2, 3, 4, 5)], ids=str)
def test_tensors_keep_their_type_shape_and_bits(kind: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (10 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).abs().to(kind)
    found = through(tensor)
    assert (found.dtype, found.shape, found.stride()) == (kind, tensor.shape, tensor.stride())
    assert bits(found) == bits(tensor)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.t(), lambda x: x[1:, ::2], lambda x: x[:1].expand(3, 6), lambda x: x.to(torch.complex64).conj(),
        torch.nn.Parameter, lambda x: x / 0, lambda x: x.view(2, 2, 3).permute(2, 0, 1),
    ],
)  # fmt: skip
def test_views_come_back_whole(change: Any) -> None:
    tensor = change(torch.arange(12.0).view(2, 6) - 3)
    found = through(tensor)
    torch.testing.assert_close(found, tensor.detach().resolve_conj(), rtol=0, atol=0, equal_nan=True)
    assert type(found) is torch.Tensor


def test_dimensions_keep_their_order_in_memory() -> None:
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert through(images).stride() == images.stride()
    assert through(torch.randn(3, 4).t()).stride() == (1, 4)


def test_tensors_that_share_memory_come_back_as_two() -> None:
    tensor = torch.arange(6.0)
    first, second, part = through([tensor, tensor, tensor[2:]])
    first.zero_()
    assert second.tolist() == tensor.tolist() and part.tolist() == tensor[2:].tolist()


def test_arrays_scalars_and_descriptions() -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.uint32).reshape(2, 3))
    found = through({"array": array, "scalar": np.float64(0.1), "size": torch.Size([2]), "kind": torch.bfloat16})
    assert found["array"].dtype == np.uint32 and found["array"].flags.f_contiguous
    assert np.array_equal(found["array"], array)
    assert type(found["scalar"]) is np.float64 and found["scalar"] == 0.1
    assert (found["size"], found["kind"]) == (torch.Size([2]), torch.bfloat16)
    assert through(torch.device("cpu")) == torch.device("cpu")
    assert through(collections.Counter({3: 2})) == collections.Counter({3: 2})
    assert through({"a": {1, 2}}) == {"a": {1, 2}}


def test_versions_of_layers_stay_with_a_state() -> None:
    state = torch.nn.BatchNorm1d(2).state_dict()
    assert through(state)._metadata == state._metadata  # type: ignore[attr-defined]


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"state": [1, {"best": Thing()}]}, "value['state'][1]['best'] is a Thing"),
        ({Thing(): 1}, "a key of value is a Thing"),
        (np.array(["a"]), "of <U1"),
        (np.arange(3, dtype=">i4"), "of >i4"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.empty(2, device="meta"), "on meta"),
        (torch.return_types.max((torch.ones(1), torch.ones(1))), "value is a max"),
        (lambda: 0, "value is a function"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_named(value: Any, said: str) -> None:
    with pytest.raises(InvalidValue) as error:
        Packed({"value": value})
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("which", [0, 1])
def test_any_changed_byte_is_seen(which: int) -> None:
    contents = list(Packed({"value": {"a": torch.tensor([1.0, 2.0]), "b": (1, math.inf)}}).contents())
    whole = contents[which]
    for at in range(len(whole)):
        contents[which] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(Damaged):
            unpack(*contents)
    contents[which] = whole[: len(whole) // 2]
    with pytest.raises(Damaged):
        unpack(*contents)
