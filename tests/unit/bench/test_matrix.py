"""A dataset cut into candidates and short anchors, and the numbers of a run that was scored."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.bench.matrix import numbers, split
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Anchor, Encoding, ScoreRow
from nuggets_ray.run.anchors import write_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import write_scores


def test_anchors_are_short_and_no_candidates(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = make_prompt(load_tokenizer(ModelConfig(path=str(tiny_model))), PromptConfig())
    rows = [{"instruction": f"Say {n}.", "output": "word " * n} for n in range(1, 31)]
    examples = [Rules("alpaca").parse(row) for row in rows]
    lengths = sorted(prompt.anchor(example).num_tokens for example in examples)
    monkeypatch.setattr("nuggets_ray.bench.matrix.MAX_ANCHOR_TOKENS", lengths[9])
    candidates, anchors = split(examples, prompt, num_candidates=20, num_anchors=5)
    assert max(prompt.anchor(anchor).num_tokens for anchor in anchors) <= lengths[9]
    ids = {one.content_id for one in (*candidates, *anchors)}
    assert len(ids) == 25
    assert split(examples[::-1], prompt, 20, 5) == (candidates, anchors)
    with pytest.raises(UserError, match="30 distinct rows give 10 anchors"):
        split(examples, prompt, num_candidates=20, num_anchors=11)


def test_only_a_full_matrix_is_kept(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    write_json(RunFolder(out_dir).manifest, {"schema_version": 1, "stages": {}})
    fields = {"source_path": "rows.jsonl", "row_number": 0}
    ids = [{"example_id": name, "content_id": name, **fields} for name in ("aa", "bb")]
    table = pa.Table.from_pylist([{**one, "row_json": json.dumps({})} for one in ids])
    io.write_table(io.join(RunFolder(out_dir).candidates, "part-00000.parquet"), table)
    encoding = Encoding(np.array([3, 4, 5]), np.array([False, True, True]))
    anchors = [Anchor(f"file-{n}", f"id{n}", "file", f"anchor {n}", encoding) for n in range(2)]
    zero_shot_A = np.array([-2.0, -1.0], np.float32)
    write_anchors(RunFolder(out_dir).anchors, anchors, zero_shot_A)

    def score(content_id: str, one_shot: list[float]) -> ScoreRow:
        told = (0.5, 1, 2, 0.5, 0, 0.1, 0.9, "complete", 10, 4, 0, None)
        return ScoreRow(content_id, content_id, *told, np.array(one_shot, np.float32))

    part = write_scores(out_dir, "one", [score("aa", [-1.5, -1.5]), score("bb", [-1.0, -0.5])])
    kept = numbers(out_dir)
    np.testing.assert_array_equal(kept["delta_NA"], [[0.5, -0.5], [1.0, 0.5]])
    assert kept["demo_tokens_N"].tolist() == [14, 14]
    assert kept["anchor_tokens_A"].tolist() == [3, 3]
    assert kept["answer_tokens_A"].tolist() == [2, 2]
    Path(part).unlink()
    write_scores(out_dir, "one", [score("aa", [-1.5, np.nan]), score("bb", [-1.0, -0.5])])
    with pytest.raises(UserError, match="schedule=full"):
        numbers(out_dir)
