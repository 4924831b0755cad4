"""The arms of a run's experiment: which of its models was trained on what kind of selection, and
what the scores behind the golden one show.

Must not import ray, torch, hydra or omegaconf.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nuggets_ray import io, score_table
from nuggets_ray.anchors.table import read_anchors
from nuggets_ray.evaluate.evidence import BOTTOM, GOLDEN, OTHER, RANDOM, Arm
from nuggets_ray.evaluate.signs import LengthEffect, SplitHalf, length_effect, split_half
from nuggets_ray.manifest import read_config
from nuggets_ray.scored_candidates import read_scored

MAX_SPLIT_ROWS = 20_000
"""Candidates that stability across anchors is looked at on: enough, and they fit in memory."""


def golden_names(out_dir: str, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the models that were trained on the rows with the best golden scores."""
    return tuple(name for name in names if _kind(_settings(out_dir, name)) == GOLDEN)


def make_arms(out_dir: str, values: Mapping[str, np.ndarray]) -> list[Arm]:
    """An arm for each model of {name: (N,) primary value a row}; [] unless one is golden.

    Of several golden ones the first is judged, and the others stand beside it.
    """
    golden = golden_names(out_dir, list(values))
    if not golden:
        return []
    arms = []
    for name, value_N in values.items():
        settings = _settings(out_dir, name)
        kind = _kind(settings)
        if kind == GOLDEN and name != golden[0]:
            kind = OTHER
        in_tokens = kind == RANDOM and settings["rule"] == "top_tokens"
        arms.append(Arm(name, kind, value_N, in_tokens))
    return arms


def score_signs(
    out_dir: str, golden: str, seed: int
) -> tuple[SplitHalf | None, LengthEffect | None]:
    """Stability of the scores across anchors, and how far length explains the golden selection."""
    scores = read_scored(out_dir).scores
    settings = _settings(out_dir, golden)
    folder = io.join(out_dir, "selections", settings["name"])
    column = f"{settings['prefix']}example_id"
    chosen = io.read_table(io.join(folder, "selected.parquet"), columns=[column])[column]
    is_selected_N = np.isin(scores.example_id.astype(str), np.array(chosen.to_pylist(), dtype=str))
    length = length_effect(scores.num_answer_tokens, is_selected_N, scores.golden_score)
    _, zero_shot_A = read_anchors(io.join(out_dir, "anchors.parquet"))
    rows: list[np.ndarray] = []
    for table in score_table.read_rows(out_dir, ["one_shot_logprob"]):
        left = MAX_SPLIT_ROWS - sum(map(len, rows))
        if left <= 0:
            break
        column_N = table["one_shot_logprob"].slice(0, left).combine_chunks()
        rows.append(column_N.flatten().to_numpy().reshape(len(column_N), len(zero_shot_A)))
    return split_half(np.concatenate(rows), zero_shot_A, seed), length


def _settings(out_dir: str, name: str) -> dict[str, Any]:
    """How the selection that a model was trained on was made; {} where there was none."""
    trained = read_config(out_dir, f"finetune-{name}") or {}
    selection = trained.get("finetune", {}).get("selection")
    uri = io.join(out_dir, "selections", str(selection), "selection.json")
    if selection is None or not io.exists(uri):
        return {}
    settings: dict[str, Any] = json.loads(io.read_bytes(uri))["settings"]
    return settings


def _kind(settings: Mapping[str, Any]) -> str:
    by, order = settings.get("by"), settings.get("order")
    if by == "random":
        return RANDOM
    if by == "golden_score":
        return GOLDEN if order == "top" else BOTTOM
    return OTHER
