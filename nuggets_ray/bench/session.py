"""What every bench does around its measurements: workloads, the guess at the time, the end."""

import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from nuggets_ray.bench.data_juicer import text_work
from nuggets_ray.bench.flop import num_body_parameters, product_rate
from nuggets_ray.bench.plan import BenchResults, Contender
from nuggets_ray.bench.process import WorkerProcess
from nuggets_ray.bench.random_models import SIZES
from nuggets_ray.bench.rows import Row, write_rows
from nuggets_ray.bench.tables import append_log
from nuggets_ray.bench.task import NotMeasured, Task
from nuggets_ray.bench.workload import (
    MakePrompts,
    Prompts,
    RandomPrompts,
    Workload,
    WorkloadSource,
    make_works,
)
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.load import load_config, load_tokenizer, resolve_model
from nuggets_ray.prompts.prompt import make_prompt

logger = logging.getLogger(__name__)

LOAD_S = 15.0
SHARE_OF_RATE = 0.6
"""What a run makes of the matrix rate, for the guess at the time."""
GPU_FLOPS = 2e14
GUESS_SIZE = 1024
SHARED_PREFIX = ("tree", "tree_compiled", "tree_signals", "vllm_prefix_cache", "kv_cache", "sglang")
PROJECTS_ALL = ("official", "data_juicer", "vllm", "vllm_prefix_cache")


def check_request(config: Config, cases: Iterable[str], contenders: Iterable[str]) -> None:
    """Raise UserError for a case or contender that is not known, or a file that could not be
    written at the end."""
    bench = config.bench
    for key, asked, known in (
        ("bench.cases", bench.cases, list(cases)),
        ("bench.contenders", bench.contenders, list(contenders)),
    ):
        for name in asked:
            if name not in known:
                raise UserError(f"{key}: {name} is not known: take some of {', '.join(known)}")
    for key, path in (("bench.out", bench.out), ("bench.log", bench.log or "")):
        folder = os.path.dirname(path)
        if path and not os.access(folder or ".", os.W_OK):
            raise UserError(f"{key}={path}: its folder is not there or cannot be written")


def make_task(config: Config, device: str) -> Task:
    """The part of a worker's task that all contenders have in common; the demo model by default."""
    path = config.model.path or "demo"
    if path in SIZES:
        if device == "cpu":
            raise UserError(f"model.path={path} is for a GPU, and there is none here: take demo")
    else:
        model = resolve_model(replace(config.model, path=path))
        if model.adapter_path is not None:
            raise UserError(
                f"model.path={config.model.path}: bench measures whole models, without the adapter "
                f"{model.adapter_path}: give its base"
            )
        path = model.path
    return Task(
        kind="",
        dtype="",
        model_path=path,
        revision=config.model.revision,
        trust_remote_code=config.model.trust_remote_code,
        device=device,
        threads=config.bench.threads,
        max_pack_tokens=config.score.max_pack_tokens,
        works=(),
    )


def encode_works(
    names: Sequence[str], source: WorkloadSource, task: Task, num_candidates: int
) -> tuple[dict[str, Workload], dict[str, str]]:
    """The works of the cases for the task's model; and the cases that cannot be made, with why."""
    is_text = {name: name.startswith("text-") for name in names}
    if task.model_path in SIZES:
        prompts: MakePrompts = partial(RandomPrompts, SIZES[task.model_path]["vocab_size"])
        named = [name for name in names if not is_text[name]]
        why = "a model with random weights has no tokenizer"
        reasons = {name: why for name in names if is_text[name]}
        return make_works(named, source, prompts, num_candidates), reasons
    tokenizer = load_tokenizer(_model_config(task))

    def official(max_anchor_tokens: int | None) -> Prompts:
        config = PromptConfig(template="official", max_anchor_tokens=max_anchor_tokens)
        return make_prompt(tokenizer, config)

    works = make_works(names, source, official, num_candidates)
    reasons = {}
    for name in names:
        try:
            if is_text[name]:
                works[name] = text_work(works[name], tokenizer)
        except NotMeasured as error:
            reasons[name] = str(error)
            del works[name]
    return works, reasons


