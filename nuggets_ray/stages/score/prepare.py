"""Read, parse and tokenise the data on Ray, and write it into the run folder as the candidates
table.

files -> streamed blocks of text -> parsed and tokenised blocks in a staging folder (Ray Data) ->
ids decided and tables written by the driver (nuggets_ray.prepare). A second call with the same
data and settings reads nothing.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataContext

from nuggets_ray import io
from nuggets_ray.config.schema import Config, DataConfig, ModelConfig, PromptConfig
from nuggets_ray.data.counts import FieldCounts
from nuggets_ray.data.examples import Rules, choose_rules, first_rows, propose
from nuggets_ray.data.inputs import InputFile, list_inputs
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prepare import commit, staging
from nuggets_ray.prepare.ids import block_bytes, group_files
from nuggets_ray.prepare.prepared import (
    PREPARE_VERSION,
    HashedInput,
    Prepared,
    check_rows,
    prepare_key,
    read_staged,
)
from nuggets_ray.prepare.reread import Reread, check_read_alike, is_scored_on, reread
from nuggets_ray.prepare.told import reading_warnings
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.run.candidates import candidate_parts
from nuggets_ray.run.layout import RunFolder

logger = logging.getLogger(__name__)

CPUS_A_READER = 8


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """What the workers need: the files, how to read their rows, where to put them."""

    files: tuple[InputFile, ...]
    data: DataConfig
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
    files = list_inputs(config.data.path, splits=config.data.splits)
    prompt = make_prompt(load_tokenizer(config.model), config.prompt)
    key = prepare_key(files, config.data, prompt.fingerprint, config.seed)
    earlier = commit.finish(config.out_dir)
    if earlier is not None and earlier.key == key:
        logger.info("the %d candidates are prepared already", earlier.prepared.num_candidates)
        return earlier.prepared
    rules = choose_rules(config.data, files)
    if earlier is not None and earlier.version != PREPARE_VERSION:
        _check_read_alike(config, rules)
    folder = RunFolder(config.out_dir).staging(attempt_id)
    job = PrepareJob(tuple(files), config.data, rules, config.model, config.prompt, folder)
    counts = FieldCounts()
    rows = read_staged(list(_stage(job, config.progress_s, counts)), config.data.limit)
    paths = [file.path for file in files]
    check_rows(rows, config.data, paths, rules.format, lambda: propose(first_rows(files), rules))
    inputs = _hash(files[: int(rows.file_index_N[-1]) + 1])
    prepared = commit.write(
        config.out_dir,
        attempt_id,
        key,
        rows,
        paths=paths,
        inputs=inputs,
        rules=rules,
        counts=counts,
        data=config.data,
        seed=config.seed,
    )
    logger.info(
        "prepared %d rows: %d candidates (%d of them copies), %d skipped, %d held out",
        *(prepared.num_rows, prepared.num_candidates, prepared.num_duplicates),
        *(prepared.num_skipped, prepared.num_excluded),
    )
    for sentence in reading_warnings(prepared, config.data.columns):
        logger.warning("%s", sentence)
    return prepared


def _check_read_alike(config: Config, rules: Rules) -> None:
    """UserError where scores are there that were made of rows that read otherwise now."""
    if is_scored_on(config.out_dir):
        arguments = (rules, config.data, config.model, config.prompt)
        parts = candidate_parts(config.out_dir)
        check_read_alike(config.out_dir, ray.get([_reread.remote(p, *arguments) for p in parts]))


@ray.remote
def _reread(
    part: str, rules: Rules, data: DataConfig, model: ModelConfig, prompt: PromptConfig
) -> Reread:
    return reread(part, rules, data, _prompt(model, prompt))


def _stage(job: PrepareJob, progress_s: float, counts: FieldCounts) -> Iterator[str]:
    """The URIs of the staged blocks, in no order, once all are written; their fields are counted in
    `counts`.
    """
    sizes = [file.num_bytes for file in job.files]
    groups = group_files(sizes, job.data.limit)
    items = [{"start": group.start, "stop": group.stop} for group in groups]
    num_readers = min(len(groups), 1 + int(ray.cluster_resources().get("CPU", 1)) // CPUS_A_READER)
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context.target_max_block_size = block_bytes(sizes, job.data.limit)
    with DataContext.current(context):
        # A reader waits most of its time, so it gets no core of its own. That also keeps Ray from
        # running both steps in one task, where a single file would be parsed by a single core.
        pool = ray.data.TaskPoolStrategy(size=num_readers)
        staged = (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map_batches(
                _read,  # type: ignore[arg-type]  # Ray's annotation leaves out what fn_args adds
                batch_size=1,
                fn_args=[job],
                num_cpus=0,
                compute=pool,
            )
            .map_batches(
                _stage_batch,  # type: ignore[arg-type]
                batch_size=None,
                batch_format="pyarrow",
                fn_args=[job],
            )
        )
        num_rows, next_line_s = 0, time.monotonic() + progress_s
        for block in staged.iter_rows():
            if block["error"]:
                raise UserError(block["error"])
            num_rows += block["num_rows"]
            counts.merge(FieldCounts.from_dict(json.loads(block["fields"])))
            if time.monotonic() > next_line_s:
                logger.info("prepare: %d rows read", num_rows)
                next_line_s = time.monotonic() + progress_s
            if block["uri"]:
                yield block["uri"]


def _read(batch: dict[str, np.ndarray], job: PrepareJob) -> Iterator[pa.Table]:
    yield staging.RAW_SCHEMA.empty_table()
    group = range(int(batch["start"][0]), int(batch["stop"][0]))
    yield from staging.raw_blocks(((i, job.files[i]) for i in group), job.data.limit)


def _stage_batch(raw: pa.Table, job: PrepareJob) -> dict[str, list[Any]]:
    uri, error, counts = "", staging.failure(raw), FieldCounts()
    if raw.num_rows and not error:
        prompt = _prompt(job.model, job.prompt)
        block, counts = staging.stage_block(raw, job.rules, job.data, prompt)
        uri = staging.write_staged(job.folder, block)
    fields = json.dumps(counts.as_dict())
    return {"uri": [uri], "num_rows": [raw.num_rows], "error": [error or ""], "fields": [fields]}


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
