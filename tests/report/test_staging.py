"""A directory of results is there whole or not at all, whatever interrupts its writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuro_decorr.report.staging import whole
from neuro_decorr.study.files import Unwritable


def content(place: Path) -> dict[str, str]:
    return {str(p.relative_to(place)): p.read_text() for p in sorted(place.rglob("*")) if p.is_file()}


def write(folder: Path, text: str, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_new_directory_appears_with_all_its_files(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with whole(out) as staged:
        write(staged, "1", "tables/x.csv", "mark")
        assert not out.exists()
    assert content(tmp_path) == {"a/b/tables/x.csv": "1", "a/b/mark": "1"}


def fail(out: Path, failure: type[BaseException]) -> None:
    with whole(out) as staged:
        write(staged, "half", "tables/x.csv")
        raise failure


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError])
def test_nothing_remains_of_a_failure(failure: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(failure):
        fail(tmp_path / "a" / "b", failure)
    assert list(tmp_path.iterdir()) == []


def test_earlier_results_are_replaced_when_the_new_ones_are_complete_and_kept_otherwise(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole(out) as staged:
        write(staged, "old", "tables/x.csv", "tables/gone.csv", "mark")
    before, place = content(out), out.stat().st_ino
    with pytest.raises(KeyError):
        fail(out, KeyError)
    assert content(out) == before
    with whole(out) as staged:
        write(staged, "new", "tables/x.csv", "mark")
    assert content(out) == {"tables/x.csv": "new", "mark": "new"}
    assert out.stat().st_ino == place  # it may be somebody's current directory


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="cannot write"), whole(tmp_path / "file" / "out"):
        raise AssertionError("computed for nothing")
