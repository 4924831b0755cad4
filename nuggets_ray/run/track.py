"""The numbers of a stage in a tracker of experiments, by its own library: Weights & Biases or
MLflow.

The tracker's name of a run is kept in track/STAGE.json, so that a stage that goes on after a kill
goes on there too. A tracker that fails later on is left, with a warning: the run folder has the
numbers.
"""

import importlib.util
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from nuggets_ray import io
from nuggets_ray.config.track import TrackConfig
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.layout import RunFolder

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where numbers go."""

    def log(self, numbers: Mapping[str, float], step: int | None = None) -> None:
        """Numbers by name, of an optimizer step where there is one."""

    def close(self, has_failed: bool) -> None:
        """The stage has ended."""


def check_tracker(config: TrackConfig) -> None:
    """Raise UserError where the tracker's library is not installed."""
    if config.to != "none" and importlib.util.find_spec(config.to) is None:
        raise UserError(
            f"track={config.to}: {config.to} is not installed: "
            f'pip install "nuggets_ray[{config.to}]", or leave track out'
        )


@contextmanager
def open_tracker(
    config: TrackConfig, out_dir: str, stage: str, settings: Mapping[str, Any]
) -> Iterator[Tracker]:
    """The tracker of a stage for the time of the context; `settings` are kept with its run.

    Raises UserError where it cannot be had.
    """
    if config.to == "none":
        yield _Nowhere()
        return
    check_tracker(config)
    try:
        tracker: Tracker = TRACKERS[config.to](config, out_dir, stage, settings)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"track={config.to}: no run could be begun there ({type(error).__name__}: {reason}): "
            f"{WAYS_OUT[config.to]}, or leave track out"
        ) from error
    guarded = _UntilItFails(config.to, tracker)
    has_failed = True
    try:
        yield guarded
        has_failed = False
    finally:
        guarded.close(has_failed)


class _Nowhere:
    def log(self, numbers: Mapping[str, float], step: int | None = None) -> None:
        """Nothing is kept."""

    def close(self, has_failed: bool) -> None:
        """Nothing was open."""


class _UntilItFails:
    """A tracker that is left at its first error: none is worth a training."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name, self._tracker = name, tracker
        self._is_left = False

    def log(self, numbers: Mapping[str, float], step: int | None = None) -> None:
        self._call(lambda: self._tracker.log(numbers, step))

    def close(self, has_failed: bool) -> None:
        self._call(lambda: self._tracker.close(has_failed))

    def _call(self, call: Any) -> None:
        if self._is_left:
            return
        try:
            call()
        except Exception as error:
            self._is_left = True
            logger.warning("track=%s: gets no more numbers (%s)", self._name, error)


class _Wandb:
    def __init__(
        self, config: TrackConfig, out_dir: str, stage: str, settings: Mapping[str, Any]
    ) -> None:
        import wandb

        name, run_id = _identity(config, out_dir, stage)
        run_id = run_id or uuid.uuid4().hex[:8]
        self._run = wandb.init(
            project=config.project,
            name=name,
            id=run_id,
            resume="allow",
            dir=_local_folder(out_dir),
            config=dict(settings),
        )
        _remember(config, out_dir, stage, run_id)

    def log(self, numbers: Mapping[str, float], step: int | None = None) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self, has_failed: bool) -> None:
        self._run.finish(exit_code=int(has_failed))


class _Mlflow:
    def __init__(
        self, config: TrackConfig, out_dir: str, stage: str, settings: Mapping[str, Any]
    ) -> None:
        # without a server the numbers lie in files, which MLflow keeps for those who ask for it
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"file:{_local_folder(out_dir)}/mlruns"
        self._client = MlflowClient(tracking_uri=uri)
        name, run_id = _identity(config, out_dir, stage)
        if run_id is None:
            known = self._client.get_experiment_by_name(config.project)
            experiment = (
                known.experiment_id if known else self._client.create_experiment(config.project)
            )
            run_id = self._client.create_run(experiment, run_name=name).info.run_id
            for key, value in settings.items():
                self._client.log_param(run_id, key, value)
            _remember(config, out_dir, stage, run_id)
        else:
            self._client.update_run(run_id, status="RUNNING")
        self._run_id: str = run_id

    def log(self, numbers: Mapping[str, float], step: int | None = None) -> None:
        for key, value in numbers.items():
            self._client.log_metric(self._run_id, key, value, step=step)

    def close(self, has_failed: bool) -> None:
        self._client.set_terminated(self._run_id, "FAILED" if has_failed else "FINISHED")


TRACKERS: dict[str, Any] = {"wandb": _Wandb, "mlflow": _Mlflow}
WAYS_OUT = {
    "wandb": "give WANDB_API_KEY, or WANDB_MODE=offline",
    "mlflow": "look at MLFLOW_TRACKING_URI",
}


def _identity(config: TrackConfig, out_dir: str, stage: str) -> tuple[str, str | None]:
    """The name of the tracker's run, and its id where an earlier attempt has begun it."""
    name = config.name or f"{os.path.basename(out_dir.rstrip('/'))}-{stage}"
    uri = RunFolder(out_dir).tracked(stage)
    if not io.exists(uri):
        return name, None
    kept = io.read_json(uri)
    is_same = kept["to"] == config.to and kept["project"] == config.project
    return name, str(kept["id"]) if is_same else None


def _remember(config: TrackConfig, out_dir: str, stage: str, run_id: str) -> None:
    kept = {"to": config.to, "project": config.project, "id": run_id}
    write_json(RunFolder(out_dir).tracked(stage), kept)


def _local_folder(out_dir: str) -> str:
    """Where a tracker may write files: under out_dir, or for an object store a folder that goes
    with the machine.
    """
    folder = RunFolder(out_dir).track
    if io.is_remote(folder):
        folder = tempfile.mkdtemp(prefix="nuggets_track_")
        logger.warning("the tracker's own files lie in %s, not in out_dir=%s", folder, out_dir)
    os.makedirs(folder, exist_ok=True)
    return folder
