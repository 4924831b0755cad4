"""The worker of the scoring stage: one model replica with the baseline, which turns blocks into
score parts.

A block comes as the places of its rows in candidates/, and goes as one part of scores/, written
here, atomically; the driver sees counts and reasons only.
"""

import json
import logging
import os
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch

from nuggets_ray import candidate_table, score_table
from nuggets_ray.config import Config
from nuggets_ray.data import parse
from nuggets_ray.model import load_model, load_tokenizer
from nuggets_ray.prompts import make_prompt
from nuggets_ray.records import Encoding, ScoreRow
from nuggets_ray.score.candidates import Unscored, score_candidates
from nuggets_ray.score.engine import Engine, make_engine

logger = logging.getLogger(__name__)

CANDIDATES_A_CALL = {"cpu": 1, "cuda": 16}
"""How many candidates the engine gets at once: on a CPU one fills a pack, and progress is finer."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs beside the baseline: `config` as resolved, where it computes, and how."""

    config: Config
    attempt_id: str
    device: str
    dtype: str
    data_format: str
    max_demonstration_tokens: int


def load_engine(setup: Setup, encodings: list[Encoding]) -> Engine:
    """A replica on this worker's cores or GPU, with its engine chosen and checked."""
    torch.set_num_threads(setup.config.cluster.cpus_per_worker)
    model = load_model(setup.config.model, setup.dtype, setup.device)
    score = setup.config.score
    return make_engine(model, encodings, engine=score.engine, max_pack_tokens=score.max_pack_tokens)


class Scorer:
    """A Ray Data actor: `scorer({"block": [json]})` scores a block and returns its counts."""

    def __init__(self, setup: Setup, baseline_ref: list[ray.ObjectRef], counter: Any) -> None:
        self.setup, self.counter = setup, counter
        self.baseline = ray.get(
            baseline_ref[0]
        )  # a bare ref among the arguments would arrive unresolved
        self.prompt = make_prompt(load_tokenizer(setup.config.model), setup.config.prompt)
        self.engine = load_engine(setup, [anchor.encoding for anchor in self.baseline.anchors])
        self.facts = engine_facts(self.engine)
        counter.started.remote(os.getpid(), self.facts)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        return {"result": [json.dumps(self._answer(json.loads(block))) for block in batch["block"]]}

    def _answer(self, block: list[tuple[str, list[int]]]) -> dict[str, Any]:
        # an exception would make Ray Data drop the block as it drops one that killed its worker; so
        # it is told
        try:
            return self.score_block(block)
        except Exception:
            return {"failed": traceback.format_exc()}

    def score_block(self, block: list[tuple[str, list[int]]]) -> dict[str, Any]:
        """Score the rows at [(candidate part, row numbers)]; {num_rows, unscored: [[content_id,
        reason]]}.
        """
        rows = [row for part, numbers in block for row in candidate_table.read_rows(part, numbers)]
        columns = self.setup.config.data.columns
        candidates = [(cid, parse(row, self.setup.data_format, columns)) for cid, row in rows]
        size = CANDIDATES_A_CALL[self.setup.device]
        results: list[ScoreRow | Unscored] = []
        for start in range(0, len(candidates), size):
            results += self.score_some(candidates[start : start + size])
        scored = [result for result in results if isinstance(result, ScoreRow)]
        if scored:
            score_table.write_part(self.setup.config.out_dir, self.setup.attempt_id, scored)
        unscored = [(r.content_id, r.reason) for r in results if isinstance(r, Unscored)]
        return {"num_rows": len(rows), "unscored": unscored}

    def score_some(self, candidates: list[tuple[str, Any]]) -> list[ScoreRow | Unscored]:
        """Score a few candidates and tell the counter."""
        setup = self.setup
        try:
            results = score_candidates(
                self.engine,
                self.prompt,
                self.baseline,
                candidates,
                setup.max_demonstration_tokens,
                setup.config.data.on_too_long,
            )
        except torch.AcceleratorError:
            logger.exception("the device is lost; this worker ends and is replaced")
            os._exit(1)
        self.counter.add.remote(len(results), len(results) * self.baseline.num_tokens)
        facts = engine_facts(self.engine)
        if facts != self.facts:
            self.facts = facts
            self.counter.started.remote(os.getpid(), facts)
        return results


def engine_facts(engine: Engine) -> dict[str, Any]:
    """What log and manifest say of an engine."""
    return {"engine": engine.name, "why": engine.why, "max_pack_tokens": engine.max_pack_tokens}
