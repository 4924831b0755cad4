"""What a race did and what its stated recall rests on: the manifest's `race`."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nuggets_ray.run.manifest import Run
from nuggets_ray.run.rounds import Round
from nuggets_ray.schedule.race import RacePlan, RaceSettings
from nuggets_ray.schedule.seen import Entrants

logger = logging.getLogger(__name__)


def record_race(
    run: Run,
    settings: RaceSettings,
    entrants: Entrants,
    last: RacePlan,
    rounds: Sequence[Round],
) -> None:
    """Write the manifest's `race`, and say it in the log's last lines."""
    num_rows, num_anchors = entrants.num_candidates, entrants.num_anchors
    tokens_M = entrants.anchor_tokens_M
    asks = [ask for decided in rounds for ask in decided.asks]
    passes = sum(len(ask.content_ids) * len(ask.anchors) for ask in asks)
    mean_demo = float(entrants.demo_tokens_N.mean()) if num_rows else 0.0
    tokens = sum(len(a.content_ids) * (mean_demo + float(tokens_M[a.anchors].sum())) for a in asks)
    full_tokens = num_rows * (mean_demo + float(tokens_M.sum()))
    top_k = settings.top_k
    if top_k is None:  # so many are above the threshold, and settled
        assert last.fitted is not None
        share_C = last.fitted.win_share(last.fitted.complete)
        top_k = int(np.count_nonzero(share_C > settings.min_score))
    record: dict[str, Any] = {
        "top_k": top_k,
        "min_score": settings.min_score,
        "max_loss": settings.max_loss,
        "num_candidates": num_rows,
        "num_anchors": num_anchors,
        "num_complete": last.report.num_complete,
        "num_barriers": len(rounds),
        "num_passes": passes,
        "num_passes_full": num_rows * num_anchors,
        "num_tokens": round(tokens),
        "num_tokens_full": round(full_tokens),
        "expected_recall": last.report.expected_recall,
        "cutoff_wins": last.report.cutoff,
        "kappa": last.report.kappa,
        "settings": asdict(settings),
        "rounds": [dict(decided.report) for decided in rounds],
    }
    run.manifest["race"] = record
    run.save()
    logger.info(
        "race: %d of %d rows met all %d anchors; %.1f times fewer passes and %.1f times fewer "
        "tokens than full scoring; of the best %d that full scoring on these anchors would name, "
        "%.1f%% are expected to be among them",
        *(last.report.num_complete, num_rows, num_anchors),
        *(num_rows * num_anchors / max(passes, 1), full_tokens / max(tokens, 1)),
        *(top_k, 100 * (last.report.expected_recall or 0.0)),
    )
