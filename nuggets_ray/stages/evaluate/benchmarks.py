"""evaluate=alpaca_eval and mt_bench: answers of every model in the benchmark's own file format, and
with a judge its numbers, its verdicts in the benchmark's format and as pages to read.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nuggets_ray import io
from nuggets_ray.evaluate.benchmarks import alpaca_eval, mt_bench
from nuggets_ray.evaluate.benchmarks.answers import (
    array_of,
    data_of,
    described,
    equal_parts,
    length_result,
    warn_of_unparseable,
)
from nuggets_ray.evaluate.benchmarks.instructions import instruction_numbers
from nuggets_ray.evaluate.generate.answer import Answer, Asked, generation_settings
from nuggets_ray.evaluate.generate.chat import conversation
from nuggets_ray.evaluate.judge.judge import Answered, Grade, PairVerdict, grade, judge_pairs
from nuggets_ray.evaluate.judge.pages import grade_page, pair_page
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.evaluate.prompt_file import (
    BenchmarkPrompt,
    read_alpaca_prompts,
    read_mt_bench_questions,
)
from nuggets_ray.evaluate.prompt_set import check_same_set, file_name, set_name
from nuggets_ray.evaluate.report import Outcome
from nuggets_ray.io import write_json
from nuggets_ray.stages.evaluate.answers import open_answers
from nuggets_ray.stages.evaluate.context import Context
from nuggets_ray.stages.evaluate.judges import make_judge

logger = logging.getLogger(__name__)


def run_alpaca_eval(context: Context) -> Outcome:
    """Answers in AlpacaEval's format; with a judge, win rates against evaluate.reference_path."""
    config, evaluate = context.config, context.config.evaluate
    assert evaluate.prompts_path is not None
    everything = read_alpaca_prompts(evaluate.prompts_path, None)
    prompts = everything[: evaluate.limit]
    path = evaluate.reference_path
    reference = None if path is None else alpaca_eval.read_reference(path)
    if reference is not None:  # refused before it costs
        alpaca_eval.make_pairs("", prompts, [""] * len(prompts), reference)
    data = data_of(evaluate, prompts)
    generation = generation_settings(config.generate, context.dtype, config.seed)
    check_same_set(context.results, alpaca_eval.BENCHMARK, evaluate, config.seed, data, generation)
    results, wrote, texts, preferences = [], [], {}, {}
    for model in context.models:
        answers = _answers(context, model, prompts, {})
        texts[model.name] = [turns[0].text for turns in answers]
        rows = alpaca_eval.output_rows(prompts, texts[model.name], model.name)
        wrote.append(context.folder.alpaca_eval(_name(context), model.name))
        write_json(wrote[-1], rows)
        results.append(length_result(model.name, alpaca_eval.BENCHMARK, answers))
    if reference is not None and config.judge.model is not None:
        numbers = instruction_numbers([prompt.turns[0] for prompt in everything])
        num_known = len(set(numbers) - {None})
        pairs = [
            pair
            for name, own in texts.items()
            for pair in alpaca_eval.make_pairs(name, prompts, own, reference)
        ]
        verdicts = judge_pairs(
            make_judge(config, context.workers, context.run, context.dtype),
            *(pairs, f"{alpaca_eval.BENCHMARK}/{_name(context)}"),
        )
        warn_of_unparseable(
            config.judge.model, sum(v.num_unparseable for v in verdicts), 2 * len(verdicts)
        )
        for name, own in zip(texts, equal_parts(verdicts, len(texts)), strict=True):
            wrote += _write_verdicts(context, config.judge.model, name, own)
            results += alpaca_eval.win_rate_results(
                name, reference.generator, own, config.judge.model, config.seed, num_known
            )
            preferences[name] = 100 * array_of([v.preference for v in own])
    values = {"win_rate": preferences} if preferences else {}
    return Outcome(described(results, data, generation), wrote, values=values)


def _write_verdicts(
    context: Context, judge: str, model: str, verdicts: Sequence[PairVerdict]
) -> list[str]:
    """A model's verdicts as annotations.json and as a page."""
    name, label = _name(context), file_name(judge)
    annotations = context.folder.annotations(name, model, label)
    write_json(annotations, alpaca_eval.annotation_rows(verdicts, judge))
    page = context.folder.judge_page(alpaca_eval.BENCHMARK, name, label, model)
    io.write_bytes(page, pair_page(judge, verdicts).encode())
    return [annotations, page]


