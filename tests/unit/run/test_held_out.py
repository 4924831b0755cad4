"""The hold-out of a run, whose stored ids may be those of earlier code."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.schema import Config, DataConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.run.held_out import held_out_ids, held_out_texts, read_rules
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder

ROW = {"question": "Go on.", "reply": "    return 1"}
COLUMNS = {"instruction": "question", "output": "reply"}


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    out_dir = str(tmp_path)
    write_config(out_dir, "score", Config(out_dir, data=DataConfig("rows.jsonl", columns=COLUMNS)))
    io.write_json(RunFolder(out_dir).manifest, {"schema_version": 1, "data_format": "columns"})
    return out_dir


def test_rows_are_read_as_the_run_read_them(out_dir: str) -> None:
    assert read_rules(out_dir) == Rules("columns", COLUMNS)
    data = DataConfig("rows.jsonl", columns=COLUMNS, roles={"clerk": "assistant"})
    write_config(out_dir, "score", Config(out_dir, data=data))
    assert read_rules(out_dir) == Rules("columns", COLUMNS, {"clerk": "assistant"})


def test_a_run_whose_data_was_not_read_to_the_end_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"out_dir={tmp_path}.*jobs/score.py"):
        read_rules(str(tmp_path))


def test_ids_are_computed_anew_and_kept_where_a_row_holds_no_example_now(out_dir: str) -> None:
    assert held_out_texts(out_dir) is None
    texts = [json.dumps(ROW), "{", json.dumps({"question": "Go on."})]
    table = pa.table({"content_id": ["a" * 32, "b" * 32, "c" * 32], "row_json": texts})
    io.write_table(RunFolder(out_dir).held_out, table)
    assert held_out_texts(out_dir) == texts
    rules = read_rules(out_dir)
    now = rules.parse(ROW).content_id
    assert held_out_ids(out_dir, rules).astype(str).tolist() == [now, "b" * 32, "c" * 32]
