"""preview.jsonl holds what recomputing a log-prob takes."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from nuggets_ray import io
from nuggets_ray.anchors.encode import encode_anchors
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Example, Message
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.preview import NUM_ANCHORS, write_preview


def example(number: int) -> Example:
    return Example((Message("user", f"Count to {number}."), Message("assistant", f"{number}")))


def test_a_line_has_texts_tokens_and_numbers(tiny_model: Path, tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    prompt = make_prompt(load_tokenizer(ModelConfig(str(tiny_model))), PromptConfig("alpaca"))
    anchors = encode_anchors([example(n) for n in (3, 5, 8)], "random", prompt)
    log_probs = {"e0": [-1.0, -2.0, -3.0], "e1": [-4.0, -5.0, -6.0], "other": [0.0, 0.0, 0.0]}
    table = pa.table({"example_id": list(log_probs), "one_shot_logprob": list(log_probs.values())})
    io.write_table(io.join(RunFolder(out_dir).scores, "part.parquet"), table)
    examples = {"e1": example(1), "e0": example(0)}
    zero_shot_A = np.array([-7.0, -8.0, -9.0])
    write_preview(out_dir, examples, anchors, zero_shot_A, prompt, 30, "float32")
    lines = [json.loads(line) for line in io.read_bytes(RunFolder(out_dir).preview).splitlines()]
    places = [(line["example_id"], line["anchor_id"]) for line in lines]
    assert places == [(e, f"random-{a}") for e in ("e1", "e0") for a in range(NUM_ANCHORS)]
    assert [line["one_shot_logprob"] for line in lines] == [-4.0, -5.0, -1.0, -2.0]
    assert [line["zero_shot_logprob"] for line in lines] == [-7.0, -8.0, -7.0, -8.0]
    first = lines[0]
    assert first["demonstration_text"] == prompt.text(example(1)) and first["dtype"] == "float32"
    demonstration = prompt.demonstration(example(1), 30)
    assert demonstration.num_dropped_tokens > 0
    anchor = anchors[0].encoding
    assert first["one_shot_token_ids"] == [*demonstration.token_ids, *anchor.token_ids]
    answers = np.flatnonzero(first["one_shot_answer_mask"])
    np.testing.assert_array_equal(
        answers, demonstration.num_tokens + np.flatnonzero(anchor.answer_mask)
    )
    assert first["zero_shot_token_ids"] == [*prompt.zero_shot_prefix, *anchor.token_ids]
