"""What is wrong with an evaluation is one sentence, before a model is loaded."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig, JudgeConfig
from nuggets_ray.config.schema import Config, ModelConfig, ScoreConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.checks import check_evaluate, check_method, has_rows, uses_vllm
from nuggets_ray.run.layout import RunFolder


def check(method: str = "likelihood", judge: JudgeConfig | None = None, **evaluate: Any) -> None:
    check_method(EvaluateConfig(method, **evaluate), judge or JudgeConfig(), GenerateConfig())


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.json"
    path.write_text("[]")
    return str(path)


@pytest.mark.parametrize(
    ("method", "evaluate", "words"),
    [
        ("alpaca_eval", {}, "evaluate.prompts_path is missing: .*prompts_path=alpaca_eval.json"),
        ("mt_bench", {}, "evaluate.prompts_path is missing: .*prompts_path=question.jsonl"),
        ("mt_bench", {"prompts_path": "/no.jsonl"}, "evaluate.prompts_path=/no.jsonl"),
        ("lm_eval", {}, "evaluate.tasks is missing"),
        ("likelihood", {"primary": "win_rate"}, "evaluate.primary=win_rate is no BENCHMARK/METRIC"),
        ("likelihood", {"primary": "likelihood/loss"}, "likelihood/loss: no paired test decides"),
    ],
)
def test_settings_that_cannot_be(method: str, evaluate: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check(method, **evaluate)


def test_a_judge_needs_a_name_and_something_to_compare(prompts: str, tmp_path: Path) -> None:
    given = {"prompts_path": prompts}
    with pytest.raises(UserError, match="judge.model is missing: judge.url=http://h/v1"):
        check("mt_bench", JudgeConfig(url="http://h/v1"), **given)
    with pytest.raises(UserError, match="evaluate.reference_path is missing: judge.model=j"):
        check("alpaca_eval", JudgeConfig(model="j", url="http://h/v1"), **given)
    with pytest.raises(UserError, match="^judge.model=.*nowhere does not exist"):
        check("mt_bench", JudgeConfig(model=str(tmp_path / "nowhere")), **given)
    judge = JudgeConfig(model="j", url="http://h/v1")
    with pytest.raises(UserError, match="^evaluate.reference_path=r: there is no such file"):
        check("alpaca_eval", judge, **given, reference_path="r")
    check("alpaca_eval", judge, **given, reference_path=prompts)
    check("likelihood", JudgeConfig(url="http://h/v1"))  # nobody judges there


def test_a_model_that_is_not_whole_is_named(tiny_model: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    config = Config(str(tmp_path / "run"), model=ModelConfig(str(tiny_model)))
    assert [model.name for model in check_evaluate(config)] == ["base"]
    models = EvaluateConfig(models=["base", str(broken)])
    with pytest.raises(UserError, match="^evaluate.models=broken: "):
        check_evaluate(replace(config, evaluate=models))


@pytest.mark.parametrize(
    ("method", "score", "generate", "expected"),
    [
        ("likelihood", "vllm", "transformers", True),
        ("likelihood", "transformers", "vllm", False),
        ("mt_bench", "vllm", "transformers", False),
        ("alpaca_eval", "transformers", "vllm", True),
        ("lm_eval", "vllm", "vllm", False),
    ],
)
def test_who_loads_the_models(method: str, score: str, generate: str, expected: bool) -> None:
    assert uses_vllm(method, ScoreConfig(backend=score), GenerateConfig(generate)) == expected


def test_models_are_compared_where_there_are_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="nuggets_ray")
    out_dir, evaluate = str(tmp_path), EvaluateConfig()
    assert not has_rows(out_dir, evaluate, 1)
    assert "there are no held-out rows (data.holdout=N" in caplog.text
    io.write_table(RunFolder(out_dir).held_out, pa.table({"content_id": ["a"]}))
    assert has_rows(out_dir, evaluate, 1)
    assert not has_rows(out_dir, evaluate, 0), "they were held out by another configuration"
    assert has_rows(out_dir, EvaluateConfig(held_out_path="rows.jsonl"), 0)
    assert has_rows(out_dir, EvaluateConfig("mt_bench"), 0)
