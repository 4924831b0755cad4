"""The worker of the scoring stage: one model replica with the baseline, which turns blocks into
score parts.

A block comes as the places of its rows in candidates/, and goes as one part of scores/, written
here, atomically; the driver sees counts and reasons only.
"""

import hashlib
import json
import logging
import os
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import ray
import torch

from nuggets_ray.config.schema import Config
from nuggets_ray.data.examples import Rules
from nuggets_ray.disk_full import is_disk_full
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Encoding, ScoreRow
from nuggets_ray.run.candidates import Places, read_candidate_rows
from nuggets_ray.run.rounds import AnsweredRow, write_answers
from nuggets_ray.run.scores import write_scores
from nuggets_ray.run.signals import write_signals
from nuggets_ray.score.calibrate import engine_facts
from nuggets_ray.score.contract import DeviceLost, ScoringEngine
from nuggets_ray.score.hanging import ends_after
from nuggets_ray.score.one_shot import (
    CANDIDATES_A_CALL,
    Unscored,
    answer_candidates,
    render,
    score_candidates,
)
from nuggets_ray.score.replica import load_replica
from nuggets_ray.score.row_signals import RowSignals
from nuggets_ray.score.speed import speed_of
from nuggets_ray.score.vllm_engine import make_vllm_engine
from nuggets_ray.signals.names import wanted
from nuggets_ray.stages.cluster.deaths import (
    MAX_DEATHS,
    OUT_OF_MEMORY,
    Exit,
    cannot_load,
    deaths_of,
    reason,
    this_process,
)
from nuggets_ray.stages.cluster.workers import Workers, result_of

logger = logging.getLogger(__name__)

TELL_S = 10.0
"""So long may a worker that ends itself wait to have said why."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs beside the baseline: `config` as resolved, where it computes, and how."""

    config: Config
    attempt_id: str
    device: str
    dtype: str
    data_format: str
    max_demonstration_tokens: int
    gpus_per_worker: float

    @property
    def signals(self) -> tuple[str, ...]:
        """What is taken down of rows beside their scores."""
        return wanted(self.config.signals, self.config.score.backend)

    @property
    def rules(self) -> Rules:
        """How the data's rows are read."""
        data = self.config.data
        return Rules(self.data_format, data.columns, data.roles)


def model_task(
    function: Callable[..., Any],
    setup: Setup,
    workers: Workers,
    max_retries: int = MAX_DEATHS - 1,
) -> Any:
    """`function`, which loads a model, as a Ray task with the resources of one worker, tried again
    where that dies; see model_result.
    """
    # vLLM leaves its memory and process groups behind, so the process ends with the task
    is_vllm = setup.config.score.backend == "vllm"
    task = ray.remote(max_calls=1)(function) if is_vllm else ray.remote(function)
    name = f"nuggets_{function.__name__.lstrip('_')}"
    return task.options(name=name, max_retries=max_retries, **workers.ray_options)


def model_result(ref: ray.ObjectRef[Any], config: Config) -> Any:
    """What a model_task returned. UserError where it raised that, or its workers died."""
    try:
        return result_of(ref)
    except ray.exceptions.OutOfMemoryError as error:
        raise UserError(
            cannot_load(config.model, config.cluster, reason([], Exit(OUT_OF_MEMORY, "")))
        ) from error
    except ray.exceptions.WorkerCrashedError as error:
        raise UserError(cannot_load(config.model, config.cluster, reason([], None))) from error


def load_engine(setup: Setup, encodings: list[Encoding]) -> ScoringEngine:
    """A replica on this worker's cores or GPUs, with its engine chosen and checked."""
    config, score = setup.config, setup.config.score
    torch.set_num_threads(config.cluster.cpus_per_worker)
    if score.backend == "vllm":
        return make_vllm_engine(
            config.model,
            setup.dtype,
            encodings,
            # not setup's own limit: the baseline and the scores must come from the same settings
            max_prefix_tokens=config.prompt.max_demonstration_tokens,
            num_gpus=setup.gpus_per_worker,
            arguments=score.vllm,
            max_pack_tokens=score.max_pack_tokens,
        )
    return load_replica(
        config.model,
        setup.dtype,
        setup.device,
        encodings,
        engine=score.engine,
        max_pack_tokens=score.max_pack_tokens,
        gpu_share=setup.gpus_per_worker,
        speed=speed_of(score),
    )


