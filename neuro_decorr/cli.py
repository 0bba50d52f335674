"""The command `neuro-decorr`. Importing it needs the core only; running it needs the extra `study`, or `recordings`."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from neuro_decorr.errors import NeuroDecorrError, brief, missing_extra

EXTRA = ("click", "matplotlib", "pandas", "plotly", "pyarrow", "pydantic", "rich", "safetensors", "scipy")
"""Modules of the extra `study` that the commands need."""
ANALYSE = ("click", "matplotlib", "pandas", "rich", "scipy")
"""Modules of the extra `recordings` that `neuro-decorr analyse` needs."""
TRACEBACK = "NEURO_DECORR_TRACEBACK"
"""Environment variable that shows the traceback of an unexpected error."""

_AT_FAULT, _UNFORESEEN, _INTERRUPTED, _CLOSED_PIPE = 2, 3, 130, 141
_EXHAUSTED = {
    errno.EMFILE: "raise that limit (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EROFS: "choose another place",
    errno.ENOMEM: "close other programs, or give fewer --workers",
    errno.EAGAIN: "close other programs, or give fewer --workers",
}
"""Remedy for each resource that the system may run out of, whatever the program does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Every error ends in one line in words.

    Args:
        arguments: Arguments after `neuro-decorr`; None takes those of the command line.

    Returns:
        Exit code. 0: all is well. 1: a part of a study failed, and all other results are written. 2: the input or the
        system is at fault. 3: an unexpected error, whose message names the file that holds the traceback. 130: the
        user interrupted the command. 141: the reader of the output closed the pipe.
    """
    _have_streams()
    code = _answered(sys.argv[1:] if arguments is None else list(arguments))
    lost = _written()
    return code or lost


def _answered(given: list[str]) -> int:
    try:
        needed, extra = (ANALYSE, "recordings") if given[:1] == ["analyse"] else (EXTRA, "study")
        missing = [name for name in needed if not _installed(name)]
        if missing:
            raise missing_extra(", ".join(missing), extra)
        return _run(given)
    except (Exception, KeyboardInterrupt) as error:
        return _told(error)


def _told(error: BaseException) -> int:
    match error:
        case NeuroDecorrError():
            code = _complain(str(error))
        case KeyboardInterrupt():
            _say("neuro-decorr: interrupted.")
            code = _INTERRUPTED
        case BrokenPipeError():
            code = _CLOSED_PIPE
        case MemoryError():
            code = _complain("there is not enough memory: close other programs, or give fewer --workers.")
        case OSError() if error.errno in _EXHAUSTED:
            place = f" ({error.filename})" if error.filename else ""
            code = _complain(f"the system refuses: {error.strerror}{place}; {_EXHAUSTED[error.errno]}.")
        case _:
            code = _written() or _unforeseen(error)
    return code


def _run(arguments: list[str]) -> int:
    import click

    from neuro_decorr.commands import application

    streams = sys.stdout, sys.stderr
    try:
        code = application.main(arguments, prog_name="neuro-decorr", standalone_mode=False)
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        return _complain(error.format_message())
    except SystemExit as error:
        # This is how rich and click end when the pipe is closed; click also replaces the broken stream by another.
        broken = sys.stdout is not streams[0] or isinstance(error.__context__, BrokenPipeError)
        sys.stdout, sys.stderr = streams
        if broken:
            return _CLOSED_PIPE
        raise
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    lines = message.splitlines()
    if len(lines) > 1 and not lines[1].startswith(" "):
        lines = [f"{len(lines)} problems:", *(f"  {line}" for line in lines)]
    _say("neuro-decorr: " + "\n".join(lines))
    return _AT_FAULT


def _unforeseen(error: BaseException) -> int:
    whole = "".join(traceback.format_exception(error))
    if os.environ.get(TRACEBACK):
        _say(whole.rstrip())
        return _UNFORESEEN
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="neuro-decorr-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(whole)
        where = f"its traceback is in {file.name}: send this file with a report"
    except OSError:
        where = f"run the same command with {TRACEBACK}=1 to see its traceback: send the traceback with a report"
    _say(f"neuro-decorr: an unexpected error: {brief(error)}; {where}. Stored runs are safe.")
    return _UNFORESEEN


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _have_streams() -> None:
    """Open the standard streams that are closed, so that no file takes their place, and let stdout write any name."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                # A closed output stays unwritable, so that the command still reports it.
                opened = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_RDWR)
                mode = "r" if name == "stdin" else "w"
                setattr(sys, name, open(opened, mode, encoding="utf-8", closefd=descriptor != opened))  # noqa: SIM115
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _written() -> int:
    """Flush the output; returns 0 if all of it was written, the exit code otherwise."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return _CLOSED_PIPE
    except OSError as error:
        _drop_output()
        return _complain(f"the output cannot be written: {error.strerror or error}.")
    except ValueError:  # closed by what ran
        return 0
    return 0


def _drop_output() -> None:
    # Python flushes once more when it ends, and would report a second failure.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
