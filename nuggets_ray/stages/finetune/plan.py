"""What a fine-tune needs, told before it starts: memory, steps, tokens."""

import logging
from dataclasses import dataclass

import psutil
import ray
import torch

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.finetune.deepspeed_kernels import check_compiler
from nuggets_ray.finetune.engine import TrainSetup
from nuggets_ray.finetune.memory import Room, check_memory
from nuggets_ray.finetune.micro_batch import Choice, choose
from nuggets_ray.finetune.size import LoraReach, TrainedSize, trained_size
from nuggets_ray.finetune.steps import Schedule, make_schedule, measure
from nuggets_ray.model.load import resolve_dtype
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.finetune.rows import SplitRows

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker's node is: the dtype that finetune.dtype stands for there, free memory of the
    host and of one GPU (0 without) in GiB, and the node's CPUs and GPUs as Ray counts them.
    """

    dtype: str
    host_gib: float
    gpu_gib: float
    num_cpus: float
    num_gpus: float

    def room(self, workers: Workers) -> Room:
        """What is free for one of the workers where as many as can be share the node."""
        num_here = min(workers.num_workers, int(self.num_cpus // workers.cpus_per_worker))
        if workers.gpus_per_worker:
            num_here = min(num_here, int(self.num_gpus // workers.gpus_per_worker))
        host_gib = self.host_gib / max(1, num_here)
        gib = self.gpu_gib if workers.device == "cuda" else host_gib
        return Room(workers.device, gib, host_gib)


@ray.remote
def probe_worker(dtype: str, device: str, has_kernels: bool) -> WorkerFacts:
    """Run where a worker will run. `has_kernels`: DeepSpeed is to compile kernels there, so
    UserError where it could not.
    """
    if has_kernels:
        check_compiler()
    node_id = ray.get_runtime_context().get_node_id()
    [resources] = [node["Resources"] for node in ray.nodes() if node["NodeID"] == node_id]
    return WorkerFacts(
        dtype=resolve_dtype(dtype, "", device),
        host_gib=psutil.virtual_memory().available / 2**30,
        gpu_gib=torch.cuda.mem_get_info()[0] / 2**30 if device == "cuda" else 0.0,
        num_cpus=resources.get("CPU", 1.0),
        num_gpus=resources.get("GPU", 0.0),
    )


def make_plan(
    config: FinetuneConfig,
    seed: int,
    model: ModelConfig,
    rows: SplitRows,
    facts: WorkerFacts,
    workers: Workers,
) -> tuple[TrainSetup, Choice]:
    """How the rows are trained on, and what it takes, which is told. UserError where it cannot
    fit.
    """
    num_workers = workers.num_workers
    schedule = make_schedule(config, rows.train.num_rows, num_workers, seed)
    size, room = trained_size(model, config, facts.dtype), facts.room(workers)
    lengths = (rows.train.length_N, rows.train.num_answer_tokens_N)
    choice = choose(
        *(config, size, facts.dtype, num_workers, room),
        work_of=lambda max_tokens: measure(schedule, *lengths, num_workers, max_tokens),
    )
    setup = TrainSetup(
        model=model,
        finetune=choice.config,
        schedule=schedule,
        dtype=facts.dtype,
        device=workers.device,
        max_tokens=choice.config.micro_batch_tokens or 0,
        num_slots=choice.work.num_slots,
    )
    _tell_steps(schedule, rows, choice)
    _tell_memory(setup, size, choice, room, num_workers)
    return setup, choice


def _tell_steps(schedule: Schedule, rows: SplitRows, choice: Choice) -> None:
    work = choice.work
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


def _tell_memory(
    setup: TrainSetup, size: TrainedSize, choice: Choice, room: Room, num_workers: int
) -> None:
    if size.lora is not None:
        _tell_reach(size.lora)
    if choice.why is not None:
        logger.warning(choice.why)
    for warning in check_memory(choice.config, choice.needed, room):
        logger.warning(warning)
    needed = choice.needed
    on_host = [
        f"{gib:.1f} GiB of {what}"
        for gib, what in (
            (needed.offloaded_gib, "offloaded states"),
            (needed.base_gib, "the base model's float32 weights as it starts"),
        )
        if gib
    ]
    logger.info(
        "%d workers on %s in %s, %s of %s parameters trained: about %.1f GiB a worker%s; how long "
        "it takes is told once the first steps are measured",
        *(num_workers, setup.device, setup.dtype),
        *(f"{size.num_trained:,}", f"{size.num_parameters:,}", needed.total_gib),
        f", and of its host's memory {' and '.join(on_host)}" if on_host else "",
    )


def _tell_reach(reach: LoraReach) -> None:
    logger.info("finetune=lora adapts %s", ", ".join(reach.modules))
    if reach.unreached:
        logger.warning(
            "finetune=lora leaves %.0f%% of the weights without an update (%s): "
            "finetune.lora_target_modules names other linear layers, finetune=full trains all",
            *(100 * sum(reach.unreached.values()), ", ".join(sorted(reach.unreached))),
        )
