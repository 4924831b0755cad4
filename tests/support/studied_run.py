"""Run folders with a matrix of deltas that a test chooses, as studies read them."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
from made_up_scores import score_row

from nuggets_ray import io
from nuggets_ray.config.schema import AnchorsConfig, Config, DataConfig, ModelConfig
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.anchors import write_anchors
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import write_eliminated_scores, write_scores


def factor_deltas(num_rows: int, num_anchors: int, seed: int = 0) -> np.ndarray:
    """Deltas (N, A) float32 of one ability that every anchor shows, under as much noise again."""
    rng = np.random.default_rng(seed)
    ability_N = rng.standard_normal((num_rows, 1))
    noise_NA = rng.standard_normal((num_rows, num_anchors))
    difficulty_A = rng.normal(0.3, 0.7, num_anchors)
    scale_A = np.exp(rng.normal(0, 0.5, num_anchors))
    return ((0.6 * ability_N + noise_NA - difficulty_A) * scale_A).astype(np.float32)


def _write_candidates(out_dir: str, num_rows: int) -> None:
    """Row n has 10 prompt tokens and 5 + n % 20 answer tokens; the last comes twice."""
    rows = [
        {
            "example_id": f"c{number:05d}",
            "content_id": f"c{number:05d}",
            "source_path": "/data/rows.jsonl",
            "row_number": number,
            "row_json": json.dumps({"instruction": f"q{number}", "output": f"a{number}"}),
            "num_prompt_tokens": 10,
            "num_answer_tokens": 5 + number % 20,
            "num_dropped_tokens": 0,
            "is_duplicate": False,
        }
        for number in range(num_rows)
    ]
    copy = {**rows[-1], "example_id": f"{rows[-1]['example_id']}-2", "is_duplicate": True}
    uri = io.join(RunFolder(out_dir).candidates, "part-00000.parquet")
    io.write_table(uri, pa.Table.from_pylist([*rows, copy]))


def timed(out_dir: str, seconds: list[float], num_done: list[int], num_workers: int = 2) -> None:
    """Progress lines of an attempt that computed so many candidates in so many seconds."""
    manifest = json.loads(io.read_bytes(RunFolder(out_dir).manifest))
    attempt = {
        "attempt_id": "one",
        "status": "done",
        "num_computed": num_done[-1],
        "num_reused": 0,
        "num_workers": num_workers,
    }
    manifest["stages"]["score"]["attempts"] = [attempt]
    io.write_json(RunFolder(out_dir).manifest, manifest)
    lines = [
        {"computing_s": second, "num_done": done}
        for second, done in zip(seconds, num_done, strict=True)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    io.write_bytes(RunFolder(out_dir).metrics("one"), text.encode())


def studied_run(
    out_dir: str,
    delta_NA: np.ndarray,
    self_pairs: dict[int, int] | None = None,
    eliminated: int = 0,
    status: str = "done",
) -> str:
    """A scored run with these deltas; `self_pairs` {row: the anchor that it is}; the last
    `eliminated` rows are left behind by a race."""
    num_rows, num_anchors = delta_NA.shape
    zero_shot_A = np.full(num_anchors, -2.0, np.float32)
    encoding = Encoding(np.array([1, 2]), np.array([False, True]))
    anchors = [Anchor(f"a{n}", f"anchor{n}", "file", "text", encoding) for n in range(num_anchors)]
    write_anchors(RunFolder(out_dir).anchors, anchors, zero_shot_A)
    rows = []
    for number, delta_A in enumerate(delta_NA):
        row = score_row(f"c{number:05d}", (zero_shot_A + delta_A).tolist())
        rows.append(replace(row, self_anchor_index=(self_pairs or {}).get(number)))
    write_scores(out_dir, "attempt", rows[: num_rows - eliminated])
    left = [replace(row, status="eliminated", golden_score=None) for row in rows]
    write_eliminated_scores(out_dir, "attempt", left[num_rows - eliminated :])
    write_config(
        out_dir,
        "score",
        Config(
            out_dir=out_dir,
            model=ModelConfig(path="/models/m"),
            data=DataConfig(path="/data/rows.jsonl"),
            anchors=AnchorsConfig(method="file", path="/data/anchors.jsonl"),
        ),
    )
    _write_candidates(out_dir, num_rows)
    fingerprint = {"dtype": "float32", "template": "alpaca"}
    manifest = {
        "schema_version": 1,
        "stages": {"score": {"status": status, "attempts": []}},
        "fingerprint": fingerprint,
    }
    io.write_json(RunFolder(out_dir).manifest, manifest)
    return out_dir
