"""Read, parse and tokenise the data on Ray, and write it into the run folder as the candidates
table.

files -> streamed blocks of text -> parsed and tokenised blocks in a staging folder (Ray Data) ->
ids decided and tables written by the driver (nuggets_ray.candidates). A second call with the same
data and settings reads nothing.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data import DataContext

from nuggets_ray import io
from nuggets_ray.candidates import commit
from nuggets_ray.candidates.ids import group_files
from nuggets_ray.config import Config, DataConfig, ModelConfig, PromptConfig, UserError
from nuggets_ray.data import resolve_format
from nuggets_ray.demo import candidates_path
from nuggets_ray.io import InputFile
from nuggets_ray.model import load_tokenizer
from nuggets_ray.candidates.prepared import (
    HashedInput,
    Prepared,
    check_rows,
    prepare_key,
    read_rows,
)
from nuggets_ray.prompts import Prompt, make_prompt
from nuggets_ray.candidates.staging import RAW_SCHEMA, Rules, raw_blocks, stage_block, write_staged

logger = logging.getLogger(__name__)

GROUP_BYTES = 32 << 20
CPUS_A_READER = 8
FAILED = -1
"""file_index of the one raw row that carries the error of a file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the workers need: the files, how to read their rows, where to put them."""

    files: tuple[InputFile, ...]
    limit: int | None
    rules: Rules
    model: ModelConfig
    prompt: PromptConfig
    folder: str


def prepare(config: Config, attempt_id: str) -> Prepared:
    """Write candidates/, holdout.parquet and skipped.parquet of `config.out_dir`, unless they are
    there.

    May be killed at any moment and called again. Raises UserError for data that cannot be read, is
    empty, is of no known format, or has too many bad rows.
    """
    path = candidates_path() if config.data.path == "demo" else config.data.path
    files = io.list_inputs(path)
    prompt = make_prompt(load_tokenizer(config.model), config.prompt)
    key = prepare_key(config, files, prompt.fingerprint)
    earlier = commit.finish(config.out_dir)
    if earlier is not None and earlier.key == key:
        logger.info("the %d candidates are prepared already", earlier.prepared.num_candidates)
        return earlier.prepared
    rules = _rules(config.data, files)
    folder = commit.staging_folder(config.out_dir, attempt_id)
    job = Job(tuple(files), config.data.limit, rules, config.model, config.prompt, folder)
    rows = read_rows(list(_stage(job, config.progress_s)), config.data.limit)
    paths = [file.path for file in files]
    check_rows(rows, config.data, paths)
    inputs = _hash(files[: int(rows.file_index_N[-1]) + 1])
    prepared = commit.write(config, attempt_id, key, rows, paths, inputs, rules.format)
    logger.info("prepared: %s", prepared)
    return prepared


def _rules(config: DataConfig, files: list[InputFile]) -> Rules:
    is_auto = config.format == "auto" and not config.columns
    sample = io.sample_rows([file for file in files if file.num_bytes]) if is_auto else []
    if is_auto and not sample:
        raise UserError(f"data.path={config.path} holds no rows: give a file that does")
    format = resolve_format(config.format, config.columns, sample)
    logger.info("data.format=%s", format)
    return Rules(format, config.columns, config.on_too_long, config.excerpt_chars)


def _stage(job: Job, progress_s: float) -> Iterator[str]:
    """The URIs of the staged blocks, in no order, once all are written."""
    num_bytes = sum(file.num_bytes for file in job.files)
    groups = group_files([file.num_bytes for file in job.files], job.limit, GROUP_BYTES)
    items = [{"start": group.start, "stop": group.stop} for group in groups]
    num_readers = min(len(groups), 1 + int(ray.cluster_resources().get("CPU", 1)) // CPUS_A_READER)
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Enough blocks for every core to have work, none so large that a worker holds much.
    context.target_max_block_size = min(max(num_bytes // 64, 1 << 18), 16 << 20)
    with DataContext.current(context):
        # A reader waits most of its time, so it gets no core of its own; that also keeps Ray from
        # running both
        # steps in one task, where a single file would be parsed by a single core.
        pool = ray.data.TaskPoolStrategy(size=num_readers)
        staged = (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map_batches(_read, batch_size=1, fn_args=[job], num_cpus=0, compute=pool)
            .map_batches(_stage_batch, batch_size=None, batch_format="pyarrow", fn_args=[job])
        )
        num_rows, next_line_s = 0, time.monotonic() + progress_s
        for block in staged.iter_rows():
            if block["error"]:
                raise UserError(block["error"])
            num_rows += block["num_rows"]
            if time.monotonic() > next_line_s:
                logger.info("prepare: %d rows read", num_rows)
                next_line_s = time.monotonic() + progress_s
            if block["uri"]:
                yield block["uri"]


def _read(batch: dict[str, np.ndarray], job: Job) -> Iterator[pa.Table]:
    group = range(int(batch["start"][0]), int(batch["stop"][0]))
    yield RAW_SCHEMA.empty_table()
    try:
        yield from raw_blocks(((i, job.files[i]) for i in group), job.limit)
    except UserError as error:
        row = {"file_index": FAILED, "row_number": 0, "text": str(error), "reason": None}
        yield pa.Table.from_pylist([row], schema=RAW_SCHEMA)


def _stage_batch(raw: pa.Table, job: Job) -> dict[str, list[Any]]:
    failed = raw.filter(pc.equal(raw["file_index"], FAILED)) if raw.num_rows else raw
    if failed.num_rows:
        return {"uri": [""], "num_rows": [0], "error": [failed["text"][0].as_py()]}
    if raw.num_rows == 0:
        return {"uri": [""], "num_rows": [0], "error": [""]}
    uri = write_staged(job.folder, stage_block(raw, job.rules, _prompt(job.model, job.prompt)))
    return {"uri": [uri], "num_rows": [raw.num_rows], "error": [""]}


@lru_cache(maxsize=1)
def _prompt(model: ModelConfig, prompt: PromptConfig) -> Prompt:
    return make_prompt(load_tokenizer(model), prompt)


def _hash(files: list[InputFile]) -> tuple[HashedInput, ...]:
    """The files with their hashes, computed by the workers."""
    paths = [[file.path for file in files[i : i + 64]] for i in range(0, len(files), 64)]
    hashes = sum(ray.get([_sha256.remote(chunk) for chunk in paths]), [])
    pairs = zip(files, hashes, strict=True)
    return tuple(HashedInput(file.path, file.num_bytes, digest) for file, digest in pairs)


@ray.remote
def _sha256(paths: list[str]) -> list[str]:
    return [io.sha256(path) for path in paths]
