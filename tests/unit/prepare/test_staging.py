"""Rows on their way into the run folder: raw blocks of text, staged blocks with ids and tokens."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.examples import choose_rules
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.errors import UserError
from nuggets_ray.prepare import staging
from nuggets_ray.prepare.staging import (
    RAW_SCHEMA,
    STAGED_SCHEMA,
    failure,
    raw_blocks,
    stage_block,
    write_staged,
)
from nuggets_ray.records import Encoding, Example


class LetterPrompt:
    """Stands in for Prompt: a token a character, demonstrations over 20 are cut."""

    def demonstration(self, example: Example) -> Encoding:
        lengths = [len(message.content) for message in example.messages]
        mask = np.repeat([message.role == "assistant" for message in example.messages], lengths)
        return Encoding(np.arange(len(mask))[:20], mask[:20], max(0, len(mask) - 20))


PROMPT: Any = LetterPrompt()


def row(question: str, answer: str) -> dict[str, str]:
    return {"instruction": question, "output": answer}


def write(path: Path, *rows: object) -> Path:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def read(path: Path, limit: int | None = None) -> list[pa.Table]:
    return list(raw_blocks(enumerate(list_inputs(str(path))), limit))


def stage(raw: pa.Table, path: Path, **data: Any) -> list[dict[str, Any]]:
    config = DataConfig(str(path), **data)
    staged, _ = stage_block(raw, choose_rules(config, list_inputs(str(path))), config, PROMPT)
    assert staged.schema == STAGED_SCHEMA
    return list(staged.to_pylist())


def test_rows_keep_their_place_in_their_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row("q0", "a0"), "", row("q1", "a1"))
    write(tmp_path / "b.jsonl", row("q2", "a2"))
    [raw] = read(tmp_path)
    assert raw.schema == RAW_SCHEMA
    places = [(one["file_index"], one["row_number"]) for one in raw.to_pylist()]
    assert places == [(0, 0), (0, 1), (1, 0)], "blank lines are no rows"
    assert json.loads(raw["text"][1].as_py()) == row("q1", "a1")
    assert failure(raw) is None


@pytest.mark.parametrize("limit", [1, 2, 3, 99])
def test_blocks_end_by_size_and_all_by_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(staging, "RAW_CHARS", 60)
    path = write(tmp_path / "rows.jsonl", *[row(f"q{i}", "a" * 10) for i in range(5)])
    blocks = read(path, limit)
    assert sum(block.num_rows for block in blocks) == min(limit, 5)
    assert all(block.num_rows <= 2 for block in blocks)
    numbers = [n for block in blocks for n in block["row_number"].to_pylist()]
    assert numbers == list(range(min(limit, 5)))


def test_a_file_that_cannot_be_read_says_so_in_its_block(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", row("q", "a"))
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    [raw] = read(tmp_path)
    assert raw.num_rows == 2
    reason = failure(raw)
    assert reason is not None and "b.jsonl.gz cannot be read" in reason
    assert failure(RAW_SCHEMA.empty_table()) is None


def test_a_row_has_ids_and_counts_or_a_reason(tmp_path: Path) -> None:
    rows = [row("what", "that"), "{cut", row("only a question", ""), row("q" * 12, "a" * 12)]
    path = write(tmp_path / "rows.jsonl", *rows)
    good, broken, empty, long = stage(read(path)[0], path, excerpt_chars=9)
    assert good["reason"] is None and len(good["content_id"]) == 32
    assert json.loads(good["row_json"]) == rows[0]
    counts = ("num_prompt_tokens", "num_answer_tokens", "num_dropped_tokens")
    assert [good[key] for key in counts] == [4, 4, 0]
    assert (broken["reason"], broken["excerpt"]) == ("invalid_json", "{cut")
    assert empty["reason"] == "empty_answer" and empty["excerpt"] == json.dumps(rows[2])[:9]
    assert long["reason"] == "too_long"
    assert [bad["content_id"] for bad in (broken, empty, long)] == [None] * 3
    *_, cut = stage(read(path)[0], path, on_too_long="truncate")
    assert cut["reason"] is None and [cut[key] for key in counts] == [12, 8, 4]


def test_a_row_whose_answer_is_wholly_cut_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", row("q" * 20, "a"), row("q" * 19, "aa"))
    gone, cut = stage(read(path)[0], path, on_too_long="truncate")
    assert (gone["reason"], cut["reason"]) == ("no_answer_left", None)
    assert cut["num_answer_tokens"] == 1


def test_a_staged_block_is_named_after_its_first_row(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", *[row(f"q{i}", "a") for i in range(3)])
    config = DataConfig(str(path))
    rules = choose_rules(config, list_inputs(str(path)))
    staged, _ = stage_block(read(path)[0].slice(1), rules, config, PROMPT)
    uri = write_staged(str(tmp_path / "staging"), staged)
    assert Path(uri).name == "00000000-000000000001.parquet"
    assert io.read_table(uri) == staged


def test_the_format_is_recognised_or_as_given(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", row("q", "a"))
    files = list_inputs(str(path))
    assert choose_rules(DataConfig(str(path)), files).format == "alpaca"
    columns = {"instruction": "output", "output": "instruction"}
    assert choose_rules(DataConfig(str(path), columns=columns), files).format == "columns"
    nothing = write(tmp_path / "empty.jsonl")
    with pytest.raises(UserError, match="data.path=.*empty.jsonl holds no rows"):
        choose_rules(DataConfig(str(nothing)), list_inputs(str(nothing)))


def test_a_block_tells_what_its_rows_were_read_from_and_where_one_is_wrong(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": None}]
    whole = {"conversations": [turns[0], {"from": "gpt", "value": "a"}], "id": 1, "system": "s"}
    path = write(tmp_path / "rows.jsonl", whole, {"conversations": turns, "id": 2})
    config = DataConfig(str(path))
    rules = choose_rules(config, list_inputs(config.path))
    staged, counts = stage_block(read(path)[0], rules, config, PROMPT)
    assert counts.as_dict() == {
        "fields_read": {"conversations": 1, "system": 1},
        "fields_not_read": {"id": 1},
        "num_greetings": 0,
    }
    assert staged["reason"].to_pylist() == [None, "wrong_type:value"]
    assert staged["detail"].to_pylist() == [None, "null at turn 2"]
