from pathlib import Path

import pytest

from neuro_decorr.errors import InvalidValue, StateMismatch
from neuro_decorr.study.identity import NAME, Identity

STUDY = Identity("tiny", {"epochs": 5, "rates": [0.1, 0.5]}, 3)


def test_an_absent_or_empty_directory_and_the_same_study_are_fine(tmp_path: Path) -> None:
    STUDY.check(tmp_path / "absent")
    STUDY.check(tmp_path)
    (tmp_path / ".lock").write_text("")
    (tmp_path / ".configuration.json.7.tmp").write_text("half")
    STUDY.check(tmp_path)
    STUDY.write(tmp_path)
    STUDY.check(tmp_path)
    assert Identity.read(tmp_path) == STUDY
    assert not (tmp_path / "absent").exists()


def test_more_seeds_extend_a_study_and_fewer_are_refused(tmp_path: Path) -> None:
    STUDY.write(tmp_path)
    more, fewer = Identity("tiny", STUDY.configuration, 5), Identity("tiny", STUDY.configuration, 2)
    more.check(tmp_path)
    assert more.fingerprint == STUDY.fingerprint
    with pytest.raises(StateMismatch, match="seeds: stored 3, asked for 2"):
        fewer.check(tmp_path)


def test_another_configuration_is_refused_field_by_field(tmp_path: Path) -> None:
    STUDY.write(tmp_path)
    before = (tmp_path / NAME).read_bytes()
    other = Identity("tiny", {"epochs": 6, "rates": [0.1], "new": True}, 3)
    with pytest.raises(StateMismatch) as caught:
        other.check(tmp_path)
    assert str(caught.value).splitlines()[1:4] == [
        "  epochs: stored 5, asked for 6",
        "  rates: stored [0.1, 0.5], asked for [0.1]",
        "  new: stored (no such field), asked for True",
    ]
    assert other.fingerprint != STUDY.fingerprint
    assert (tmp_path / NAME).read_bytes() == before
    with pytest.raises(StateMismatch, match="protocol: stored 'tiny', asked for 'other'"):
        Identity("other", {}, 3).check(tmp_path)


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InvalidValue, match=r"holds no study \(it has thesis.tex\)"):
        STUDY.check(tmp_path)
    with pytest.raises(InvalidValue, match="Not a directory"):
        STUDY.check(tmp_path / "thesis.tex")
    with pytest.raises(InvalidValue, match="holds no study"):
        Identity.read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"protocol": "tiny"}',
        b'{"protocol": 1, "configuration": 2, "seeds": 3}',
        b'{"protocol": ["tiny"], "configuration": {}, "seeds": 3}',
        b'{"protocol": "tiny", "configuration": {}, "seeds": true}',
        b'{"protocol": "tiny", "configuration": {}, "seeds": 0}',
        b'{"protocol": "tiny", "configuration": {}, "seeds": 1000000000000}',
        b'{"protocol": "t\xffny", "configuration": {}, "seeds": 3}',
        b"[" * 200_000,
        b'{"protocol": "tiny", "configuration": {"a": ' + b"[" * 600 + b"]" * 600 + b'}, "seeds": 3}',
        b'{"protocol": "tiny", "configuration": {}, "seeds": ' + b"3" * 5000 + b"}",
    ],
    ids=range(13),
)
def test_a_damaged_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(StateMismatch, match="is damaged"):
        STUDY.check(tmp_path)
