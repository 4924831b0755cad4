"""The keys of show.*: which rows of a scored run are shown, and how much of each.

A part of the schema in schema.py.
"""

from dataclasses import dataclass

from nuggets_ray.config.limits import choice, number


@dataclass(frozen=True)
class ShowConfig:
    """Which scored rows are shown, and how much of each."""

    by: str = choice("golden_score", "mean_delta", "num_answer_tokens", "num_near_ties")
    """The column of scores/ that rows are ordered by: golden_score, mean_delta (nats per answer
    token), num_answer_tokens or num_near_ties.
    """
    order: str = choice("top", "bottom")
    """top or bottom: the highest or the lowest first."""
    num: int = number(10, at_least=1)
    """At most this many rows."""
    search: str | None = None
    """Only rows that hold this text, upper and lower case alike."""
    id: str | None = None
    """Only the row of this example_id, or the copies of this content_id."""
    num_anchors: int = number(3, at_least=0)
    """Anchors that a row helped most, and as many that it hurt most."""
    max_chars: int = number(400, at_least=1)
    """The longest text of a turn, in characters; what is longer is cut."""
    text: bool = True
    """false: ids and numbers alone, for rows that are private."""
