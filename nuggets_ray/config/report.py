"""The keys of report.*: what the page that a run ends with holds.

A part of the schema in schema.py.
"""

from dataclasses import dataclass

from nuggets_ray.config.limits import number


@dataclass(frozen=True)
class ReportConfig:
    """What report/index.html holds of a run."""

    selection: str | None = None
    """The selection whose cut is shown; null: golden, or the first there is."""
    num_rows: int = number(300, at_least=1)
    """At most this many rows in the table: the best, the worst, the border and a sample."""
    num_anchors: int = number(3, at_least=0)
    """Anchors that a row helped most, and as many that it hurt most."""
    max_chars: int = number(1500, at_least=1)
    """The longest text of a turn, in characters; what is longer is cut."""
    text: bool = True
    """false: ids and numbers alone, for rows that are private."""
