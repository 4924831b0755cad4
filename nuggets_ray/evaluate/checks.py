"""What is wrong with evaluate.*, judge.* and the models, told before one is loaded.

`check_settings` is what the values alone and the names of files tell, and imports nothing that
takes seconds.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from nuggets_ray import io
from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig, JudgeConfig
from nuggets_ray.config.limits import allowed_values
from nuggets_ray.config.schema import Config, ModelConfig, ScoreConfig
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.harness.tasks import (
    check_harness_alone,
    check_tasks_given,
    check_tasks_known,
)
from nuggets_ray.evaluate.judge.key import read_key
from nuggets_ray.evaluate.likelihood.paired import BENCHMARK, MEAN_LOGPROB, WIN_RATE
from nuggets_ray.evaluate.models import EvalModel, find_models
from nuggets_ray.evaluate.prompt_set import check_name
from nuggets_ray.model.load import check_path, load_tokenizer, resolve_model
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.layout import RunFolder

logger = logging.getLogger(__name__)

EXAMPLES = {"alpaca_eval": "alpaca_eval.json", "mt_bench": "question.jsonl"}
"""The methods that take prompts, each with the usual name of its file."""


def check_evaluate(config: Config) -> list[EvalModel]:
    """The models, all looked at as far as can be without loading one. Raises UserError."""
    check_method(config.evaluate, config.judge, config.generate)
    models = find_models(config.out_dir, config.evaluate.models, config.model, config.prompt)
    is_vllm = uses_vllm(config.evaluate.method, config.score, config.generate)
    for model in models:
        make_prompt(load_tokenizer(model.model), model.prompt)
        try:
            # an adapter is merged into its base before anything is asked of it
            whole = replace(model.model, adapter_path=None)
            check_weights(whole, any_architecture=is_vllm)
        except UserError as error:
            raise UserError(f"evaluate.models={model.name}: {error}") from error
    return models


def uses_vllm(method: str, score: ScoreConfig, generate: GenerateConfig) -> bool:
    """Whether vLLM loads the models: for log-probs or for answers."""
    if method == "likelihood":
        return score.backend == "vllm"
    return method != "lm_eval" and generate.backend == "vllm"


def has_rows(out_dir: str, evaluate: EvaluateConfig, num_held_out: int) -> bool:
    """Whether a run that is scored has something to evaluate models on; where not, it is told.
    `num_held_out` is data.holdout.
    """
    if evaluate.method != "likelihood" or evaluate.held_out_path is not None:
        return True
    if io.exists(RunFolder(out_dir).held_out) and num_held_out:
        return True
    logger.info(
        "the models are not compared: there are no held-out rows (data.holdout=N, or "
        "evaluate.held_out_path=FILE)"
    )
    return False


def check_method(evaluate: EvaluateConfig, judge: JudgeConfig, generate: GenerateConfig) -> None:
    """Raise UserError for settings of evaluate.* that cannot be, whatever the models."""
    check_settings(evaluate, judge)
    if evaluate.method == "lm_eval":
        check_tasks_known(evaluate)
    if (local := _local_judge(evaluate, judge)) is not None:
        with _of_judge():
            local = resolve_model(local)
            check_weights(local, any_architecture=generate.backend == "vllm")


def check_settings(evaluate: EvaluateConfig, judge: JudgeConfig) -> None:
    """The part of `check_method` that takes no seconds."""
    method = evaluate.method
    check_name(evaluate.name)
    if method in ("alpaca_eval", "mt_bench") and evaluate.prompts_path is None:
        raise UserError(
            f"evaluate.prompts_path is missing: evaluate={method} needs a file of prompts, as in "
            f"evaluate.prompts_path={EXAMPLES[method]}"
        )
    if method == "lm_eval":
        check_tasks_given(evaluate)
    else:
        check_harness_alone(evaluate)
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
    if method in EXAMPLES and judge.url is not None:
        read_key(judge)
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
