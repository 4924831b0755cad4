"""AlpacaEval: answers in its own file format, and win rates against a file of reference answers.

    win_rate = mean of the preferences; 1 the model's answer, 0.5 a tie, 0 the reference's
    flip_rate = share of the pairs whose verdict differs with the order

in percent. A pair with an unparseable verdict is counted and left out of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.instructions import instruction_numbers
from nuggets_ray.evaluate.benchmarks.length import (
    length_adjusted_win_rate,
    length_controlled_win_rate,
)
from nuggets_ray.evaluate.judge.judge import AnswerPair, PairVerdict
from nuggets_ray.evaluate.judge.prompts import PROMPT_VERSION
from nuggets_ray.evaluate.prompt_file import BenchmarkPrompt, read_prompt_rows, text_of
from nuggets_ray.evaluate.results import ALL, Result
from nuggets_ray.evaluate.stats import share_interval

BENCHMARK = "alpaca_eval"
REFERENCE_KEY = "evaluate.reference_path"


@dataclass(frozen=True, slots=True)
class Reference:
    """Answers to compare with, by instruction, and who wrote them."""

    path: str
    generator: str
    outputs: Mapping[str, str]


def output_rows(
    prompts: Sequence[BenchmarkPrompt], answers: Sequence[str], generator: str
) -> list[dict[str, str]]:
    """A model's answers as `alpaca_eval` reads them, with the fields in its own order."""
    return [
        {
            "dataset": prompt.category,
            "instruction": prompt.turns[0],
            "output": answer,
            "generator": generator,
        }
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def read_reference(path: str) -> Reference:
    """A file as `output_rows` makes it.

    UserError, naming evaluate.reference_path, for a missing file, a row of another shape, answers
    of several generators, or two answers to one instruction.
    """
    rows = read_prompt_rows(
        path,
        None,
        REFERENCE_KEY,
        lambda row, _: (text_of(row, "instruction"), text_of(row, "output"), _generator(row)),
    )
    generators = {generator for _, _, generator in rows}
    if len(generators) > 1:
        raise UserError(
            f"{REFERENCE_KEY}={path} has answers of {', '.join(sorted(generators))}: give a file "
            "of one generator"
        )
    outputs: dict[str, str] = {}
    for instruction, output, _ in rows:
        if outputs.setdefault(instruction, output) != output:
            raise UserError(
                f"{REFERENCE_KEY}={path} has two answers to {instruction[:80]!r}: leave one out"
            )
    return Reference(path, generators.pop(), outputs)


def _generator(row: Mapping[str, Any]) -> str:
    return text_of(row, "generator")


def make_pairs(
    model: str, prompts: Sequence[BenchmarkPrompt], answers: Sequence[str], reference: Reference
) -> list[AnswerPair]:
    """Each answer of the model with the reference's to the same instruction. UserError where there
    is none.
    """
    missing = [p for p in prompts if p.turns[0] not in reference.outputs]
    if missing:
        raise UserError(
            f"{REFERENCE_KEY}={reference.path} answers {len(prompts) - len(missing)} of "
            f"{len(prompts)} prompts, and not {missing[0].turns[0][:80]!r}: give a file with "
            "answers to the same prompts as evaluate.prompts_path"
        )
    return [
        AnswerPair(prompt, answer, reference.outputs[prompt.turns[0]], model, reference.generator)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def annotation_rows(verdicts: Sequence[PairVerdict], judge: str) -> list[dict[str, Any]]:
    """The verdicts as alpaca_eval's annotations.json has them, the reference first. `preference` is
    1 for the reference, 2 for the model, 1.5 for a tie and what lies between where the orders
    differ; None for a verdict that cannot be read. Its data is found by `index`.
    """
    numbers = instruction_numbers([verdict.pair.prompt.turns[0] for verdict in verdicts])
    return [
        {
            "instruction": verdict.pair.prompt.turns[0],
            "output_1": verdict.pair.reference,
            "generator_1": verdict.pair.against,
            "dataset": verdict.pair.prompt.category,
            "output_2": verdict.pair.answer,
            "generator_2": verdict.pair.model,
            "annotator": judge,
            "preference": None if verdict.preference is None else 1 + verdict.preference,
            "raw_completion": list(verdict.texts),
            **({} if number is None else {"index": number}),
        }
        for verdict, number in zip(verdicts, numbers, strict=True)
    ]


def win_rate_results(
    model: str,
    against: str,
    verdicts: Sequence[PairVerdict],
    judge: str,
    seed: int,
    num_known: int,
) -> list[Result]:
    """win_rate over all prompts and a subset each; flip_rate, length_adjusted_win_rate and, where
    it can be had, length_controlled_win_rate over all; with 95% bootstrap intervals over prompts.

    `against`: the reference's generator; `num_known`: how many of AlpacaEval's instructions the
    whole file of prompts has. A value is None where no pair could be judged.
    """
    result = partial(
        Result,
        model=model,
        benchmark=BENCHMARK,
        against=against,
        judge=judge,
        prompt_version=PROMPT_VERSION,
    )
    subsets = {ALL: list(verdicts)}
    for verdict in verdicts:
        subsets.setdefault(verdict.pair.prompt.category, []).append(verdict)
    results = [
        result(
            metric="win_rate",
            subset=subset,
            **_percent([v.preference for v in members]),
            details=_counts(members),
        )
        for subset, members in subsets.items()
    ]
    judged = [v for v in verdicts if v.preference is not None]
    flips = _percent([float(v.is_flipped) for v in judged])
    results.append(result(metric="flip_rate", **flips, details=_counts(verdicts)))
    results.append(result(metric="length_adjusted_win_rate", **_length_adjusted(judged, seed)))
    controlled = length_controlled_win_rate(annotation_rows(judged, judge), num_known)
    if controlled is not None:
        results.append(result(metric="length_controlled_win_rate", value=controlled, n=len(judged)))
    return results


def _length_adjusted(judged: Sequence[PairVerdict], seed: int) -> dict[str, Any]:
    lengths = np.array([len(v.pair.answer) for v in judged], dtype=np.float64)
    reference_lengths = np.array([len(v.pair.reference) for v in judged], dtype=np.float64)
    preferences = np.array([v.preference for v in judged], dtype=np.float64)
    adjusted = length_adjusted_win_rate(preferences, lengths - reference_lengths, seed)
    return {
        "value": adjusted.value,
        "low": adjusted.low,
        "high": adjusted.high,
        "n": len(judged),
        "details": {
            "length_effect": adjusted.length_effect,
            **({"no_interval": adjusted.why_not} if adjusted.why_not else {}),
            "mean_answer_chars": _mean(lengths),
            "mean_reference_chars": _mean(reference_lengths),
        },
    }


def _percent(shares: Sequence[float | None]) -> dict[str, Any]:
    known = np.array([share for share in shares if share is not None], dtype=np.float64)
    low, high = (share_interval(known) if len(known) else None) or (None, None)
    bounds = {"low": low and 100 * low, "high": high and 100 * high}
    return {"value": _mean(100 * known), "n": len(known), **bounds}


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _counts(verdicts: Sequence[PairVerdict]) -> dict[str, int]:
    known = [v.preference for v in verdicts if v.preference is not None]
    return {
        "num_pairs": len(verdicts),
        "num_wins": sum(preference > 0.5 for preference in known),
        "num_ties": sum(preference == 0.5 for preference in known),
        "num_losses": sum(preference < 0.5 for preference in known),
        "num_flipped": sum(v.is_flipped for v in verdicts),
        "num_unparseable": sum(v.num_unparseable for v in verdicts),
    }
