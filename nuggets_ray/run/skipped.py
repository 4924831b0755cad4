"""skipped.parquet: every row of the data that has no score, with its reason: skipped in reading or
scoring, or excluded.

Columns source_path, row_number, reason, excerpt, num_tries. Reading writes it first; scoring
rewrites it at its end.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.run.candidates import candidate_parts
from nuggets_ray.run.layout import RunFolder

SKIPPED_SCHEMA = pa.schema(
    [
        ("source_path", pa.string()),
        ("row_number", pa.int64()),
        ("reason", pa.string()),
        ("excerpt", pa.string()),
        ("num_tries", pa.int32()),
    ]
)
"""`num_tries` is in how many attempts scoring gave the row up, null where it never tried."""

EXCLUDED_REASONS = ("held_out", "is_anchor")
SCORE_REASONS = ("too_long_for_context", "non_finite_score", "no_other_anchor", "killed_worker")
MAX_TRIES = 2


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a candidate has no score, and how many attempts gave it up (None: none tried it)."""

    reason: str
    num_tries: int | None = None

    @property
    def kind(self) -> str:
        """The reason without what an exception said."""
        return self.reason.partition(":")[0]

    def is_tried_again(self, retry: Collection[str]) -> bool:
        """Whether the next attempt scores it; `retry` (data.retry) names what is tried again."""
        return self.kind in retry and self.num_tries is not None and self.num_tries < MAX_TRIES


def give_up(reasons: Mapping[str, str], earlier: Mapping[str, LeftOut]) -> dict[str, LeftOut]:
    """The candidates that this attempt gives up ({content_id: reason}), after those before it."""
    tries = {content_id: why.num_tries or 0 for content_id, why in earlier.items()}
    return {i: LeftOut(reason, tries.get(i, 0) + 1) for i, reason in reasons.items()}


def count_kinds(left_out: Iterable[LeftOut]) -> str:
    """How many were left out for each kind of reason, as text."""
    counts = Counter(why.kind for why in left_out)
    return ", ".join(f"{num} {kind}" for kind, num in counts.most_common())


def is_score_reason(reason: str) -> bool:
    """Whether scoring gave this reason, so that the row is a candidate."""
    return reason in SCORE_REASONS or reason.startswith("error: ")


def read_skipped(out_dir: str) -> pa.Table:
    """The rows of skipped.parquet; none before it is written."""
    uri = RunFolder(out_dir).skipped
    if not io.exists(uri):
        return SKIPPED_SCHEMA.empty_table()
    table = io.read_table(uri)
    with io.telling_damage(uri):
        if "num_tries" not in table.column_names:  # of an earlier version, which never tried again
            reasons = table["reason"].to_pylist()
            tries = [1 if is_score_reason(reason) else None for reason in reasons]
            column = pa.array(tries, pa.int32())
            table = table.append_column(SKIPPED_SCHEMA.field("num_tries"), column)
        return table.select(SKIPPED_SCHEMA.names).cast(SKIPPED_SCHEMA)


def count_reasons(out_dir: str) -> Counter[str]:
    """How many rows were skipped or excluded for each reason."""
    return Counter(read_skipped(out_dir)["reason"].to_pylist())


def given_up(out_dir: str) -> dict[str, LeftOut]:
    """content_id -> why, of the candidates that earlier attempts could not score."""
    return _candidates(out_dir, is_score_reason)


def skipped_anchor_ids(out_dir: str) -> list[str]:
    """content_id of the candidates that are excluded because they are anchors."""
    return list(_candidates(out_dir, lambda reason: reason == "is_anchor"))


def _candidates(out_dir: str, is_wanted: Callable[[str], bool]) -> dict[str, LeftOut]:
    table = read_skipped(out_dir)
    wanted = [is_wanted(reason) for reason in table["reason"].to_pylist()]
    table = table.filter(pa.array(wanted, pa.bool_()))
    if table.num_rows == 0:
        return {}
    left_out = {
        (row["source_path"], row["row_number"]): LeftOut(row["reason"], row["num_tries"])
        for row in table.to_pylist()
    }
    numbers = pa.array({number for _, number in left_out}, pa.int64())
    near_keys = {}
    for part in _candidate_parts(out_dir, ["content_id", "source_path", "row_number"]):
        for row in part.filter(pc.is_in(part["row_number"], numbers)).to_pylist():
            why = left_out.get((row["source_path"], row["row_number"]))
            if why is not None:
                near_keys[row["content_id"]] = why
    return near_keys


def rewrite_skipped(out_dir: str, left_out: Mapping[str, LeftOut], excerpt_chars: int) -> None:
    """Keep what reading skipped, and put the candidates of `left_out` (content_id -> why), all
    copies, below it.
    """
    table = read_skipped(out_dir)
    kept = [
        not is_score_reason(reason) and reason != "is_anchor"
        for reason in table["reason"].to_pylist()
    ]
    tables = [table.filter(pa.array(kept, pa.bool_()))]
    ids = pa.array(list(left_out), pa.string())
    if left_out:
        columns = ["content_id", "source_path", "row_number", "row_json"]
        for part in _candidate_parts(out_dir, columns):
            part = part.filter(pc.is_in(part["content_id"], ids))
            excerpts = pc.utf8_slice_codeunits(part["row_json"], 0, excerpt_chars)
            why = [left_out[content_id] for content_id in part["content_id"].to_pylist()]
            tables.append(
                pa.table(
                    [
                        part["source_path"],
                        part["row_number"].cast(pa.int64()),
                        pa.array([one.reason for one in why], pa.string()),
                        excerpts.cast(pa.string()),
                        pa.array([one.num_tries for one in why], pa.int32()),
                    ],
                    schema=SKIPPED_SCHEMA,
                )
            )
    io.write_table(
        RunFolder(out_dir).skipped,
        pa.concat_tables([t.cast(SKIPPED_SCHEMA) for t in tables]),
    )


def _candidate_parts(out_dir: str, columns: list[str]) -> Iterator[pa.Table]:
    for uri in candidate_parts(out_dir):
        yield io.read_table(uri, columns=columns)
