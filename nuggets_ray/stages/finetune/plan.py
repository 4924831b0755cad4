"""What a fine-tune needs and takes, told before it starts: memory, steps, tokens, time."""

import logging
import time
from dataclasses import dataclass

import psutil
import ray
import torch

from nuggets_ray.finetune.deepspeed_kernels import check_compiler
from nuggets_ray.finetune.engine import TrainSetup
from nuggets_ray.finetune.estimate import (
    LoraReach,
    check_memory,
    flops,
    memory,
    seconds,
    trained_size,
)
from nuggets_ray.finetune.steps import Work
from nuggets_ray.model.load import resolve_dtype
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.finetune.rows import SplitRows
from nuggets_ray.units import duration_text

logger = logging.getLogger(__name__)

RATE_S = 0.5
RATE_SIZE = 1024


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker's node is: the dtype that finetune.dtype stands for there, the matrix-multiply
    rate in it, free memory of the host and of one GPU (0 without) in GiB, and CPUs of the node.
    """

    dtype: str
    flops_per_s: float
    host_gib: float
    gpu_gib: float
    num_cpus: float


@ray.remote
def probe_worker(dtype: str, device: str, has_kernels: bool) -> WorkerFacts:
    """Run where a worker will run. `has_kernels`: DeepSpeed is to compile kernels there, so
    UserError where it could not.
    """
    if has_kernels:
        check_compiler()
    dtype = resolve_dtype(dtype, "", device)
    a = torch.randn(RATE_SIZE, RATE_SIZE, device=device).to(getattr(torch, dtype))
    num_calls, started = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - started) < RATE_S:
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        num_calls += 1
    gpu_gib = torch.cuda.mem_get_info()[0] / 2**30 if device == "cuda" else 0.0
    return WorkerFacts(
        dtype=dtype,
        flops_per_s=2 * RATE_SIZE**3 * num_calls / elapsed_s,
        host_gib=psutil.virtual_memory().available / 2**30,
        gpu_gib=gpu_gib,
        num_cpus=psutil.cpu_count() or 1,
    )


def predict(
    setup: TrainSetup, rows: SplitRows, work: Work, facts: WorkerFacts, workers: Workers
) -> float:
    """Tell the plan and what it takes; the predicted seconds. UserError where it cannot fit."""
    schedule, size = setup.schedule, trained_size(setup.model, setup.finetune)
    logger.info(
        "%d rows (%d held out), %d steps of %d rows: %.2f epochs",
        *(rows.train.num_rows, rows.held_out.num_rows),
        *(schedule.num_steps, schedule.batch_rows, schedule.epochs),
    )
    logger.info(
        "%s tokens a step (%s of them answers), %.0f%% padding, at most %d micro-batches a worker",
        f"{work.num_tokens / schedule.num_steps:,.0f}",
        f"{work.num_answer_tokens / schedule.num_steps:,.0f}",
        100 * (1 - work.num_tokens / work.num_padded_tokens),
        work.num_slots,
    )
    needed = memory(setup.finetune, size, setup.dtype, workers.num_workers, work.max_padded_tokens)
    if workers.device == "cuda":
        available, where = facts.gpu_gib, "GPU memory"
    else:
        num_here = min(workers.num_workers, int(facts.num_cpus // workers.cpus_per_worker) or 1)
        available, where = facts.host_gib / num_here, "memory"
    if size.lora is not None:
        _tell_reach(size.lora)
    if warning := check_memory(setup.finetune, needed, available, where):
        logger.warning(warning)
    num_flops = flops(setup.finetune, size, work.num_padded_tokens)
    predicted_s = seconds(num_flops, facts.flops_per_s, workers.num_workers)
    logger.info(
        "%d workers on %s in %s, %s of %s parameters trained: about %.1f GiB a worker, %s",
        *(workers.num_workers, workers.device, setup.dtype),
        *(f"{size.num_trained:,}", f"{size.num_parameters:,}"),
        *(needed.total_gib, duration_text(predicted_s)),
    )
    return predicted_s


def _tell_reach(reach: LoraReach) -> None:
    logger.info("finetune=lora adapts %s", ", ".join(reach.modules))
    if reach.unreached:
        logger.warning(
            "finetune=lora leaves %.0f%% of the weights without an update (%s): "
            "finetune.lora_target_modules names other linear layers, finetune=full trains all",
            *(100 * sum(reach.unreached.values()), ", ".join(sorted(reach.unreached))),
        )
