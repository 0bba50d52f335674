"""`python -m neuro_decorr` is `neuro-decorr`."""

import sys

from neuro_decorr.cli import main

if __name__ == "__main__":
    sys.exit(main())
