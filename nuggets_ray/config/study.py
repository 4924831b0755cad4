"""The keys of study.*: what is studied on a scored run, and how finely.

A part of the schema in schema.py.
"""

from dataclasses import dataclass, field

from nuggets_ray.config.limits import choice, number, share
from nuggets_ray.errors import UserError

SIGNALS = (
    *("golden_score", "posterior_score", "standardised_delta", "loss_ratio"),
    *("perplexity", "ifd", "ifd_perplexity", "rds", "longest"),
)
"""What groups can be made by."""
MIN_SIZE = 2
"""Anchors of a set that is compared with another."""


@dataclass(frozen=True)
class StudyConfig:
    """What is studied, and how finely."""

    name: str = choice("anchor_robustness", "correlation", "scalability")
    """anchor_robustness: what a score owes to the anchors that it was taken on; correlation: does a
    model learn more from rows with higher scores; scalability: what scoring costs up to a million
    rows.
    """
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
    by: str = choice(*SIGNALS)
    """correlation: the signal that the groups are made by."""
    groups: int = number(5, at_least=3, at_most=20)
    """correlation: groups of as many rows, of rising signal."""
    seeds: int = number(3, at_least=3)
    """correlation: trainings of each arm."""
    arms: list[str] = field(default_factory=list)
    """correlation: only these arms, such as [group-1,group-5,random]; empty: all."""
    keep_models: bool = False
    """correlation: keep the weights of the arms once their numbers are kept."""
    candidates: list[int] = field(
        default_factory=lambda: [10_000, 30_000, 100_000, 300_000, 1_000_000]
    )
    """scalability: numbers of candidates to tell of; those races are for the smallest and the
    largest of study.cuts.
    """
    race_rows: int = number(10_000, at_least=1000)
    """scalability: rows of the largest race that is rehearsed, without a model."""
    price_per_hour: float | None = number(None, at_least=0)
    """scalability: price of an hour of one worker, in any currency; null: no money is told."""


def check_study(config: StudyConfig) -> None:
    """Raise UserError for a size or a cut that can be none."""
    for size in config.sizes:
        if size < MIN_SIZE:
            raise UserError(f"study.sizes={size}: sets of at least {MIN_SIZE} anchors are compared")
    for cut in config.cuts:
        if not 0 < cut <= 0.5:
            raise UserError(f"study.cuts={cut}: give shares of the rows in (0, 0.5], such as 0.05")
    for num in config.candidates:
        if num < 1:
            raise UserError(f"study.candidates={num}: give numbers of rows, such as [100000]")
    if not config.candidates:
        raise UserError("study.candidates is empty: give numbers of rows, such as [100000]")
    if not config.cuts:
        raise UserError("study.cuts is empty: give shares of the rows, such as [0.01,0.05]")
