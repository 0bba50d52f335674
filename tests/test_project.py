"""What the project promises apart from its science: set-up, versions, metadata, layout."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OPTIONAL = [requirement for name, group in EXTRAS.items() if name != "all" for requirement in group]

# What to import for a distribution, where that is not its own name; None where it is a tool or types only.
IMPORTS = {
    "curvlinops-for-pytorch": "curvlinops",
    "dask-jobqueue": "dask_jobqueue",
    "mkdocs-gallery": "mkdocs_gallery",
    "mkdocs-material": "material",
    "norse": "norse.torch",  # norse's tasks import torchvision, its layers do not
    "pandas-stubs": None,
    "pre-commit": "pre_commit",
    "pytest-xdist": "xdist",
    "pytorch-optimizer": "pytorch_optimizer",
    "ruff": None,
    "scikit-learn": "sklearn",
    "scipy-stubs": None,
}


# Builds of torch for accelerators bring these, at versions that torch itself fixes; other builds do not know them.
ACCELERATOR = re.compile(r"^(nvidia|cuda|triton)(-|$)")


def imports(requirements: list[str]) -> set[str]:
    names = (canonicalize_name(Requirement(requirement).name) for requirement in requirements)
    return {module for name in names if (module := IMPORTS.get(name, name))}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs the repository and git, to know which files are tracked")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


# Versions


def test_constraints_satisfy_every_requirement_of_every_extra() -> None:
    pins = constraints()
    for requirement in map(Requirement, [*CORE, *OPTIONAL]):
        if requirement.marker is None or requirement.marker.evaluate({"python_version": "3.11"}):
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_constraints_pin_all_that_the_requirements_require_in_turn() -> None:
    pins = constraints()
    pending = [Requirement(line) for line in [*CORE, *OPTIONAL]]
    seen: set[tuple[str, str]] = set()  # of distribution and extra; without an extra it is ""
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {known for other, known in seen if other == name}:
            seen.add((name, extra))
            assert name in pins, f"{name} is required and has no exact version: make constraints"
            children = [Requirement(line) for line in metadata.requires(name) or []]
            wanted = [child for child in children if child.marker is None or child.marker.evaluate({"extra": extra})]
            pending += [child for child in wanted if not ACCELERATOR.match(canonicalize_name(child.name))]
    assert {name for name, _ in seen} > {canonicalize_name(Requirement(line).name) for line in [*CORE, *OPTIONAL]}


def test_the_extra_all_names_every_other_extra() -> None:
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == set(EXTRAS) - {"all"}


def test_errors_name_extras_that_there_are() -> None:
    naming = re.compile(r"""require\([\w."]+, "(?P<extra>\w+)"\)""")
    named = {match["extra"] for path in sources("neuro_decorr") for match in naming.finditer(path.read_text("utf-8"))}
    assert {"study", "brian", "norse", "recordings"} <= named <= set(EXTRAS)


def test_every_dependency_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    for requirement in [*CORE, *OPTIONAL]:
        matching = [line for line in lines if f'"{requirement}"' in line]
        assert matching, requirement
        assert all(re.search(r"[],]\s+# \w", line) for line in matching), requirement


def test_all_extras_import_together_and_torchvision_stays_out() -> None:
    names = sorted(imports([*CORE, *OPTIONAL]))
    output = run_python(f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
print("torchvision" in sys.modules)
""")
    assert output.split()[-1] == "False"


# Import


def test_the_core_imports_without_any_extra_and_sets_up_nothing() -> None:
    optional = {name.split(".")[0] for name in imports(OPTIONAL) - imports(CORE)}
    run_python(f"""
import logging, random, sys, warnings
import numpy, torch
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(optional)}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Absent())
before = torch.get_num_threads(), torch.get_default_dtype(), torch.initial_seed(), list(logging.root.handlers)
generators = random.getstate(), numpy.random.get_state()[1].tolist(), warnings.filters[:]
import neuro_decorr
assert neuro_decorr.rules.names() and neuro_decorr.credit.names()
assert before == (torch.get_num_threads(), torch.get_default_dtype(), torch.initial_seed(), list(logging.root.handlers))
assert generators == (random.getstate(), numpy.random.get_state()[1].tolist(), warnings.filters[:])
""")


# Metadata


def test_the_wheel_holds_the_library_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (scripts,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    assert {name.split("/")[0] for name in names} == {"neuro_decorr", f"neuro_decorr-{PROJECT['version']}.dist-info"}
    assert "neuro_decorr/py.typed" in names
    assert "neuro-decorr = neuro_decorr.cli:main" in scripts


# What the README tells people to type


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_promised_commands_exist() -> None:
    assert {"setup", "demo", "test", "bench", "lint", "help"} <= make_targets()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_documents_name_only_commands_that_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^\s*|`)make ([a-z]+)", text, re.MULTILINE))
    assert named
    assert named <= make_targets()


# Files


def test_no_file_names_a_machine_or_a_package_index() -> None:
    folders = "|".join(["home", "root", "work", "tmp", "Users", "opt"])
    places = "|".join([r"pypi\.org", "pythonhosted", r"download\.pytorch", "index" + "-url", "find" + "-links"])
    forbidden = re.compile(r"(?<![\w.~})-])/(?:" + folders + ")/|" + places)
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in {".png", ".svg", ".npz", ".nwb", ".nix", ".woff2", ".gz"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            assert not forbidden.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_files_stay_small() -> None:
    paths = sources("neuro_decorr", "models", "protocols", "analysis", "benchmarks", "tests", "tools")
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {path: length for path, length in lengths.items() if length > 400} == {}
    assert statistics.median(lengths.values()) <= 150


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, modules: Collection[str] = ()) -> Iterator[str]:
    """All that a file imports, wherever it stands in it and if it is for types only: a module, or a name in one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                yield name if name in modules or not modules else node.module


