"""Golden scores in this process: rows and anchors in, ScoreRows out; no Ray, no run folder.

The same numbers as the job's with anchors=file and the same settings. `model`, `rows`, `anchors`
below are a folder in Hugging Face format, and lists of dicts (or paths):

    >>> from nuggets_ray import score_rows
    >>> rows = [{"instruction": f"Double {n}.", "output": f"{2 * n}"} for n in range(6)]
    >>> anchors = [{"instruction": f"Add 1 to {n}.", "output": f"{n + 1}"} for n in (3, 5, 8)]
    >>> scores = score_rows(rows, anchors=anchors, model=model)
    >>> [score.num_anchors for score in scores]
    [3, 3, 3, 3, 3, 3]
    >>> best = max(scores, key=lambda score: score.golden_score)
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from nuggets_ray.anchors.encode import encode_anchors, warn_of_anchors
from nuggets_ray.anchors.file import distinct_examples, load_examples
from nuggets_ray.config.schema import (
    OF_THE_TREE,
    AnchorsConfig,
    Config,
    DataConfig,
    ModelConfig,
    PromptConfig,
    ScoreConfig,
    check,
)
from nuggets_ray.data.examples import ParsedRow, SourceRow, parse_stream
from nuggets_ray.data.read import (
    PathOrRows,
    ReadExample,
    ReadExamples,
    SkippedRow,
    given_rows,
    read_examples,
)
from nuggets_ray.data.values import SkipRow
from nuggets_ray.errors import UserError, named_as
from nuggets_ray.model.load import load_tokenizer, resolve_dtype, resolve_model
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prepare.ids import copy_numbers, example_ids
from nuggets_ray.prompts.prompt import Prompt, make_prompt, reason_to_skip
from nuggets_ray.records import Example, ScoreRow
from nuggets_ray.score.golden import NOISE_BAND_NATS
from nuggets_ray.score.limits import demonstration_limit
from nuggets_ray.score.one_shot import (
    CANDIDATES_A_CALL,
    Unscored,
    check_finite,
    render,
    score_candidates,
)
from nuggets_ray.score.replica import load_replica
from nuggets_ray.score.speed import speed_of
from nuggets_ray.score.zero_shot import ZeroShot

logger = logging.getLogger(__name__)

ARGUMENTS = {
    **{"path_or_rows": "rows", "data.path": "rows", "anchors.path": "anchors"},
    **{"model.path": "model", "prompt.template": "prompt"},
    **{f"data.{name}": name for name in ("format", "columns", "roles", "on_too_long")},
    **{f"prompt.{name}": name for name in ("max_demonstration_tokens", "max_anchor_tokens")},
    **{f"score.{name}": name for name in ("dtype", "engine", "max_pack_tokens", *OF_THE_TREE)},
}
"""What the keys are called here."""
OF_ANCHORS = {
    "anchors.path": "anchors",
    "anchors.format": "format of the anchors",
    "anchors.columns": "columns of the anchors",
    "anchors.roles": "roles of the anchors",
}
SLOW_S = 2.0
"""Seconds of scoring before progress is shown unasked."""


@named_as(ARGUMENTS)
def score_rows(
    rows: PathOrRows | ReadExamples,
    *,
    anchors: PathOrRows | ReadExamples,
    model: str | os.PathLike[str] | ModelConfig,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
    prompt: str = "auto",
    max_demonstration_tokens: int = PromptConfig.max_demonstration_tokens,
    max_anchor_tokens: int | None = None,
    on_too_long: str = "skip",
    dtype: str = "auto",
    engine: str = "auto",
    max_pack_tokens: int | None = None,
    gpu_attention: str = "auto",
    compile_layers: bool = False,
    compile_head: bool = False,
    fuse_products: bool = False,
    device: str | None = None,
    num_threads: int | None = None,
    on_skipped: Callable[[SkippedRow], object] | None = None,
    progress: bool | None = None,
) -> list[ScoreRow]:
    """The golden score of every row that can be scored, in order of the rows.

    `rows` and `anchors` are anything `read_examples` takes, or what it returned: `format`,
    `columns` and `roles` are of `rows`, and anchors that are not recognised are to be read first.
    `model` is a folder, a hub id, `demo`, or a ModelConfig. The other arguments are the keys of
    that name under data, prompt and score (`prompt` is prompt.template); `device` is cuda where
    there is a GPU, else cpu. The model is loaded anew by every call. `num_threads` of torch on a
    CPU, for the length of the call (None: as many as it has): on a machine that others use too,
    fewer are faster by far.

    Copies of a row get its score under an example_id of their own, and a row that is an anchor is
    not scored against itself, as in the job. Rows that have no score are counted by reason in a
    warning and are not in the list; `on_skipped` gets each of them, as in
    `on_skipped=left_out.append`. `progress` shows a bar on stderr; None: on a terminal, where it
    takes longer than a few seconds.

    Raises UserError, naming the argument, for what is wrong with the arguments, for an anchor that
    cannot be one, and where no row can be scored.
    """
    config = Config(
        model=model if isinstance(model, ModelConfig) else ModelConfig(os.fspath(model)),
        data=DataConfig(
            format=format,
            columns=dict(columns or {}),
            roles=dict(roles or {}),
            on_too_long=on_too_long,
        ),
        prompt=PromptConfig(prompt, max_demonstration_tokens, max_anchor_tokens),
        score=ScoreConfig(
            dtype,
            engine=engine,
            max_pack_tokens=max_pack_tokens,
            gpu_attention=gpu_attention,
            compile_layers=compile_layers,
            compile_head=compile_head,
            fuse_products=fuse_products,
        ),
    )
    check(config)
    device = _check_device(device)
    read = rows if isinstance(rows, ReadExamples) else read_examples(rows, format, columns, roles)
    given = _anchor_examples(anchors)
    config = replace(config, model=resolve_model(config.model))
    renderer = make_prompt(load_tokenizer(config.model), config.prompt)
    fitting, results = _fitting(read.examples, renderer, on_too_long)
    with _threads(num_threads):
        bar = tqdm(
            total=len(fitting),
            unit="row",
            desc="scoring",
            dynamic_ncols=True,
            delay=0 if progress else SLOW_S,
            disable=None if progress is None else not progress,
        )
        with bar:
            if fitting:
                results |= _score(fitting, given, renderer, config, device, bar)
    return _in_order(read, results, on_skipped)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """torch's number of threads within it, and the former one afterwards."""
    before = torch.get_num_threads()
    if number is not None and number < 1:
        raise UserError(f"num_threads={number}: must be at least 1")
    try:
        torch.set_num_threads(number or before)
        yield
    finally:
        torch.set_num_threads(before)


