"""The picture of any recording, a user's own too: `python analysis/recording.py FILE [DIR]`, the same as the command.

`neuro-decorr analyse FILE --out DIR` has the options; this is the shortest way from a script.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

from neuro_decorr.errors import InvalidValue, NeuroDecorrError
from neuro_decorr.report.analyse import analyse


def main(arguments: list[str]) -> int:
    """Print the summary of a file, and write its tables and figures where a directory is named."""
    try:
        if len(arguments) not in (1, 2):
            raise InvalidValue("give the file of a recording, and a directory for its figures if they are wanted.")
        for title, table in analyse(Path(arguments[0]), out=Path(arguments[1]) if len(arguments) == 2 else None):
            print(title)
            print(table.to_string(index=False))
    except NeuroDecorrError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
