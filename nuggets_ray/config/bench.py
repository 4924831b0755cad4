"""The keys of bench.*: what is measured, how often, and where the figures go.

A part of the schema in schema.py.
"""

from dataclasses import dataclass, field

from nuggets_ray.config.limits import choice, number


@dataclass(frozen=True)
class BenchConfig:
    """What is measured, and where the figures go."""

    name: str = choice("engine", "peers", "dtypes", "finetune", "race", "real_matrix")
    """engine: ours against the machine; peers: beside what else a user could run; dtypes: what
    bfloat16 does to the answer; finetune: training beside a plain transformers Trainer; race: what
    schedule=race costs and keeps in made-up worlds; real_matrix: the same on measured rows.
    """
    repeats: int = number(5, at_least=1)
    """Runs of each contender in each case, of which medians are shown."""
    threads: int = number(1, at_least=1)
    """CPU threads of each contender."""
    num_anchors: int | None = number(None, at_least=1)
    """The first N anchors; null: all."""
    cases: list[str] = field(default_factory=list)
    """Only these cases, such as [cut-200]; empty: all."""
    contenders: list[str] = field(default_factory=list)
    """Only these contenders, such as [official]; empty: all."""
    matrix: str | None = None
    """real_matrix: the npz file; null: 500 rows of Alpaca x 100 anchors, which come along."""
    make_peer_env: bool = False
    """peers: install Data-Juicer into an environment of its own under NUGGETS_CACHE (200 MB)."""
    out: str = ""
    """JSON file for the rows {case, contender, metric, value, unit}; empty: none."""
    log: str | None = None
    """Markdown file that a dated section is appended to; null: none."""
