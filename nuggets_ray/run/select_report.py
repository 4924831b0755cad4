"""What the select job ends with: the scores with the cut, ties there, the selection's profile, and
a few rows from its top, its border and the end of the ranking.
"""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.run.candidates import candidate_batches
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.row_text import turns_line
from nuggets_ray.run.selection_profile import (
    Sources,
    format_histogram,
    format_profile,
    format_sources,
    format_ties,
)
from nuggets_ray.run.shown_rows import ShownRow, read_shown, score_text
from nuggets_ray.select import Selection

SOURCE_FIELDS = ("source", "dataset", "category", "task", "language")
"""Fields of a row that may say where it is from, in order."""
MAX_SOURCES = 100
NUM_ENDS, NUM_BORDER = 3, 2
LINE_CHARS = 70


def selection_report(
    out_dir: str, scored: Scored, selection: Selection, config: SelectConfig, seed: int
) -> str:
    """The report as text. It holds no text of the rows where select.show_text is false."""
    scores = scored.scores
    is_kept_N = np.zeros(len(scores.example_id), bool)
    is_kept_N[selection.row_K] = True
    by_length = config.by == "longest"
    measure_N = scores.num_answer_tokens.astype(float) if by_length else scores.golden_score
    is_offered_N = np.zeros(len(measure_N), bool)
    is_offered_N[selection.ranked_R] = True
    measure_N = np.where(is_offered_N, measure_N, np.nan)  # copies are not among what was chosen of
    parts = []
    if not np.isnan(measure_N).all():
        title = "Answer tokens" if by_length else "Golden scores"
        parts.append(format_histogram(measure_N, is_kept_N, title))
    if selection.cutoff is not None:
        parts.append(format_ties(measure_N, is_kept_N, selection.cutoff))
    is_copy_N = scores.example_id != scores.content_id
    parts.append(format_profile(scores, selection.row_K, is_copy_N, config, seed))
    sources = read_sources(out_dir, scored.table)
    if sources is not None:
        parts.append(format_sources(sources, is_kept_N))
    parts += _few_rows(out_dir, scored, selection, config, is_kept_N)
    parts.append(
        f"{job_command('show')} out_dir={out_dir} shows more rows, and the anchors they helped."
    )
    return "\n\n".join(parts)


def _few_rows(
    out_dir: str,
    scored: Scored,
    selection: Selection,
    config: SelectConfig,
    is_kept_N: np.ndarray,
) -> list[str]:
    kept, ranked = selection.row_K, selection.ranked_R
    left_out = ranked[~is_kept_N[ranked]]
    groups = {"The first": kept[:NUM_ENDS]}
    if config.by != "random":
        groups["The last kept"] = kept[NUM_ENDS:][-NUM_BORDER:]
        groups["The first left out"] = left_out[:NUM_BORDER]
        groups["The last of all"] = left_out[NUM_BORDER:][-NUM_ENDS:]
    places = [int(place) for group in groups.values() for place in group]
    rows = iter(read_shown(out_dir, scored.table, places))
    parts = []
    for title, group in groups.items():
        if len(group):
            lines = [_row_lines(next(rows), config.show_text) for _ in group]
            parts.append("\n".join([f"{title}:", *lines]))
    return parts


def _row_lines(row: ShownRow, with_text: bool) -> str:
    tokens = f"{row.numbers['num_answer_tokens']} answer tokens"
    line = f"  {score_text(row)}, {tokens}, {row.example_id}"
    return f"{line}\n      {turns_line(row.turns, LINE_CHARS)}" if with_text else line


def read_sources(out_dir: str, table: pa.Table) -> Sources | None:
    """Where the rows of `join_scores` are from: by the first of SOURCE_FIELDS that tells some of
    them apart, or else by their files; None where neither does. Reads a batch of rows at a time.
    """
    name, codes, ids, value_of_id = "", dict[str, int](), list[pa.Array](), list[int]()
    for batch in candidate_batches(out_dir, ["example_id", "row_json"]):
        rows = [json.loads(text) for text in batch["row_json"].to_pylist()]
        name = name or _source_field(rows)
        if not name or len(codes) > MAX_SOURCES:
            break
        values = [row.get(name) if isinstance(row, dict) else None for row in rows]
        is_text = [isinstance(value, str) and bool(value) for value in values]
        value_of_id += [
            codes.setdefault(str(value), len(codes)) if told else -1
            for value, told in zip(values, is_text, strict=True)
        ]
        ids.append(batch["example_id"])
    if 1 < len(codes) <= MAX_SOURCES:
        place_N = pc.index_in(
            table["example_id"].combine_chunks(), value_set=pa.chunked_array(ids).combine_chunks()
        )
        return Sources(name, tuple(codes), np.array(value_of_id)[place_N.to_numpy()])
    files = table["source_path"].combine_chunks().dictionary_encode()
    if len(files.dictionary) < 2:
        return None
    return Sources("file", tuple(files.dictionary.to_pylist()), files.indices.to_numpy())


def _source_field(rows: Sequence[object]) -> str:
    """The first of SOURCE_FIELDS that most of the rows have as a text, and several share."""
    for name in SOURCE_FIELDS:
        values = [row.get(name) for row in rows if isinstance(row, dict)]
        texts = [value for value in values if isinstance(value, str) and value]
        if len(texts) > len(rows) / 2 and 1 < len(set(texts)) <= min(MAX_SOURCES, len(texts) / 2):
            return name
    return ""
