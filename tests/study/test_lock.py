import subprocess
import sys
from pathlib import Path

import pytest

from neuro_decorr.errors import StateMismatch
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
