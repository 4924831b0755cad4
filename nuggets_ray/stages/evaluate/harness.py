"""evaluate=lm_eval: EleutherAI's harness on the driver, its requests answered by replicas of the
model on Ray.

The requests of a task are shared out among all workers. Every block of responses is written by the
worker that made it, and a request that was answered is never put again: another task set adds to
what is there, and a run that was cut short goes on.
"""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import torch

from nuggets_ray.evaluate.harness import tasks
from nuggets_ray.evaluate.harness.files import open_tracker, write_files
from nuggets_ray.evaluate.harness.model import (
    Arguments,
    ModelFacts,
    Respond,
    Responder,
    Response,
    asked_model,
    harness_tokenizer,
    model_facts,
)
from nuggets_ray.evaluate.harness.responses import read_responses, request_keys, write_responses
from nuggets_ray.evaluate.harness.results import to_results
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.evaluate.report import Outcome
from nuggets_ray.model.identity import tokenizer_fingerprint, weights_fingerprint
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate.context import Context
from nuggets_ray.stages.evaluate.replicas import Block, Replicas

logger = logging.getLogger(__name__)

BLOCK_REQUESTS = {"cpu": 32, "cuda": 512}
"""Requests of a block: few enough to lose in a kill, enough to fill batches."""


@dataclass(frozen=True, slots=True)
class ResponseSetup:
    """What a replica needs."""

    model: EvalModel
    facts: ModelFacts
    num_threads: int
    folder: str


class ResponseReplica:
    """One model, for an actor of replicas.py."""

    def __init__(self, setup: ResponseSetup) -> None:
        self._setup = setup
        self._responder: Responder | None = None

    def load(self) -> None:
        """Load the model."""
        torch.set_num_threads(self._setup.num_threads)
        self._responder = Responder(self._setup.model, self._setup.facts)

    def compute(self, keys: list[str], kind: str, arguments: list[Arguments]) -> int:
        """Respond to a block of one kind and write it as one part; how many responses it holds."""
        assert self._responder is not None
        setup = self._setup
        responses = self._responder.respond(kind, arguments, seed=int(keys[0][:8], 16))
        write_responses(setup.folder, keys, responses)
        return len(keys)


def run_lm_eval(context: Context) -> Outcome:
    """The harness's tasks, one model after another; its own files are kept as they are."""
    config = context.config
    manager = tasks.task_manager(config.evaluate.tasks_path)
    results, wrote = [], []
    for model in context.models:
        facts = model_facts(
            model, context.dtype, context.workers.device, config.evaluate.batch_size
        )
        key = _model_key(model, context.dtype)
        replicas = _replicas(context, model, facts)
        try:
            respond = _respond(context, model, key, replicas)
            for settings in tasks.settings_of(config.evaluate, config.seed):
                context.run.tell(f"model {model.name}: {settings.task}")
                tokenizer = harness_tokenizer(model, settings.chat_template)
                asked = asked_model(tokenizer, respond, model.name)
                folder = context.folder.lm_eval(model.name, settings.name(key))
                with open_tracker() as tracker:
                    found, samples = tasks.put_task(settings, manager, asked, facts, tracker)
                    wrote.append(write_files(folder, tracker, found, samples))
                results += to_results(model.name, settings, found, samples, context.dtype)
        finally:
            replicas.close()
    return Outcome(results, wrote)


def _model_key(model: EvalModel, dtype: str) -> str:
    """What of the model decides its responses."""
    tokenizer = tokenizer_fingerprint(harness_tokenizer(model, chat_template=False))
    parts = (weights_fingerprint(model.model), tokenizer, dtype, version("lm_eval"))
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _replicas(context: Context, model: EvalModel, facts: ModelFacts) -> Replicas:
    workers = context.workers
    folder = context.folder.lm_eval_responses(model.name)
    setup = ResponseSetup(model, facts, workers.cpus_per_worker, folder)
    died = (
        f"evaluate.models={model.name}: the worker that answers the harness died four times (what "
        "is finished is kept): mostly memory is too small: lower evaluate.batch_size or "
        "cluster.num_workers"
    )
    arguments = (workers, context.run, context.config.progress_s, model.name, died)
    return Replicas(ResponseReplica, setup, *arguments)


def _respond(context: Context, model: EvalModel, model_key: str, replicas: Replicas) -> Respond:
    folder = context.folder.lm_eval_responses(model.name)

    def respond(kind: str, arguments: Sequence[Arguments]) -> list[Response]:
        keys = request_keys(model_key, kind, arguments, context.config.seed)
        known = read_responses(folder, set(keys))
        todo = {k: a for k, a in zip(keys, arguments, strict=True) if k not in known}
        if known:
            logger.info("model %s: %d responses are there already", model.name, len(known))
        if todo:
            blocks = _blocks(kind, todo, context.workers)
            replicas.compute(blocks, len(todo), "responses", len(known))
            known |= read_responses(folder, set(todo))
        return [known[key] for key in keys]

    return respond


def _blocks(kind: str, todo: Mapping[str, Arguments], workers: Workers) -> list[Block]:
    """What is to do, cut so that no worker is without: the longest first, and requests of the same
    context, which may share a forward pass, side by side.
    """
    size = min(BLOCK_REQUESTS[workers.device], math.ceil(len(todo) / workers.num_workers))
    keys = sorted(todo, key=lambda key: (-len(todo[key][0]), todo[key][0]))
    parts = [keys[start : start + size] for start in range(0, len(keys), size)]
    return [(part, kind, [todo[key] for key in part]) for part in parts]
