from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.study import files

names = st.text(max_size=5)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names
payloads = st.dictionaries(
    names, scalars | st.lists(scalars, max_size=4) | st.dictionaries(names, scalars, max_size=4), max_size=4
)


@given(payloads)
def test_a_sealed_payload_comes_back_exactly(payload: dict[str, object]) -> None:
    again = files.unseal(files.seal(payload))
    assert again == payload
    assert files.canonical(again) == files.canonical(payload)  # 1, 1.0 and True are equal and not the same.


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
    assert files.sweep(tmp_path) == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a.json"]
