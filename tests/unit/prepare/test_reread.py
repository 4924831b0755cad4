"""Rows of a folder that earlier code prepared: alike now, or refused with their number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.prepare.reread import Reread, check_read_alike, is_scored_on, reread
from nuggets_ray.records import Encoding, Example
from nuggets_ray.run.layout import RunFolder

RULES = Rules("alpaca", {})


class WordPrompt:
    """Stands in for Prompt: a token a word, and one for the answer's indentation."""

    def demonstration(self, example: Example) -> Encoding:
        question, answer = (message.content for message in example.messages)
        mask = [False] * len(question.split()) + [True] * len(answer.replace("  ", " x ").split())
        return Encoding(np.arange(len(mask)), np.array(mask))


PROMPT: Any = WordPrompt()


def write_part(path: Path, outputs: list[str], **stored: list[object]) -> str:
    """A part of candidates/ as it is read now, but for the `stored` columns."""
    rows = [{"instruction": "Go on, please.", "output": output} for output in outputs]
    encodings = [PROMPT.demonstration(RULES.parse(row)) for row in rows]
    columns: dict[str, list[Any]] = {
        "content_id": [RULES.parse(row).content_id for row in rows],
        "num_prompt_tokens": [e.num_tokens - e.num_answer_tokens for e in encodings],
        "num_answer_tokens": [e.num_answer_tokens for e in encodings],
        "num_dropped_tokens": [0] * len(rows),
        "source_path": ["code.jsonl"] * len(rows),
        "row_number": list(range(len(rows))),
        "row_json": [json.dumps(row) for row in rows],
    }
    io.write_table(str(path), pa.table(columns | stored))
    return str(path)


def test_rows_that_read_alike_may_be_scored_on(tmp_path: Path) -> None:
    part = write_part(tmp_path / "part.parquet", ["return 1", "  return 2"])
    found = reread(part, RULES, DataConfig(), PROMPT)
    assert found == Reread(2, 0, "")
    check_read_alike("run", [found])


def test_other_ids_or_tokens_are_refused_with_their_number(tmp_path: Path) -> None:
    outputs = ["one", "  two", "three"]
    ids = [RULES.parse({"instruction": "Go on, please.", "output": o}) for o in outputs]
    stored = [ids[0].content_id, "0" * 32, ids[2].content_id]
    part = write_part(tmp_path / "1.parquet", outputs, content_id=stored, num_answer_tokens=[1] * 3)
    other = write_part(tmp_path / "2.parquet", ["one"], num_prompt_tokens=[4])
    found = [reread(uri, RULES, DataConfig(), PROMPT) for uri in (part, other)]
    assert found[0] == Reread(3, 1, "row 2 (counted from 1) of code.jsonl")
    with pytest.raises(UserError, match=r"out_dir=run: 2 of 4 rows .*row 2 .* of code.jsonl"):
        check_read_alike("run", found)


def test_a_row_that_is_of_no_use_now_has_not_changed(tmp_path: Path) -> None:
    part = write_part(tmp_path / "part.parquet", ["one", "two"], row_json=["{", "{}"])
    assert reread(part, RULES, DataConfig(), PROMPT) == Reread(2, 0, "")


def test_a_folder_without_scores_is_prepared_anew(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    assert not is_scored_on(folder.out_dir)
    io.write_table(io.join(folder.scores, "part-1.parquet"), pa.table({"a": [1]}))
    assert is_scored_on(folder.out_dir)
