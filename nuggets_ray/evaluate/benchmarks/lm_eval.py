"""EleutherAI's evaluation harness as a library: tasks by name, or from files of your own.

lm_eval is imported inside functions.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.results import Result
from nuggets_ray.model.load import load_tokenizer, resolve_path
from nuggets_ray.model.weights.headers import check_weights

BENCHMARK = "lm_eval"
Z_95 = 1.959964


def check_tasks_given(evaluate: EvaluateConfig) -> None:
    """Raise UserError where no task is named, or the folder of one's own is not there."""
    if not evaluate.tasks:
        raise UserError(
            "evaluate.tasks is missing: give tasks of the harness, as in "
            "evaluate.tasks=[arc_easy,hellaswag]"
        )
    if evaluate.tasks_path is not None and not os.path.isdir(evaluate.tasks_path):
        raise UserError(
            f"evaluate.tasks_path={evaluate.tasks_path} is no folder: give the one that holds your "
            "task files (yaml)"
        )


def check_tasks_known(evaluate: EvaluateConfig) -> None:
    """Raise UserError for tasks that the harness does not know."""
    known = _manager(evaluate)
    for task in evaluate.tasks:
        if not known.match_tasks([task]):
            raise UserError(
                f"evaluate.tasks={task}: the harness has no such task: `lm_eval ls tasks` lists "
                "them; tasks of your own are found under evaluate.tasks_path"
            )


def run_tasks(
    model: ModelConfig, evaluate: EvaluateConfig, dtype: str, device: str, seed: int
) -> dict[str, Any]:
    """The harness's own results of one model, as its file holds them (no samples)."""
    from lm_eval import simple_evaluate

    check_weights(model)  # the harness loads it by itself, and takes no report
    arguments = {
        "pretrained": resolve_path(model),
        "revision": model.revision or "main",
        "trust_remote_code": model.trust_remote_code,
        "dtype": dtype,
        "tokenizer": load_tokenizer(model),  # the harness's own may give other ids
    }
    try:
        evaluated = simple_evaluate(
            model="hf",
            model_args=arguments,
            tasks=list(evaluate.tasks),
            num_fewshot=evaluate.num_fewshot,
            task_manager=_manager(evaluate),
            device=device,
            batch_size=1 if device == "cpu" else "auto",
            limit=evaluate.limit,
            log_samples=False,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except (OSError, ConnectionError) as error:  # a data set that is neither here nor to be had
        raise UserError(
            f"evaluate.tasks={list(evaluate.tasks)}: their data cannot be loaded "
            f"({' '.join(str(error).split())[:300]}): download them first, or give tasks with "
            "local files by evaluate.tasks_path"
        ) from error
    kept = ("results", "versions", "n-shot", "n-samples", "higher_is_better", "lm_eval_version")
    return {key: evaluated[key] for key in kept if evaluated and key in evaluated}


def tasks_sha256(folder: str) -> str:
    """SHA-256 over names and contents of the files under a folder of tasks."""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def to_results(name: str, evaluated: Mapping[str, Any], data: Mapping[str, str]) -> list[Result]:
    """Every metric of every task as "task/metric", with the interval of the harness's standard
    error.
    """
    results = []
    for task, values in evaluated["results"].items():
        num_samples = evaluated.get("n-samples", {}).get(task, {}).get("effective", 0)
        for metric, filter_name in _metrics(values):
            value = values[f"{metric},{filter_name}"]
            error = values.get(f"{metric}_stderr,{filter_name}")
            width = Z_95 * error if isinstance(error, float) else None
            results.append(
                Result(
                    model=name,
                    benchmark=BENCHMARK,
                    metric=f"{task}/{metric}"
                    + ("" if filter_name == "none" else f",{filter_name}"),
                    value=value,
                    n=num_samples,
                    low=None if width is None else value - width,
                    high=None if width is None else value + width,
                    data=data,
                    details={
                        "version": evaluated.get("versions", {}).get(task),
                        "num_fewshot": evaluated.get("n-shot", {}).get(task),
                        "lm_eval": evaluated.get("lm_eval_version"),
                    },
                )
            )
    return results


def _metrics(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(metric, filter) of each number among what the harness says of a task."""
    for key, value in values.items():
        metric, _, filter_name = key.partition(",")
        if filter_name and not metric.endswith("_stderr") and isinstance(value, float | int):
            yield metric, filter_name


def _manager(evaluate: EvaluateConfig) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=evaluate.tasks_path)
