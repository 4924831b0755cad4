"""The command line as a user types it: what composes, and what each mistake is told."""

import os
from pathlib import Path

import pytest

from nuggets_ray.config.compose import load, require
from nuggets_ray.config.keys import CONF_DIR
from nuggets_ray.errors import UserError


def test_overrides_and_groups_reach_the_dataclasses() -> None:
    config = load(
        ["data.path=rows.jsonl", "prompt=official", "model=demo", "data.limit=7", "seed=3"]
    )
    assert config.data.path == os.path.abspath("rows.jsonl")
    assert config.prompt.template == "official" and config.prompt.max_anchor_tokens == 200
    assert config.model.path == "demo"
    assert (config.data.limit, config.seed) == (7, 3)


def test_the_bench_s_files_are_the_caller_s_and_may_be_none() -> None:
    config = load(["bench=peers", "bench.cases=[cut-200]", "bench.out=rows.json"])
    assert (config.bench.name, config.bench.cases) == ("peers", ["cut-200"])
    assert config.bench.out == os.path.abspath("rows.json")
    assert config.bench.log is None and load(["bench.log="]).bench.log is None
    assert load(["bench.log=LOG.md"]).bench.log == os.path.abspath("LOG.md")


@pytest.mark.parametrize(
    "file", sorted((CONF_DIR / "experiment").glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_experiment_composes(file: Path) -> None:
    config = load([f"experiment={file.stem}"])
    assert config != load([]), "an experiment sets something"


def test_the_demo_needs_no_key_of_the_user() -> None:
    config = load(["experiment=demo"])
    require(config, "out_dir", "model.path", "data.path")
    assert config.out_dir and config.model.path == config.data.path == "demo"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.limt=3", ["data.limt", "did you mean data.limit"]),
        ("limit=3", ["limit", "did you mean data.limit"]),
        ("data.limit=abc", ["data.limit=abc", "whole number"]),
        ("data.limit=1.5", ["data.limit=1.5", "whole number"]),
        ("data.limit=0", ["data.limit=0", "at least 1"]),
        ("cluster.num_workers=0", ["cluster.num_workers=0", "at least 1"]),
        ("anchors=foo", ["anchors=foo", "file, kmeans, random"]),
        ("prompt.template=foo", ["prompt.template=foo", "official"]),
        ("+foo=1", ["foo", "no such key"]),
        ("+data.foo=1", ["data.foo", "no such key"]),
        ("out_dir", ["out_dir", "key=value"]),
        ("data=csv", ["data=csv"]),
        ("seed=null", ["seed"]),
        ("data.max_skipped_fraction=2", ["data.max_skipped_fraction=2"]),
        ("data.retry=[error,killed]", ["data.retry=killed", "killed_worker, error"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load([override])
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_columns_are_free_keys() -> None:
    config = load(["data.columns.instruction=question", "data.columns={output: reply}"])
    assert config.data.columns == {"instruction": "question", "output": "reply"}


def test_arguments_of_vllm_are_free_keys() -> None:
    overrides = ["score.backend=vllm", "score.vllm.tensor_parallel_size=2"]
    config = load([*overrides, "score.vllm.hf_overrides={rope_theta: 1e6}"])
    assert config.score.vllm == {"tensor_parallel_size": 2, "hf_overrides": {"rope_theta": 1e6}}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["score.backend=tensorrt"], ["score.backend=tensorrt", "transformers, vllm"]),
        (["score.backend=vllm", "score.engine=tree"], ["score.engine=tree", "leave it out"]),
        (["score.vllm.quantization=fp8"], ["score.vllm=", "score.backend=vllm"]),
        (["score.backend=vllm", "score.vllm.dtype=half"], ["score.vllm.dtype", "score.dtype"]),
        (["score.backend=vllm", "score.vllm.model=a"], ["score.vllm.model", "model.path"]),
        (["score.backend=vllm", "score.vllm.logprobs_mode=raw_logits"], ["logprobs_mode"]),
        (["score.backend=vllm", "score.vllm.max_model_len=auto"], ["max_model_len=auto"]),
        (["score.backend=vllm", "score.vllm.tensor_parallel_size=0"], ["at least 1"]),
        (["cluster.gpus_per_worker=1.5"], ["cluster.gpus_per_worker=1.5", "whole number"]),
        (
            ["score.engine=plain", "score.compile_head=true"],
            ["score.compile_head=True", "score.engine=tree", "score.engine=plain"],
        ),
        (
            ["score.backend=vllm", "score.gpu_attention=flex"],
            ["score.gpu_attention=flex", "score.backend=vllm"],
        ),
        (
            ["score.compile_layers=true", "score.fuse_products=true"],
            ["score.fuse_products=True", "leave out"],
        ),
        (
            ["cluster.num_workers=4", "cluster.max_workers=2"],
            ["cluster.max_workers=2", "cluster.num_workers=4", "leave it out"],
        ),
    ],
)
def test_values_that_do_not_go_together(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(overrides)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match="out_dir is missing"):
        require(load([]), "out_dir")


def test_a_submitted_job_refuses_relative_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(UserError, match="out_dir=runs/x.*absolute"):
        load(["out_dir=runs/x"])
    assert load(["out_dir=s3://bucket/x"]).out_dir == "s3://bucket/x"


def test_an_adapter_s_path_is_the_caller_s() -> None:
    assert load(["model.adapter_path=some/lora"]).model.adapter_path == os.path.abspath("some/lora")
    assert load([]).model.adapter_path is None
