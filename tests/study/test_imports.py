from pathlib import Path

import pytest

from neuro_decorr.study.imports import reached


def laid_out(root: Path, contents: dict[str, str]) -> Path:
    """A study directory with some modules."""
    for place, content in contents.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(content)
    return root


@pytest.mark.parametrize(
    ("text", "reaches"),
    [
        ("import numpy\nfrom neuro_decorr import rules", []),
        ("import models.deep", ["models/__init__.py", "models/deep.py"]),
        ("from models import deep", ["models/__init__.py", "models/deep.py"]),
        ("from models import anything", ["models/__init__.py"]),
        ("from models import *", ["models/__init__.py", "models/deep.py", "models/wide.py"]),
        ("def run():\n    from protocols import _helper", ["protocols/_helper.py"]),
        ("from . import _helper", ["protocols/_helper.py"]),
        ("from ._helper import K", ["protocols/_helper.py"]),
        ("from protocols.large import measures", ["protocols/large/__init__.py", "protocols/large/measures.py"]),
        ("import analysis.figure", ["analysis/figure.py", "models/__init__.py", "models/wide.py"]),
        ("from importlib import import_module\nimport_module('models.wide')", ["models/__init__.py", "models/wide.py"]),
        ("import sibling", ["sibling.py"]),
        ("if typing.TYPE_CHECKING:\n    import sibling", ["sibling.py"]),
        ("import broken", ["broken.py"]),
    ],
)
def test_the_files_that_an_import_reaches(tmp_path: Path, text: str, reaches: list[str]) -> None:
    contents = {
        "protocols/p.py": text,
        "protocols/_helper.py": "K = 1",
        "protocols/other.py": "import models.deep",
        "analysis/figure.py": "import models.wide",
        "sibling.py": "import sibling",
        "broken.py": "import (",
    }
    empty = ["protocols/large/__init__.py", "protocols/large/measures.py", "models/__init__.py", "models/deep.py"]
    empty += ["models/wide.py", "neuro_decorr/__init__.py", "neuro_decorr/rules.py"]
    root = laid_out(tmp_path, contents | dict.fromkeys(empty, ""))
    found, _ = reached(root, "p")
    assert [path.relative_to(root).as_posix() for path in found] == sorted(["protocols/p.py", *reaches])


@pytest.mark.parametrize(
    "call", ["importlib.import_module(f'models.{name}')", "__import__(name)", "import_module('.a', x)"]
)
def test_where_a_name_is_computed_every_module_counts(tmp_path: Path, call: str) -> None:
    others = dict.fromkeys(["protocols/q.py", "models/deep.py", "analysis/figure.py", "elsewhere/x.py"], "")
    root = laid_out(tmp_path, {"protocols/p.py": call, **others})
    found, _ = reached(root, "p")
    assert [path.relative_to(root).as_posix() for path in found] == [
        "analysis/figure.py", "models/deep.py", "protocols/p.py", "protocols/q.py",
    ]  # fmt: skip


def test_a_protocol_in_a_folder_and_the_names_that_it_uses(tmp_path: Path) -> None:
    contents = {
        "__init__.py": "",
        "large/__init__.py": "from .deep import inner\nimport neuro_decorr as nd\nnd.brian.plasticity()",
        "large/deep/__init__.py": "from ... import models",
        "large/deep/inner.py": "from ..measures import X\nimport norse.torch",
        "large/measures.py": "",
        "large/more.py": "",
    }
    root = laid_out(tmp_path, {f"protocols/{place}": content for place, content in contents.items()})
    found, names = reached(root, "large")
    assert [path.relative_to(root / "protocols").as_posix() for path in found] == [
        "__init__.py", "large/__init__.py", "large/deep/__init__.py", "large/deep/inner.py", "large/measures.py",
    ]  # fmt: skip
    assert {"brian", "norse"} <= names and "brian2" not in names


@pytest.mark.parametrize("text", [b"x = " + b"(" * 100_000, b"-" * 100_000 + b"1", b"x = '\xff'", b"\0", b"def ("])
def test_a_module_that_cannot_be_read_counts_and_imports_nothing(tmp_path: Path, text: bytes) -> None:
    laid_out(tmp_path, {"protocols/p.py": "import models.odd", "models/odd.py": ""})
    (tmp_path / "models" / "odd.py").write_bytes(text)
    files, _ = reached(tmp_path, "p")
    assert [path.relative_to(tmp_path).as_posix() for path in files] == ["models/odd.py", "protocols/p.py"]
