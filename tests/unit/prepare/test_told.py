"""What is told of the rows that were read."""

import pyarrow as pa

from nuggets_ray.prepare.prepared import Prepared
from nuggets_ray.prepare.told import MAX_REASONS, reading_lines, reading_warnings, skip_reasons
from nuggets_ray.run.skipped import SKIPPED_SCHEMA


def prepared(**more: object) -> Prepared:
    counts = dict.fromkeys(
        ("num_rows", "num_candidates", "num_duplicates", "num_skipped", "num_excluded"), 1
    )
    return Prepared(**counts, inputs=(), format="alpaca", **more)  # type: ignore[arg-type]


def skipped(*rows: tuple[str, int]) -> pa.Table:
    columns = {"source_path": "rows.jsonl", "excerpt": "", "num_tries": None}
    table = [columns | {"reason": reason, "row_number": number} for reason, number in rows]
    return pa.Table.from_pylist(table, schema=SKIPPED_SCHEMA)


def test_the_lines_name_fields_reasons_and_first_places() -> None:
    read = prepared(
        skipped_reasons={"empty_answer": 1, "unknown_role:clerk": 3},
        fields_read={"conversations": 6},
        fields_not_read={"id": 6, "documents": 2},
        num_greetings=2,
    )
    rows = skipped(*(("unknown_role:clerk", n) for n in (4, 5, 8)), ("empty_answer", 1))
    assert reading_lines(read, rows) == [
        "read: conversations 6; not read: id 6, documents 2",
        "the assistant opens 2 rows: what it says before the first question is context, not an "
        "answer",
        "skipped: unknown_role:clerk: 3, such as row 4 of rows.jsonl; row 5 of rows.jsonl",
        "skipped: empty_answer: 1, such as row 1 of rows.jsonl",
    ]
    assert reading_warnings(read, {}) == ["documents of 2 rows is not read"]


def test_reasons_beyond_a_few_are_counted_together() -> None:
    read = prepared(skipped_reasons={f"unknown_role:{n}": 1 for n in range(MAX_REASONS + 3)})
    sentences = skip_reasons(read, skipped())
    assert len(sentences) == MAX_REASONS + 1 and sentences["other reasons"] == "3"