# The arrows of CONTRIBUTING. Inside the library a package imports those named here and no others, for types too: every
# one stands below it, so that there is no circle.
BOTTOM = {"errors", "registry", "checks", "libraries", "common_names", "row_choice"}
LIBRARY: dict[str, set[str]] = {
    "errors": set(),
    "common_names": set(),
    "registry": {"errors", "common_names"},
    "checks": {"errors"},
    "libraries": {"errors"},
    "row_choice": set(),
    "whitener": {"errors", "checks"},
    "study": {"errors", "checks"},
    "rules": {"errors", "registry", "checks"},
    "credit": BOTTOM,
    "conditioning": BOTTOM,
    "recording": BOTTOM,
    "data": BOTTOM | {"recording"},
    "metrics": BOTTOM | {"recording", "conditioning"},
    "rate": BOTTOM | {"rules"},
    "norse": BOTTOM | {"rules", "rate"},
    "brian": BOTTOM | {"rules"},
    "learning": BOTTOM | {"study", "rules", "rate", "credit", "conditioning", "metrics", "data"},
    "report": BOTTOM | {"study", "recording", "metrics"},
}
LIBRARY["commands"] = set(LIBRARY)
LIBRARY["cli"] = {"errors", "commands"}

# What a part of the repository may not import. Analysis draws and tabulates: it has no model and trains nothing.
_LEARNING = ("rules", "rate", "credit", "conditioning", "brian", "norse", "learning")
LEARNS = ("torch", *(f"neuro_decorr.{name}" for name in _LEARNING))
FORBIDDEN = {
    "neuro_decorr": ("models", "protocols", "analysis", "benchmarks", "tests"),
    "models": ("protocols", "analysis"),
    "analysis": ("protocols", "models", *LEARNS),
}


@functools.cache
def arrows(*folders: str) -> dict[str, set[str]]:
    """Every module with the modules of the same folders that it imports."""
    modules = {module(path): path for path in sources(*folders)}
    return {name: set(imported(path, modules)) & set(modules) for name, path in modules.items()}


def test_every_part_of_the_library_has_its_place() -> None:
    found = {path.stem for path in (ROOT / "neuro_decorr").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert {name for name in found if not name.startswith("_")} == set(LIBRARY)
    order = list(LIBRARY)
    assert all(order.index(below) < order.index(part) for part, parts in LIBRARY.items() for below in parts - {part})


@pytest.mark.parametrize("part", LIBRARY)
def test_arrows_inside_the_library_point_down(part: str) -> None:
    def place(name: str) -> str:
        return name.removeprefix("neuro_decorr.").split(".")[0]  # of the library's own front: neuro_decorr, in no list

    for name, others in arrows("neuro_decorr").items():
        if place(name) == part:
            assert {place(other) for other in others} <= {part, *LIBRARY[part]}, name


def test_no_module_comes_back_to_itself() -> None:
    """No circles: graphlib raises CycleError, which names the modules."""
    graphlib.TopologicalSorter(arrows("neuro_decorr", "models", "protocols", "analysis")).prepare()


@pytest.mark.parametrize("part", FORBIDDEN)
def test_arrows_point_one_way(part: str) -> None:
    for path in sources(part):
        for name in imported(path):
            # The whole library by one name hides what is taken of it.
            wrong = [other for other in FORBIDDEN[part] if name == other or name.startswith(f"{other}.")]
            wrong += [name] * (part == "analysis" and name == "neuro_decorr")
            assert not wrong, f"{path.relative_to(ROOT)} imports {name}"
