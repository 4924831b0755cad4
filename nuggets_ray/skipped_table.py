"""skipped.parquet: every row of the data that has no score, with its reason: skipped in reading or
scoring, or excluded.

Columns source_path, row_number, reason, excerpt. Reading writes it first; scoring rewrites it at
its end. Must not import ray or torch.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import candidate_table, io

SCHEMA = pa.schema(
    [
        ("source_path", pa.string()),
        ("row_number", pa.int64()),
        ("reason", pa.string()),
        ("excerpt", pa.string()),
    ]
)

EXCLUDED_REASONS = ("held_out", "is_anchor")
SCORE_REASONS = ("too_long_for_context", "non_finite_score", "no_other_anchor", "killed_worker")


def is_score_reason(reason: str) -> bool:
    """Whether scoring gave this reason, so that the row is a candidate, and is not tried again."""
    return reason in SCORE_REASONS or reason.startswith("error: ")


def read(out_dir: str) -> pa.Table:
    """The rows of skipped.parquet; none before it is written."""
    uri = io.join(out_dir, "skipped.parquet")
    return io.read_table(uri).select(SCHEMA.names) if io.exists(uri) else SCHEMA.empty_table()


def count_reasons(out_dir: str) -> Counter[str]:
    """How many rows were skipped or excluded for each reason."""
    return Counter(read(out_dir)["reason"].to_pylist())


def unscorable_ids(out_dir: str) -> dict[str, str]:
    """content_id -> reason of the candidates that an earlier attempt could not score."""
    return _candidate_ids(out_dir, is_score_reason)


def anchor_ids(out_dir: str) -> list[str]:
    """content_id of the candidates that are excluded because they are anchors."""
    return list(_candidate_ids(out_dir, lambda reason: reason == "is_anchor"))


def _candidate_ids(out_dir: str, is_wanted: Callable[[str], bool]) -> dict[str, str]:
    table = read(out_dir)
    wanted = [is_wanted(reason) for reason in table["reason"].to_pylist()]
    table = table.filter(pa.array(wanted, pa.bool_()))
    if table.num_rows == 0:
        return {}
    places = zip(table["source_path"].to_pylist(), table["row_number"].to_pylist(), strict=True)
    reasons = dict(zip(places, table["reason"].to_pylist(), strict=True))
    found = {}
    for part in _candidate_parts(out_dir, ["content_id", "source_path", "row_number"]):
        keep = pc.is_in(part["row_number"], pa.array({number for _, number in reasons}, pa.int64()))
        for row in part.filter(keep).to_pylist():
            reason = reasons.get((row["source_path"], row["row_number"]))
            if reason is not None:
                found[row["content_id"]] = reason
    return found


def rewrite(out_dir: str, reasons: Mapping[str, str], excerpt_chars: int) -> None:
    """Keep what reading skipped, and put the candidates of `reasons` (content_id -> reason), all
    copies, below it.
    """
    table = read(out_dir)
    kept = [
        not is_score_reason(reason) and reason != "is_anchor"
        for reason in table["reason"].to_pylist()
    ]
    tables = [table.filter(pa.array(kept, pa.bool_()))]
    ids = pa.array(list(reasons), pa.string())
    if reasons:
        columns = ["content_id", "source_path", "row_number", "row_json"]
        for part in _candidate_parts(out_dir, columns):
            part = part.filter(pc.is_in(part["content_id"], ids))
            excerpts = pc.utf8_slice_codeunits(part["row_json"], 0, excerpt_chars)
            reason = pa.array(
                [reasons[content_id] for content_id in part["content_id"].to_pylist()], pa.string()
            )
            tables.append(
                pa.table(
                    [
                        part["source_path"],
                        part["row_number"].cast(pa.int64()),
                        reason,
                        excerpts.cast(pa.string()),
                    ],
                    schema=SCHEMA,
                )
            )
    io.write_table(
        io.join(out_dir, "skipped.parquet"), pa.concat_tables([t.cast(SCHEMA) for t in tables])
    )


def _candidate_parts(out_dir: str, columns: list[str]) -> Iterator[pa.Table]:
    for uri in candidate_table.parts(out_dir):
        yield io.read_table(uri, columns=columns)