def _anchor_examples(anchors: PathOrRows | ReadExamples) -> list[Example]:
    try:
        with named_as(OF_ANCHORS):
            return _read_anchors(anchors)
    except UserError as error:
        if "of the anchors" not in str(error):
            raise
        way_out = "give anchors=read_examples(anchors, format=..., columns=...)"
        raise UserError(f"{error}; {way_out}") from error


def _read_anchors(anchors: PathOrRows | ReadExamples) -> list[Example]:
    if isinstance(anchors, str | os.PathLike):
        return load_examples(AnchorsConfig(method="file", num=None, path=os.fspath(anchors)))
    if not isinstance(anchors, ReadExamples):
        rules, parsed = parse_stream(given_rows(anchors), "auto", {}, section="anchors")
        return distinct_examples(parsed, rules.format)
    in_hand: list[ParsedRow] = [
        *((_place(row), SkipRow(row.reason)) for row in anchors.skipped),
        *((_place(row), row.example) for row in anchors.examples),
    ]
    return distinct_examples(in_hand, anchors.format)


def _place(row: ReadExample | SkippedRow) -> SourceRow:
    return SourceRow(row.source_path, row.row_number, None)


def _check_device(device: str | None) -> str:
    """The device that is meant. Raises UserError where there is none such."""
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in CANDIDATES_A_CALL or (number and not number.isdigit()):
        raise UserError(f"device={device}: give cpu, cuda, or one GPU of several, as in cuda:1")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device={device}: torch sees {torch.cuda.device_count()} GPUs here: give another, or "
            "cpu"
        )
    return device


