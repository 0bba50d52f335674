import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.study import files

names = st.text(max_size=5) | st.sampled_from(["float", "escaped"])
texts = names | st.sampled_from(["nan", "inf", "-inf"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
payloads = st.dictionaries(
    names, scalars | st.lists(scalars, max_size=4) | st.dictionaries(names, scalars, max_size=4), max_size=4
)


@given(payloads)
def test_a_sealed_payload_comes_back_exactly(payload: dict[str, object]) -> None:
    again = files.unseal(files.seal(payload))
    assert again == payload
    assert files.canonical(again) == files.canonical(payload)  # 1, 1.0 and True are equal and not the same.


@pytest.mark.parametrize("name", ["float", "escaped"])
@pytest.mark.parametrize("level", ["nan", "inf", "-inf", "x", {"float": "nan"}, {"escaped": {"float": "nan"}}])
def test_a_name_that_means_something_in_the_file_comes_back_as_a_name(name: str, level: object) -> None:
    payload = {name: level}
    assert files.unseal(files.seal(payload)) == payload
    assert files.unseal(files.seal({"factors": payload})) == {"factors": payload}


@pytest.mark.parametrize(
    "content",
    [
        b'{"checksum": "0", "payload": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"checksum": "0", "payload": {"float": []}}',
        b'{"checksum": "0", "payload": {"escaped": 1}}',
        b'{"checksum": "0", "payload": {"a": {"float": "1"}}}',
        b"\xff\xfe",
        b"3",
        b"[]",
    ],
)
def test_what_no_seal_made_is_damaged(content: bytes) -> None:
    with pytest.raises(files.Damaged):
        files.unseal(content)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(files.Damaged, match="pipe"):
        files.read(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # The name of a socket is short.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(files.Unreadable, match="socket cannot be read"):
            files.read(tmp_path / "socket")
    with pytest.raises(files.Damaged, match="device"):
        files.read(Path(os.devnull))
    (tmp_path / "directory").mkdir()
    with pytest.raises(files.Unreadable, match="is a directory where a file belongs"):
        files.read(tmp_path / "directory")
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"\x00\xff")
    assert files.read(tmp_path / "file") == b"\x00\xff"


def test_a_text_with_what_no_text_has_is_written_all_the_same(tmp_path: Path) -> None:
    files.write(tmp_path / "file", os.fsdecode(b"na\xffme"))
    assert (tmp_path / "file").read_text(encoding="utf-8") == r"na\udcffme"


def test_a_directory_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    with files.guarded(study):
        files.write(study / "runs" / "a.json", "1")
        study.rename(tmp_path / "renamed")
        with pytest.raises(files.Unwritable, match="was renamed or removed while the study ran"):
            files.write(study / "runs" / "b.json", "1")
        assert not study.exists()
        files.write(tmp_path / "elsewhere" / "c.json", "1")
    files.write(study / "runs" / "b.json", "1")


def test_numbers_that_are_not_finite_come_back() -> None:
    again = files.unseal(files.seal({"a": [float("inf"), float("-inf"), float("nan")]}))["a"]
    assert again[:2] == [float("inf"), float("-inf")]
    assert again[2] != again[2]
    assert b"NaN" not in files.seal({"a": float("nan")})


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    payload = {"rows": [0.1, 2, "text"], "name": "x"}
    content = bytearray(files.seal(payload))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    try:
        again = files.unseal(bytes(content))
    except files.Damaged:
        return
    assert again == payload  # Blanks between the values carry nothing.


def test_any_truncation_is_noticed() -> None:
    content = files.seal({"rows": [0.1, 2, "text"]}).rstrip()
    for length in range(len(content)):
        with pytest.raises(files.Damaged):
            files.unseal(content[:length])


def test_write_makes_folders_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    files.write(tmp_path / "a" / "b" / "c.txt", "Grüße")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "Grüße".encode()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["c.txt"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write(path, "old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(files.Unwritable, match="No space left on device"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_way_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("")
    with pytest.raises(files.Unwritable, match=r"cannot write .*way.*choose another directory") as caught:
        files.write(tmp_path / "way" / "file", "x")
    assert "\n" not in str(caught.value)


def test_sweep_removes_what_killed_processes_left(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".a.json.77.tmp").write_text("half")
    (tmp_path / "runs" / "a.json").write_text("whole")
    (tmp_path / "runs" / ".notes.tmp").write_text("a user's own")
    (tmp_path / ".report.json.78.tmp" / "tables").mkdir(parents=True)
    (tmp_path / ".report.json.78.tmp" / "tables" / ".a.csv.78.tmp").write_text("half")
    files.sweep(tmp_path)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [".notes.tmp", "a.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def contents(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".list"
    }


def test_files_written_together_take_the_place_of_those_before(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("a user's own")
    with files.together(tmp_path, ".list"):
        files.write(tmp_path / "tables" / "a.csv", "1")
        files.write(tmp_path / "b.txt", "1")
        files.write(tmp_path / "tables" / "a.csv", "2")
        assert contents(tmp_path).get("b.txt") is None
    assert contents(tmp_path) == {"tables/mine.csv": "a user's own", "tables/a.csv": "2", "b.txt": "1"}
    with files.together(tmp_path, ".list"):
        files.write(tmp_path / "tables" / "c.csv", "3")
    assert contents(tmp_path) == {"tables/mine.csv": "a user's own", "tables/c.csv": "3"}
    files.write(tmp_path / "d.txt", "after")
    assert contents(tmp_path)["d.txt"] == "after"


def test_what_was_written_together_is_on_record_in_the_order_of_writing(tmp_path: Path) -> None:
    with files.together(tmp_path, ".list"):
        for name in ("z/2", "b", "z/1", "b"):
            files.write(tmp_path / name, name)
    assert files.recorded(tmp_path / ".list") == ["z/2", "b", "z/1"]
    assert files.recorded(tmp_path / "absent") == []


def test_files_written_together_leave_nothing_of_a_failure(tmp_path: Path) -> None:
    with files.together(tmp_path, ".list"):
        files.write(tmp_path / "a.csv", "1")

    def interrupted(error: BaseException) -> None:
        with files.together(tmp_path, ".list"):
            files.write(tmp_path / "a.csv", "2")
            files.write(tmp_path / "b.csv", "2")
            raise error

    # An error of a file that the block itself reads is no error of writing.
    for error in (KeyboardInterrupt(), FileNotFoundError("data.csv")):
        with pytest.raises(type(error)) as caught:
            interrupted(error)
        assert caught.value is error
    assert contents(tmp_path) == {"a.csv": "1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".list", "a.csv"]


@pytest.mark.parametrize("listed", [["../outside.txt"], ["/etc/hostname"], None])
def test_a_list_of_somebody_else_removes_nothing_outside(tmp_path: Path, listed: list[str] | None) -> None:
    (tmp_path / "outside.txt").write_text("kept")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / ".list").write_bytes(files.seal({"files": listed}) if listed else b"{")
    with files.together(inside, ".list"):
        files.write(inside / "a.csv", "1")
    assert (tmp_path / "outside.txt").read_text() == "kept"
    assert contents(inside) == {"a.csv": "1"}
