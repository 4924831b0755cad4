"""What a pipeline refuses before anything starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from score_runs import write_rows

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.stages import pipeline as stage
from nuggets_ray.stages.finetune.job import finetune as finetune_job


@pytest.fixture
def config(tiny_model: Path, tmp_path: Path) -> Config:
    data = DataConfig(str(write_rows(tmp_path / "rows.jsonl", 8)))
    chosen = SelectConfig(fraction=0.5, prefix="my_")
    return Config(
        str(tmp_path / "out"), data=data, model=ModelConfig(str(tiny_model)), select=chosen
    )


def naming(config: Config, *names: str, **changed: Any) -> Config:
    finetune = FinetuneConfig(selections=list(names))
    return replace(config, finetune=finetune, select=replace(config.select, **changed))


@pytest.mark.parametrize("name", ["goldn", "random", "random-01", "random--1", "random-0-token"])
def test_an_unknown_selection_is_refused_before_anything_starts(config: Config, name: str) -> None:
    with pytest.raises(UserError, match=rf"finetune.selections={name}: .*makes golden, bottom"):
        stage.pipeline(naming(config, "golden", name))
    assert not Path(config.out_dir).exists()


def test_the_selection_has_its_own_name(config: Config) -> None:
    with pytest.raises(UserError, match=r"finetune.selections=golden: .*makes best, bottom"):
        stage.pipeline(naming(config, "golden", name="best"))
    with pytest.raises(UserError, match=r"evaluate.prompts_path is missing"):
        named = naming(config, "best", "full", "shortest", "random-3-tokens", name="best")
        stage.pipeline(replace(named, evaluate=EvaluateConfig("mt_bench")))


def test_a_model_that_will_not_be_there_is_refused_before_anything_starts(config: Config) -> None:
    evaluated = EvaluateConfig(models=["base", "golden", "random-1"])
    with pytest.raises(UserError, match=r"evaluate.models=random-1: "):
        stage.pipeline(replace(naming(config, "golden"), evaluate=evaluated))
    assert not Path(config.out_dir).exists()


def test_a_key_that_deepspeed_would_ignore_is_refused_before_anything_starts(
    config: Config,
) -> None:
    finetune = FinetuneConfig(selections=["golden"], deepspeed={"zero_optimisation": {"stage": 3}})
    with pytest.raises(UserError, match=r"zero_optimisation is no .*deepspeed.zero_optimization\?"):
        stage.pipeline(replace(config, finetune=finetune))
    with pytest.raises(UserError, match=r"zero_stage is no .*deepspeed.zero_optimization.stage\?"):
        finetune_job(replace(config, finetune=FinetuneConfig(deepspeed={"zero_stage": 3})))
    assert not Path(config.out_dir).exists()


@pytest.mark.parametrize("name", ["bottom", "longest", "random-0", "full"])
def test_the_selection_cannot_take_another_s_name(config: Config, name: str) -> None:
    with pytest.raises(UserError, match=f"select.name={name}"):
        stage.pipeline(naming(config, name=name))
