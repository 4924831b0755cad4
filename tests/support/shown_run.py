"""A scored run whose rows a person can read: Alpaca rows, anchors, and every log-prob."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from made_up_candidates import make_anchor

from nuggets_ray import io
from nuggets_ray.config.schema import Config, DataConfig
from nuggets_ray.io import write_json
from nuggets_ray.records import Anchor
from nuggets_ray.run.anchors import write_anchors
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.scores import SCORE_SCHEMA
from nuggets_ray.score.golden import golden_score

TEMPLATE = "Below is an instruction. Answer it.\n"
ZERO_SHOT = np.array([-1.0, -2.0, -3.0, -4.0], np.float32)
NUM_ROWS = 12


def question(number: int) -> dict[str, Any]:
    """Row `number`; those below 8 are of the category maths."""
    return {
        "instruction": f"Double {number}.",
        "output": f"It is {2 * number}.",
        "category": "maths" if number < 8 else "trivia",
    }


def one_shot(number: int) -> np.ndarray:
    """Row n helps anchor a by (n - 3 a) / 10."""
    return ZERO_SHOT + (number - 3 * np.arange(4, dtype=np.float32)) / 10


def readable_run(path: str, num_rows: int = NUM_ROWS) -> str:
    """Rows c00, c01, ... against 4 anchors; row 2 is anchor 0, row 5 is there twice."""
    run = RunFolder(path)
    candidates, scores = [], []
    for number in range(num_rows):
        content_id = f"c{number:02d}"
        self_index = 0 if number == 2 else None
        golden = golden_score(one_shot(number), ZERO_SHOT, self_index, 0.05)
        for copy in range(2 if number == 5 else 1):
            candidates.append(
                {
                    "example_id": content_id if copy == 0 else f"{content_id}-2",
                    "content_id": content_id,
                    "source_path": "/data/rows.jsonl",
                    "row_number": number + 100 * copy,
                    "row_json": json.dumps(question(number)),
                    "num_answer_tokens": 10 + number,
                }
            )
        numbers = {name: getattr(golden, name) for name in golden.__slots__}
        scores.append(
            {
                **{"example_id": content_id, "content_id": content_id, "status": "complete"},
                **{"num_answer_tokens": 10 + number, "self_anchor_index": self_index},
                **{"one_shot_logprob": one_shot(number).tolist()},
                **numbers,
            }
        )
    io.write_table(io.join(run.candidates, "part-0.parquet"), pa.Table.from_pylist(candidates))
    part = io.join(run.scores, "part-a-0.parquet")
    io.write_table(part, pa.Table.from_pylist(scores, schema=SCORE_SCHEMA))
    anchors = [
        Anchor(f"a{index}", f"a{index}", "file", f"{TEMPLATE}Task {index}\nEnd.", anchor.encoding)
        for index, anchor in enumerate(make_anchor("x") for _ in ZERO_SHOT)
    ]
    write_anchors(run.anchors, anchors, ZERO_SHOT)
    write_json(run.manifest, {"schema_version": 1, "data_format": "alpaca", "stages": {}})
    write_config(path, "score", Config(path, data=DataConfig("/data/rows.jsonl")))
    return path
