"""Trackers of experiments: their own libraries where they are installed, offline; and what is asked
of them, with modules that stand in for them.
"""

import importlib.util
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nuggets_ray.config.track import TrackConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.track import check_tracker, open_tracker

SETTINGS = {"learning_rate": 2e-5, "method": "full"}


class FakeRun:
    """A run of either library: keeps the calls in the order in which they come."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def told(self, name: str) -> list[Any]:
        return [given for called, given in self.calls if called == name]


def fake_wandb(run: FakeRun) -> ModuleType:
    def init(**given: Any) -> Any:
        run.calls.append(("init", given))
        return SimpleNamespace(
            log=lambda numbers, step: run.calls.append(("log", (step, numbers))),
            finish=lambda exit_code: run.calls.append(("finish", exit_code)),
        )

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    return module


def fake_mlflow(run: FakeRun) -> ModuleType:
    class MlflowClient:
        def __init__(self, tracking_uri: str) -> None:
            run.calls.append(("uri", tracking_uri))

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str) -> str:
            run.calls.append(("experiment", name))
            return "7"

        def create_run(self, experiment: str, run_name: str) -> Any:
            run.calls.append(("run", run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

        def update_run(self, run_id: str, status: str) -> None:
            run.calls.append(("again", run_id))

        def log_param(self, run_id: str, key: str, value: Any) -> None:
            run.calls.append(("param", (key, value)))

        def log_metric(self, run_id: str, key: str, value: float, step: int | None) -> None:
            run.calls.append(("log", (step, {key: value})))

        def set_terminated(self, run_id: str, status: str) -> None:
            run.calls.append(("end", status))

    module = ModuleType("mlflow")
    module.MlflowClient = MlflowClient  # type: ignore[attr-defined]
    return module


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], FakeRun]:
    def install(name: str) -> FakeRun:
        run = FakeRun()
        module = {"wandb": fake_wandb, "mlflow": fake_mlflow}[name](run)
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return run

    return install


def test_without_a_tracker_nothing_is_written(tmp_path: Path) -> None:
    check_tracker(TrackConfig())
    with open_tracker(TrackConfig(), str(tmp_path), "finetune-golden", SETTINGS) as tracker:
        tracker.log({"loss": 1.0}, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install \"nuggets_ray\[wandb\]\""):
        check_tracker(TrackConfig(to="wandb"))


def test_wandb_is_told_the_steps_and_the_end(
    tmp_path: Path, stand_in: Callable[[str], FakeRun]
) -> None:
    run = stand_in("wandb")
    config = TrackConfig(to="wandb", project="mine")
    with open_tracker(config, str(tmp_path / "first"), "finetune-golden", SETTINGS) as tracker:
        tracker.log({"loss": 1.5}, 1)
    [init] = run.told("init")
    assert (init["project"], init["name"]) == ("mine", "first-finetune-golden")
    assert (init["resume"], init["config"]) == ("allow", SETTINGS)
    assert run.told("log") == [(1, {"loss": 1.5})] and run.told("finish") == [0]
    # after a kill the same run goes on, and a failure is one there too
    with (
        pytest.raises(RuntimeError),
        open_tracker(config, str(tmp_path / "first"), "finetune-golden", SETTINGS),
    ):
        raise RuntimeError("lost")
    assert [given["id"] for given in run.told("init")] == [init["id"]] * 2
    assert run.told("finish") == [0, 1]


def test_mlflow_is_told_the_steps_and_the_end(
    tmp_path: Path, stand_in: Callable[[str], FakeRun]
) -> None:
    run = stand_in("mlflow")
    config = TrackConfig(to="mlflow", name="my run")
    for _ in range(2):
        with open_tracker(config, str(tmp_path), "evaluate", SETTINGS) as tracker:
            tracker.log({"golden/likelihood/win_rate": 0.5})
    assert run.told("uri") == [f"file:{tmp_path}/track/mlruns"] * 2
    assert run.told("run") == ["my run"] and run.told("again") == ["r1"]
    assert run.told("param") == list(SETTINGS.items())
    assert run.told("log") == [(None, {"golden/likelihood/win_rate": 0.5})] * 2
    assert run.told("end") == ["FINISHED"] * 2


def test_a_run_that_cannot_be_begun_is_the_user_s_to_mend(
    tmp_path: Path, stand_in: Callable[[str], FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("wandb")

    def refuse(**given: Any) -> None:
        raise ValueError("no API key\nconfigured")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with (
        pytest.raises(UserError, match=r"no API key configured\): give WANDB_API_KEY, or WANDB"),
        open_tracker(TrackConfig(to="wandb"), str(tmp_path), "evaluate", SETTINGS),
    ):
        pass


def test_a_tracker_that_fails_later_ends_no_training(
    tmp_path: Path,
    stand_in: Callable[[str], FakeRun],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = stand_in("mlflow")

    def fail(*given: Any, **more: Any) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(sys.modules["mlflow"].MlflowClient, "log_metric", fail)
    with caplog.at_level(logging.WARNING, logger="nuggets_ray"):
        config = TrackConfig(to="mlflow")
        with open_tracker(config, str(tmp_path), "evaluate", SETTINGS) as tracker:
            tracker.log({"loss": 1.0}, 1)
            tracker.log({"loss": 0.9}, 2)
    assert caplog.text.count("track=mlflow: gets no more numbers (the server is gone)") == 1
    assert run.told("end") == []


def test_mlflow_itself_keeps_them_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = TrackConfig(to="mlflow")
    for step in (1, 2):
        with open_tracker(config, str(tmp_path), "finetune-golden", SETTINGS) as tracker:
            tracker.log({"loss": 2.0 / step}, step)
    kept = json.loads((tmp_path / "track" / "finetune-golden.json").read_text())
    client = mlflow.MlflowClient(tracking_uri=f"file:{tmp_path}/track/mlruns")
    history = client.get_metric_history(kept["id"], "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]
    run = client.get_run(kept["id"])
    assert run.info.status == "FINISHED" and run.data.params["method"] == "full"


def test_wandb_itself_keeps_them_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with open_tracker(TrackConfig(to="wandb"), str(tmp_path), "evaluate", SETTINGS) as tracker:
        tracker.log({"loss": 1.0}, 1)
    kept = json.loads((tmp_path / "track" / "evaluate.json").read_text())
    files = list((tmp_path / "track" / "wandb").glob(f"offline-run-*-{kept['id']}/*.wandb"))
    assert [path.stat().st_size > 0 for path in files] == [True]
