"""Answers of a model to many conversations, by replicas in Ray actors.

Every block of answers is written by the worker that made it, under evaluation/answers/<model>/,
and an answer that is there is never made again: the same call goes on from them.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import torch

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.answers import read_answers, write_answers
from nuggets_ray.evaluate.generate import (
    Answer,
    Answerer,
    generation_settings,
    request_key,
    seed_of,
)
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Message
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.watch import watch
from nuggets_ray.stages.cluster.deaths import LifeEvent, Process, this_process
from nuggets_ray.stages.cluster.roster import LOOK_S, Roster
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate.progress import EvaluationProgress

logger = logging.getLogger(__name__)

Conversation = Sequence[Message]
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


@dataclass(frozen=True, slots=True)
class Answered:
    """A block that `process` has answered, which took it `load_s` to load the model (0: it had
    it).
    """

    num_answers: int
    process: Process
    load_s: float


class Replica:
    """A Ray actor with one model, loaded at its first block (an error there is told as it is)."""

    def __init__(self, setup: AnswerSetup) -> None:
        self._setup = setup
        self._answerer: Answerer | None = None

    def who(self) -> Process:
        """The process that is there, before it has the model."""
        return this_process()

    def answer(self, keys: list[str], conversations: list[Conversation]) -> Answered:
        """Answer a block and write it as one part."""
        setup, load_s = self._setup, 0.0
        if self._answerer is None:
            began = time.monotonic()
            torch.set_num_threads(setup.num_threads)
            self._answerer = Answerer(
                setup.model, setup.prompt, setup.generate, setup.dtype, setup.num_gpus
            )
            load_s = time.monotonic() - began
        answers = self._answerer.answer(conversations, [seed_of(key) for key in keys])
        write_answers(setup.folder, keys, answers)
        return Answered(len(keys), this_process(), load_s)


AnswerAll = Callable[[Sequence[Conversation]], list[Answer | str]]
"""An answer to each conversation, in order; a reason in place of one that cannot be answered."""


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

    def answer_all(conversations: Sequence[Conversation]) -> list[Answer | str]:
        keys = [request_key(weights, prompt.fingerprint, given, c) for c in conversations]
        todo = dict(zip(keys, conversations, strict=True))
        for key in read_answers(folder):
            todo.pop(key, None)
        if num_reused := len(set(keys)) - len(todo):
            logger.info("model %s: %d answers are there already", model.name, num_reused)
        replicas.run(todo, num_reused)
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
        self._calls: list[ray.ObjectRef[Any]] = []
        self._roster = Roster(workers.num_workers)
        self._looked = time.monotonic()

    def run(self, todo: Mapping[str, Conversation], num_reused: int = 0) -> None:
        """Answer what is to do, in blocks; each is written by the replica that answers it."""
        size = BLOCK_ROWS[self._workers.device]
        # long prompts first: the longest at the end would leave one replica busy alone
        keys = sorted(todo, key=lambda key: -sum(len(m.content) for m in todo[key]))
        blocks = [keys[start : start + size] for start in range(0, len(keys), size)]
        self._start(min(self._workers.num_workers, len(blocks)))
        waiting = iter(blocks)
        pending: dict[ray.ObjectRef[Any], Any] = {}

        def give_next(actor: Any) -> None:
            if block := next(waiting, None):
                pending[actor.answer.remote(block, [todo[key] for key in block])] = actor

        def wait(timeout_s: float) -> list[ray.ObjectRef[Any]] | None:
            return ray.wait(list(pending), timeout=timeout_s)[0] if pending else None

        if not todo:
            return
        num_total = num_reused + len(todo)
        phase = f"model {self._name} answers"
        progress = EvaluationProgress(
            self._run, phase, "answers", num_total, num_reused, self._progress_s
        )

        def tick() -> None:
            self._follow()
            progress.count(0, self._roster.counts)

        for actor in self._actors:
            give_next(actor)
        try:
            for ref in watch(self._run, wait, tick):
                actor = pending.pop(ref)
                answered = _result(ref, self._setup)
                alive = LifeEvent(answered.process), LifeEvent(answered.process, answered.load_s)
                self._roster.follow(alive)
                progress.count(answered.num_answers, self._roster.counts)
                give_next(actor)
        finally:
            progress.close()
        logger.info("model %s: %d answers", self._name, len(todo))

    def _follow(self) -> None:
        """Follow who starts, and now and then who is lost."""
        there: list[ray.ObjectRef[Any]] = []
        if self._calls:
            num = len(self._calls)
            there, self._calls = ray.wait(self._calls, num_returns=num, timeout=0)
        self._roster.follow([LifeEvent(ray.get(call)) for call in there])
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self._roster.look()

    def close(self) -> None:
        """End the replicas."""
        for actor in self._actors:
            ray.kill(actor)

    def _start(self, num_replicas: int) -> None:
        options = {"max_restarts": 3, "max_task_retries": 3, **self._workers.ray_options}
        while len(self._actors) < num_replicas:
            # those of an earlier call may not have ended yet
            name = f"nuggets_answers_of_{self._name}_{uuid.uuid4().hex[:8]}"
            actor_class: Any = ray.remote(Replica).options(name=name, **options)
            actor = actor_class.remote(self._setup)
            self._actors.append(actor)
            self._calls.append(actor.who.remote())


def _result(ref: ray.ObjectRef[Any], setup: AnswerSetup) -> Answered:
    try:
        answered: Answered = ray.get(ref)
        return answered
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
