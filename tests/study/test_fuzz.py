"""A damaged study directory: every reader gives what was written, or one clear error; nothing else ever comes out.

Damage comes as bytes, which checksums tell, and as another content with a checksum that fits, such as a program of
another version would write.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro_decorr.errors import NeuroDecorrError
from neuro_decorr.study import Condition, Recorder, files, provenance
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.origin import Origin, key
from neuro_decorr.study.rows import FEW
from neuro_decorr.study.store import Store, load_weights
from tests.recording.test_fuzz import mutants

CONDITION = Condition("measure", 1, {"arm": "center", "rate": 0.1})
IDENTITY = Identity("example", {"epochs": 3, "arms": ["center"]}, 2)
ORIGIN = Origin({}, {"example.py": "1f"}, {"neuro_decorr/errors.py": "2e"}, {"python": "3.11"})
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1e308,
    "",
    "x" * 3000,
    "\ud800",
    "../../x",
    [],
    [[]],
    {},
    {"a": {}},
    [None],
]


def write(directory: Path) -> None:
    """A small study with one run, as its writers write it."""
    IDENTITY.write(directory)
    ORIGIN.write(directory)
    recorder = Recorder(CONDITION.factors)
    for step in range(FEW + 1):
        recorder.row("curves", step=step, value=step / 7, note="a" if step % 3 else None)
    recorder.row("end", accuracy=0.5)
    recorder.weights({"a": np.arange(4.0)})
    Store(directory, IDENTITY.fingerprint, ORIGIN.brief).save(CONDITION, recorder, 1.0, 1.0)
    record = provenance.Provenance(directory)
    record.begin(["neuro-decorr"], [0, 1], "1 process", ORIGIN.brief, directory)
    record.end("complete", 1)


def readers(directory: Path) -> dict[str, Callable[[], object]]:
    """All that read a study, each with what it gives."""
    store = Store(directory, IDENTITY.fingerprint, ORIGIN.brief)

    def rows() -> object:
        run = store.load(CONDITION)
        return None if run is None else {kind: repr(run.rows[kind]) for kind in run.rows}

    def origins() -> object:
        run = store.load(CONDITION)
        return None if run is None else ORIGIN.differences(run.origin, directory)

    return {
        "identity": lambda: Identity.read(directory),
        "origin": lambda: Origin.read(directory, key(ORIGIN.brief)),
        "origins": origins,
        "provenance": lambda: provenance.read(directory),
        "rows": rows,
        "survey": lambda: [(found.condition, found.diverged) for found in store.survey().values()],
        "weights": lambda: {name: tensor.tolist() for name, tensor in load_weights(directory, CONDITION).items()},
    }


def check(directory: Path, whole: dict[str, object], place: str, resealed: bool) -> None:
    """Every reader gives what was there, or an error; what fits its checksum may be something else."""
    for name, read in readers(directory).items():
        try:
            found = read()
        except FileNotFoundError:
            assert name == "provenance"  # as it says
        except NeuroDecorrError as error:
            assert str(error) and len(str(error)) < 5000 and "Traceback" not in str(error)  # noqa: PT017 - any of them
        else:
            nothing = found is None or found == []
            # configuration.json is for people to read, and has no checksum.
            assert found == whole[name] or nothing or resealed or place == "configuration.json", f"{place}: {name}"


def places(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def changes(value: Any, generator: np.random.Generator) -> Any:
    """The same with a part left out, put in, or replaced by something odd."""
    odd = copy.deepcopy(ODD[int(generator.integers(len(ODD)))])
    if isinstance(value, dict) and value and generator.random() < 0.9:
        name = list(value)[int(generator.integers(len(value)))]
        kind = generator.integers(5)
        rest = {other: part for other, part in value.items() if other != name}
        if kind == 0:
            return rest
        return {**rest, name: odd} if kind == 1 else {**value, name: changes(value[name], generator)}
    if isinstance(value, list) and value and generator.random() < 0.8:
        place = int(generator.integers(len(value)))
        return [*value[:place], changes(value[place], generator), *value[place + 1 :]]
    return odd


def forged(content: bytes, generator: np.random.Generator, count: int) -> Iterator[bytes]:
    """Other contents of a file of JSON, with checksums that fit."""
    document = json.loads(content)
    for _ in range(count):
        try:
            if "payload" in document:
                yield files.seal(changes(files.unseal(content), generator))
            elif "sessions" in document:
                sessions = changes(document["sessions"], generator)
                yield json.dumps({"checksum": files.digest(files.canonical(sessions)), "sessions": sessions}).encode()
            else:
                yield json.dumps(changes(document, generator)).encode()
        except UnicodeEncodeError:
            continue


def damage(directory: Path, count: int) -> None:
    write(directory)
    whole = {name: read() for name, read in readers(directory).items()}
    generator = np.random.default_rng(3)
    for place in places(directory):
        path = directory / place
        content = path.read_bytes()
        made = [(mutant, False) for mutant in mutants(content, generator, count)]
        made += (
            [(other, True) for other in forged(content, generator, count) if path.suffix == ".json"]
            if (path.suffix == ".json")
            else []
        )
        for other, resealed in made:
            path.write_bytes(other)
            check(directory, whole, place, resealed)
        path.unlink()
        check(directory, whole, place, True)
        path.mkdir()
        check(directory, whole, place, True)
        shutil.rmtree(path)
        path.write_bytes(content)
    assert {name: read() for name, read in readers(directory).items()} == whole


def test_damaged_studies(tmp_path: Path) -> None:
    damage(tmp_path, 15)


@pytest.mark.slow
def test_many_damaged_studies(tmp_path: Path) -> None:
    damage(tmp_path, 500)


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"checksum":"", "payload":' + b'{"a":' * 100_000, b"\xff\0"])
def test_deep_and_foreign_texts(content: bytes, tmp_path: Path) -> None:
    write(tmp_path)
    whole = {name: read() for name, read in readers(tmp_path).items()}
    for place in places(tmp_path):
        kept = (tmp_path / place).read_bytes()
        (tmp_path / place).write_bytes(content)
        check(tmp_path, whole, place, False)
        (tmp_path / place).write_bytes(kept)
