"""Entry point of `python -m neuro_decorr`, the same as the command `neuro-decorr`."""

import sys

from neuro_decorr.cli import main

if __name__ == "__main__":
    sys.exit(main())