class Scorer:
    """A Ray Data actor: `scorer({"block": [json]})` scores a block and returns its counts."""

    def __init__(
        self, setup: Setup, baseline_ref: list[ray.ObjectRef[Any]], counter: Any, feed: Any
    ) -> None:
        self.setup, self.counter, self.feed = setup, counter, feed
        self.process = this_process()
        ray.get(counter.loading.remote(self.process))
        began = time.monotonic()
        self.baseline = ray.get(
            baseline_ref[0]
        )  # a bare ref among the arguments would arrive unresolved
        self.prompt = make_prompt(load_tokenizer(setup.config.model), setup.config.prompt)
        self.refused: str | None = None
        try:
            self.engine = load_engine(setup, [anchor.encoding for anchor in self.baseline.anchors])
        except UserError as error:  # Ray would drop the worker, and the reason with it
            self.refused = str(error)
            return
        anchors, asked = self.baseline.anchors, setup.signals
        self.signals = RowSignals(self.engine, self.prompt, anchors, asked)
        self.facts = engine_facts(self.engine)
        counter.started.remote(os.getpid(), self.facts)
        counter.ready.remote(self.process, time.monotonic() - began)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        tickets = batch["ticket"].tolist()
        answers = [{**self._answer(ticket), "ticket": ticket} for ticket in tickets]
        return {"result": [json.dumps(answer) for answer in answers]}

    def _answer(self, ticket: int) -> dict[str, Any]:
        if self.refused is not None:
            return {"refused": self.refused}
        block_json = ray.get(self.feed.block.remote(ticket))
        # who holds it is told first, so that it is known whose death is this block's
        name = hashlib.sha256(block_json.encode()).hexdigest()
        lost = ray.get(self.counter.hold.remote(name, self.process))
        block = json.loads(block_json)
        if len(deaths_of(lost)) >= MAX_DEATHS:
            return _give_up(block["places"])
        # an exception would make Ray Data drop the block without a word; so it is told
        try:
            return self.score_block(block)
        except MemoryError:
            logger.exception("memory ran out; this worker ends and is replaced")
            os._exit(1)
        except Exception as error:
            if is_disk_full(error):
                return {"disk_full": getattr(error, "filename", None) or ""}
            return {"failed": traceback.format_exc()}
        finally:
            self.counter.release.remote(name)

    def score_block(self, block: dict[str, Any]) -> dict[str, Any]:
        """Score the rows of a pool.Block and write them; {num_rows, unscored: [[content_id,
        reason]], counts: what the engine counted}.
        """
        before = dict(self.engine.counts)
        places: Places = block["places"]
        rows = [row for part, numbers in places for row in read_candidate_rows(part, numbers)]
        asked = block["anchors"]
        baseline = self.baseline.take(asked) if asked else self.baseline
        self.engine.use_anchors([anchor.encoding for anchor in baseline.anchors])
        rules = self.setup.rules
        candidates = [(content_id, rules.parse(row)) for content_id, row in rows]
        size = CANDIDATES_A_CALL[self.setup.device]
        groups = [candidates[start : start + size] for start in range(0, len(candidates), size)]
        signals = self.signals if block["signals"] else None
        score: Callable[..., list[Any]]
        score = self.answer_some if asked else self.score_some
        if not block["scores"]:
            score = self.read_some
        results: list[ScoreRow | AnsweredRow | Unscored] = []
        with ThreadPoolExecutor(max_workers=1) as pool:
            # renders ahead of the engine, so that a GPU never waits for the tokenizer
            for group, demonstrations in zip(groups, pool.map(self._render, groups), strict=True):
                results += self._alive(partial(score, signals=signals), group, demonstrations)
                num_wins = sum(
                    row.num_wins for row in results[-len(group) :] if isinstance(row, ScoreRow)
                )
                num_tokens = len(group) * baseline.num_tokens if block["scores"] else 0
                self.counter.add.remote(len(group), num_tokens, num_wins)
        out_dir, attempt_id = self.setup.config.out_dir, self.setup.attempt_id
        if signals is not None and (told := signals.take()):
            write_signals(out_dir, attempt_id, told)
        if rows_scored := [result for result in results if isinstance(result, ScoreRow)]:
            write_scores(out_dir, attempt_id, rows_scored)
        if answered := [result for result in results if isinstance(result, AnsweredRow)]:
            write_answers(out_dir, block["round"], attempt_id, block["ask"], answered)
        unscored = [(r.content_id, r.reason) for r in results if isinstance(r, Unscored)]
        counts = {key: count - before[key] for key, count in self.engine.counts.items()}
        return {"num_rows": len(rows), "unscored": unscored, "counts": counts}

    def _render(self, candidates: list[tuple[str, Any]]) -> list[Encoding]:
        return render(self.prompt, candidates, self.setup.max_demonstration_tokens)

    def _alive(
        self, score: Callable[..., list[Any]], group: list[Any], demonstrations: list[Encoding]
    ) -> list[Any]:
        """What `score` gives; the process ends where the device is lost to it. Tells the counter
        what changed of the engine."""
        try:
            with ends_after(self.setup.config.score.batch_timeout_s, self._tell_of_hanging):
                results = score(group, demonstrations)
        except (torch.AcceleratorError, DeviceLost):
            logger.exception("the device is lost; this worker ends and is replaced")
            os._exit(1)
        facts = engine_facts(self.engine)
        if facts != self.facts:
            self.facts = facts
            self.counter.started.remote(os.getpid(), facts)
        return results

    def _tell_of_hanging(self, seconds: float) -> None:
        ray.get(self.counter.hangs.remote(self.process, seconds), timeout=TELL_S)

    def score_some(
        self,
        candidates: list[tuple[str, Any]],
        demonstrations: list[Encoding],
        signals: RowSignals | None,
    ) -> list[ScoreRow | Unscored]:
        """Score a few candidates on all anchors."""
        on_too_long = self.setup.config.data.on_too_long
        work = (self.prompt, self.baseline, candidates, demonstrations, on_too_long)
        return score_candidates(self.engine, *work, signals)

    def answer_some(
        self,
        candidates: list[tuple[str, Any]],
        demonstrations: list[Encoding],
        signals: RowSignals | None,
    ) -> list[AnsweredRow | Unscored]:
        """Log-probs of a few candidates on the anchors of a round."""
        on_too_long = self.setup.config.data.on_too_long
        return answer_candidates(self.engine, candidates, demonstrations, on_too_long, signals)

    def read_some(
        self,
        candidates: list[tuple[str, Any]],
        demonstrations: list[Encoding],
        signals: RowSignals | None,
    ) -> list[Unscored]:
        """Take down the signals of a few candidates, which have their scores."""
        assert signals is not None, "such a block asks for nothing else"
        signals.read([content_id for content_id, _ in candidates], demonstrations)
        return []


def _give_up(block: Places) -> dict[str, Any]:
    """A row alone is condemned; of several, one is to blame: they are missing, and come again."""
    [(part, numbers), *others] = block
    if others or len(numbers) > 1:
        return {}
    [(content_id, _)] = read_candidate_rows(part, numbers)
    return {"unscored": [(content_id, "killed_worker")]}
