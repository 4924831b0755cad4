"""Every row of the data is scored, skipped or excluded, and who reads the log is told why."""

from pathlib import Path

import pyarrow as pa
import pytest
from made_up_candidates import make_candidates

from nuggets_ray import io
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.accounts import (
    account,
    check_accounts,
    count_killed_attempts,
    near_tie_fraction,
)
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.skipped import SKIPPED_SCHEMA, LeftOut

CANDIDATES = make_candidates(["a", "b", "a", "c"], [5, 5, 5, 5])


def write_scores(out_dir: str, ids: list[str], writer: str = "try", near_ties: int = 1) -> None:
    uri = io.join(RunFolder(out_dir).scores, f"part-{writer}-{len(ids)}.parquet")
    counts = {"num_near_ties": [near_ties] * len(ids), "num_anchors": [4] * len(ids)}
    io.write_table(uri, pa.table({"example_id": ids, **counts}))


def write_skipped(out_dir: str, *reasons: str) -> None:
    rows = [("rows.jsonl", number, reason, "", None) for number, reason in enumerate(reasons)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    io.write_table(RunFolder(out_dir).skipped, pa.table(columns, schema=SKIPPED_SCHEMA))


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """Four candidates of which three are scored, two rows that are no candidates."""
    path = str(tmp_path)
    write_scores(path, ["a", "a-2", "b"])
    write_skipped(path, "empty_answer", "held_out", "killed_worker")
    return path


def test_scored_skipped_and_excluded_are_all_rows(out_dir: str) -> None:
    accounts = account(out_dir, 6, CANDIDATES, {"c"})
    assert (accounts.num_scored, accounts.num_skipped, accounts.num_excluded) == (3, 2, 1)
    assert accounts.is_scored_N.tolist() == [True, True, True, False]


def test_a_row_that_is_lost_fails_the_run(out_dir: str) -> None:
    with pytest.raises(RuntimeError, match="7 in the data, 3 scored, 2 skipped, 1 excluded"):
        account(out_dir, 7, CANDIDATES, {"c"})


def test_a_score_of_what_is_left_out_does_not_count(out_dir: str) -> None:
    write_skipped(out_dir, "empty_answer", "held_out", "killed_worker", "is_anchor")
    accounts = account(out_dir, 6, CANDIDATES, {"b", "c"})
    assert (accounts.num_scored, accounts.num_excluded) == (2, 2)


def test_what_has_no_score_is_told(out_dir: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="nuggets_ray")
    accounts = account(out_dir, 6, CANDIDATES, {"c"})
    left_out = {"c": LeftOut("killed_worker", 1), "d": LeftOut("killed_worker", 2)}
    data = DataConfig(max_skipped_fraction=0.4, retry=["killed_worker"])
    check_accounts(accounts, left_out, data)
    assert "without a score: 1 empty_answer, 1 held_out, 1 killed_worker" in caplog.text
    assert "1 candidates have no score (1 killed_worker): the same command tries" in caplog.text
    assert "1 candidates have no score and are not tried again (1 killed_worker" in caplog.text


def test_too_many_that_were_skipped_end_the_run(out_dir: str) -> None:
    accounts = account(out_dir, 6, CANDIDATES, {"c"})
    with pytest.raises(UserError, match="data.max_skipped_fraction=0.3: 2 of 6 rows were skipped"):
        check_accounts(accounts, {}, DataConfig(max_skipped_fraction=0.3))


def test_near_ties_are_a_share_of_all_decisions(out_dir: str, tmp_path: Path) -> None:
    assert near_tie_fraction(out_dir) == 1 / 4
    write_scores(out_dir, ["c"], near_ties=4)
    assert near_tie_fraction(out_dir) == (3 + 4) / 16
    assert near_tie_fraction(str(tmp_path / "empty")) is None


def test_a_killed_attempt_computed_what_it_wrote(tmp_path: Path) -> None:
    killed = Run(str(tmp_path), "score")
    killed.__enter__()
    write_scores(str(tmp_path), ["a", "b"], killed.attempt_id)
    io.delete(RunFolder(str(tmp_path)).lease)  # as if its process were gone
    with Run(str(tmp_path), "score") as run:
        count_killed_attempts(run)
        first, second = run.manifest["stages"]["score"]["attempts"]
    assert (first["status"], first["num_computed"]) == ("killed", 2)
    assert second["attempt_id"] == run.attempt_id and "num_computed" not in second
