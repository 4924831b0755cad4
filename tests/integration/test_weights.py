"""A model that cannot be had ends a job in one sentence: before Ray starts where its files show it,
and at the first worker that fails otherwise.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import ray
import train_jobs
from broken_folders import set_config, without_head
from score_runs import run_job, score_overrides, write_rows

from nuggets_ray.config.schema import Config, ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.records import Encoding
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.score import worker as scorer
from nuggets_ray.stages.score.progress import Counter


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_scoring_refuses_a_model_without_its_head_before_ray_starts(
    model: Path, tmp_path: Path
) -> None:
    without_head(model)
    rows = write_rows(tmp_path / "rows.jsonl", 8)
    ended = run_job("score", *score_overrides(rows, model, tmp_path / "out"))
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 2 and "lm_head.weight" in last and "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_training_ends_at_the_first_worker_that_cannot_load(model: Path, tmp_path: Path) -> None:
    # only loading it tells that the package is not there
    set_config(model, quantization_config={"quant_method": "hqq"})
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    given = train_jobs.overrides(rows, model, tmp_path / "out", "finetune.max_failures=1000")
    ended = run_job("finetune", *given)
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 2, ended.stderr
    assert last.startswith(f"error: model.path={model} cannot be loaded") and "HQQ" in last


def test_a_scoring_worker_that_cannot_have_the_model_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(setup: scorer.Setup, encodings: list[Encoding]) -> None:
        raise UserError("it does not fit")

    monkeypatch.setattr(scorer, "load_engine", refuse)
    config = Config(model=ModelConfig(str(model)))
    setup = scorer.Setup(config, "try", "cpu", "float32", "alpaca", 100, 0.0)
    baseline_ref = ray.put(ZeroShot((), np.zeros(0)))
    worker = scorer.Scorer(setup, [baseline_ref], Counter.remote(), None)
    [answer] = worker({"ticket": np.array([3])})["result"]
    assert json.loads(answer) == {"refused": "it does not fit", "ticket": 3}
