import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neuro_decorr.errors import StateMismatch, Unsupported
from neuro_decorr.study.files import Unwritable
from neuro_decorr.study.lock import NAME, Lock

HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_directory_is_held_once_and_given_back(tmp_path: Path) -> None:
    with Lock(tmp_path), pytest.raises(StateMismatch, match="in use by process"), Lock(tmp_path):
        pass
    with Lock(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="the holder of this test uses the lock of POSIX")
def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / NAME)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateMismatch, match="in use"), Lock(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with Lock(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="flock is of POSIX")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_told_apart_from_a_directory_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(Unsupported, match=f"gives no lock .{os.strerror(number)}.*another one") as caught,
        Lock(tmp_path),
    ):
        pass
    assert "in use" not in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.undo()
    with Lock(tmp_path):
        pass


def test_a_disk_that_is_full_before_the_lock_is_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unwritable, match=r"cannot write .*\.lock: No space left on device"), Lock(tmp_path):
        pass
    monkeypatch.undo()
    with Lock(tmp_path):
        assert (tmp_path / NAME).read_text().startswith(f"process {os.getpid()} on ")


def test_what_is_no_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a" / NAME).mkdir(parents=True)
    with pytest.raises(Unwritable, match=r"\.lock: Is a directory|\.lock: Permission denied"), Lock(tmp_path / "a"):
        pass
    if hasattr(os, "mkfifo"):
        (tmp_path / "b").mkdir()
        os.mkfifo(tmp_path / "b" / NAME)
        with pytest.raises(StateMismatch, match=r"\.lock is a pipe or a device"), Lock(tmp_path / "b"):
            pass
    (tmp_path / "c").write_text("")
    with pytest.raises(Unwritable, match=r"cannot write .*c"), Lock(tmp_path / "c"):
        pass


def test_words_of_another_holder_that_are_no_text_are_shown(tmp_path: Path) -> None:
    with Lock(tmp_path):
        (tmp_path / NAME).write_bytes(b"process \xff\n")
        with pytest.raises(StateMismatch, match=r"in use by process \\xff; wait"), Lock(tmp_path):
            pass
