"""A checkpoint of DeepSpeed's in the form that any number of workers reads (its universal form).

Under ZeRO 1 to 3 each worker's file holds its part of the float32 weights and of Adam's two moments
(Rajbhandari et al., arXiv 1910.02054). DeepSpeed's converter puts the parts of each weight together
(Lian et al., arXiv 2406.18820); what is read from there is what was saved, to the bit. Stage 0
keeps everything on every worker, and needs none of this. Deepspeed is imported inside.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.finetune.deepspeed_config import offload_device, zero_stage
from nuggets_ray.finetune.plain_load import plain_load

READS = {"checkpoint": {"load_universal": True}}
"""DeepSpeed's settings of an engine that reads the universal form."""


def reads_only_its_own(config: FinetuneConfig) -> str | None:
    """The setting under which only as many workers as wrote a checkpoint can read it, if it is."""
    for what in ("optimizer", "param"):
        if offload_device(config, what) == "nvme":  # the files there are each worker's own
            return f"finetune.deepspeed.zero_optimization.offload_{what}.device=nvme"
    return None


def needs_conversion(config: FinetuneConfig, saved_by: int | None, num_workers: int) -> bool:
    """Whether a checkpoint that `saved_by` workers wrote (None: there is none) must be converted
    before `num_workers` read it.
    """
    return saved_by not in (None, num_workers) and zero_stage(config) > 0


@contextlib.contextmanager
def converted(folder: str, tag: str) -> Iterator[str]:
    """A folder with the universal form of the checkpoint folder/tag, as folder/tag there too.

    Every worker of the process group calls this together. The first of each node converts, into
    the node's folder for temporary files: the weights and both moments, twice over for a moment.
    """
    node = int(os.environ.get("NODE_RANK", "0"))
    is_first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    own = tempfile.mkdtemp(prefix="nuggets_universal_") if is_first else None
    try:
        if own is not None:
            convert(os.path.join(folder, tag), os.path.join(own, tag))
        made: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(made, (node, own))
        yield next(path for at, path in made if at == node and path)
        dist.barrier()
    finally:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


@contextlib.contextmanager
def own_groups(optimizer: Any) -> Iterator[None]:
    """Loading inside leaves each group its own settings and each weight its own count of steps.

    Under ZeRO 3 DeepSpeed gives all groups the settings of the first, its weight decay too, and all
    weights one count, which torch's AdamW then raises once for each of them.
    """
    before = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    yield
    for group, own in zip(optimizer.param_groups, before, strict=True):
        group.update(own)
    for state in optimizer.optimizer.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].clone()


def convert(checkpoint: str, target: str) -> None:
    """Write the universal form of a checkpoint's own folder into `target`, in this process."""
    from deepspeed.checkpoint.ds_to_universal import main

    arguments = argparse.Namespace(
        input_folder=checkpoint,
        output_folder=target,
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    os.makedirs(target)
    with plain_load(), contextlib.redirect_stdout(sys.stderr):
        main(arguments)
