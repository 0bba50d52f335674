import os
import sys
from pathlib import Path

import pytest

from neuro_decorr.errors import InvalidValue, MissingExtra, UnknownName
from neuro_decorr.study import discovery


def test_the_study_directory_is_the_current_one_or_a_parent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "deep" / "below").mkdir(parents=True)
    monkeypatch.chdir(root / "deep" / "below")
    assert discovery.find_root() == root.resolve()
    with pytest.raises(UnknownName, match="protocols"):
        discovery.find_root(Path("/"))


def test_names_are_those_of_the_files_without_helpers(root: Path) -> None:
    for name in ("_helper.py", "another.py", "notes.txt", "__init__.py"):
        (root / "protocols" / name).write_text("")
    assert discovery.names(root) == ["another", "tiny"]


def test_a_folder_named_protocols_without_python_marks_no_study_directory(root: Path) -> None:
    laboratory = root / "wet lab"
    (laboratory / "protocols" / "staining").mkdir(parents=True)
    (laboratory / "protocols" / "perfusion.pdf").write_text("")
    assert discovery.find_root(laboratory) == root.resolve()


def test_a_protocol_may_be_a_folder(root: Path) -> None:
    folder = root / "protocols" / "large"
    folder.mkdir()
    text = (root / "protocols" / "tiny.py").read_text().replace('name="tiny"', 'name="large"')
    (folder / "__init__.py").write_text(text)
    (root / "protocols" / "data").mkdir()
    assert discovery.names(root) == ["large", "tiny"]
    assert discovery.location(root, "large") == folder / "__init__.py"
    assert discovery.location(root, "tiny") == root / "protocols" / "tiny.py"
    assert discovery.load(root, "large").name == "large"
    (folder / "__init__.py").write_text("import no_such_module")
    sys.modules.pop("protocols.large")
    with pytest.raises(InvalidValue, match=r"protocols/large/__init__\.py cannot be imported"):
        discovery.load(root, "large")


def test_what_is_not_installed_gets_the_extra_that_brings_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "norse.torch", None)
    (root / "protocols" / "odd.py").write_text("import norse.torch")
    with pytest.raises(InvalidValue, match=r"needs norse, in the extra 'norse', .*pip install.*\[norse\]'$"):
        discovery.load(root, "odd")


def test_an_unknown_protocol_gets_the_nearest_one(root: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'tiny'"):
        discovery.load(root, "tinny")


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("PROTOCOL = 3", InvalidValue, "PROTOCOL is 3; it must be"),
        ("", InvalidValue, "PROTOCOL is None"),
        ("from protocols.tiny import PROTOCOL", InvalidValue, "name='odd'"),
        ("def (", InvalidValue, "cannot be imported: SyntaxError"),
        ("import no_such_module", InvalidValue, "no_such_module"),
        ("import sys; sys.exit(0)", InvalidValue, "cannot be imported: SystemExit: 0"),
        ("raise GeneratorExit", InvalidValue, "cannot be imported: GeneratorExit"),
        ("raise ValueError('first\\nsecond')", InvalidValue, "cannot be imported: ValueError: first$|first[.]$"),
        ("class Odd(Exception):\n def __str__(self): 1 / 0\nraise Odd", InvalidValue, "Odd: .its message fails."),
        (b"x = '\xff'", InvalidValue, "cannot be imported: SyntaxError"),
        (b"\0", InvalidValue, "cannot be imported: "),
        ("from neuro_decorr.errors import require; require('no_such_module', 'norse')", MissingExtra, r"\[norse\]"),
    ],
)
def test_a_broken_protocol_is_told_in_one_line(root: Path, text: str | bytes, kind: type[Exception], told: str) -> None:
    (root / "protocols" / "odd.py").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(kind, match=told) as caught:
        discovery.load(root, "odd")
    assert str(caught.value).startswith("protocols/odd.py")
    assert "\n" not in str(caught.value)


def test_a_second_study_directory_gets_its_own_protocols(root: Path) -> None:
    assert discovery.load(root, "tiny").question == "Is it <small>?"
    other = root / "other"
    (other / "protocols").mkdir(parents=True)
    text = (root / "protocols" / "tiny.py").read_text()
    (other / "protocols" / "tiny.py").write_text(text.replace("Is it <small>?", "Is it another?"))
    assert discovery.load(other, "tiny").question == "Is it another?"
    assert discovery.load(root, "tiny").question == "Is it <small>?"


def test_what_a_protocol_prints_on_import_is_no_result_and_where_it_goes_does_not_matter(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "protocols" / "tiny.py"
    path.write_text(f"import os\nprint('hello')\nos.chdir({str(root / 'protocols')!r})\n{path.read_text()}")
    assert discovery.load(root, "tiny").name == "tiny"
    assert capsys.readouterr() == ("", "hello\n")
    assert Path.cwd() == root


def test_an_interrupt_while_a_protocol_is_imported_is_one(root: Path) -> None:
    (root / "protocols" / "odd.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discovery.load(root, "odd")


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
def test_a_pipe_among_the_protocols_is_none(root: Path) -> None:
    os.mkfifo(root / "protocols" / "pipe.py")
    (root / "protocols" / "folder").mkdir()
    os.mkfifo(root / "protocols" / "folder" / "__init__.py")
    (root / "protocols" / "odd.py").mkdir()
    assert discovery.names(root) == ["tiny"]
