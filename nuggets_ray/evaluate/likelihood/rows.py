"""The rows that models are compared on: the run's held-out rows, or evaluate.held_out_path's."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice

from nuggets_ray import io
from nuggets_ray.anchors.file import load_examples
from nuggets_ray.config.anchor_sets import anchor_sets
from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.schema import AnchorsConfig, DataConfig
from nuggets_ray.data.examples import (
    ParsedRow,
    SourceRow,
    choose_rules,
    file_rows,
    parse_rows,
    parse_stream,
)
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.values import SkipRow
from nuggets_ray.demo.files import demo_or
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.likelihood.overlap import Overlap, TextRow, find_overlaps, text_row
from nuggets_ray.evaluate.models import BASE, EvalModel, TrainingData, training_data
from nuggets_ray.io import write_json
from nuggets_ray.model.identity import tokenizer_fingerprint
from nuggets_ray.model.load import load_config, load_tokenizer, max_context_tokens
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Example
from nuggets_ray.run.candidates import candidate_parts
from nuggets_ray.run.held_out import held_out_ids, held_out_texts, read_rules
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import RunFolder

logger = logging.getLogger(__name__)

KEY = "evaluate.held_out_path"
CHUNK_ROWS = 4096
CATEGORY_FIELDS = ("category", "dataset", "task")
"""Where a row may say what kind it is, in order."""


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row to evaluate on; `category` is what the row says it is, None where it does not."""

    example_id: str
    category: str | None
    example: Example


@dataclass(frozen=True, slots=True)
class HeldRows:
    """The rows, the file they came from, and how many could not be read, by reason."""

    rows: tuple[HeldRow, ...]
    path: str
    skipped: dict[str, int]


def read_held_rows(out_dir: str, evaluate: EvaluateConfig, data: DataConfig) -> HeldRows:
    """evaluate.held_out_path (read by data.format and data.columns), or the run's own; the first
    evaluate.limit of them. Raises UserError where there are none.
    """
    path, parsed = _held_rows(out_dir, evaluate, data)
    skipped: Counter[str] = Counter()
    held: dict[str, HeldRow] = {}
    for row, example in parsed:
        if isinstance(example, SkipRow):
            skipped[example.reason] += 1
        elif example.content_id in held:
            skipped["duplicate"] += 1
        else:
            held[example.content_id] = HeldRow(example.content_id, _category(row.value), example)
    if not held:
        raise UserError(f"{path} has no row to evaluate on ({dict(skipped) or 'it is empty'})")
    return HeldRows(tuple(held.values()), path, dict(skipped))


def check_held_out(out_dir: str, given: str | None) -> None:
    """Raise UserError where there is no file of held-out rows, `given` as evaluate.held_out_path or
    the run's own; reads none.
    """
    if given is not None:
        list_inputs(demo_or(given, KEY), KEY)
    elif not _num_own_rows(out_dir):
        raise UserError(
            f"evaluate.held_out_path is missing: out_dir={out_dir} has no held-out rows "
            "(data.holdout=N keeps N rows from everything before a run is scored), so give a file "
            "of rows that no model was trained on"
        )


def _num_own_rows(out_dir: str) -> int:
    """The rows that the run held out; it writes their table where it held none too."""
    return len(held_out_texts(out_dir) or [])


def _held_rows(
    out_dir: str, evaluate: EvaluateConfig, data: DataConfig
) -> tuple[str, Iterator[ParsedRow]]:
    """The file of the held-out rows, and the rows as they are read from it."""
    given, limit = evaluate.held_out_path, evaluate.limit
    check_held_out(out_dir, given)
    if given is not None:
        path = demo_or(given, KEY)
        rows = islice(file_rows(list_inputs(path, KEY)), limit)
        return path, parse_stream(rows, data.format, data.columns, data.roles)[1]
    path, texts = RunFolder(out_dir).held_out, held_out_texts(out_dir) or []
    own = [SourceRow(path, n, json.loads(text)) for n, text in enumerate(texts[:limit])]
    return path, parse_rows(own, read_rules(out_dir))


def training_sources(out_dir: str) -> dict[str, Iterator[list[TextRow]]]:
    """What held-out rows must not be in: anchors, candidates, and files trained on directly, but
    for the rows that the training left out.
    """
    sources: dict[str, Iterator[list[TextRow]]] = {}
    scored = read_config(out_dir, "score")
    if scored:
        sets = anchor_sets(AnchorsConfig(**scored["anchors"])).values()
        files = [one for one in sets if one.method == "file"]  # those drawn are candidates too
        anchors = [anchor for one in files for anchor in load_examples(one)]
        if anchors:
            sources["anchors"] = iter([[text_row(a.content_id, a) for a in anchors]])
    if candidate_parts(out_dir):
        sources["candidates"] = _candidates(out_dir)
    for trained in training_data(out_dir):
        _tell_if_changed(trained)
        rows = _file_rows(trained.data, _left_out(out_dir, trained))
        sources[trained.data.path] = chain(sources.get(trained.data.path, ()), rows)
    return sources


