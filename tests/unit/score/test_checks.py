"""What is wrong with a scoring run is told before anything is started."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from scored_run import finished_run

from nuggets_ray.config.schema import (
    AnchorsConfig,
    Config,
    DataConfig,
    ModelConfig,
    PromptConfig,
    ScoreConfig,
)
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.score.checks import check_fields, check_inputs, check_signals


@pytest.fixture
def config(tiny_model: Path, tmp_path: Path) -> Config:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"instruction": "q", "output": "a"}) + "\n")
    return Config("out", data=DataConfig(str(rows)), model=ModelConfig(str(tiny_model)))


def test_what_is_there_passes_and_what_is_not_is_named(config: Config, tmp_path: Path) -> None:
    check_inputs(config)
    check_inputs(replace(config, data=DataConfig("demo")))
    wrong = [
        (replace(config, data=DataConfig("/no/rows.jsonl")), "data.path=/no/rows.jsonl"),
        (replace(config, anchors=AnchorsConfig("file", path="/no.json")), "anchors.path=/no.json"),
        (replace(config, model=ModelConfig("/no/model")), "model.path=/no/model"),
        (replace(config, prompt=PromptConfig("chat")), "prompt.template=chat"),
        (
            replace(config, data=replace(config.data, columns={"answer": "output"})),
            "data.columns",
        ),
    ]
    for given, words in wrong:
        with pytest.raises(UserError, match=words):
            check_inputs(given)


def test_a_signal_that_the_backend_cannot_tell_is_refused_by_name(config: Config) -> None:
    asked = replace(config, signals=["perplexity", "rds"], score=ScoreConfig(backend="vllm"))
    with pytest.raises(UserError, match=r"signals=\[rds\]: score.backend=vllm"):
        check_inputs(asked)
    check_signals(["perplexity", "ifd"], "vllm")
    check_signals(["rds"], "transformers")


def test_tokens_past_the_embeddings_are_told_before_any_row_is_met(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = load_tokenizer(config.model)
    num_embeddings = len(tokenizer)
    tokenizer.add_tokens(["<|im_end|>", "<|spare|>"], special_tokens=True)
    folder = shutil.copytree(config.model.path, tmp_path / "model")
    tokenizer.save_pretrained(folder)
    config = replace(config, model=ModelConfig(str(folder)))
    with caplog.at_level(logging.WARNING):
        check_inputs(config)
    [line] = [record.message for record in caplog.records if "embeddings" in record.message]
    assert f"past the model's {num_embeddings} embeddings (2, such as '<|im_end|>'" in line
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
    )
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"'<\|im_end\|>' \(\d+\) of its prompt template .*alpaca"):
        check_inputs(config)


def test_weights_that_are_not_whole_are_told(config: Config, tmp_path: Path) -> None:
    folder = shutil.copytree(config.model.path, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="model.path="):
        check_inputs(replace(config, model=ModelConfig(str(folder))))


def test_a_field_that_a_selection_would_write_needs_a_prefix(tmp_path: Path) -> None:
    out_dir = finished_run(str(tmp_path / "run"))
    check_fields(out_dir, "")
    with pytest.raises(UserError, match="field named z, "):
        check_fields_named(out_dir)


def check_fields_named(out_dir: str) -> None:
    """As if one of our columns were called z, which every row of the run has."""
    from nuggets_ray.score import checks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "OUR_COLUMNS", ("z",))
        patch.setattr("nuggets_ray.select.OUR_COLUMNS", ("z",))
        check_fields(out_dir, "")
