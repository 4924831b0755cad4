"""What reading the data made of its rows, as sentences for the plan's page and a run's log."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray.data.counts import told, warnings
from nuggets_ray.prepare.prepared import Prepared

NUM_EXAMPLES = 2
"""Rows that are named for each reason."""
MAX_REASONS = 20
"""How many reasons are named, the most frequent first."""


def skip_reasons(prepared: Prepared, skipped: pa.Table) -> dict[str, str]:
    """{reason: how many rows, and the first places}; `skipped`: the rows of skipped.parquet."""
    reasons = sorted(prepared.skipped_reasons.items(), key=lambda item: (-item[1], item[0]))
    sentences = {}
    for reason, count in reasons[:MAX_REASONS]:
        rows = skipped.filter(pc.equal(skipped["reason"], reason)).slice(0, NUM_EXAMPLES)
        places = [f"row {row['row_number']} of {row['source_path']}" for row in rows.to_pylist()]
        sentences[reason] = f"{count}, such as {'; '.join(places)}"
    if len(reasons) > MAX_REASONS:
        sentences["other reasons"] = f"{sum(count for _, count in reasons[MAX_REASONS:])}"
    return sentences


def reading_lines(prepared: Prepared, skipped: pa.Table) -> list[str]:
    """Which fields were read and which were not, and what was skipped, a line each."""
    lines = [told(prepared.fields_read, prepared.fields_not_read)]
    if prepared.num_greetings:
        lines.append(
            f"the assistant opens {prepared.num_greetings} rows: what it says before the first "
            "question is context, not an answer"
        )
    reasons = skip_reasons(prepared, skipped)
    return lines + [f"skipped: {reason}: {sentence}" for reason, sentence in reasons.items()]


def reading_warnings(prepared: Prepared, columns: Mapping[str, str]) -> list[str]:
    """What may carry meaning and was not read."""
    return warnings(prepared.fields_read, prepared.fields_not_read, columns)
