"""What is told about an extra that is not installed fits where this library came from."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuro_decorr import errors

Installed = Callable[..., Path]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Pretends that this library was installed, as pip does it: a folder of metadata beside the package (PEP 376)."""

    def install(direct_url: Any = None, version: str = "0.1.0") -> Path:
        site = tmp_path / "site-packages"
        information = site / f"neuro_decorr-{version}.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.4\nName: neuro-decorr\nVersion: {version}\n")
        if direct_url is not None:
            text = direct_url if isinstance(direct_url, str) else json.dumps(direct_url)
            (information / "direct_url.json").write_text(text)
        monkeypatch.setattr(errors, "_PACKAGE", site / "neuro_decorr")
        return site

    return install


def test_from_a_release_file(installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "my files" / "neuro_decorr-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    installed({"url": wheel.as_uri(), "archive_info": {"hash": "sha256=0"}})
    assert errors.install("norse") == f"pip install '{wheel}[norse]'"
    monkeypatch.chdir(wheel.parent)
    assert errors.install("norse", "brian") == f"pip install '{wheel.name}[norse,brian]'"
    wheel.unlink()
    assert errors.install("norse").endswith(f"pip install '{wheel.name}[norse]' beside a release file")


def test_from_a_folder_that_was_installed(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "downloaded"
    folder.mkdir()
    installed({"url": folder.as_uri(), "dir_info": {}})
    assert errors.install("study") == f"pip install '{folder}[study]'"
    monkeypatch.chdir(tmp_path)
    assert errors.install("study") == "pip install './downloaded[study]'"
    monkeypatch.chdir(folder)
    assert errors.install("study") == "pip install '.[study]'"


def test_from_a_checkout_that_runs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed with --editable or found on the path: a copy must not take its place."""
    monkeypatch.setattr(errors, "_PACKAGE", tmp_path / "neuro_decorr")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "neuro-decorr"\n')
    assert errors.install("study") == f"pip install --editable '{tmp_path}[study]'"
    monkeypatch.chdir(tmp_path)
    assert errors.install("study") == "pip install --editable '.[study]'"


def test_from_a_repository_or_a_server(installed: Installed) -> None:
    installed(
        {"url": "https://example.org/nd.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "sub"}
    )
    wanted = "pip install 'neuro-decorr[study] @ git+https://example.org/nd.git@abc#subdirectory=sub'"
    assert errors.install("study") == wanted


def test_from_the_address_of_a_file(installed: Installed) -> None:
    installed({"url": "https://example.org/nd-1.whl", "archive_info": {}})
    assert errors.install("study") == "pip install 'neuro-decorr[study] @ https://example.org/nd-1.whl'"


@pytest.mark.parametrize("direct_url", [None, "no JSON", "[]", "{}", '{"url": "file:///nowhere/at/all"}', "null"])
def test_from_anywhere_else_no_name_is_asked_of_an_index(installed: Installed, direct_url: str | None) -> None:
    """The name is not registered for this project: another's package might come."""
    site = installed(direct_url)
    (site / "pyproject.toml").write_text('name = "another"')
    told = errors.install("study")
    assert told == (
        "pip install '.[study]' in a checkout, or pip install 'neuro_decorr-0.1.0-py3-none-any.whl[study]' "
        "beside a release file"
    )


def test_where_nothing_was_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_PACKAGE", tmp_path / "neuro_decorr")
    assert "neuro_decorr-VERSION-py3-none-any.whl[study]" in errors.install("study")


def test_what_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(errors.MissingExtra, match=r"needs no_such\.module, in the extra 'norse', .*\[norse\]'$"):
        errors.require("no_such.module", "norse")


def test_no_message_and_no_page_asks_an_index_for_our_name() -> None:
    """`pip install neuro-decorr` may bring a stranger's package while the name is not ours."""
    root = Path(__file__).resolve().parents[1]
    pages = [root / "README.md", *(root / "docs").rglob("*.md")]
    code = [
        path
        for folder in ("neuro_decorr", "models", "protocols", "analysis")
        for path in root.glob(f"{folder}/**/*.py")
    ]
    for path in [*pages, *code]:
        assert not re.search("pip install '?neuro-decorr", path.read_text("utf-8")), path
    named = {name for path in pages for name in re.findall(r"neuro_decorr-(.+?)-py3", path.read_text("utf-8"))}
    assert named == {tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]}
