"""Candidates as anchors: their rows in the order asked for, and what they are told apart by."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny_models import random_ids

from nuggets_ray import io
from nuggets_ray.anchors.drawn import drawn_examples, hidden_states, strata_by_field
from nuggets_ray.anchors.kmeans import embed
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_model
from nuggets_ray.run.layout import RunFolder


def test_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "reply": f"a{i}"} for i in range(4)]
    table = pa.table(
        {"example_id": [f"id{i}" for i in range(4)], "row_json": [json.dumps(r) for r in rows]}
    )
    io.write_table(io.join(RunFolder(str(tmp_path)).candidates, "part.parquet"), table)
    rules = Rules("columns", {"instruction": "question", "output": "reply"})
    examples = drawn_examples(str(tmp_path), ["id3", "id0"], rules)
    assert [[m.text for m in example.messages] for example in examples] == [
        *(["q3", "a3"], ["q0", "a0"]),
    ]


def write_candidates(out_dir: Path, rows: list[dict[str, object]]) -> str:
    table = pa.table(
        {
            "example_id": [f"id{i}" for i in range(len(rows))],
            "content_id": [f"id{i}" for i in range(len(rows))],
            "source_path": [f"/data/{'ab'[i % 2]}.jsonl" for i in range(len(rows))],
            "row_json": [json.dumps(row) for row in rows],
        }
    )
    io.write_table(io.join(RunFolder(str(out_dir)).candidates, "part.parquet"), table)
    return str(out_dir)


def test_strata_are_what_rows_hold_in_a_field_or_their_files(tmp_path: Path) -> None:
    out_dir = write_candidates(
        tmp_path, [{"topic": "maths"}, {"topic": 3}, {"other": 1}, {"topic": None}]
    )
    assert list(strata_by_field(out_dir, "topic").values()) == ["maths", "3", "", ""]
    assert list(strata_by_field(out_dir, "source_path").values()) == [
        *("/data/a.jsonl", "/data/b.jsonl") * 2,
    ]
    with pytest.raises(UserError, match=r"anchors.per=topics: no row .*the rows have topic, other"):
        strata_by_field(out_dir, "topics")


def test_hidden_states_are_those_of_the_model(tiny_model: Path) -> None:
    model = ModelConfig(str(tiny_model))
    token_ids = [random_ids(i, 3 + i) for i in range(12)]
    hidden_NH = hidden_states(model, "float32", "cpu", "kmeans", token_ids)
    expected_NH = embed(load_model(model, "float32", "cpu"), token_ids)
    np.testing.assert_array_equal(hidden_NH, expected_NH)


def test_hidden_states_without_a_model_that_transformers_can_load(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_type"}')
    with pytest.raises(UserError, match="anchors=kmeans .*no_such_type.*take anchors=random"):
        hidden_states(ModelConfig(str(tmp_path)), "float32", "cpu", "kmeans", [np.array([1, 2])])
