"""Selections as others read them, and the record that a training keeps of the one it is on."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scored_run import begin, choose, finished_run, write_candidates, write_scores

from nuggets_ray import io
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.selections import (
    answer_lengths,
    begin_record,
    check_not_outgrown,
    models_of,
    read_selection,
    selection_names,
    write_selection,
)


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    return finished_run(str(tmp_path / "run"))


def test_a_training_that_goes_on_keeps_what_it_began_with(out_dir: str) -> None:
    choose(out_dir)
    folder = RunFolder(out_dir).training("m").path
    begun = begin(out_dir, "m", "golden")
    assert begun["settings"]["k"] == begun["num_rows"] == 4
    assert begun["num_answer_tokens"] == {str(100 - n): 1 for n in (19, 18, 17, 16)}
    choose(out_dir, SelectConfig(rule="threshold", min_score=15.5 / 20))
    assert begin_record(out_dir, folder, "golden", is_begun=True) == begun
    anew = begin_record(out_dir, folder, "golden", is_begun=False)
    assert anew and anew["settings"]["rule"] == "threshold"
    assert begin_record(out_dir, folder, None, is_begun=False) is None
    assert not io.exists(io.join(folder, "selection.json"))


def check(out_dir: str, allow_partial: bool = False) -> None:
    made = read_selection(out_dir, "golden")
    assert made is not None
    check_not_outgrown(out_dir, "golden", made, allow_partial)


def test_a_partial_selection_is_not_trained_on_once_scoring_went_on(
    out_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    part = io.join(out_dir, "scores", "part-attempt-0.parquet")
    scores = io.read_bytes(part)
    io.delete(part)
    choose(out_dir, SelectConfig(fraction=0.5))
    check(out_dir)
    assert "golden is partial: it was made while 5 of 21 candidates were scored" in caplog.text
    io.write_bytes(part, scores)
    with pytest.raises(
        UserError,
        match=r"finetune.selection=golden was made while 5 of 21 .*now "
        r"21 are: .*jobs/select_topk.py.*finetune.allow_partial=true",
    ):
        check(out_dir)
    check(out_dir, allow_partial=True)
    choose(out_dir, SelectConfig(fraction=0.5))
    caplog.clear()
    check(out_dir)
    assert caplog.text == ""


def test_a_whole_selection_of_fewer_rows_is_told(
    out_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    choose(out_dir)
    write_candidates(out_dir, 2, range(30, 33))
    check(out_dir)
    assert caplog.text == "", "none of them is scored yet"
    write_scores(out_dir, 2, range(30, 33))
    check(out_dir)
    assert "golden was made among 21 scored candidates, of which there are 24 now" in caplog.text
    io.delete(io.join(out_dir, "scores"))
    check(out_dir)  # there is nothing that could have gone on


def test_a_selection_counts_once_it_is_whole(out_dir: str) -> None:
    assert selection_names(out_dir) == [] and read_selection(out_dir, "golden") is None
    choose(out_dir)
    choose(out_dir, SelectConfig("top_k", k=2, by="longest"))
    assert selection_names(out_dir) == ["golden", "longest"]
    io.delete(RunFolder(out_dir).selection("golden").record)
    assert selection_names(out_dir) == ["longest"] and read_selection(out_dir, "golden") is None


def test_lengths_are_one_a_row_ascending() -> None:
    lengths = answer_lengths({"num_answer_tokens": {"3": 2, "10": 1}})
    np.testing.assert_array_equal(lengths, [3, 3, 10])
    assert len(answer_lengths({})) == 0


def test_who_was_trained_on_rows_is_told_by_their_hash(out_dir: str) -> None:
    choose(out_dir)
    record = begin(out_dir, "m", "golden")
    assert models_of(out_dir, record["sha256"]) == ["finetune/m"]
    assert models_of(out_dir, "another") == []
    io.write_json(RunFolder(out_dir).model("m").record, {"selection": record})
    assert models_of(out_dir, record["sha256"]) == ["models/m"], "once, by the model"


def test_rows_that_something_else_chose_become_a_selection(tmp_path: Path) -> None:
    ours = pa.table({"study_example_id": ["a", "b"], "study_signal": [0.5, None]})
    rows = [b'{"q": 1, "a": "x"}', b'{"q": 2, "a": "y"}']
    write_selection(str(tmp_path), "mine", rows, ours, {"settings": {"by": "study"}})
    folder = RunFolder(str(tmp_path)).selection("mine")
    assert read_selection(str(tmp_path), "mine") == {"settings": {"by": "study"}}
    assert io.read_bytes(folder.jsonl).decode().splitlines() == [
        '{"q": 1, "a": "x", "study_example_id": "a", "study_signal": 0.5}',
        '{"q": 2, "a": "y", "study_example_id": "b", "study_signal": null}',
    ]
    assert io.read_table(folder.parquet)["study_example_id"].to_pylist() == ["a", "b"]
