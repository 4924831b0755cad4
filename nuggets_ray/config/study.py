"""The keys of study.*: what is studied on a scored run, and how finely.

A part of the schema in schema.py.
"""

from dataclasses import dataclass, field

from nuggets_ray.config.limits import choice, number, share
from nuggets_ray.errors import UserError

MIN_SIZE = 2
"""Anchors of a set that is compared with another."""


@dataclass(frozen=True)
class StudyConfig:
    """What is studied, and how finely."""

    name: str = choice("anchor_robustness")
    """anchor_robustness: what a score owes to the anchors that it was taken on."""
    sizes: list[int] = field(default_factory=list)
    """anchor_robustness: numbers of anchors to tell of; empty: 10, 20, 50, 100, ... up to ten times
    those of the run. Up to half of the run's they are measured, above predicted.
    """
    cuts: list[float] = field(default_factory=lambda: [0.01, 0.05, 0.1])
    """anchor_robustness: shares of the rows that would be kept."""
    draws: int = number(20, at_least=2)
    """anchor_robustness: random pairs of anchor sets for each size."""
    min_overlap: float = share(0.5)
    """anchor_robustness: share of the kept rows that a second anchor set must keep too; below it
    the set is called too small for the cut.
    """
    max_rows: int = number(20_000, at_least=100)
    """anchor_robustness: of more rows than this, so many are drawn by hash."""


def check_study(config: StudyConfig) -> None:
    """Raise UserError for a size or a cut that can be none."""
    for size in config.sizes:
        if size < MIN_SIZE:
            raise UserError(f"study.sizes={size}: sets of at least {MIN_SIZE} anchors are compared")
    for cut in config.cuts:
        if not 0 < cut <= 0.5:
            raise UserError(f"study.cuts={cut}: give shares of the rows in (0, 0.5], such as 0.05")
    if not config.cuts:
        raise UserError("study.cuts is empty: give shares of the rows, such as [0.01,0.05]")
