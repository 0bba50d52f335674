"""Make constraints.txt again: one resolve of the library with all its extras, exact versions of everything.

Torch comes in builds of very different size, and the newest is not always wanted: it stays at the version already in
the file unless another one is named. Run as `make constraints` or `make constraints TORCH=2.13.0`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"

HEADER = """\
# Exact versions of everything that neuro-decorr and all its extras need, from one resolve on Python {python}.
# Ranges are in pyproject.toml. Made by `make constraints`, which keeps torch at the version below unless told
# otherwise (`make constraints TORCH=...`); not edited by hand.
"""


def normalised(name: str) -> str:
    """Return the name of a distribution in the form that package indices compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def present(name: str) -> str | None:
    """Return the present version of a distribution in the constraints, if any."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines() if CONSTRAINTS.exists() else []
    pins = dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    return pins.get(name)


def resolve(torch: str) -> dict[str, str]:
    """Resolve the library, all its extras, its build system and pip together.

    Args:
        torch: Exact version of torch to resolve with.

    Returns:
        The version of every distribution by its normalised name, without local version labels such as `+cpu`.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    own = normalised(project["project"]["name"])
    wanted = [f"{ROOT}[all]", "pip", *project["build-system"]["requires"], f"torch=={torch}"]
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--report", str(report)]
        subprocess.run([*command, *wanted], check=True)
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
    found = {normalised(item["metadata"]["name"]): item["metadata"]["version"].split("+")[0] for item in items}
    return {name: version for name, version in sorted(found.items()) if name != own}


def main() -> None:
    """Resolve and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--torch", help="exact version of torch; the one in constraints.txt if not given")
    torch = parser.parse_args().torch or present("torch")
    if not torch:
        parser.error("constraints.txt names no version of torch: give one with --torch (make constraints TORCH=...).")
    versions = resolve(torch)
    header = HEADER.format(python=".".join(str(part) for part in sys.version_info[:2]))
    pins = "".join(f"{name}=={version}\n" for name, version in versions.items())
    CONSTRAINTS.write_text(header + pins, encoding="utf-8")
    print(f"{len(versions)} exact versions written to {CONSTRAINTS.name}.")


if __name__ == "__main__":
    main()
