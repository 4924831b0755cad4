"""The prompts of a benchmark, read from the files that the benchmarks publish.

AlpacaEval {instruction, dataset}, and of the sets it was made from {id, prompt} (Koala),
{id, instruction, instances: [{input}]} (self-instruct) and {question_id, category, turns} (Vicuna,
MT-Bench).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from nuggets_ray.data.inputs import list_inputs, read_rows
from nuggets_ray.data.rows import BadRow
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.benchmarks.instructions import instruction_numbers

T = TypeVar("T")

KEY = "evaluate.prompts_path"


@dataclass(frozen=True, slots=True)
class BenchmarkPrompt:
    """What a model is asked, a turn after the other. `category`: the benchmark's own subset."""

    prompt_id: str
    turns: tuple[str, ...]
    category: str


class WrongShapeError(Exception):
    """A row that is not of the wanted shape; says what is wrong with it."""


def read_alpaca_prompts(path: str, limit: int | None) -> list[BenchmarkPrompt]:
    """The first `limit` prompts (None: all), one turn each, in order of the file.

    A prompt without an id gets its row's number, from 0, or where all are AlpacaEval's its number
    among those; one without a category the file's name.
    UserError, naming evaluate.prompts_path, for a missing file or a row of another shape.
    """
    stem = _stem(path)
    prompts = read_prompt_rows(
        path, limit, KEY, lambda row, index: _alpaca_prompt(row, index, stem)
    )
    numbers = instruction_numbers([prompt.turns[0] for prompt in prompts])
    has_ids = any(prompt.prompt_id != str(index) for index, prompt in enumerate(prompts))
    if not has_ids and None not in numbers:
        prompts = [
            replace(prompt, prompt_id=str(number))
            for prompt, number in zip(prompts, numbers, strict=True)
        ]
    _check_ids(path, prompts)
    return prompts


def read_mt_bench_questions(path: str, limit: int | None, num_turns: int) -> list[BenchmarkPrompt]:
    """The first `limit` questions (None: all) with their first `num_turns` turns.

    UserError, naming the key, for a missing file, a row of another shape, or too few turns.
    """
    prompts = read_prompt_rows(path, limit, KEY, lambda row, _: _question(row))
    for prompt in prompts:
        if len(prompt.turns) < num_turns:
            raise UserError(
                f"evaluate.turns={num_turns}: question {prompt.prompt_id} of {KEY}={path} has "
                f"{len(prompt.turns)}: set evaluate.turns={len(prompt.turns)}, or give a file "
                "with more"
            )
    _check_ids(path, prompts)
    return [BenchmarkPrompt(p.prompt_id, p.turns[:num_turns], p.category) for p in prompts]


def read_prompt_rows(
    path: str, limit: int | None, key: str, convert: Callable[[Mapping[str, Any], int], T]
) -> list[T]:
    """`convert(row, its number from 0)` of the first `limit` rows of json or jsonl files.

    UserError, naming `key` and the row, for what cannot be read or where `convert` raises
    WrongShapeError; and for no rows at all.
    """
    converted: list[T] = []
    for index, row in enumerate(islice(_all_rows(path, key), limit)):
        try:
            if isinstance(row, BadRow):
                raise WrongShapeError(f"{row.reason}: {row.excerpt[:80]}")
            if not isinstance(row, dict):
                raise WrongShapeError("it is no JSON object")
            converted.append(convert(row, index))
        except WrongShapeError as error:
            raise UserError(
                f"{key}={path}: row {index + 1} is not of the wanted shape ({error}): mend it, or "
                "give another file"
            ) from error
    if not converted:
        raise UserError(f"{key}={path} holds no rows: give another file")
    return converted


def text_of(row: Mapping[str, Any], name: str) -> str:
    """The text of a field; WrongShapeError where there is none."""
    value = row.get(name)
    if not _is_text(value):
        raise WrongShapeError(f"{name} should be a text; the row has {', '.join(row) or 'nothing'}")
    return str(value)


def texts_of(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a field that is a list of at least one; WrongShapeError otherwise."""
    value = row.get(name)
    if not isinstance(value, list) or not value or not all(map(_is_text, value)):
        raise WrongShapeError(f"{name} should be a list of texts")
    return tuple(value)


def id_of(row: Mapping[str, Any], name: str) -> str:
    """The text of a field that is a text or a whole number; WrongShapeError otherwise."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise WrongShapeError(f"{name} should be a text or a whole number")
    return str(value)


def _is_text(value: object) -> bool:
    """Half a surrogate pair can stand in JSON, and be sent or written nowhere."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _alpaca_prompt(row: Mapping[str, Any], index: int, stem: str) -> BenchmarkPrompt:
    if "turns" in row:
        question = _question(row)
        return BenchmarkPrompt(question.prompt_id, question.turns[:1], question.category)
    text = text_of(row, "prompt" if "prompt" in row else "instruction")
    if "instances" in row:
        text = _with_input(text, row["instances"])
    if not text.strip():
        raise WrongShapeError("the prompt is empty")
    prompt_id = id_of(row, "id") if "id" in row else str(index)
    category = text_of(row, "dataset") if "dataset" in row else stem
    return BenchmarkPrompt(prompt_id, (text,), category)


def _with_input(instruction: str, instances: object) -> str:
    """As AlpacaEval joins them."""
    if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
        raise WrongShapeError("instances should be a list of objects with an input")
    given = text_of(instances[0], "input")
    return f"{instruction}\n\n{given}" if given else instruction


def _question(row: Mapping[str, Any]) -> BenchmarkPrompt:
    return BenchmarkPrompt(
        id_of(row, "question_id"), texts_of(row, "turns"), text_of(row, "category")
    )


def _check_ids(path: str, prompts: list[BenchmarkPrompt]) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.prompt_id in seen:
            raise UserError(
                f"{KEY}={path}: two prompts have the id {prompt.prompt_id}: leave one out"
            )
        seen.add(prompt.prompt_id)


def _all_rows(path: str, key: str) -> Iterator[object]:
    for file in list_inputs(path, key):
        yield from read_rows(file)


def _stem(path: str) -> str:
    return os.path.basename(path.rstrip("/")).partition(".")[0]
