"""Fine-tune a base model on a selection, or on any data, into models/<name>/ (Ray Train, DeepSpeed).

rows -> plan, memory and time -> Ray Train with checkpoints -> export. The same call goes on from
the last checkpoint, and does nothing where the model is there already.
"""

import logging
import queue
import threading
import time
from dataclasses import asdict, replace
from typing import Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from nuggets_ray import fingerprint, io
from nuggets_ray.config import Config, UserError
from nuggets_ray.finetune.checkpoints import check_settings, read_committed, remove_leftovers
from nuggets_ray.finetune.engine import TrainSetup
from nuggets_ray.finetune.settings import deepspeed_settings
from nuggets_ray.finetune.steps import Work, make_schedule, measure
from nuggets_ray.manifest import Run, write_config
from nuggets_ray.model import load_tokenizer
from nuggets_ray.prompts import make_prompt
from nuggets_ray.stages.cluster import (
    Workers,
    check_shared_folder,
    connected,
    refuse_missing,
    result_of,
)
from nuggets_ray.stages.train_export import Finished, export, read_done
from nuggets_ray.stages.train_loop import LoopSetup, train_loop
from nuggets_ray.stages.train_plan import look_at_worker, predict
from nuggets_ray.stages.train_progress import Board, TrainProgress
from nuggets_ray.stages.train_rows import Rows, Source, find_source, read_train_rows

logger = logging.getLogger(__name__)

POLL_S = 0.5
MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
NOT_TRAINING = (
    "selection",
    "name",
    "checkpoint_steps",
    "checkpoint_minutes",
    "export",
    "lora_merge",
    "max_failures",
)
"""Keys of finetune.* that may change between two runs of the same training."""


def finetune(config: Config) -> dict[str, Any]:
    """Train and export; returns {wrote, status, name, num_rows, num_steps, loss, eval_loss}.

    Raises UserError for what the user can mend, before a model is loaded wherever that can be told,
    and where the loss is no number any more.
    """
    source = find_source(config)
    deepspeed_settings(config.finetune, "bfloat16", 1)  # a key that cannot be is told now
    make_prompt(load_tokenizer(source.model), source.prompt)
    with (
        Run(config.out_dir, f"finetune-{source.name}") as run,
        connected(config.cluster) as workers,
    ):
        return _finetune(config, source, run, workers)


def _finetune(config: Config, source: Source, run: Run, workers: Workers) -> dict[str, Any]:
    refuse_missing(workers)
    facts = result_of(
        look_at_worker.options(**workers.ray_options).remote(config.finetune.dtype, workers.device)
    )
    folder = io.join(config.out_dir, "finetune", source.name)
    settings = _settings(config, source, workers, facts.dtype)
    if done := read_done(config, source, settings):
        logger.info("models/%s is there already: nothing is left to do", source.name)
        return done
    if committed := read_committed(folder):
        check_settings(committed, settings, source.name)
    check_shared_folder(config.out_dir)
    remove_leftovers(folder)
    write_config(config.out_dir, f"finetune-{source.name}", config)
    rows = read_train_rows(config, source)
    setup, work = _plan(config, source, rows, workers, facts.dtype)
    predicted_s = predict(setup, rows, work, facts, workers)
    run.update(num_workers=workers.num_workers, predicted_s=round(predicted_s, 1))
    started = time.monotonic()
    loop = LoopSetup(
        train=setup,
        settings=settings,
        folder=folder,
        attempt_id=run.attempt_id,
        row_refs=(ray.put(rows.train), ray.put(rows.held_out)),
        board=Board.remote(),
        num_threads=workers.cpus_per_worker,
    )
    history = _train(config, loop, run, workers)
    run.update(actual_s=round(time.monotonic() - started, 1))
    finished = Finished(setup, work, rows, workers.num_workers, history, settings)
    return export(config, source, finished, run)