def _model_config(task: Task) -> ModelConfig:
    return ModelConfig(task.model_path, task.revision, task.trust_remote_code)


def start_worker(task: Task, contender: Contender) -> WorkerProcess:
    """A worker process of the contender. Raises NotMeasured or WorkerFailed."""
    python = contender.python() if contender.python else sys.executable
    return WorkerProcess(task, python)


def expected_seconds(
    cases: Mapping[str, Sequence[Contender]],
    works: Mapping[str, Workload],
    task: Task,
    candidates_a_run: int,
) -> dict[tuple[str, str], float]:
    """A guess at a run's seconds by (case, contender): its FLOP at a share of the matrix rate."""
    with torch.device("meta"):
        config: Any = (
            LlamaConfig(**SIZES[task.model_path])
            if task.model_path in SIZES
            else load_config(_model_config(task))
        )
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=task.trust_remote_code)
    text = config.get_text_config()
    body, head = 2 * num_body_parameters(model), 2 * text.hidden_size * text.vocab_size
    dtypes = {contender.dtype for some in cases.values() for contender in some}
    rates = {dtype: _rate(dtype, task) for dtype in dtypes}
    expected = {}
    for case, contenders in cases.items():
        for contender in contenders:
            tokens = _body_tokens(contender.kind, works[case])
            all_rows = contender.kind in PROJECTS_ALL
            rows = tokens if all_rows else works[case].num_answer_tokens
            flop = candidates_a_run * (body * tokens + head * rows)
            expected[case, contender.name] = flop / rates[contender.dtype] / SHARE_OF_RATE
    return expected


def _body_tokens(kind: str, work: Workload) -> int:
    prefix, num_anchors = len(work.prefixes[0]), len(work.anchors)
    if kind in SHARED_PREFIX:
        return prefix + work.num_anchor_tokens
    if kind == "official":
        return prefix + num_anchors * max(anchor.num_tokens for anchor in work.anchors)
    return num_anchors * prefix + work.num_anchor_tokens


def _rate(dtype: str, task: Task) -> float:
    """FLOP/s of a square product, on as many threads as a contender has."""
    if task.device == "cuda":
        return GPU_FLOPS
    former = torch.get_num_threads()
    torch.set_num_threads(task.threads)
    try:
        square = torch.randn(GUESS_SIZE, GUESS_SIZE, dtype=getattr(torch, dtype))
        return product_rate(square, square)
    finally:
        torch.set_num_threads(former)


def tell_duration(expected_s: Mapping[tuple[str, str], float], repeats: int) -> None:
    """The guess, on stderr, before anything is measured."""
    num_contenders = len({contender for _, contender in expected_s})
    total_s = repeats * sum(expected_s.values()) + 2 * LOAD_S * num_contenders
    logger.info(
        "expected to take about %.0f minutes; Ctrl-C prints what there is by then", total_s / 60
    )


def finish(config: Config, text: str, rows: Sequence[Row], results: BenchResults) -> dict[str, Any]:
    """Print the text, write bench.out, append to bench.log; the JSON object of the last line.

    An interrupted bench is printed and written, not logged, and ends as a KeyboardInterrupt.
    """
    print(text, flush=True)
    wrote = []
    if config.bench.out:
        write_rows(config.bench.out, rows)
        wrote.append(config.bench.out)
    if results.interrupted:
        raise KeyboardInterrupt("interrupted: the tables hold what was measured; not logged")
    if config.bench.log:
        append_log(config.bench.log, f"bench={config.bench.name}", text)
        wrote.append(config.bench.log)
    return {"wrote": wrote, "status": "done", "num_rows": len(rows)}
