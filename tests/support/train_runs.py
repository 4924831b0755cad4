"""Trainings of a tiny model on several processes, as Ray Train would start them, without Ray."""

import os
import socket
from dataclasses import dataclass, field
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
NO_ACCUMULATION = 10_000


@dataclass(frozen=True)
class Case:
    """One training: NUM_STEPS steps, a checkpoint, one more step with and without a restart."""

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
    """{case: {losses, norms, eval_loss, next_loss, resumed_loss, checkpoint}} of rank 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (num_workers, port, cases, str(folder)), nprocs=num_workers)
    results: dict[str, dict[str, Any]] = torch.load(folder / "results.pt", weights_only=False)
    return results


def _worker(rank: int, num_workers: int, port: int, cases: list[Case], folder: str) -> None:
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
    results = {case.name: _train(case, os.path.join(folder, case.name)) for case in cases}
    if rank == 0:
        torch.save(results, os.path.join(folder, "results.pt"))
    dist.barrier()
    dist.destroy_process_group()


def _train(case: Case, folder: str) -> dict[str, Any]:
    from nuggets_ray.finetune import engine as module

    schedule = Schedule(len(case.lengths), len(case.lengths), case.num_steps + 1, seed=0)
    model = ModelConfig(path=case.model)
    setup = module.TrainSetup(model, case.config, schedule, case.dtype, "cpu", case.max_tokens, 4)
    rows = make_rows(case.lengths)
    engine = module.make_engine(setup)
    steps = [module.train_step(engine, setup, rows, step) for step in range(case.num_steps)]
    eval_loss = module.evaluate(engine, setup, rows)
    os.makedirs(folder, exist_ok=True)
    dist.barrier()
    module.save(engine, setup, folder)
    next_loss = module.train_step(engine, setup, rows, case.num_steps).loss
    engine.destroy()
    restarted = module.make_engine(setup)
    module.load(restarted, setup, folder)
    torch.manual_seed(12345)  # what is left of randomness must not come from here
    resumed_loss = module.train_step(restarted, setup, rows, case.num_steps).loss
    restarted.destroy()
    return {
        "losses": [step.loss for step in steps],
        "norms": [step.grad_norm for step in steps],
        "eval_loss": eval_loss,
        "next_loss": next_loss,
        "resumed_loss": resumed_loss,
        "checkpoint": folder,
    }