def _settings(config: Config, source: Source, workers: Workers, dtype: str) -> dict[str, Any]:
    """What decides the weights that come out, as {key: value}: two runs with the same agree."""
    given = {
        f"finetune.{key}": value
        for key, value in asdict(config.finetune).items()
        if key not in NOT_TRAINING
    }
    files = [io.sha256(file.path) for file in source.files]
    held_out = io.join(config.out_dir, "holdout.parquet")
    tokenizer = load_tokenizer(source.model)
    resolved = replace(config, model=source.model)
    return {
        **given,
        "finetune.dtype": dtype,
        "cluster.num_workers": workers.num_workers,
        "seed": config.seed,
        "model": fingerprint.of_weights(resolved),
        "prompt": make_prompt(tokenizer, source.prompt).fingerprint,
        "rows": {"sha256": files, "limit": source.limit, "format": source.format},
        "held_out": io.sha256(held_out) if io.exists(held_out) else config.data.holdout,
    }


def _plan(
    config: Config, source: Source, rows: Rows, workers: Workers, dtype: str
) -> tuple[TrainSetup, Work]:
    schedule = make_schedule(
        config.finetune, rows.train.num_rows, workers.num_workers, config.seed
    )
    max_tokens = config.finetune.micro_batch_tokens or MICRO_BATCH_TOKENS[workers.device]
    lengths = (rows.train.length_N, rows.train.num_answer_tokens_N)
    work = measure(schedule, *lengths, workers.num_workers, max_tokens)
    setup = TrainSetup(
        model=source.model,
        finetune=config.finetune,
        schedule=schedule,
        dtype=dtype,
        device=workers.device,
        max_tokens=max_tokens,
        num_slots=work.num_slots,
    )
    return setup, work


def _train(config: Config, loop: LoopSetup, run: Run, workers: Workers) -> list[dict[str, Any]]:
    """Run Ray Train to its end in a thread of its own, showing progress; the history of steps."""
    progress = TrainProgress(
        run, loop.board, loop.train.schedule.num_steps, loop.folder, config.progress_s
    )
    results: queue.Queue[Any] = queue.Queue()
    trainer = _trainer(config, loop, workers)
    threading.Thread(target=_fit, args=(trainer, results), daemon=True, name="train").start()
    try:
        while results.empty():
            if run.vanished.is_set():
                raise FileNotFoundError(run.out_dir)
            if run.interrupted.wait(POLL_S):
                raise KeyboardInterrupt
            progress.poll()
    finally:
        progress.close()
    result = results.get()
    if isinstance(result, BaseException):
        raise _cause(result)
    if "diverged" in result:
        raise _diverged(loop, result)
    return progress.history


def _trainer(config: Config, loop: LoopSetup, workers: Workers) -> TorchTrainer:
    store, path = io.open_fs(io.join(loop.folder, "checkpoints"))
    resources = {"CPU": workers.cpus_per_worker}
    if workers.gpus_per_worker:
        resources["GPU"] = workers.gpus_per_worker
    return TorchTrainer(
        train_loop,
        train_loop_config={"setup": loop},
        torch_config=TorchConfig(backend="nccl" if workers.device == "cuda" else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers.num_workers,
            use_gpu=workers.device == "cuda",
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=loop.attempt_id,
            storage_path=path,
            storage_filesystem=store,
            failure_config=FailureConfig(max_failures=config.finetune.max_failures),
        ),
    )


def _fit(trainer: TorchTrainer, results: queue.Queue[Any]) -> None:
    try:
        results.put(trainer.fit().return_value)
    except BaseException as error:  # the driver's main thread raises it
        results.put(error)


def _cause(error: BaseException) -> BaseException:
    """A worker's own UserError out of Ray Train's error, else that."""
    failures = getattr(error, "worker_failures", {})
    found = [cause for cause in failures.values() if isinstance(cause, UserError)]
    return found[0] if found else error


def _diverged(loop: LoopSetup, result: dict[str, Any]) -> UserError:
    committed = read_committed(loop.folder)
    kept = (
        f"the last good checkpoint, after step {committed.last.step}, is kept"
        if committed
        else "there was no checkpoint before it"
    )
    return UserError(
        f"finetune.learning_rate={loop.train.finetune.learning_rate}: the loss of step "
        f"{result['diverged']} is {result['loss']} (norm of the gradient {result['grad_norm']}), "
        f"so training stopped; {kept}: lower the rate, set finetune.clip_norm, or look at the rows "
        "of that step, under another finetune.name"
    )


