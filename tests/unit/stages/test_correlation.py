"""The correlation study around training and evaluation, which are stood in for: what is chosen,
kept, computed again and thrown away.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from studied_run import factor_deltas, studied_run

from nuggets_ray import io
from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.config.study import StudyConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.results import Result, Results, write_results
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.selections import make_record
from nuggets_ray.stages import correlation
from nuggets_ray.stages.correlation import study_correlation

STUDY = StudyConfig(name="correlation", groups=3, arms=["group-1", "group-3", "random"])


@pytest.fixture
def config(tmp_path: Path) -> Config:
    held_out = tmp_path / "held.jsonl"
    held_out.write_text('{"instruction": "q", "output": "a"}\n')
    return Config(
        out_dir=studied_run(str(tmp_path / "run"), factor_deltas(30, 6)),
        study=STUDY,
        finetune=FinetuneConfig(max_steps=2),
        evaluate=EvaluateConfig(held_out_path=str(held_out)),
    )


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(selection, seed, rows) of every training; a model gains a hundredth a row's rank."""
    calls: list[tuple[str, int, int]] = []
    gains = {"group-1": 0.01, "group-3": 0.03, "random": 0.02}

    def finetune(config: Config) -> dict[str, Any]:
        name = str(config.finetune.selection)
        folder = RunFolder(config.out_dir)
        rows = io.read_bytes(folder.selection(name).jsonl).decode().splitlines()
        assert make_record(config.out_dir, name)["num_answer_tokens"], "as a training records it"
        calls.append((name, config.seed, len(rows)))
        io.write_json(folder.model(name).record, {})
        io.write_json(folder.training(name).committed, {})
        for model in (name, "study-random-10"):  # an adapter that evaluation made whole
            io.write_json(f"{folder.evaluation.merged(model, 'abc')}/config.json", {})
        return {}

    def evaluate(config: Config) -> dict[str, Any]:
        assert config.evaluate.primary in ("likelihood/mean_logprob", "mt_bench/grade")
        results = []
        for model in config.evaluate.models:
            gain = next((gain for name, gain in gains.items() if name in model), 0.0)
            seed = int(model[-1]) if model != "base" else 0
            results.append(
                Result(
                    model, "likelihood", "mean_logprob", -2.0 + gain + 0.001 * seed, 10,
                    data={"rows": "r"}, name=config.evaluate.name,
                )
            )  # fmt: skip
        write_results(config.out_dir, Results(config.evaluate.primary, tuple(results)))
        return {}

    @contextlib.contextmanager
    def connected(cluster: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(correlation, "finetune", finetune)
    monkeypatch.setattr(correlation, "evaluate", evaluate)
    monkeypatch.setattr(correlation, "connected", connected)
    return calls


def test_each_arm_is_trained_by_its_seed_and_its_numbers_are_kept(
    config: Config, trained: list[tuple[str, int, int]]
) -> None:
    report = study_correlation(replace(config, seed=5))
    assert len(trained) == 9 and {seed for _, seed, _ in trained} == {5, 6, 7}
    assert {rows for _, _, rows in trained} == {10}
    rows = [row for row in report.numbers if row["part"] == "arm"]
    gains = {row["name"]: row["gain"] for row in rows}
    assert gains == pytest.approx({"group-1": 0.011, "group-3": 0.031, "random": 0.021})
    assert "2 of 3 groups are trained so far" in report.meaning[0]
    folder = RunFolder(config.out_dir)
    assert io.list_folders(folder.models) == [] and io.list_folders(folder.trainings) == []
    assert io.list_folders(folder.evaluation.all_merged) == ["study-random-10-abc"], "none of ours"
    selected = io.read_bytes(folder.selection("study-group-3-0").jsonl).decode()
    assert '"study_signal": ' in selected and '"instruction": ' in selected


def test_what_is_known_is_not_trained_again_and_other_settings_are(
    config: Config, trained: list[tuple[str, int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    study_correlation(config)
    uri = RunFolder(config.out_dir).study("correlation").arm("study-random-1")
    io.delete(uri)
    trained.clear()
    study_correlation(config)
    assert [name for name, _, _ in trained] == ["study-random-1"]
    trained.clear()
    study_correlation(replace(config, finetune=FinetuneConfig(max_steps=3)))
    assert len(trained) == 9 and "was of another finetune: computed again" in caplog.text


def test_the_user_s_own_evaluation_is_left_as_it_was(
    config: Config, trained: list[tuple[str, int, int]]
) -> None:
    uri = RunFolder(config.out_dir).evaluation.results
    study_correlation(config)
    assert not io.exists(uri), "there was none"
    own = Result("golden", "mt_bench", "grade", 5.0, 10, name="mine")
    write_results(config.out_dir, Results("mt_bench/grade", (own,), None, own.pins))
    before = io.read_bytes(uri)
    study_correlation(replace(config, finetune=FinetuneConfig(max_steps=4)))
    assert io.read_bytes(uri) == before


def test_models_are_kept_on_request(config: Config, trained: list[tuple[str, int, int]]) -> None:
    study_correlation(replace(config, study=replace(STUDY, arms=["random"], keep_models=True)))
    assert io.list_folders(RunFolder(config.out_dir).models) == [
        f"study-random-{seed}" for seed in range(3)
    ]


def test_a_file_of_an_arm_may_come_from_elsewhere(
    config: Config, trained: list[tuple[str, int, int]]
) -> None:
    study_correlation(config)
    uri = RunFolder(config.out_dir).study("correlation").arm("study-group-1-0")
    kept = json.loads(io.read_bytes(uri))
    kept["result"]["gain"] = 0.5
    io.write_json(uri, kept)
    trained.clear()
    report = study_correlation(config)
    assert not trained
    assert max(row["gain"] for row in report.numbers if row["part"] == "training") == 0.5


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"evaluate": EvaluateConfig("mt_bench", prompts_path="x")}, "evaluate=mt_bench"),
        ({"evaluate": EvaluateConfig()}, "evaluate.held_out_path is missing"),
        ({"study": replace(STUDY, arms=["group-9"])}, "study.arms=group-9"),
        ({"study": replace(STUDY, groups=20)}, "study.groups=20"),
        ({"study": replace(STUDY, by="rds")}, "study.by=rds"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    config: Config, trained: list[tuple[str, int, int]], changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        study_correlation(replace(config, **changed))
    assert not trained
