"""What is wrong with evaluate.* and judge.*, told before a model is loaded.

`check_settings` is what the values alone and the names of files tell, and imports nothing that
takes seconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig, JudgeConfig
from nuggets_ray.config.limits import allowed_values
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.lm_eval import check_tasks_given, check_tasks_known
from nuggets_ray.evaluate.likelihood.paired import BENCHMARK, MEAN_LOGPROB, WIN_RATE
from nuggets_ray.model.load import check_path, resolve_path
from nuggets_ray.model.weights.headers import check_weights


def check_method(evaluate: EvaluateConfig, judge: JudgeConfig, generate: GenerateConfig) -> None:
    """Raise UserError for settings of evaluate.* that cannot be, whatever the models."""
    check_settings(evaluate, judge)
    if evaluate.method == "lm_eval":
        check_tasks_known(evaluate)
    if (local := _local_judge(evaluate, judge)) is not None:
        with _of_judge():
            local = replace(local, path=resolve_path(local))
            check_weights(local, any_architecture=generate.backend == "vllm")


def check_settings(evaluate: EvaluateConfig, judge: JudgeConfig) -> None:
    """The part of `check_method` that takes no seconds."""
    method = evaluate.method
    if method in ("alpaca_eval", "mt_bench") and evaluate.prompts_path is None:
        raise UserError(
            f"evaluate.prompts_path is missing: evaluate={method} needs a file of prompts, as in "
            f"evaluate.prompts_path={EXAMPLES[method]}"
        )
    if method == "lm_eval":
        check_tasks_given(evaluate)
    methods = allowed_values(EvaluateConfig, "method")
    benchmark, _, metric = evaluate.primary.partition("/")
    if benchmark not in methods:
        raise UserError(
            f"evaluate.primary={evaluate.primary} is no BENCHMARK/METRIC: take a metric of "
            f"{', '.join(methods)}"
        )
    if benchmark == BENCHMARK and metric not in (MEAN_LOGPROB, WIN_RATE):
        raise UserError(
            f"evaluate.primary={evaluate.primary}: no paired test decides on it: name "
            f"{BENCHMARK}/{MEAN_LOGPROB} or {BENCHMARK}/{WIN_RATE}"
        )
    _check_judge(evaluate, judge)
    if evaluate.prompts_path is not None:
        list_inputs(evaluate.prompts_path, "evaluate.prompts_path")
    if evaluate.reference_path is not None:
        list_inputs(evaluate.reference_path, "evaluate.reference_path")


def _check_judge(evaluate: EvaluateConfig, judge: JudgeConfig) -> None:
    method = evaluate.method
    if method in EXAMPLES and judge.url is not None and judge.model is None:
        raise UserError(
            f"judge.model is missing: judge.url={judge.url} is asked for a model by name, and "
            "without one nothing is judged"
        )
    if method == "alpaca_eval" and judge.model and evaluate.reference_path is None:
        raise UserError(
            f"evaluate.reference_path is missing: judge.model={judge.model} compares answers with "
            "those of a file: give one, or leave judge.model out"
        )
    if (local := _local_judge(evaluate, judge)) is not None:
        with _of_judge():
            check_path(local)


def _local_judge(evaluate: EvaluateConfig, judge: JudgeConfig) -> ModelConfig | None:
    """The judge that is loaded here; None where there is none, or an endpoint is asked."""
    is_local = evaluate.method in EXAMPLES and judge.url is None
    return ModelConfig(judge.model) if is_local and judge.model is not None else None


@contextmanager
def _of_judge() -> Iterator[None]:
    """The key in an error about the judge's model is judge.model."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("model.path", "judge.model", 1)) from error


EXAMPLES = {"alpaca_eval": "alpaca_eval.json", "mt_bench": "question.jsonl"}
