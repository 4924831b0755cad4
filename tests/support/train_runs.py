"""Trainings of a tiny model on several processes, as Ray Train would start them, without Ray."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.rows import TrainRows
from nuggets_ray.finetune.steps import Schedule

LENGTHS = [30, 12, 21, 40, 9, 33, 18, 25]
NUM_STEPS = 3
NUM_MORE = 3
NO_ACCUMULATION = 10_000


@dataclass(frozen=True)
class Case:
    """One training: num_steps steps, a checkpoint, NUM_MORE steps with and without a restart."""

    name: str
    model: str
    config: FinetuneConfig
    dtype: str = "float32"
    max_tokens: int = 80
    lengths: list[int] = field(default_factory=lambda: LENGTHS)
    num_steps: int = NUM_STEPS


def zero(stage: int, **settings: Any) -> dict[str, Any]:
    """finetune.deepspeed for a ZeRO stage."""
    return {"zero_optimization": {"stage": stage, **settings}}


def make_rows(lengths: list[int], seed: int = 0) -> TrainRows:
    """Rows of random tokens; answers are stretches of each, so that turns lie between."""
    draw = np.random.default_rng(seed)
    ids = [draw.integers(0, 61, length).astype(np.int32) for length in lengths]
    masks = [(np.arange(n) % 7 > 2) & (np.arange(n) > 0) for n in lengths]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    names = np.array([f"{i:032d}" for i in range(len(lengths))], "S32")
    return TrainRows(np.concatenate(ids), np.concatenate(masks), starts, names)


def run(cases: list[Case], num_workers: int, folder: Path) -> dict[str, dict[str, Any]]:
    """{case: {losses, norms, eval_loss, next_losses, resumed_losses, checkpoint}} of rank 0."""
    return _spawn(partial(_train_all, cases), num_workers, folder)


def go_on(
    cases: list[Case], num_workers: int, saved_by: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """{case: {resumed_losses}} where the checkpoints below `folder` that `saved_by` workers wrote
    are read by `num_workers`.
    """
    return _spawn(partial(_resume_all, cases, saved_by), num_workers, folder)


def _spawn(work: Callable[[str], Any], num_workers: int, folder: Path) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (num_workers, port, work, str(folder)), nprocs=num_workers)
    results: dict[str, Any] = torch.load(folder / "results.pt", weights_only=False)
    return results


def _worker(
    rank: int, num_workers: int, port: int, work: Callable[[str], Any], folder: str
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "DS_ACCELERATOR": "cpu",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_workers),
        "LOCAL_WORLD_SIZE": str(num_workers),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    dist.init_process_group("gloo")
    results = work(folder)
    if rank == 0:
        torch.save(results, os.path.join(folder, "results.pt"))
    dist.barrier()
    dist.destroy_process_group()


def _train_all(cases: list[Case], folder: str) -> dict[str, Any]:
    return {case.name: _train(case, os.path.join(folder, case.name)) for case in cases}


def _resume_all(cases: list[Case], saved_by: int, folder: str) -> dict[str, Any]:
    return {
        case.name: {"resumed_losses": _resume(case, saved_by, os.path.join(folder, case.name))}
        for case in cases
    }


def _setup(case: Case) -> Any:
    from nuggets_ray.finetune.engine import TrainSetup

    schedule = Schedule(len(case.lengths), len(case.lengths), case.num_steps + NUM_MORE, seed=0)
    model = ModelConfig(path=case.model)
    return TrainSetup(model, case.config, schedule, case.dtype, "cpu", case.max_tokens, 4)


def _more(engine: Any, setup: Any, case: Case) -> list[float]:
    from nuggets_ray.finetune.engine import train_step

    rows, steps = make_rows(case.lengths), range(case.num_steps, case.num_steps + NUM_MORE)
    return [train_step(engine, setup, rows, step).loss for step in steps]


def _resume(case: Case, saved_by: int, folder: str) -> list[float]:
    from nuggets_ray.finetune import engine as module

    setup = _setup(case)
    engine = module.make_engine(setup, saved_by)
    module.load(engine, setup, folder)
    torch.manual_seed(12345)  # what is left of randomness must not come from here
    losses = _more(engine, setup, case)
    engine.destroy()
    return losses


def _train(case: Case, folder: str) -> dict[str, Any]:
    from nuggets_ray.finetune import engine as module

    setup, rows = _setup(case), make_rows(case.lengths)
    engine = module.make_engine(setup)
    steps = [module.train_step(engine, setup, rows, step) for step in range(case.num_steps)]
    eval_loss = module.evaluate(engine, setup, rows)
    os.makedirs(folder, exist_ok=True)
    dist.barrier()
    module.save(engine, setup, folder)
    next_losses = _more(engine, setup, case)
    engine.destroy()
    return {
        "losses": [step.loss for step in steps],
        "norms": [step.grad_norm for step in steps],
        "eval_loss": eval_loss,
        "next_losses": next_losses,
        "resumed_losses": _resume(case, dist.get_world_size(), folder),
        "checkpoint": folder,
    }
