"""Evaluation that ends in one sentence, with what was done so far kept; and an adapter."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluate_runs import (
    evaluate_overrides,
    make_model,
    results_of,
    write_alpaca_prompts,
)
from safetensors.torch import load_file
from score_runs import result_of, run_job, write_rows

from nuggets_ray.cli import guard, print_result
from nuggets_ray.config.compose import load
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.model.load import load_model, load_tokenizer
from nuggets_ray.prompts.alpaca_jinja import give_chat_template
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.stages.evaluate import job as stage

ADAPTED = "model.layers.0.self_attn.q_proj"
CLOSED = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tiny_model, tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def out_dir(model: Path, tmp_path: Path) -> Path:
    """A run folder that knows its base model, and holds nothing else."""
    config = Config(str(tmp_path / "run"), model=ModelConfig(str(model)))
    write_config(config.out_dir, "score", replace(config, prompt=PromptConfig("alpaca")))
    return tmp_path / "run"


def evaluate(out_dir: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_job("evaluate", *evaluate_overrides(out_dir, *more))


def refusal(job: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a job that a mistake of the user ended."""
    assert job.returncode == 2, job.stderr
    assert "Traceback" not in job.stderr
    told = [line for line in job.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    return told[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["evaluate=alpaca_eval"], ["evaluate.prompts_path is missing", "alpaca_eval.json"]),
        (["evaluate.models=[base,golden]"], ["evaluate.models=golden", "there are: base"]),
        (["evaluate.primary=mt_bench/grade"], ["likelihood/win_rate was named before"]),
        (["evaluate.primary=win_rate"], ["evaluate.primary=win_rate is no BENCHMARK/METRIC"]),
        (["evaluate.primary=likelihood/perplexity"], ["likelihood/perplexity", "mean_logprob"]),
        (["evaluate=mt_bench", "evaluate.prompts_path=no.jsonl"], ["evaluate.prompts_path"]),
        (
            ["evaluate=mt_bench", "evaluate.prompts_path=q.jsonl", "judge.model=/no/judge"],
            ["judge.model=/no/judge does not exist"],
        ),
        (
            ["evaluate=mt_bench", "evaluate.prompts_path=q.jsonl", "judge.url=http://host/v1"],
            ["judge.model is missing", "judge.url=http://host/v1"],
        ),
        (
            ["evaluate=alpaca_eval", "evaluate.prompts_path=p.json", "judge.model=j"],
            ["evaluate.reference_path is missing", "judge.model=j"],
        ),
        (["evaluate.compare=[/no/run]"], ["/no/run/evaluation/results.json is not there"]),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    out_dir: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: list[str]
) -> None:
    """In this process, as the job does it: nothing that takes long is started."""
    results = {"schema_version": 1, "primary": "likelihood/win_rate", "results": []}
    (out_dir / "evaluation").mkdir()
    (out_dir / "evaluation" / "results.json").write_text(json.dumps(results))
    config = load(evaluate_overrides(out_dir, *more))
    assert guard(lambda: print_result(stage.evaluate(config))) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: ")
    assert all(word in told for word in words), told
    assert not (out_dir / "manifest.json").exists()


def test_a_judge_out_of_reach_costs_no_answer(
    out_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-key")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    prompts = write_alpaca_prompts(tmp_path / "prompts.json", 3)
    reference = tmp_path / "reference.json"
    rows = [{**row, "output": "no", "generator": "r"} for row in json.loads(prompts.read_bytes())]
    reference.write_text(json.dumps(rows))
    overrides = [
        *("evaluate=alpaca_eval", f"evaluate.prompts_path={prompts}"),
        f"evaluate.reference_path={reference}",
    ]
    judge = ["judge.model=j", f"judge.url={CLOSED}", "judge.max_retries=0"]
    job = evaluate(out_dir, *overrides, *judge)
    told = refusal(job)
    assert f"judge.url={CLOSED} cannot be reached" in told and "check the address" in told
    answers = out_dir / "evaluation" / "answers" / "base"
    before = {path.name: path.read_bytes() for path in answers.iterdir()}
    outputs = out_dir / "evaluation" / "alpaca_eval" / "prompts" / "base" / "model_outputs.json"
    assert len(json.loads(outputs.read_bytes())) == 3
    assert not (out_dir / "evaluation" / "results.json").exists()
    everything = [path.read_bytes() for path in out_dir.rglob("*") if path.is_file()]
    assert not any(b"a-secret-key" in content for content in everything)
    assert "a-secret-key" not in job.stderr

    result_of(evaluate(out_dir, *overrides))
    assert {path.name: path.read_bytes() for path in answers.iterdir()} == before
    told_of = {(row["model"], row["metric"]) for row in results_of(out_dir)["results"]}
    assert told_of == {("base", "mean_answer_tokens")}


def make_adapter(model: Path, out_dir: Path, seed: int) -> None:
    """models/golden of the run: a LoRA adapter of random weights, as a fine-tune leaves it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    folder = out_dir / "models" / "golden"
    shutil.rmtree(folder, ignore_errors=True)
    base = load_model(ModelConfig(str(model)), "float32", "cpu")
    settings = LoraConfig(
        r=2, lora_alpha=4, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(base, settings).save_pretrained(folder)
    tokenizer = load_tokenizer(ModelConfig(str(model)))
    give_chat_template(tokenizer, [])
    tokenizer.save_pretrained(folder)
    (folder / "finetune.json").write_text("{}")


def weights_with(model: Path, out_dir: Path) -> torch.Tensor:
    """The adapted weights by hand: W + (alpha / r) B A."""
    adapter = load_file(out_dir / "models" / "golden" / "adapter_model.safetensors")
    up, down = (adapter[f"base_model.model.{ADAPTED}.lora_{kind}.weight"] for kind in "BA")
    return load_file(model / "model.safetensors")[f"{ADAPTED}.weight"] + 2 * up @ down


def test_an_adapter_is_merged_and_evaluated_and_again_when_it_changes(
    model: Path, out_dir: Path, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "held.jsonl", 8)
    overrides = ["score.dtype=float32", f"evaluate.held_out_path={rows.parent / 'held.*'}"]
    found = []
    for seed in (1, 2):
        make_adapter(model, out_dir, seed)
        assert result_of(evaluate(out_dir, *overrides))["models"] == ["base", "golden"]
        merged = (out_dir / "evaluation" / "merged").glob("golden-*")
        newest = max(merged, key=lambda path: path.stat().st_mtime_ns)
        assert not (newest / "adapter_config.json").exists()
        weights = load_file(newest / "model.safetensors")[f"{ADAPTED}.weight"]
        torch.testing.assert_close(weights, weights_with(model, out_dir))
        values = {
            row["model"]: row["value"]
            for row in results_of(out_dir)["results"]
            if (row["metric"], row["subset"]) == ("mean_logprob", "all")
        }
        found.append(values)
    assert found[0]["base"] == found[1]["base"]
    assert len({found[0]["base"], found[0]["golden"], found[1]["golden"]}) == 3
