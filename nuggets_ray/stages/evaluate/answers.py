"""Answers of a model to many conversations, by replicas in Ray actors.

Every block of answers is written by the worker that made it, under evaluation/answers/<model>/,
and an answer that is there is never made again: the same call goes on from them.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import torch

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.generate.answer import (
    Answer,
    Asked,
    generation_settings,
    request_key,
    seed_of,
)
from nuggets_ray.evaluate.generate.answerer import Answerer
from nuggets_ray.evaluate.generate.parts import read_answers, write_answers
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.watch import watch
from nuggets_ray.stages.cluster.workers import Workers

logger = logging.getLogger(__name__)

BLOCK_ROWS = {"cpu": 8, "cuda": 256}
"""Conversations of a block: few enough to lose in a kill, enough to keep the device busy."""


@dataclass(frozen=True, slots=True)
class AnswerSetup:
    """What a replica needs."""

    model: ModelConfig
    prompt: PromptConfig
    generate: GenerateConfig
    dtype: str
    num_gpus: float
    num_threads: int
    folder: str


class Replica:
    """A Ray actor with one model, loaded at its first block (an error there is told as it is)."""

    def __init__(self, setup: AnswerSetup) -> None:
        self._setup = setup
        self._answerer: Answerer | None = None

    def answer(self, keys: list[str], asked: list[Asked]) -> int:
        """Answer a block and write it as one part; how many answers it holds."""
        setup = self._setup
        if self._answerer is None:
            torch.set_num_threads(setup.num_threads)
            self._answerer = Answerer(
                setup.model, setup.prompt, setup.generate, setup.dtype, setup.num_gpus
            )
        answers = self._answerer.answer(asked, [seed_of(key) for key in keys])
        write_answers(setup.folder, keys, answers)
        return len(keys)


AnswerAll = Callable[[Sequence[Asked]], list[Answer | str]]
"""An answer to each, in order; a reason in place of one that cannot be answered."""


@contextmanager
def open_answers(
    config: Config, model: EvalModel, dtype: str, workers: Workers, run: Run
) -> Iterator[AnswerAll]:
    """A function that answers conversations with `model`, whose replicas start with the first one
    that is not answered yet and end with the context.

    Raises UserError where the model cannot be loaded.
    """
    prompt = make_prompt(load_tokenizer(model.model), model.prompt)
    weights = weights_fingerprint(model.model)
    given = generation_settings(config.generate, dtype, config.seed)
    folder = RunFolder(config.out_dir).evaluation.answers(model.name)
    setup = AnswerSetup(
        model.model, model.prompt, config.generate, dtype,
        workers.gpus_per_worker, workers.cpus_per_worker, folder,
    )  # fmt: skip
    replicas = Replicas(setup, workers, run, config.progress_s, model.name)

    def answer_all(asked: Sequence[Asked]) -> list[Answer | str]:
        keys = [request_key(weights, prompt.fingerprint, given, one) for one in asked]
        todo = dict(zip(keys, asked, strict=True))
        for key in read_answers(folder):
            todo.pop(key, None)
        if num_reused := len(set(keys)) - len(todo):
            logger.info("model %s: %d answers are there already", model.name, num_reused)
        replicas.run(todo)
        answers = read_answers(folder)
        return [answers[key] for key in keys]

    try:
        yield answer_all
    finally:
        replicas.close()


class Replicas:
    """The Ray actors of one model, started when there is work for them."""

    def __init__(
        self, setup: AnswerSetup, workers: Workers, run: Run, progress_s: float, name: str
    ) -> None:
        self._setup, self._workers, self._run = setup, workers, run
        self._progress_s, self._name = progress_s, name
        self._actors: list[Any] = []

    def run(self, todo: Mapping[str, Asked]) -> None:
        """Answer what is to do, in blocks; each is written by the replica that answers it."""
        size = BLOCK_ROWS[self._workers.device]
        # long prompts first: the longest at the end would leave one replica busy alone
        keys = sorted(todo, key=lambda key: -sum(len(m.content) for m in todo[key].messages))
        blocks = [keys[start : start + size] for start in range(0, len(keys), size)]
        self._start(min(self._workers.num_workers, len(blocks)))
        waiting = iter(blocks)
        pending: dict[ray.ObjectRef[Any], Any] = {}

        def give_next(actor: Any) -> None:
            if block := next(waiting, None):
                pending[actor.answer.remote(block, [todo[key] for key in block])] = actor

        def wait(timeout_s: float) -> list[ray.ObjectRef[Any]] | None:
            return ray.wait(list(pending), timeout=timeout_s)[0] if pending else None

        num_done, said = 0, time.monotonic()

        def tick() -> None:
            nonlocal said
            if time.monotonic() - said > self._progress_s:
                said = time.monotonic()
                logger.info("model %s: %d of %d answers", self._name, num_done, len(todo))

        for actor in self._actors:
            give_next(actor)
        for ref in watch(self._run, wait, tick):
            actor = pending.pop(ref)
            num_done += _result(ref, self._setup)
            give_next(actor)
        if todo:
            logger.info("model %s: %d answers", self._name, num_done)

    def close(self) -> None:
        """End the replicas."""
        for actor in self._actors:
            ray.kill(actor)

    def _start(self, num_replicas: int) -> None:
        options = {"max_restarts": 3, "max_task_retries": 3, **self._workers.ray_options}
        while len(self._actors) < num_replicas:
            self._actors.append(ray.remote(Replica).options(**options).remote(self._setup))


def _result(ref: ray.ObjectRef[Any], setup: AnswerSetup) -> int:
    try:
        return int(ray.get(ref))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        raise UserError(
            f"generate.backend={setup.generate.backend}: the worker that answers with "
            f"{setup.model.path} died four times (what is finished is kept): mostly the host's "
            "memory is too small: lower cluster.num_workers, or set generate.vllm.max_model_len"
        ) from error
