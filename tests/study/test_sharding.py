"""Shares of a study: together they are the study, and none has more than its share of anything."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.sharding import Shard

Command = Callable[..., tuple[int, str, str]]


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 11), st.randoms(use_true_random=False))
def test_shares_are_the_study_and_even_in_every_arm(arms: int, seeds: int, count: int, random: object) -> None:
    conditions = [Condition("a", seed, {"arm": arm}) for seed in range(seeds) for arm in range(arms)]
    random.shuffle(conditions)  # type: ignore[attr-defined]
    shares = [Shard(number, count).share(conditions) for number in range(1, count + 1)]
    assert Counter(condition for share in shares for condition in share) == Counter(conditions)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    for arm in range(arms):
        numbers = [sum(condition.factors["arm"] == arm for condition in share) for share in shares]
        assert max(numbers) - min(numbers) <= 1
    assert all(share == [condition for condition in conditions if condition in set(share)] for share in shares)


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "-1/2", "a/b", "1/2/3", "1.0/2", "٣/٤"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="should be I/N with I from 1 to N"):
        Shard.parse(text)


def test_shares_merged_give_the_study(root: Path, complete: Path, command: Command) -> None:
    for number in (1, 2):
        code, out, err = command("run", "tiny", "--out", f"s{number}", "--workers", "1", "--shard", f"{number}/2")
        assert (code, out) == (0, "")
        assert f"share {number}/2 of stage 1 is complete with 1 run; not in s{number}: 1 run of other shares. " in err
        title = f"stage 1 of 2 (select), share {number}/2: "
        told = [line.split(title)[1] for line in err.splitlines() if title in line]
        assert told[:2] == ["this share has 1 of 2 runs.", "0 of 1 runs"]
        assert told[-1].startswith("1 run, ")
        assert not (root / f"s{number}" / "rows").exists()
        assert len(list((root / f"s{number}" / "runs").glob("*/*.json"))) == 1
    assert command("merge", "s1", "s2", "--out", "m")[0] == 0
    # The second stage needs the first one whole, which the merged directory has.
    code, _, err = command("run", "tiny", "--out", "m", "--workers", "1", "--shard", "2/2")
    assert (code, "share 2/2 of stage 2 is complete with 4 runs; not in m: 4 runs of other" in err) == (0, True)
    assert "(measure), share 2/2: this share has 4 of 8 runs." in err
    assert "(measure), share 2/2: 4 runs, " in err
    code, _, err = command("run", "tiny", "--out", "m", "--workers", "1", "--shard", "1/2")
    assert (code, "every run of 'tiny' is in m; to write the report: neuro-decorr report m" in err) == (0, True)
    assert command("report", "m")[0] == 0
    for name in ("rows/courses.parquet", "rows/runs.parquet", "finding.txt", "tables/means.csv"):
        assert (root / "m" / name).read_bytes() == (complete / name).read_bytes()


@pytest.mark.slow
def test_a_share_with_a_failed_run_is_not_complete(root: Path, command: Command) -> None:
    (root / "protocols" / "measure.trouble").write_text("bug")
    given_ = ("run", "tiny", "--out", "one", "--workers", "1", "--items", "1", "--shard", "1/1")
    code, _, err = command(*given_)
    assert (code, "Incomplete: 1 of 6 runs missing (1 failed)." in err) == (1, True)
    assert "missing runs of this share, give the same command again" in err
    (root / "protocols" / "measure.trouble").unlink()
    assert command(*given_)[0] == 0
