"""EleutherAI's evaluation harness: which tasks, by name or from files of your own, and one of them
put to a model.

lm_eval is imported inside functions.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.harness.model import ModelFacts

logger = logging.getLogger(__name__)

BENCHMARK = "lm_eval"
UNSAFE = "marked as unsafe"
"""Of a task that runs what a model writes, in the harness's refusal."""


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


def check_harness_alone(evaluate: EvaluateConfig) -> None:
    """Raise UserError where another benchmark is given what only the harness takes."""
    for key in ("chat_template", "system_instruction", "gen_kwargs", "batch_size"):
        if value := getattr(evaluate, key):
            raise UserError(
                f"evaluate.{key}={value} is not used by evaluate={evaluate.method}: leave it out, "
                f"or take evaluate={BENCHMARK}"
            )


def check_tasks_known(evaluate: EvaluateConfig) -> None:
    """Raise UserError for tasks that the harness does not know."""
    known = task_manager(evaluate.tasks_path)
    for task in evaluate.tasks:
        if not known.match_tasks([task]):
            raise UserError(
                f"evaluate.tasks={task}: the harness has no such task: `lm_eval ls tasks` lists "
                "them; tasks of your own are found under evaluate.tasks_path"
            )


def task_manager(tasks_path: str | None) -> Any:
    """The harness's index of tasks, those under `tasks_path` among them."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=tasks_path)


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How a task is put to a model; with the model, what decides its numbers.

    `tasks_sha256`: of the files under evaluate.tasks_path, None without.
    """

    task: str
    limit: int | None
    num_fewshot: int | None
    chat_template: bool
    fewshot_as_multiturn: bool
    system_instruction: str | None
    gen_kwargs: Mapping[str, Any]
    seed: int
    tasks_sha256: str | None

    def name(self, model_key: str) -> str:
        """TASK-HASH: the folder of what came of it under the model of this key."""
        text = json.dumps([model_key, asdict(self)], sort_keys=True, ensure_ascii=False)
        safe = "".join(c if c.isalnum() or c in "._" else "_" for c in self.task)
        return f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def settings_of(evaluate: EvaluateConfig, seed: int) -> list[TaskSettings]:
    """Those of each of evaluate.tasks, once."""
    path = evaluate.tasks_path
    sha256 = None if path is None else tasks_sha256(path)
    return [
        TaskSettings(
            task=task,
            limit=evaluate.limit,
            num_fewshot=evaluate.num_fewshot,
            chat_template=evaluate.chat_template,
            fewshot_as_multiturn=evaluate.fewshot_as_multiturn and evaluate.chat_template,
            system_instruction=evaluate.system_instruction,
            gen_kwargs=evaluate.gen_kwargs,
            seed=seed,
            tasks_sha256=sha256,
        )
        for task in dict.fromkeys(evaluate.tasks)
    ]


def tasks_sha256(folder: str) -> str:
    """SHA-256 over names and contents of the files under a folder of tasks."""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def put_task(
    settings: TaskSettings, manager: Any, model: Any, facts: ModelFacts, tracker: Any
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The harness's own results of one task or group, and its samples {task: rows}.

    `manager`: a `task_manager`; `model`: what `asked_model` makes; `facts` of it, for the record;
    `tracker`: the harness's EvaluationTracker, which writes its files. Raises UserError for data
    that cannot be had, and for a task that runs what a model wrote.
    """
    from lm_eval import simple_evaluate

    seed = settings.seed
    try:
        evaluated = simple_evaluate(
            model=model,
            model_args=dict(facts.model_args),
            tasks=[settings.task],
            num_fewshot=settings.num_fewshot,
            batch_size=facts.batch_size,
            device=facts.device,
            limit=settings.limit,
            log_samples=True,
            evaluation_tracker=tracker,
            system_instruction=settings.system_instruction,
            apply_chat_template=settings.chat_template,
            fewshot_as_multiturn=settings.fewshot_as_multiturn,
            gen_kwargs=dict(settings.gen_kwargs) or None,
            task_manager=manager,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except (OSError, ConnectionError) as error:  # a data set that is neither here nor to be had
        if error is model.failed:
            raise
        raise UserError(
            f"evaluate.tasks={settings.task}: its data cannot be loaded "
            f"({' '.join(str(error).split())[:300]}): download it first, or give tasks with "
            "local files by evaluate.tasks_path"
        ) from error
    except ValueError as error:
        if UNSAFE not in str(error):
            raise
        raise UserError(
            f"evaluate.tasks={settings.task}: it runs code that the model wrote, which is not done "
            "here: leave it out, or run it by `lm_eval` in a sandbox"
        ) from error
    assert evaluated is not None, "only another rank than the first gets nothing"
    samples = evaluated.pop("samples")
    evaluated["config"]["model"] = tracker.general_config_tracker.model_source = "hf"
    _tell_unused(settings, evaluated)
    return evaluated, samples


def _tell_unused(settings: TaskSettings, evaluated: Mapping[str, Any]) -> None:
    """Warn of what was given and the task has no use for."""
    configs: Sequence[Mapping[str, Any]] = list(evaluated["configs"].values())
    if settings.gen_kwargs and not any(c["output_type"] == "generate_until" for c in configs):
        logger.warning(
            "evaluate.gen_kwargs is not used: %s has nothing generated, it compares log-probs",
            settings.task,
        )
    fixed = [c["task"] for c in configs if c["num_fewshot"] != settings.num_fewshot]
    if settings.num_fewshot is not None and fixed:
        logger.warning(
            "evaluate.num_fewshot=%d is not used: %s is without examples by its own settings",
            *(settings.num_fewshot, ", ".join(fixed)),
        )
