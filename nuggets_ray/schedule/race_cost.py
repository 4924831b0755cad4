"""What a race will cost, before it begins and while it goes on.

Before: the pilot meets every anchor, and of what full scoring computes for the other rows a race
computes a share that depends on the number of anchors and on the share of the rows that is wanted,
hardly on the number of rows. It was measured in made-up worlds (MEASURED): one whose anchors differ
as those of real matrices do, and one whose anchors are all alike, the hardest there is. A real run
should lie between, nearer the first.

While it goes on: of A rows alive after x of M anchors, beyond the K wanted ones, about
(x' / x) ** -DECAY are alive after x' anchors: within 30% in all of these worlds.

Legend: W worlds, A numbers of anchors, S shares.
"""

from dataclasses import dataclass

import numpy as np

from nuggets_ray.schedule.race import RaceSettings, pilot_size

WORLDS = ("factor", "exchangeable")
ANCHORS_A = np.array([50, 100, 300, 1000])
SHARES_S = np.array([0.01, 0.05, 0.1, 0.3])
MEASURED: dict[str, np.ndarray] = {}
DECAY = 0.45
BASIS = (
    "races of 2,000 rows in made-up worlds, max_loss 0.01: the first figure where anchors differ "
    "as in real matrices, the second where all are alike, the hardest case"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What is to be computed: `passes` (one anchor after one candidate) and `tokens`, those of
    demonstrations that are read again counted again."""

    passes: float
    tokens: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """A run's size: candidates, anchors, mean tokens of a demonstration and of an anchor."""

    num_candidates: int
    num_anchors: int
    demo_tokens: float
    anchor_tokens: float


def full_cost(sizes: Sizes) -> Cost:
    """Every candidate on every anchor."""
    passes = sizes.num_candidates * sizes.num_anchors
    tokens = sizes.num_candidates * sizes.demo_tokens + passes * sizes.anchor_tokens
    return Cost(passes, tokens)


def race_cost(sizes: Sizes, settings: RaceSettings, top_k: int) -> tuple[Cost, Cost]:
    """What a race for the best `top_k` will cost: (where anchors differ, where all are alike)."""
    pilot = min(settings.pilot or pilot_size(sizes.num_candidates), sizes.num_candidates)
    others = sizes.num_candidates - pilot
    low, high = (
        Cost(
            passes=sizes.num_anchors * (pilot + others * passes),
            tokens=sizes.anchor_tokens * sizes.num_anchors * (pilot + others * anchor_tokens)
            + sizes.demo_tokens * (pilot + others * reads),
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
    spread = num_met**DECAY * (num_anchors**power - num_met**power) / power
    return winners * (num_anchors - num_met) + (num_alive - winners) * spread
