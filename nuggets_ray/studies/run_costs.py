"""What a scored run cost, read from its folder: tokens, seconds of computing, memory.

Legend: N candidates, A anchors, P progress lines.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuggets_ray import io
from nuggets_ray.config.keys import job_command
from nuggets_ray.errors import UserError
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.candidates import read_candidate_ids
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import read_manifest


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Tokens of the demonstration of each content, `demo_tokens_N`, of answers in the mean, of each
    anchor `anchor_tokens_A`.

    `tokens_per_s` of one worker, over `measured_s` seconds in which `num_workers` computed
    `num_measured` candidates, at `progress_P2` (candidates done, worker-seconds); where nothing was
    timed, the calibration's, and `progress_P2` is empty. `worker_gib` is the plan's, None where
    none was made; `ids_bytes` what a driver holds a row.
    """

    content_id_N: np.ndarray
    demo_tokens_N: np.ndarray
    mean_answer_tokens: float
    anchor_tokens_A: np.ndarray
    tokens_per_s: float
    num_measured: int
    measured_s: float
    num_workers: int
    progress_P2: np.ndarray
    is_race: bool
    worker_gib: float | None
    ids_bytes: float

    @property
    def full_tokens(self) -> float:
        """Tokens of a candidate under full scoring, in the mean."""
        return float(self.demo_tokens_N.mean() + self.anchor_tokens_A.sum())

    def tokens_of(self, content_ids: np.ndarray) -> np.ndarray:
        """Tokens of the demonstrations of these contents."""
        order = np.argsort(self.content_id_N)
        place = np.searchsorted(self.content_id_N[order], content_ids)
        tokens: np.ndarray = self.demo_tokens_N[order[place]]
        return tokens


def read_costs(out_dir: str) -> RunCosts:
    """Raises UserError for a run that was neither timed nor calibrated."""
    manifest = read_manifest(out_dir) or {}
    ids = read_candidate_ids(out_dir)
    anchors, _ = read_anchors(RunFolder(out_dir).anchors)
    anchor_tokens_A = np.array([anchor.encoding.num_tokens for anchor in anchors], np.float64)
    is_first_N = ~ids.is_duplicate_N
    demo_tokens_N = ids.num_tokens_N[is_first_N].astype(np.float64)
    attempt = _longest_attempt(manifest)
    progress_P2 = _progress(out_dir, attempt)
    # the tokens of rows that a race or an exploration computed are not those of full scoring
    is_race = "top_k" in manifest.get("race", {}) or "explore" in manifest
    tokens_per_s = manifest.get("calibration", {}).get("tokens_per_s")
    num_measured, seconds = 0, 0.0
    if len(progress_P2) and not is_race:
        num_measured, seconds = int(progress_P2[-1, 0]), float(progress_P2[-1, 1])
        tokens = num_measured * (demo_tokens_N.mean() + anchor_tokens_A.sum())
        tokens_per_s = tokens / seconds
    if not tokens_per_s:
        raise UserError(
            f"out_dir={out_dir} says nothing of how fast it was scored: run {job_command('score')} "
            "again with another out_dir"
        )
    return RunCosts(
        content_id_N=ids.content_id_N[is_first_N],
        demo_tokens_N=demo_tokens_N,
        mean_answer_tokens=_mean_answer_tokens(out_dir),
        anchor_tokens_A=anchor_tokens_A,
        tokens_per_s=float(tokens_per_s),
        num_measured=num_measured,
        measured_s=seconds,
        num_workers=int(attempt.get("num_workers", 1)),
        progress_P2=progress_P2 if not is_race else np.zeros((0, 2)),
        is_race=is_race,
        worker_gib=_worker_gib(out_dir),
        ids_bytes=_bytes_a_row(ids),
    )


def _longest_attempt(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The attempt of scoring that computed most."""
    attempts = manifest.get("stages", {}).get("score", {}).get("attempts", [])
    return max(attempts, key=lambda one: one.get("num_computed", 0), default={})


def _progress(out_dir: str, attempt: Mapping[str, Any]) -> np.ndarray:
    """(candidates computed, worker-seconds of computing) of each progress line, (P, 2)."""
    uri = RunFolder(out_dir).metrics(str(attempt.get("attempt_id")))
    if not io.exists(uri):
        return np.zeros((0, 2))
    lines = [json.loads(line) for line in io.read_bytes(uri).decode("utf-8").splitlines()]
    num_reused = attempt.get("num_reused", 0)
    points = [
        (line["num_done"] - num_reused, line["computing_s"] * attempt.get("num_workers", 1))
        for line in lines
        if line.get("num_done", 0) > num_reused and line.get("computing_s", 0) > 0
    ]
    return np.array(points, np.float64).reshape(-1, 2)


def _mean_answer_tokens(out_dir: str) -> float:
    counts = [
        io.read_table(uri, columns=["num_answer_tokens"])["num_answer_tokens"].to_numpy()
        for uri in io.list_files(RunFolder(out_dir).candidates, ".parquet")
    ]
    return float(np.concatenate(counts).mean())


def _worker_gib(out_dir: str) -> float | None:
    """What jobs/plan.py measured of one worker, or predicted."""
    uri = RunFolder(out_dir).plan
    if not io.exists(uri):
        return None
    memory = io.read_json(uri).get("memory", {})
    found = memory.get("peak_gib_a_worker") or memory.get("predicted_gib_a_worker")
    return None if found is None else float(found)


def _bytes_a_row(ids: Any) -> float:
    arrays = [getattr(ids, name) for name in ids.__slots__]
    held = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    return held / max(len(ids.example_id_N), 1)