def run_mt_bench(context: Context) -> Outcome:
    """Answers in FastChat's format; with a judge, grades by turn and category."""
    config, evaluate = context.config, context.config.evaluate
    assert evaluate.prompts_path is not None
    questions = read_mt_bench_questions(evaluate.prompts_path, evaluate.limit, evaluate.turns)
    references = mt_bench.GradingReferences()
    if config.judge.model is not None:
        references = mt_bench.choose_references(questions, evaluate.reference_path)
    data = data_of(evaluate, questions)
    generation = generation_settings(config.generate, context.dtype, config.seed)
    temperatures = mt_bench.temperatures(questions, config.generate.temperature)
    if config.generate.temperature is None:
        generation["temperature"] = temperatures
    check_same_set(context.results, mt_bench.BENCHMARK, evaluate, config.seed, data, generation)
    results, wrote = [], []
    values: dict[str, dict[str, np.ndarray]] = {}
    answered: list[Answered] = []
    for model in context.models:
        answers = _answers(context, model, questions, temperatures)
        texts = [tuple(turn.text for turn in turns) for turns in answers]
        answered += [Answered(model.name, q, t) for q, t in zip(questions, texts, strict=True)]
        wrote.append(context.folder.mt_bench(_name(context), model.name))
        _write_lines(wrote[-1], mt_bench.answer_rows(questions, texts, model.name, time.time()))
        results.append(length_result(model.name, mt_bench.BENCHMARK, answers))
    if config.judge.model is not None:
        grades = grade(
            make_judge(config, context.workers, context.run, context.dtype),
            *(answered, references.answers, f"{mt_bench.BENCHMARK}/{_name(context)}"),
        )
        warn_of_unparseable(config.judge.model, sum(g.grade is None for g in grades), len(grades))
        wrote += _write_grades(context, config.judge.model, grades)
        names = [model.name for model in context.models]
        values = {"grade": {}, "grade_turn_1": {}}
        for name, own in zip(names, equal_parts(grades, len(names)), strict=True):
            results += mt_bench.grade_results(
                name, own, config.judge.model, config.seed, references.wrong
            )
            values["grade"][name] = array_of(mt_bench.question_means(own))
            values["grade_turn_1"][name] = array_of([g.grade for g in own if g.turn == 1])
    return Outcome(described(results, data, generation), wrote, values=values)


def _write_grades(context: Context, judge: str, grades: Sequence[Grade]) -> list[str]:
    """All models' grades as FastChat keeps them, and a page a model."""
    name, label = _name(context), file_name(judge)
    uri = context.folder.judgments(name, label)
    before = []
    if io.exists(uri):
        before = [json.loads(line) for line in io.read_bytes(uri).splitlines()]
    rows = mt_bench.judgment_rows(grades, judge, time.time())
    _write_lines(uri, mt_bench.with_judgments(before, rows))
    wrote = [uri]
    for model in context.models:
        own = [item for item in grades if item.answered.model == model.name]
        wrote.append(context.folder.judge_page(mt_bench.BENCHMARK, name, label, model.name))
        io.write_bytes(wrote[-1], grade_page(judge, own).encode())
    return wrote


def _name(context: Context) -> str:
    name = set_name(context.config.evaluate)
    assert name is not None
    return name


def _write_lines(uri: str, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    io.write_bytes(uri, lines.encode())


def _answers(
    context: Context,
    model: EvalModel,
    prompts: Sequence[BenchmarkPrompt],
    temperatures: Mapping[str, float],
) -> list[list[Answer]]:
    """Every turn's answer to every prompt; turns follow the answers to those before.
    `temperatures` {category: ...}; a category without one has generate.temperature.
    """
    given = context.config.generate.temperature or 0.0
    warmth = [temperatures.get(prompt.category, given) for prompt in prompts]
    said: list[list[str]] = [[] for _ in prompts]
    answers: list[list[Answer]] = [[] for _ in prompts]
    with open_answers(
        context.config, model, context.dtype, context.workers, context.run
    ) as answer_all:
        for turn in range(max(len(prompt.turns) for prompt in prompts)):
            for texts, prompt in zip(said, prompts, strict=True):
                texts.append(prompt.turns[turn])
            asked = [Asked(conversation(s), warm) for s, warm in zip(said, warmth, strict=True)]
            turns = answer_all(asked)
            for texts, given_so_far, answer in zip(said, answers, turns, strict=True):
                if isinstance(answer, str):  # no room left in the context: empty, and counted
                    logger.warning("model %s: an answer is empty: %s", model.name, answer)
                    answer = Answer("", 0, True)
                texts.append(answer.text)
                given_so_far.append(answer)
    return answers
