"""evaluate=alpaca_eval and mt_bench: answers of every model in the benchmark's own file
format, and with a judge its numbers.
"""

import json
import logging
import time
from collections.abc import Sequence

from nuggets_ray import io
from nuggets_ray.evaluate.benchmarks import alpaca_eval, mt_bench
from nuggets_ray.evaluate.benchmarks.answers import (
    array_of,
    described,
    equal_parts,
    length_result,
    warn_of_unparseable,
)
from nuggets_ray.evaluate.chat import conversation
from nuggets_ray.evaluate.generate import Answer
from nuggets_ray.evaluate.judge.judge import grade, judge_pairs
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.evaluate.prompt_file import (
    BenchmarkPrompt,
    read_alpaca_prompts,
    read_mt_bench_questions,
)
from nuggets_ray.evaluate.report import Outcome
from nuggets_ray.evaluate.results import Result
from nuggets_ray.io import write_json
from nuggets_ray.stages.evaluate.answers import open_answers
from nuggets_ray.stages.evaluate.context import Context
from nuggets_ray.stages.evaluate.judges import make_judge

logger = logging.getLogger(__name__)


def run_alpaca_eval(context: Context) -> Outcome:
    """Answers in AlpacaEval's format; with a judge, win rates against evaluate.reference_path."""
    config = context.config
    assert config.evaluate.prompts_path is not None
    prompts = read_alpaca_prompts(config.evaluate.prompts_path, None)
    num_prompts = len(prompts)
    prompts = prompts[: config.evaluate.limit]
    path = config.evaluate.reference_path
    reference = None if path is None else alpaca_eval.read_reference(path)
    if reference is not None:
        alpaca_eval.make_pairs(prompts, [""] * len(prompts), reference)  # refused before it costs
    results, wrote, texts, preferences = [], [], {}, {}
    for model in context.models:
        answers = _answers(context, model, prompts)
        texts[model.name] = [turns[0].text for turns in answers]
        rows = alpaca_eval.output_rows(prompts, texts[model.name], model.name)
        uri = context.folder.alpaca_eval(model.name)
        write_json(uri, rows)
        wrote.append(uri)
        results.append(length_result(model.name, alpaca_eval.BENCHMARK, answers))
    if reference is not None and config.judge.model is not None:
        ask = make_judge(config, context.workers, context.run, context.dtype)
        pairs = {name: alpaca_eval.make_pairs(prompts, t, reference) for name, t in texts.items()}
        verdicts = judge_pairs(ask, [pair for some in pairs.values() for pair in some])
        warn_of_unparseable(
            config.judge.model, sum(v.num_unparseable for v in verdicts), 2 * len(verdicts)
        )
        for name, own in zip(texts, equal_parts(verdicts, len(texts)), strict=True):
            results += alpaca_eval.win_rate_results(
                name, reference.generator, own, config.judge.model, config.seed, num_prompts
            )
            preferences[name] = 100 * array_of([v.preference for v in own])
    results = _described(context, results)
    return Outcome(results, wrote, values={"win_rate": preferences} if preferences else {})


def run_mt_bench(context: Context) -> Outcome:
    """Answers in FastChat's format; with a judge, grades by turn and category."""
    config = context.config
    evaluate = config.evaluate
    assert evaluate.prompts_path is not None
    questions = read_mt_bench_questions(evaluate.prompts_path, evaluate.limit, evaluate.turns)
    references: dict[str, tuple[str, ...]] = {}
    if config.judge.model is not None:
        references = mt_bench.choose_references(questions, evaluate.reference_path)
    results, wrote, texts, by_turn = [], [], {}, {}
    for model in context.models:
        answers = _answers(context, model, questions)
        texts[model.name] = [[turn.text for turn in turns] for turns in answers]
        uri = context.folder.mt_bench(model.name)
        rows = mt_bench.answer_rows(questions, texts[model.name], model.name, time.time())
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        io.write_bytes(uri, lines.encode())
        wrote.append(uri)
        results.append(length_result(model.name, mt_bench.BENCHMARK, answers))
    if config.judge.model is not None:
        ask = make_judge(config, context.workers, context.run, context.dtype)
        everything = [answer for answers in texts.values() for answer in answers]
        grades = grade(ask, questions * len(texts), everything, references)
        warn_of_unparseable(config.judge.model, sum(g.grade is None for g in grades), len(grades))
        for name, own in zip(texts, equal_parts(grades, len(texts)), strict=True):
            results += mt_bench.grade_results(name, own, config.judge.model, config.seed)
            by_turn[name] = array_of([item.grade for item in own if item.turn == 1])
    results = _described(context, results)
    return Outcome(results, wrote, values={"grade_turn_1": by_turn} if by_turn else {})


def _described(context: Context, results: Sequence[Result]) -> list[Result]:
    config = context.config
    return described(results, config.evaluate, config.generate, context.dtype, config.seed)


def _answers(
    context: Context, model: EvalModel, prompts: Sequence[BenchmarkPrompt]
) -> list[list[Answer]]:
    """Every turn's answer to every prompt; turns follow the answers to those before."""
    said: list[list[str]] = [[] for _ in prompts]
    answers: list[list[Answer]] = [[] for _ in prompts]
    with open_answers(
        context.config, model, context.dtype, context.workers, context.run
    ) as answer_all:
        for turn in range(max(len(prompt.turns) for prompt in prompts)):
            for texts, prompt in zip(said, prompts, strict=True):
                texts.append(prompt.turns[turn])
            turns = answer_all([conversation(texts) for texts in said])
            for texts, given, answer in zip(said, answers, turns, strict=True):
                if isinstance(answer, str):  # no room left in the context: empty, and counted
                    logger.warning("model %s: an answer is empty: %s", model.name, answer)
                    answer = Answer("", 0, True)
                texts.append(answer.text)
                given.append(answer)
    return answers
