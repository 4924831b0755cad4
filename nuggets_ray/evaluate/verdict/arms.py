"""The arms of a run's experiment: which of its models was trained on what kind of selection, and
what the scores behind the golden one show.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray.evaluate.verdict.evidence import BOTTOM, GOLDEN, OTHER, RANDOM, Arm, gather
from nuggets_ray.evaluate.verdict.reliability import (
    LengthEffect,
    SplitHalf,
    length_effect,
    split_half,
)
from nuggets_ray.evaluate.verdict.verdict import decide
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.rounds import pilot_ids
from nuggets_ray.run.scores import read_scores
from nuggets_ray.run.trained_on import TrainedSelection

MAX_SPLIT_ROWS = 20_000
"""Candidates that stability across anchors is looked at on: enough, and they fit in memory."""


def golden_names(
    selections: Mapping[str, TrainedSelection], names: Sequence[str]
) -> tuple[str, ...]:
    """Those of the models that were trained on the rows with the best golden scores."""
    return tuple(name for name in names if _kind(selections.get(name)) == GOLDEN)


def make_arms(
    selections: Mapping[str, TrainedSelection], values: Mapping[str, np.ndarray]
) -> list[Arm]:
    """An arm for each model of {name: (N,) primary value a row}; [] unless one is golden.

    Of several golden ones the first is judged, and the others stand beside it.
    """
    golden = golden_names(selections, list(values))
    if not golden:
        return []
    arms = []
    for name, value_N in values.items():
        kind = _kind(selections.get(name))
        if kind == GOLDEN and name != golden[0]:
            kind = OTHER
        in_tokens = kind == RANDOM and selections[name].settings["rule"] == "top_tokens"
        by_posterior = kind == BOTTOM and selections[name].settings["by"] == "posterior_score"
        arms.append(Arm(name, kind, value_N, in_tokens, by_posterior))
    return arms


def verdict_of_run(
    out_dir: str,
    metric: str,
    selections: Mapping[str, TrainedSelection],
    values: Mapping[str, np.ndarray],
    weight_N: np.ndarray | None,
    seed: int,
    is_of_pool: bool = False,
) -> dict[str, Any] | None:
    """The verdict on `metric`, from {model: (N,) value a row}; None where no model is golden.

    `selections` {model: the selection it was trained on}; rows count by `weight_N` (None: equally);
    `is_of_pool`: they were held out of the pool that was selected from.
    """
    arms = make_arms(selections, values)
    if not arms:
        return None
    golden = next(arm.name for arm in arms if arm.kind == GOLDEN)
    stability, length = score_signs(out_dir, selections[golden], seed)
    evidence = gather(arms, metric, weight_N, stability, length, seed)
    return decide(evidence, is_of_pool).as_dict()


def score_signs(
    out_dir: str, golden: TrainedSelection, seed: int
) -> tuple[SplitHalf | None, LengthEffect | None]:
    """Stability of the scores across anchors, and how far length explains the golden selection; in
    a race by its pilot, as the other complete rows are the good ones."""
    scores = read_scored(out_dir).scores
    pilot = pilot_ids(out_dir)
    golden_score_N = scores.golden_score
    if pilot is not None:
        is_of_pilot_N = np.isin(scores.content_id.astype(str), pilot)
        golden_score_N = np.where(is_of_pilot_N, golden_score_N, np.nan)
    length = length_effect(scores.num_answer_tokens, golden.num_answer_tokens_K, golden_score_N)
    _, zero_shot_A = read_anchors(RunFolder(out_dir).anchors)
    rows: list[np.ndarray] = []
    for table in read_scores(out_dir, ["content_id", "golden_score", "one_shot_logprob"]):
        table = table.filter(pc.is_valid(table["golden_score"]))
        if pilot is not None:
            among = pa.array(pilot, pa.string())
            table = table.filter(pc.is_in(table["content_id"], value_set=among))
        left = MAX_SPLIT_ROWS - sum(map(len, rows))
        if left <= 0:
            break
        column_N = table["one_shot_logprob"].slice(0, left).combine_chunks()
        rows.append(column_N.flatten().to_numpy().reshape(len(column_N), len(zero_shot_A)))
    return split_half(np.concatenate(rows), zero_shot_A, seed), length


def _kind(selection: TrainedSelection | None) -> str:
    if selection is None:
        return OTHER
    if selection.settings["by"] == "random":
        return RANDOM
    by, order = selection.settings["by"], selection.settings["order"]
    if order == "bottom" and by in ("golden_score", "posterior_score"):
        return BOTTOM  # of a race the worst are known by their posterior scores only
    return GOLDEN if by == "golden_score" else OTHER
