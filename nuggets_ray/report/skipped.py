"""Rows that have no score, by reason with examples, and the fields of rows that were not read."""

from collections import Counter
from typing import Any

import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Grid, Section
from nuggets_ray.run.row_text import one_line
from nuggets_ray.run.skipped import EXCLUDED_REASONS, read_skipped

TITLE = "Rows without a score, fields not read"
NUM_EXAMPLES = 3
MAX_REASONS = 30
EXCERPT_CHARS = 160
MEANING = {
    "held_out": "kept away on purpose (data.holdout)",
    "is_anchor": "an anchor itself (anchors.exclude_from_candidates)",
    "too_long_for_context": "longer than the model's context; data.on_too_long=truncate cuts them",
    "non_finite_score": "the model gave no finite log-prob",
    "no_other_anchor": "every anchor is the row itself",
    "too_large": "larger than 64 MiB",
    "too_deep": "lists and objects in each other, more than 100 deep",
    "invalid_value": "a value that Python has not, such as a date in the year 100,000",
    "killed_worker": "processes died of it; the next run tries it once more (data.retry)",
}


def skipped(material: Material) -> Section:
    """The section; an absent one where every row was scored and no field left."""
    table = read_skipped(material.out_dir)
    counts = Counter(table["reason"].to_pylist())
    fields = read_fields(material)
    if not counts and not fields["fields_not_read"]:
        return Section("skipped", TITLE, absent="Every row was read whole, and none was skipped.")
    rows = []
    for reason, num in counts.most_common(MAX_REASONS):
        of_it = table.filter(pc.equal(table["reason"], reason)).slice(0, NUM_EXAMPLES)
        examples = [
            f"row {row['row_number']} of {row['source_path']}: "
            + (one_line(row["excerpt"] or "", EXCERPT_CHARS) if material.config.text else "-")
            for row in of_it.to_pylist()
        ]
        rows.append({"reason": reason, "num": num, "meaning": _meaning(reason), "rows": examples})
    return Section(
        "skipped",
        TITLE,
        {
            "reasons": rows,
            "num_skipped": sum(n for r, n in counts.items() if r not in EXCLUDED_REASONS),
            "num_excluded": sum(counts[reason] for reason in EXCLUDED_REASONS),
            "num_more": max(0, len(counts) - MAX_REASONS),
            "fields": _fields(fields),
        },
    )


def read_fields(material: Material) -> dict[str, Any]:
    """{fields_read, fields_not_read: {field: rows}, num_rows} as reading the data told."""
    told: dict[str, Any] = {}
    if io.exists(material.folder.prepared):
        told = io.read_json(material.folder.prepared).get("prepared", {})
    return {
        "fields_read": told.get("fields_read", {}),
        "fields_not_read": told.get("fields_not_read", {}),
        "num_rows": told.get("num_rows", 0),
    }


def _meaning(reason: str) -> str:
    return MEANING.get(reason, "")


def _fields(fields: dict[str, Any]) -> Grid | None:
    if not fields["fields_read"] and not fields["fields_not_read"]:
        return None
    rows = [
        [name, f"{num:,}", how]
        for kind, how in (("fields_read", "read"), ("fields_not_read", "not read"))
        for name, num in fields[kind].items()
    ]
    return Grid(("field", "rows that hold something there", ""), rows, "Fields of the rows")
