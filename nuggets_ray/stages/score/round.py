"""One round of a race: what plans on disk still wait for, computed in blocks of equal work, then
one by one what no worker answered for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nuggets_ray.config.schema import Config
from nuggets_ray.run.candidates import CandidateIds
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.rounds import read_rounds
from nuggets_ray.schedule.full import most_rows, plan_blocks
from nuggets_ray.schedule.race import RaceSettings
from nuggets_ray.schedule.replay import Field, Replay, Waiting, replay
from nuggets_ray.schedule.seen import Entrants
from nuggets_ray.score.zero_shot import ZeroShot
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.pool import Block, ScorerPool
from nuggets_ray.stages.score.rows import LOST, check_deaths
from nuggets_ray.stages.score.signals import lack_signals


@dataclass(slots=True)
class Racing:
    """A race under way: what does not change, and `unscored` {content_id: reason} so far."""

    run: Run
    config: Config
    candidates: CandidateIds
    base: ZeroShot
    settings: RaceSettings
    rows: np.ndarray
    entrants: Entrants
    field: Field
    unscored: dict[str, str]

    def leave(self, unscored: dict[str, str]) -> None:
        """These rows failed: they race no more."""
        self.unscored |= unscored
        stays = ~np.isin(self.field.content_id_N, list(unscored))
        self.rows = self.rows[stays]
        self.field = replace(
            self.field,
            content_id_N=self.field.content_id_N[stays],
            self_anchor_N=self.field.self_anchor_N[stays],
        )
        entrants = self.entrants
        self.entrants = replace(
            entrants, hash_N=entrants.hash_N[stays], demo_tokens_N=entrants.demo_tokens_N[stays]
        )

    def replay(self) -> Replay:
        """How far it is; rounds that another process decided are never made again."""
        return replay(self.run.out_dir, self.field, read_rounds(self.run.out_dir))


def compute(
    racing: Racing, waiting: Sequence[Waiting], pool: ScorerPool, workers: Workers
) -> dict[str, str]:
    """Compute what rounds wait for, in blocks of equal work, then one by one what no worker
    answered for; {content_id: reason} of rows that cannot be scored."""
    rounds = {decided.number: decided for decided in read_rounds(racing.run.out_dir)}
    ids_N, num_anchors = racing.field.content_id_N, len(racing.base.anchors)
    lacks_N = lack_signals(racing.config, ids_N, num_anchors)
    blocks = [
        block
        for one in waiting
        for block in _blocks(
            racing, one, rounds[one.number].asks[one.ask].anchors, workers, lacks_N
        )
    ]
    num_rows = sum(len(one.rows) for one in waiting)
    unscored = pool.run(blocks)
    left = _unanswered(racing, unscored)
    check_deaths(unscored, sum(len(one.rows) for one in left), num_rows, len(blocks))
    alone = [
        _block(racing, one, rounds[one.number].asks[one.ask].anchors, one.rows[i : i + 1], lacks_N)
        for one in left
        for i in range(len(one.rows))
    ]
    unscored |= pool.run(alone)
    for one in _unanswered(racing, unscored):
        unscored |= dict.fromkeys(racing.field.content_id_N[one.rows].tolist(), LOST)
    return unscored


def _unanswered(racing: Racing, unscored: dict[str, str]) -> list[Waiting]:
    ids = list(unscored)
    left = []
    for one in racing.replay().waiting:
        rows = one.rows[~np.isin(racing.field.content_id_N[one.rows], ids)]
        if len(rows):
            left.append(replace(one, rows=rows))
    return left


def _blocks(
    racing: Racing,
    waiting: Waiting,
    anchors: np.ndarray,
    workers: Workers,
    lacks_N: np.ndarray,
) -> list[Block]:
    config, entrants = racing.config, racing.entrants
    anchor_tokens = float(entrants.anchor_tokens_M[anchors].sum())
    cost_N = entrants.demo_tokens_N[waiting.rows] + anchor_tokens
    tokens_per_s = racing.run.manifest["calibration"]["tokens_per_s"]
    max_tokens = tokens_per_s * config.score.block_s
    max_rows = most_rows(config.score.block_rows, len(anchors))
    cuts = plan_blocks(cost_N, max_tokens, max_rows, workers.num_workers)
    return [_block(racing, waiting, anchors, waiting.rows[index], lacks_N) for index in cuts]


def _block(
    racing: Racing, waiting: Waiting, anchors: np.ndarray, rows: np.ndarray, lacks_N: np.ndarray
) -> Block:
    places = racing.candidates.places(racing.rows[rows])
    signals = bool(lacks_N[rows].any())
    return Block(places, waiting.number, waiting.ask, tuple(anchors.tolist()), signals)
