"""The select stage on run folders as score leaves them: finished, going on, dead in compaction."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from score_runs import run_job

from nuggets_ray import io
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.scores import SCORE_SCHEMA
from nuggets_ray.run.select import select_candidates
from nuggets_ray.run.selections import begin_record, check_not_outgrown, read_selection

TOP_4 = SelectConfig(rule="top_k", k=4)


def source_row(number: int) -> dict[str, Any]:
    """A row whose fields have an order, a nesting and numbers of their own."""
    turns = [{"from": "human", "value": f"vraag {number} é"}, {"value": "ja", "from": "gpt"}]
    return {"z": number / 8, "conversations": turns, "mixed": number if number % 2 else f"{number}"}


def write_candidates(out_dir: str, part: int, numbers: Sequence[int], **fields: Any) -> None:
    """One part of candidates/: content `c<n>`, twice where the number comes twice."""
    seen: dict[int, int] = {}
    rows = []
    for number in numbers:
        seen[number] = copy = seen.get(number, 0) + 1
        rows.append(
            {
                "example_id": f"c{number:02d}" if copy == 1 else f"c{number:02d}-{copy}",
                "content_id": f"c{number:02d}",
                "source_path": "/data/rows.jsonl",
                "row_number": number + 100 * (copy - 1),
                "row_json": json.dumps(source_row(number) | fields | {"copy": copy}),
                "num_answer_tokens": 100 - number,
            }
        )
    uri = io.join(out_dir, "candidates", f"part-{part:05d}.parquet")
    io.write_table(uri, pa.Table.from_pylist(rows))


def write_scores(out_dir: str, part: int, numbers: Sequence[int]) -> None:
    """One part of scores/: the golden score of content `c<n>` is n / 20."""
    rows = [
        {
            "example_id": f"c{number:02d}",
            "content_id": f"c{number:02d}",
            "golden_score": number / 20,
            "num_wins": number,
            "num_anchors": 20,
            "mean_delta": number / 100,
            "num_answer_tokens": 100 - number,
            "one_shot_logprob": [-1.0] * 20,
        }
        for number in numbers
    ]
    uri = io.join(out_dir, "scores", f"part-attempt-{part}.parquet")
    io.write_table(uri, pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))


def write_skipped(out_dir: str, numbers: Sequence[int]) -> None:
    rows = [
        {"source_path": "/data/rows.jsonl", "row_number": number, "reason": "x", "excerpt": ""}
        for number in numbers
    ]
    io.write_table(io.join(out_dir, "skipped.parquet"), pa.Table.from_pylist(rows))


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """A finished run of 20 candidates in three parts, 12 of them copied once."""
    path = str(tmp_path / "run")
    write_candidates(path, 0, range(10))
    write_candidates(path, 1, [*range(10, 20), 12])
    write_scores(path, 0, range(5, 20))
    write_scores(path, 1, range(5))
    return path


def choose(out_dir: str, select: SelectConfig = TOP_4) -> tuple[dict[str, Any], list[Any]]:
    result = select_candidates(Config(out_dir=out_dir, select=select))
    text = io.read_bytes(result["wrote"][0]).decode()
    return result, [json.loads(line) for line in text.splitlines()]


def test_the_original_rows_come_out_in_rank_order_with_our_columns_behind(out_dir: str) -> None:
    result, rows = choose(out_dir)
    for rank, (row, number) in enumerate(zip(rows, (19, 18, 17, 16), strict=True), start=1):
        ours = {"example_id": f"c{number:02d}", "golden_score": number / 20, "rank": rank}
        expected = source_row(number) | {"copy": 1} | ours
        assert row == expected
        assert list(row) == list(expected)
    assert result["num_rows"] == 4
    assert result["cutoff"] == 16 / 20
    folder = Path(out_dir, "selections", "golden")
    names = ["selected.jsonl", "selected.parquet", "selection.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert result["wrote"] == [str(folder / name) for name in names]


def test_parquet_holds_the_same_rows_and_mixed_fields_as_json(out_dir: str) -> None:
    result, rows = choose(out_dir)
    table = io.read_table(result["wrote"][1])
    assert table.column_names == list(rows[0])
    for typed, row in zip(table.to_pylist(), rows, strict=True):
        assert json.loads(typed.pop("mixed")) == row.pop("mixed")
        assert typed == row


def test_copies_have_the_score_of_their_content_and_their_own_row(out_dir: str) -> None:
    _, rows = choose(out_dir, SelectConfig(rule="threshold", min_score=0.55))
    assert [row["example_id"] for row in rows[-3:]] == ["c13", "c12", "c12-2"]
    assert [row["copy"] for row in rows[-3:]] == [1, 1, 2]
    assert rows[-1]["golden_score"] == rows[-2]["golden_score"] == 12 / 20


def test_selection_json_tells_settings_and_counts(out_dir: str) -> None:
    result, _ = choose(out_dir, SelectConfig(fraction=0.5, by="longest", order="bottom"))
    told = json.loads(io.read_bytes(result["wrote"][2]))
    assert told["settings"]["name"] == "shortest"
    assert told["settings"]["fraction"] == 0.5
    assert told["settings"]["seed"] == 0
    counts = {key: told[key] for key in ("num_rows", "num_scored", "num_candidates", "partial")}
    assert counts == {"num_rows": 11, "num_scored": 21, "num_candidates": 21, "partial": False}
    assert told["cutoff"] == 100 - 10


@pytest.mark.parametrize("by", ["golden_score", "random", "longest"])
def test_parts_that_overlap_change_nothing(out_dir: str, by: str) -> None:
    config = SelectConfig(rule="top_k", k=7, by=by)
    before = choose(out_dir, config)
    write_scores(out_dir, 2, range(3, 15))
    write_candidates(out_dir, 2, range(5, 12))
    assert choose(out_dir, config) == before


def test_a_run_still_going_is_partial(out_dir: str, caplog: pytest.LogCaptureFixture) -> None:
    io.delete(io.join(out_dir, "scores", "part-attempt-0.parquet"))
    result, rows = choose(out_dir, SelectConfig(fraction=0.5))
    assert result["partial"] is True
    assert "partial: 5 of 21 candidates are scored" in caplog.text
    assert [row["example_id"] for row in rows] == ["c04", "c03", "c02"]
    assert json.loads(io.read_bytes(result["wrote"][2]))["partial"] is True


def test_rows_that_scoring_skipped_are_not_waited_for(out_dir: str) -> None:
    write_candidates(out_dir, 2, range(30, 33))
    write_skipped(out_dir, [30, 31])
    assert choose(out_dir)[0]["partial"] is True
    write_skipped(out_dir, [30, 31, 32, 500])
    assert choose(out_dir)[0]["partial"] is False


def test_parts_compacted_while_they_are_read(out_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = choose(out_dir)
    read_table = io.read_table

    def compacting(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
        if uri.endswith("part-attempt-1.parquet"):
            write_scores(out_dir, 2, range(20))
            for part in (0, 1):
                io.delete(io.join(out_dir, "scores", f"part-attempt-{part}.parquet"))
        return read_table(uri, columns)

    monkeypatch.setattr(io, "read_table", compacting)
    assert choose(out_dir) == expected


def test_a_field_with_one_of_our_names_needs_a_prefix(out_dir: str) -> None:
    write_candidates(out_dir, 1, range(10, 20), rank="captain")
    with pytest.raises(UserError, match=r"field named rank, .*select\.prefix"):
        choose(out_dir)
    assert not Path(out_dir, "selections").exists()
    _, rows = choose(out_dir, SelectConfig(rule="top_k", k=4, prefix="my_"))
    assert list(rows[0])[-5:] == ["rank", "copy", "my_example_id", "my_golden_score", "my_rank"]
    assert (rows[0]["rank"], rows[0]["my_rank"]) == ("captain", 1)


def test_a_selection_is_replaced_whole(out_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(out_dir)

    def failing(uri: str, data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(io, "write_bytes", failing)
    with pytest.raises(OSError, match="disk full"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))
    assert not Path(out_dir, "selections", "golden", "selection.json").exists()


@pytest.mark.parametrize("missing", ["scores", "candidates", "."])
def test_a_run_without_scores_is_refused(out_dir: str, missing: str) -> None:
    io.delete(io.join(out_dir, missing))
    with pytest.raises(UserError, match=r"holds no scores yet: run jobs/score\.py"):
        choose(out_dir)


def test_wrong_settings_are_refused_before_the_run_is_looked_for() -> None:
    with pytest.raises(UserError, match=r"select\.fraction=2\.0"):
        choose("/nowhere", SelectConfig(fraction=2.0))


def begin(out_dir: str, model: str, selection: str) -> dict[str, Any]:
    """What a training on a selection writes down before its first step."""
    folder = io.join(out_dir, "finetune", model)
    record = begin_record(out_dir, folder, selection, is_begun=False)
    assert record is not None
    return record


def end(out_dir: str, model: str, done: dict[str, Any]) -> None:
    """A model, without what was left of its training."""
    write_json(io.join(out_dir, "models", model, "finetune.json"), done)
    io.delete(io.join(out_dir, "finetune", model))


@pytest.mark.parametrize("is_older", [False, True])
def test_a_selection_that_a_model_was_trained_on_is_not_replaced(
    out_dir: str, is_older: bool
) -> None:
    rows = choose(out_dir)
    record = begin(out_dir, "m", "golden")
    with pytest.raises(UserError, match=r"select.name=golden: finetune/m .*select.replace=true"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))
    settings = {"rows": {"sha256": [record["sha256"]]}}
    end(out_dir, "m", {"settings": settings} | ({} if is_older else {"selection": record}))
    with pytest.raises(UserError, match=r"models/m came from the rows of selections/golden"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))
    same = choose(out_dir, SelectConfig(rule="threshold", min_score=15.5 / 20))
    assert same[1] == rows[1], "the same rows are no replacement"
    choose(out_dir, SelectConfig(rule="top_k", k=2, name="other"))
    _, replaced = choose(out_dir, SelectConfig(rule="top_k", k=2, replace=True))
    assert len(replaced) == 2
    choose(out_dir, SelectConfig(rule="top_k", k=3))  # nobody was trained on those two


def test_a_checkpoint_made_by_an_earlier_version_holds_its_selection(out_dir: str) -> None:
    record_of = choose(out_dir)[0]["wrote"][0]
    settings = {"rows": {"sha256": [io.sha256(record_of)]}}
    saved = {"settings": settings, "last": {}, "best": None}
    write_json(io.join(out_dir, "finetune", "m", "checkpoints.json"), saved)
    with pytest.raises(UserError, match="finetune/m came from"):
        choose(out_dir, SelectConfig(rule="top_k", k=2))


def test_a_training_that_goes_on_keeps_what_it_began_with(out_dir: str) -> None:
    choose(out_dir)
    folder = io.join(out_dir, "finetune", "m")
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


def test_the_job_prints_a_table_and_one_json_line(out_dir: str) -> None:
    finished = run_job("select_topk", f"out_dir={out_dir}", "select.fraction=0.2")
    assert finished.returncode == 0, finished.stderr
    *table, last = finished.stdout.splitlines()
    assert json.loads(last)["num_rows"] == 5
    assert json.loads(last)["status"] == "done"
    assert table[0] == "selection golden"
    assert [line.split() for line in table[1:3]] == [["num_rows", "5"], ["num_scored", "21"]]
    assert Path(out_dir, "selections", "golden", "selected.jsonl").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["select=top_k", "select.k=22"], "select.k=22 asks for 22 rows, but only 21 candidates"),
        (["select.k=5"], "select.k=5 is not used by select.rule=top_fraction"),
        (["select=threshold", "select.min_score=0.99"], "select.min_score=0.99 keeps nothing"),
    ],
)
def test_the_job_ends_with_one_sentence_and_code_2(
    out_dir: str, overrides: list[str], message: str
) -> None:
    finished = run_job("select_topk", f"out_dir={out_dir}", *overrides)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
