"""What is wrong with evaluate.* and judge.*, told before a model is loaded."""

from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig, JudgeConfig
from nuggets_ray.config.limits import allowed_values
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.lm_eval import check_tasks
from nuggets_ray.evaluate.likelihood.paired import BENCHMARK, MEAN_LOGPROB, WIN_RATE
from nuggets_ray.model.load import resolve_path
from nuggets_ray.model.weights.headers import check_weights


def check_method(evaluate: EvaluateConfig, judge: JudgeConfig, generate: GenerateConfig) -> None:
    """Raise UserError for settings of evaluate.* that cannot be, whatever the models."""
    method = evaluate.method
    if method in ("alpaca_eval", "mt_bench") and evaluate.prompts_path is None:
        raise UserError(
            f"evaluate.prompts_path is missing: evaluate={method} needs a file of prompts, as in "
            f"evaluate.prompts_path={EXAMPLES[method]}"
        )
    if method == "lm_eval":
        check_tasks(evaluate)
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
    _check_judge(evaluate, judge, generate)
    if evaluate.prompts_path is not None:
        list_inputs(evaluate.prompts_path, "evaluate.prompts_path")


def _check_judge(evaluate: EvaluateConfig, judge: JudgeConfig, generate: GenerateConfig) -> None:
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

    if method in EXAMPLES and judge.model is not None and judge.url is None:
        try:
            local = ModelConfig(resolve_path(ModelConfig(judge.model)))
            check_weights(local, any_architecture=generate.backend == "vllm")
        except UserError as error:
            raise UserError(str(error).replace("model.path", "judge.model", 1)) from error


EXAMPLES = {"alpaca_eval": "alpaca_eval.json", "mt_bench": "question.jsonl"}
