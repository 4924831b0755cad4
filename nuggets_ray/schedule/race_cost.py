"""What a race will cost, before it begins and while it goes on.

Before: the pilot meets every anchor, and of what full scoring computes for the other rows a race
computes a share that depends on the number of anchors and on the share of the rows that is wanted,
hardly on the number of rows. It was measured in made-up worlds (MEASURED): one whose anchors differ
as those of real matrices do, and one whose anchors are all alike, the hardest there is. A real run
should lie between, nearer the first.

While it goes on: of A rows alive after x of M anchors, beyond the K wanted ones, about
(x' / x) ** -DECAY are alive after x' anchors: what is said to come is within twice what comes in
these worlds.

Legend: W worlds, A numbers of anchors, S shares.
"""

from dataclasses import dataclass

import numpy as np

from nuggets_ray.run.funnel import FunnelRound
from nuggets_ray.schedule.race import RaceSettings, pilot_size
from nuggets_ray.schedule.seen import Entrants, Seen, first_blocks

WORLDS = ("factor", "exchangeable")
ANCHORS_A = np.array([50, 100, 300, 1000])
SHARES_S = np.array([0.01, 0.05, 0.1, 0.3])
MEASURED = {
    "factor": np.array(
        [
            [[0.160, 0.106, 1.3], [0.222, 0.169, 1.6], [0.313, 0.264, 2.0], [0.496, 0.457, 3.0]],
            [[0.082, 0.049, 1.2], [0.132, 0.098, 1.5], [0.195, 0.160, 1.8], [0.426, 0.390, 3.0]],
            [[0.050, 0.037, 1.1], [0.096, 0.082, 1.5], [0.153, 0.137, 1.8], [0.367, 0.349, 3.0]],
            [[0.030, 0.023, 1.1], [0.069, 0.061, 1.4], [0.123, 0.113, 1.6], [0.335, 0.324, 2.8]],
        ]
    ),
    "exchangeable": np.array(
        [
            [[0.500, 0.384, 3.4], [0.526, 0.413, 3.4], [0.564, 0.455, 3.6], [0.671, 0.588, 4.1]],
            [[0.392, 0.262, 3.4], [0.451, 0.332, 3.4], [0.490, 0.377, 3.5], [0.601, 0.513, 4.0]],
            [[0.281, 0.188, 3.3], [0.329, 0.234, 3.3], [0.369, 0.282, 3.4], [0.506, 0.436, 3.9]],
            [[0.183, 0.126, 2.9], [0.225, 0.163, 2.9], [0.265, 0.202, 3.0], [0.419, 0.373, 3.7]],
        ]
    ),
}
"""(A, S, 3): of the rows beyond the pilot, passes and anchor tokens as shares of full scoring's,
and how often a demonstration is read. Two seeds of 2,000 rows each.
"""
DECAY = 0.45
GUESSED_SHARE = 0.1
"""Of the rows that is wanted, until a threshold has been seen to let that many through."""
LATER_READS = 3
"""Rounds that an alive row is in after one, about."""
BASIS = (
    "races of 2,000 rows in made-up worlds, max_loss 0.01: the first figure where anchors differ "
    "as in real matrices, the second where all are alike, the hardest case"
)


@dataclass(frozen=True, slots=True)
class RaceCost:
    """What is to be computed: `passes` (one anchor after one candidate) and `tokens`, those of
    demonstrations that are read again counted again; `reads` of a demonstration."""

    passes: float
    tokens: float
    reads: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """A run's size: candidates, anchors, mean tokens of a demonstration and of an anchor."""

    num_candidates: int
    num_anchors: int
    demo_tokens: float
    anchor_tokens: float


def full_cost(sizes: Sizes) -> RaceCost:
    """Every candidate on every anchor."""
    passes = sizes.num_candidates * sizes.num_anchors
    tokens = sizes.num_candidates * sizes.demo_tokens + passes * sizes.anchor_tokens
    return RaceCost(passes, tokens, sizes.num_candidates)


def race_cost(sizes: Sizes, settings: RaceSettings, top_k: int) -> tuple[RaceCost, RaceCost]:
    """What a race for the best `top_k` will cost: (where anchors differ, where all are alike)."""
    pilot = min(settings.pilot or pilot_size(sizes.num_candidates), sizes.num_candidates)
    others = sizes.num_candidates - pilot
    low, high = (
        RaceCost(
            passes=sizes.num_anchors * (pilot + others * passes),
            tokens=sizes.anchor_tokens * sizes.num_anchors * (pilot + others * anchor_tokens)
            + sizes.demo_tokens * (pilot + others * reads),
            reads=pilot + others * reads,
        )
        for passes, anchor_tokens, reads in (
            _shares(world, sizes.num_anchors, top_k / sizes.num_candidates) for world in WORLDS
        )
    )
    return low, high


def _shares(world: str, num_anchors: int, top_share: float) -> np.ndarray:
    """Passes and anchor tokens as shares of full scoring's, and how often a demonstration is read,
    (3,): between the measured ones, in the logarithm of both numbers."""
    by_anchors_A3 = [
        [np.interp(np.log(top_share), np.log(SHARES_S), column) for column in table_S3.T]
        for table_S3 in MEASURED[world]
    ]
    at = np.log(num_anchors)
    return np.array(
        [np.interp(at, np.log(ANCHORS_A), column) for column in np.transpose(by_anchors_A3)]
    )


def remaining_passes(num_alive: int, top_k: int, num_met: int, num_anchors: int) -> float:
    """Passes that are still to come where `num_alive` rows have met `num_met` anchors, expected:
    the integral of the rows alive over the anchors."""
    power = 1 - DECAY
    winners = min(num_alive, top_k)
    spread: float = num_met**DECAY * (num_anchors**power - num_met**power) / power
    return winners * (num_anchors - num_met) + (num_alive - winners) * spread


def later_cost(
    entrants: Entrants,
    settings: RaceSettings,
    seen: Seen,
    decided: FunnelRound,
    target: int | None,
) -> RaceCost:
    """What is to come after the round `decided` last, expected, whose rows have then met `target`
    blocks (None: everything): nothing after the last. Until the first block says how many stay
    alive, half way (geometrically) between the two worlds."""
    is_last = target is None and decided.phase != "pilot"
    if is_last or decided.num_alive is None or decided.num_passes_so_far is None:
        return RaceCost(0.0, 0.0, 0.0)
    sizes = sizes_of(entrants)
    top_k = decided.top_k or max(1, round(GUESSED_SHARE * sizes.num_candidates))
    if decided.num_left == 0:
        low, high = race_cost(sizes, settings, top_k)
        passes = max(0.0, (low.passes * high.passes) ** 0.5 - decided.num_passes_so_far)
        reads = max(0.0, (low.reads * high.reads) ** 0.5 - sizes.num_candidates)
    else:
        num_met = len(first_blocks(seen.blocks, target or 0))
        passes = remaining_passes(decided.num_alive, top_k, num_met, sizes.num_anchors)
        reads = decided.num_alive * LATER_READS
    return RaceCost(passes, passes * sizes.anchor_tokens + reads * sizes.demo_tokens, reads)


def sizes_of(entrants: Entrants) -> Sizes:
    """The size of a race."""
    return Sizes(
        *(entrants.num_candidates, entrants.num_anchors),
        *(float(entrants.demo_tokens_N.mean()), float(entrants.anchor_tokens_M.mean())),
    )
