"""What all benchmarks that are answered share: facts of the answers, and how they came about."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.data.inputs import inputs_sha256
from nuggets_ray.evaluate.generate.answer import Answer
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt
from nuggets_ray.evaluate.prompt_set import rows_sha256
from nuggets_ray.evaluate.results import Result

logger = logging.getLogger(__name__)
T = TypeVar("T")


def length_result(model: str, benchmark: str, answers: Sequence[Sequence[Answer]]) -> Result:
    """Lengths of the answers (`answers[i]` a turn each), and how many were cut: facts, no
    judgement.
    """
    flat = [answer for turns in answers for answer in turns]
    return Result(
        model=model,
        benchmark=benchmark,
        metric="mean_answer_tokens",
        value=sum(answer.num_tokens for answer in flat) / len(flat),
        n=len(flat),
        details={
            "num_cut": sum(answer.is_cut for answer in flat),
            "num_empty": sum(not answer.text for answer in flat),
        },
    )


def data_of(evaluate: EvaluateConfig, prompts: Sequence[BenchmarkPrompt]) -> dict[str, str]:
    """{name: sha256} of the files that are read, and under `rows` of what is asked."""
    paths = {"prompts": evaluate.prompts_path, "reference": evaluate.reference_path}
    data = {name: inputs_sha256(path) for name, path in paths.items() if path is not None}
    return {**data, "rows": rows_sha256(prompts)}


def described(
    results: Sequence[Result], data: Mapping[str, str], generation: Mapping[str, Any]
) -> list[Result]:
    """The results with how their answers were written, and hashes of what was read."""
    return [replace(result, generation=generation, data=data) for result in results]


def equal_parts(items: Sequence[T], num_parts: int) -> list[Sequence[T]]:
    """`items` cut into parts of equal length, in order."""
    size = len(items) // num_parts
    return [items[start : start + size] for start in range(0, len(items), size)]


def array_of(values: Sequence[float | None]) -> np.ndarray:
    """The values as float64, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def warn_of_unparseable(judge: str, num_unparseable: int, num_verdicts: int) -> None:
    if num_unparseable:
        logger.warning(
            "judge %s: %d of %d verdicts cannot be read and count nowhere",
            *(judge, num_unparseable, num_verdicts),
        )