def _tell_if_changed(trained: TrainingData) -> None:
    files = list_inputs(trained.data.path, splits=trained.data.splits)
    if trained.sha256 and tuple(io.sha256(file.path) for file in files) != trained.sha256:
        logger.warning(
            "data.path=%s has changed since a model of the run was trained on it: held-out rows "
            "are looked for among its rows of now",
            trained.data.path,
        )


def _left_out(out_dir: str, trained: TrainingData) -> set[str]:
    """Contents of the run's held-out rows, where they are those that the training left out."""
    path = RunFolder(out_dir).held_out
    if trained.leaves_out is None or not io.exists(path) or io.sha256(path) != trained.leaves_out:
        return set()
    return set(held_out_ids(out_dir, read_rules(out_dir)).astype(str).tolist())


def _candidates(out_dir: str) -> Iterator[list[TextRow]]:
    rules = read_rules(out_dir)
    for part in candidate_parts(out_dir):
        table = io.read_table(part, columns=["example_id", "row_json"])
        for start in range(0, table.num_rows, CHUNK_ROWS):
            rows = table.slice(start, CHUNK_ROWS).to_pylist()
            sources = [
                SourceRow(part, start + i, json.loads(row["row_json"]))
                for i, row in enumerate(rows)
            ]
            yield [
                text_row(row["example_id"], example)
                for row, (_, example) in zip(rows, parse_rows(sources, rules), strict=True)
                if not isinstance(example, SkipRow)  # a row of an old folder, of no use now
            ]


def _file_rows(data: DataConfig, left_out: set[str]) -> Iterator[list[TextRow]]:
    files = list_inputs(data.path, splits=data.splits)
    numbered = enumerate(parse_rows(file_rows(files), choose_rules(data, files)))
    while chunk := list(islice(numbered, CHUNK_ROWS)):
        yield [
            text_row(f"row {number}", example)
            for number, (_, example) in chunk
            # nothing was trained on a row that holds no example either
            if not isinstance(example, SkipRow) and example.content_id not in left_out
        ]


def _category(row: object) -> str | None:
    values = [row.get(key) for key in CATEGORY_FIELDS] if isinstance(row, dict) else []
    return next((value for value in values if isinstance(value, str) and value), None)


def shared_room(models: list[EvalModel]) -> int | None:
    """The most tokens of a row that every model takes; None: any."""
    contexts = [
        max_context_tokens(load_config(model.model, any_architecture=True)) for model in models
    ]
    return min((tokens for tokens in contexts if tokens is not None), default=None)


def write_held_out(
    uri: str, path: str, num_rows: int, num_used: int, overlaps: list[Overlap]
) -> None:
    """Write down which held-out rows are used, and the twins of the others."""
    twins = [
        {**asdict(overlap), "similarity": round(overlap.similarity, 4)} for overlap in overlaps
    ]
    write_json(
        uri,
        {"path": path, "num_rows": num_rows, "num_used": num_used, "left_out": twins},
    )


def without_overlaps(
    out_dir: str, rows: tuple[HeldRow, ...]
) -> tuple[tuple[HeldRow, ...], list[Overlap]]:
    """The rows without a twin among training rows and anchors, and the twins of the others."""
    logger.info("%d held-out rows: looking for them among training rows and anchors", len(rows))
    texts = [text_row(row.example_id, row.example) for row in rows]
    overlaps = find_overlaps(texts, training_sources(out_dir))
    if overlaps:
        logger.warning(
            "%d of %d held-out rows have a twin in training rows or anchors and are left out "
            "(evaluation/held_out*.json)",
            *(len(overlaps), len(rows)),
        )
    twins = {overlap.example_id for overlap in overlaps}
    return tuple(row for row in rows if row.example_id not in twins), overlaps


def shared_prompt(models: list[EvalModel]) -> Prompt:
    """The first model's prompt for all of them: the same token ids under every model."""
    tokenizers = {model.name: load_tokenizer(model.model) for model in models}
    first = models[0]
    expected = tokenizer_fingerprint(tokenizers[first.name])
    for model in models[1:]:
        if tokenizer_fingerprint(tokenizers[model.name]) != expected:
            raise UserError(
                f"evaluate.models: {model.name} has another tokenizer than {first.name}, and "
                "log-probs a token of different tokens do not compare: evaluate it alone, or by "
                "its answers (evaluate=alpaca_eval)"
            )
    # a trained model has a written-in chat template where its base has none: same text, but its
    # own tokenizer could lead to another rendering
    chosen = next((model for model in models if model.name == BASE), first)
    return make_prompt(tokenizers[chosen.name], chosen.prompt)