def _fitting(
    rows: Sequence[ReadExample], prompt: Prompt, on_too_long: str
) -> tuple[list[tuple[str, Example]], dict[str, ScoreRow | Unscored]]:
    """(content_id, example) of each distinct content that is of use as a demonstration, and
    {content_id: why not} of the others.
    """
    fitting: list[tuple[str, Example]] = []
    unfit: dict[str, ScoreRow | Unscored] = {}
    for content_id, example in {row.content_id: row.example for row in rows}.items():
        reason = reason_to_skip(prompt.demonstration(example), on_too_long)
        if reason:
            unfit[content_id] = Unscored(content_id, reason)
        else:
            fitting.append((content_id, example))
    return fitting, unfit


def _score(
    candidates: Sequence[tuple[str, Example]],
    anchor_examples: Sequence[Example],
    prompt: Prompt,
    config: Config,
    device: str,
    bar: Any,
) -> dict[str, ScoreRow | Unscored]:
    """{content_id: its score, or why it has none}"""
    anchors = encode_anchors(anchor_examples, "file", prompt)
    warn_of_anchors(anchors)
    encodings = [anchor.encoding for anchor in anchors]
    max_tokens = demonstration_limit(
        config.model,
        config.score,
        config.prompt,
        max(encoding.num_tokens for encoding in encodings),
    )
    dtype = resolve_dtype(config.score.dtype, prompt.name, device)
    check_weights(config.model)
    replica = load_replica(
        config.model,
        dtype,
        device,
        encodings,
        engine=config.score.engine,
        max_pack_tokens=config.score.max_pack_tokens,
        speed=speed_of(config.score),
    )
    zero_shot_A = replica.log_probs([prompt.zero_shot_prefix])[0]
    check_finite(anchors, zero_shot_A, dtype)
    base = ZeroShot(tuple(anchors), zero_shot_A, NOISE_BAND_NATS[dtype])
    results: dict[str, ScoreRow | Unscored] = {}
    size = CANDIDATES_A_CALL[replica.model.device.type]
    for start in range(0, len(candidates), size):
        group = candidates[start : start + size]
        shown = render(prompt, group, max_tokens)
        scored = score_candidates(replica, prompt, base, group, shown, config.data.on_too_long)
        results |= {result.content_id: result for result in scored}
        bar.update(len(group))
    return results


def _in_order(
    read: ReadExamples,
    results: Mapping[str, ScoreRow | Unscored],
    on_skipped: Callable[[SkippedRow], object] | None,
) -> list[ScoreRow]:
    """The scores in order of the rows, each copy under its own example_id; the others are told."""
    skipped, scores = list(read.skipped), []
    content_ids = [row.content_id for row in read.examples]
    copies = copy_numbers(np.array(content_ids, "S32")).tolist()
    for row, example_id in zip(read.examples, example_ids(content_ids, copies), strict=True):
        result = results[row.content_id]
        if isinstance(result, ScoreRow):
            scores.append(replace(result, example_id=example_id))
        else:
            skipped.append(SkippedRow(row.source_path, row.row_number, result.reason))
    reasons = Counter(row.reason for row in skipped).most_common()
    told = ", ".join(f"{count} {reason}" for reason, count in reasons)
    num_rows = len(scores) + len(skipped)
    if not scores:
        raise UserError(
            f"none of the {num_rows} rows can be scored ({told}): mend them, or set data.format, "
            "or prompt.max_demonstration_tokens where they are too long"
        )
    if skipped:
        logger.warning("%d of %d rows have no score: %s", len(skipped), num_rows, told)
    if on_skipped:
        for left_out in skipped:
            on_skipped(left_out)
    return scores
