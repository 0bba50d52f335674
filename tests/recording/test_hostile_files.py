"""Files that claim what is not true: sizes, shapes, types, encryption; each is read or refused in one line.

What a header claims is never asked of the memory, and nothing is waited for.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import load


def npy(header: str) -> bytes:
    """The file of an array of five doubles whose header is this text."""
    text = header.encode("latin1")
    padded = text + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(padded)) + padded + b"\0" * 40


def head(shape: str, kind: str = "'<f8'") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}"


def stored(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


SPIKES = {"time.npy": stored(np.linspace(0, 1, 5)), "unit.npy": stored(np.arange(5) % 2)}


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def told(content: bytes, offset: int, width: int, value: int, everywhere: bool = False) -> bytes:
    """An archive whose directory says something else in a field of its first entry, or of all."""
    changed, at = bytearray(content), -1
    while (at := changed.find(b"PK\1\2", at + 1)) >= 0:
        changed[at + offset : at + offset + width] = value.to_bytes(width, "little")
        if not everywhere:
            break
    return bytes(changed)


HEADERS = {
    "a million million": head("(1000000000000,)"),
    "more than any memory": head("(1000000000000000000,)"),
    "no machine number": head(f"({10**30},)"),
    "product too large": head("(4294967296, 4294967296, 2)"),
    "no rows of very many": head("(0, 1000000000000)"),
    "negative": head("(-5,)"),
    "not whole": head("(5.0,)"),
    "a truth": head("(True,)"),
    "70 dimensions": head("(" + "1," * 70 + ")"),
    "deep": "[" * 300 + "]" * 300,
    "open brackets": "(" * 300,
    "open text": "{'descr': '''",
    "empty": "",
    "a call": "__import__('os').getcwd()",
    "objects": head("(5,)", "'|O'"),
    "long texts": head("(5,)", "'<U1000000000'"),
    "texts of no length": head("(1000000000000,)", "'<U0'"),
    "nothing": head("(5,)", "'|V0'"),
    "fields": head("(5,)", "[('a', '<f8')]"),
    "dates": head("(5,)", "'<M8[s]'"),
    "complex": head("(5,)", "'<c16'"),
    "deep type": head("(5,)", "(" * 100 + "'<f8'" + ",(1,))" * 100),
}
"""What the header of an array may say."""


def files(everywhere: bool) -> dict[str, bytes]:
    """Files by name, with every header for the times of spikes alone, or wherever an array may be."""
    made = {}
    for name, header in HEADERS.items():
        made[f"{name}, time.npz"] = archive({**SPIKES, "time.npy": npy(header)})
        if not everywhere:
            continue
        made[f"{name}, start.npz"] = archive({**SPIKES, "start.npy": npy(header), "stop.npy": stored(2.0)})
        made[f"{name}, values.npz"] = archive({"values.npy": npy(header), "step.npy": stored(0.1)})
        made[f"{name}, other.npz"] = archive({"other.npy": npy(header)})
        made[f"{name}.npy"] = npy(header)
    whole, plain = archive(SPIKES), archive(SPIKES, zipfile.ZIP_STORED)
    made["encrypted.npz"] = told(told(whole, 8, 2, 1, everywhere=True), 8, 2, 1)
    fields = {"method": (10, 2), "crc": (16, 4), "packed": (20, 4), "size": (24, 4), "name": (28, 2), "extra": (30, 2)}
    for field, (offset, width) in {**fields, "offset": (42, 4)}.items():
        for value in (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width) - 1):
            made[f"{field} {value}.npz"] = told(whole, offset, width, value)
            made[f"plain, {field} {value}.npz"] = told(plain, offset, width, value)
    made["objects.npz"] = archive({**SPIKES, "time.npy": stored(np.array([{}, 1], dtype=object))})
    made["pickle.npz"] = pickle.dumps({"time": [1.0]})
    made["twice.npz"] = whole + whole
    made["nothing.npz"] = archive({})
    made["folder.npz"] = archive({"time.npy/": b"", "unit.npy": SPIKES["unit.npy"]})
    made["texts.npz"] = archive({"time": b"hello", "unit": b"hello"})
    return made | {
        "null.csv": b"unit,time\n\0,1\n",
        "quote.csv": b'unit,time\n"' + b"a" * 10000,
        "deep.csv": b"# units = " + b"[" * 100000 + b"\nunit,time\n1,2\n",
        "digits.csv": b"unit,time\n" + b"9" * 6000 + b",1\n",
        "more digits.csv": b"# start = " + b"9" * 6000 + b"\n# stop = 1e999\nunit,time\n1," + b"9" * 6000 + b"\n",
        "many columns.csv": ",".join(map(str, range(1000))).encode() + b"\na\n",
        "infinite.csv": b"unit,time\n1,inf\n1,nan\n1,1e308\n1,-1e308\n",
        "trial.csv": b"# trial_duration = 1\nunit,time,trial\n1,.2,1000000000000\n",
        "span.csv": b"unit,time\n1,0\n1,1e300\n2,3\n",
        "half a sign.csv": "unit,time\n1,2\n".encode("utf-16")[:-1],
        "cut.mat": b"MATLAB 5.0 MAT-file" + b" " * 97 + b"\0" * 12 + b"\0\1IM" + b"\xff" * 100,
        "zeros.mat": b"\0" * 20,
        "footer.parquet": b"PAR1" + b"\0" * 30 + struct.pack("<I", 2**31 - 1) + b"PAR1",
        "cut.nwb": b"\x89HDF\r\n\x1a\n" + b"\0" * 2000,
    }


@pytest.mark.parametrize("everywhere", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_a_file_claims_is_checked_before_it_is_believed(everywhere: bool, tmp_path: Path) -> None:
    read = []
    for name, content in files(everywhere).items():
        path = tmp_path / name
        path.write_bytes(content)
        claims = name.startswith(("a million million", "more than", "long texts", "trial", "footer", "size"))
        if claims:
            tracemalloc.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                load(path, step=0.1 if path.suffix == ".npy" else None)
                read.append(name)
            except InvalidValue as error:
                line = str(error)
                assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < 1500, f"{name}: {line}"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()  # it makes everything several times slower
        # The first of a kind imports what reads it. Of a claim of 10^12 numbers nothing is ever asked for.
        assert peak < 300e6, f"{name}: {peak / 1e6:.0f} MB"
    # Those that are sound, or where only what nobody needs is wrong.
    assert "twice.npz" in read and not any("million million" in name or "objects" in name for name in read)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with pytest.raises(InvalidValue, match=f"^{re.escape(str(pipe))}: is no file but a pipe or a device"):
        load(pipe)
    for name in ("a\0b.npz", "a" * 5000):
        with pytest.raises(InvalidValue, match=r"cannot be read|no such file"):
            load(tmp_path / name)


def test_many_names_of_columns_are_compared_at_once(tmp_path: Path) -> None:
    """Each with all before it would be 5e9 comparisons."""
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{k}" for k in range(100_000)) + ",c0\n")
    with pytest.raises(InvalidValue, match="'c0' is there twice"):
        load(path)
