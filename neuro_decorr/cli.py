"""The command `neuro-decorr`. Importing it needs the core only; running it needs the extra `study`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from neuro_decorr.errors import NeuroDecorrError

EXTRA = ("click", "matplotlib", "pandas", "pyarrow", "pydantic", "rich", "safetensors", "scipy")
"""What the commands need of the extra `study`."""
ANALYSE = ("click", "matplotlib", "pandas", "rich", "scipy")
"""What `neuro-decorr analyse` needs of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What follows `neuro-decorr`; the command line when None.

    Returns:
        0 when all is well, 1 when runs failed, 2 when the input is at fault, 130 when interrupted.
    """
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        missing = [name for name in (ANALYSE if given[:1] == ["analyse"] else EXTRA) if not _installed(name)]
        if missing:
            return _complain(
                f"this command needs {', '.join(missing)}, not installed here: pip install 'neuro-decorr[study]'"
            )
        return _run(given)
    except NeuroDecorrError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print("neuro-decorr: interrupted.", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    import click

    from neuro_decorr.commands import application

    try:
        code = application.main(arguments, prog_name="neuro-decorr", standalone_mode=False)
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        return _complain(error.format_message())
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    lines = message.splitlines()
    if len(lines) > 1 and not lines[1].startswith(" "):
        lines = [f"{len(lines)} problems:", *(f"  {line}" for line in lines)]
    print("neuro-decorr: " + "\n".join(lines), file=sys.stderr)
    return 2


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
