"""What other tools cost, as passes over the pool of demonstrations, and how that is known.

A pass is one forward through the scoring model; a backward counts as two more.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OtherTool:
    """`times_full`: its cost over that of our full scoring on the same anchors, or `pool_passes`
    over the pool; neither where it runs no model of ours. `known`: from where."""

    name: str
    known: str
    times_full: float | None = None
    pool_passes: float | None = None


OTHER_TOOLS = (
    OtherTool(
        "Nuggets, official script as shipped",
        "CPU seconds beside ours (bench log, bench=peers, cut-200)",
        times_full=3.28,
    ),
    OtherTool(
        "Data-Juicer, one-shot scorer",
        "CPU seconds beside ours (bench log, bench=peers, text-200)",
        times_full=2.63,
    ),
    OtherTool(
        "SuperNUGGETS",
        "58 times less than Nuggets, by a scorer of 125M parameters in place of a large one, say "
        "its authors (arXiv 2412.09990)",
    ),
    OtherTool(
        "LESS",
        "its definition (arXiv 2402.04333): gradients of every row at 4 checkpoints, and a warm-up "
        "of 4 epochs on 5%",
        pool_passes=4 * 3 + 4 * 3 * 0.05,
    ),
    OtherTool(
        "IFD (Cherry)",
        "its definition (arXiv 2308.12032): an answer with and without its question",
        pool_passes=2.0,
    ),
    OtherTool(
        "Superfiltering",
        "the same (arXiv 2402.00530), passes through a scorer of 124M parameters",
        pool_passes=2.0,
    ),
    OtherTool("RDS+", "its definition (arXiv 2503.01807): a forward a row", pool_passes=1.0),
    OtherTool("AlpaGasus", "a call of a paid judge for every row (arXiv 2307.08701)"),
)
