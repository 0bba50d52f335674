"""What runs after `pip install neuro-decorr`: the wheel in an environment of its own, far from the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest

from neuro_decorr.study import discovery, initialise

ROOT = Path(__file__).resolve().parent.parent
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
FIRST_EXAMPLE = re.findall(r"```python\n(.*?)```", START, flags=re.DOTALL)[0]


class Installed:
    """An environment with the wheel; its dependencies are those of this environment."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip
        (wheel,) = folder.glob("*.whl")
        self.folder = folder / "environment"
        venv.create(self.folder)
        self.scripts = self.folder / ("Scripts" if os.name == "nt" else "bin")
        command = [sys.executable, "-m", "pip", "--python", str(self.scripts / "python"), "install", "--quiet"]
        subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
        (marker,) = self.folder.rglob("neuro_decorr-*.dist-info")
        # A folder named in a .pth is a place of imports, but no .pth in it is read: the editable install stays unseen.
        places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
        (marker.parent / "dependencies.pth").write_text("\n".join(places), encoding="utf-8")

    def run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.scripts / program, *arguments],
            cwd=cwd, env={**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where its user is: neither in the repository nor above it."""
    return tmp_path_factory.mktemp("élsewhere and far")


@pytest.fixture(scope="module")
def study(installed: Installed, place: Path) -> Path:
    said = installed.run("neuro-decorr", "init", "my stüdy", cwd=place)
    assert said.returncode == 0, said.stderr
    return place / "my stüdy"


def test_it_is_the_wheel_that_is_imported_and_nothing_of_the_repository(installed: Installed, place: Path) -> None:
    said = installed.run("python", "-c", "import neuro_decorr; print(neuro_decorr.__file__)", cwd=place)
    assert installed.folder in Path(said.stdout.strip()).parents
    for name in initialise.PARTS:
        assert "ModuleNotFoundError" in installed.run("python", "-c", f"import {name}", cwd=place).stderr


def test_the_first_example_of_the_docs(installed: Installed, place: Path) -> None:
    said = installed.run("python", "-c", FIRST_EXAMPLE, cwd=place)
    assert re.search(r"^mean_absolute_correlation +0\.\d+", said.stdout, re.MULTILINE), said.stderr


def test_the_images_come_with_it(installed: Installed, place: Path) -> None:
    program = "import neuro_decorr as nd; print(*map(len, nd.data.fashion().train))"
    said = installed.run("python", "-c", program, cwd=place)
    assert said.stdout.split() == ["4200", "4200"], said.stderr
    (licences,) = installed.folder.rglob("neuro_decorr-*.dist-info/licenses")
    assert {path.relative_to(licences).as_posix() for path in licences.rglob("LICENSE")} == {
        "LICENSE",
        "neuro_decorr/data/fashion_mnist/LICENSE",
    }


def test_init_lays_out_what_the_repository_has(study: Path) -> None:
    for part in initialise.PARTS:
        there, here = (
            {path.relative_to(root): path.read_bytes() for path in (root / part).rglob("*.py")}
            for root in (study, ROOT)
        )
        assert there == here and there
    tutorial = (ROOT / "examples" / "tutorials" / "5_protocol.py").read_bytes()
    assert (study / "tutorial.py").read_bytes() == tutorial
    assert "made by neuro-decorr" in (study / "README.md").read_text(encoding="utf-8").lower()


@pytest.mark.slow
def test_list_names_every_protocol_and_all_of_them_can_be_imported(installed: Installed, study: Path) -> None:
    said = installed.run("neuro-decorr", "list", cwd=study / "protocols")
    assert said.returncode == 0, said.stderr
    for name in discovery.names(ROOT):
        assert re.search(rf"^  {name} +[A-Z]\w", said.stdout, re.MULTILINE), said.stdout
    assert "cannot be imported" not in said.stdout


@pytest.mark.slow
def test_a_small_study(installed: Installed, study: Path) -> None:
    options = ["--credits", "backprop", "--arms", "none,center", "--strengths", "0", "--dose", "", "--epochs", "1"]
    arguments = ["run", "credit_assignment", *options, "--seeds", "2", "--workers", "2"]
    said = installed.run("neuro-decorr", *arguments, cwd=study / "analysis")
    assert said.returncode == 0, said.stderr
    results = study / "results" / "credit_assignment"
    assert "accuracy" in (results / "index.html").read_text(encoding="utf-8")
    runs = pd.read_parquet(results / "rows" / "runs.parquet")
    measured = runs[runs["stage"] == "measure"]
    assert sorted(zip(measured["arm"], measured["seed"], strict=True)) == [
        (arm, seed) for arm in ("center", "none") for seed in (0, 1)
    ]
