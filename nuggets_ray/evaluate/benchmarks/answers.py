"""What all benchmarks that are answered share: facts of the answers, and how they came about."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig
from nuggets_ray.data.inputs import inputs_sha256
from nuggets_ray.evaluate.generate import Answer, generation_settings
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


def described(
    results: Sequence[Result],
    evaluate: EvaluateConfig,
    generate: GenerateConfig,
    dtype: str,
    seed: int,
) -> list[Result]:
    """The results with how their answers were written, and hashes of what was read."""
    paths = {
        "prompts": evaluate.prompts_path,
        "reference": evaluate.reference_path,
    }
    data = {name: inputs_sha256(path) for name, path in paths.items() if path is not None}
    generation = generation_settings(generate, dtype, seed)
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
