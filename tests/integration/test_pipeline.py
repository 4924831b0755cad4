"""Names in finetune.selections, and the selections that stand beside the golden one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from score_runs import write_rows

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.selections import beside_golden
from nuggets_ray.run import select
from nuggets_ray.select import default_name
from nuggets_ray.stages import pipeline as stage
from nuggets_ray.stages.finetune.job import finetune as finetune_job

SELECTED = {"num_rows": 4, "mean_answer_tokens": 12.6}


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


def others(config: Config) -> dict[str, SelectConfig]:
    return {default_name(other): other for other in beside_golden(config, **SELECTED)}


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


def test_bottom_longest_and_a_draw_are_always_made(config: Config) -> None:
    found = others(config)
    assert found == {
        "bottom": SelectConfig("top_k", k=4, order="bottom", prefix="my_"),
        "longest": SelectConfig("top_k", k=4, by="longest", prefix="my_"),
        "random-0": SelectConfig("top_k", k=4, by="random", prefix="my_"),
    }


def test_what_stands_beside_never_takes_the_place_of_what_a_model_is_of(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def replaces(config: Config) -> dict[str, Any]:
        raise select.ReplacesTrainedError("models/random-0 came from it")

    monkeypatch.setattr(select, "select_candidates", replaces)
    beside = replace(config, select=others(config)["random-0"])
    assert select.select_beside(beside) == []
    assert "selections/random-0 is left as it was: models/random-0" in caplog.text
    with pytest.raises(select.ReplacesTrainedError):
        select.select_beside(naming(beside, "golden", "random-0"))
    assert others(naming(config, replace=True))["bottom"].replace


def test_what_is_trained_on_is_made_once(config: Config) -> None:
    names = ("golden", "random-0", "shortest", "random-2", "random-2-tokens", "full", "bottom")
    found = others(naming(config, *names))
    assert list(found) == [
        *("bottom", "longest", "random-0", "shortest", "random-2", "random-2-tokens")
    ]
    assert found["random-2"] == SelectConfig("top_k", k=4, by="random", draw=2, prefix="my_")
    tokens = SelectConfig("top_tokens", tokens=50, by="random", draw=2, prefix="my_")
    assert found["random-2-tokens"] == tokens, "4 x 12.6 answer tokens"
