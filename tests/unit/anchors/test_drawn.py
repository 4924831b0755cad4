"""Candidates as anchors: their rows in the order asked for, and those that k-means chooses."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny_models import random_ids

from nuggets_ray import io
from nuggets_ray.anchors.drawn import drawn_examples, nearest_to_centres
from nuggets_ray.anchors.kmeans import embed, kmeans_ids
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


def test_kmeans_chooses_by_the_model_s_own_states(tiny_model: Path) -> None:
    model = ModelConfig(str(tiny_model))
    token_ids = {f"id{i:02}": random_ids(i, 3 + i) for i in range(12)}
    chosen = nearest_to_centres(model, "float32", "cpu", token_ids, 3, seed=7)
    hidden_NH = embed(load_model(model, "float32", "cpu"), list(token_ids.values()))
    assert chosen == kmeans_ids(list(token_ids), hidden_NH, 3, 7)
    assert len(set(chosen)) == 3 and set(chosen) < set(token_ids)


def test_kmeans_without_a_model_that_transformers_can_load(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_type"}')
    token_ids = {"a": np.array([1, 2])}
    with pytest.raises(UserError, match="anchors=kmeans .*no_such_type.*take anchors=random"):
        nearest_to_centres(ModelConfig(str(tmp_path)), "float32", "cpu", token_ids, 1, 0)
