"""A part of the page: what its template is filled with, and its pictures; or why it is empty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nuggets_ray.report.picture import Picture


@dataclass(frozen=True, slots=True)
class Section:
    """`key` is its place in the page and the name of its template; `absent` says what is not there
    and what brings it, where there is nothing to show.
    """

    key: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: cells are texts, or numbers to be shown as they are."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
