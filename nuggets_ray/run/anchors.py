"""anchors.parquet: the anchors of a run in order, with their zero-shot log-probs.

Columns: anchor_id, content_id, anchor_set, text, token_ids (list<int32>), answer_mask (list<bool>),
num_answer_tokens, num_dropped_tokens, zero_shot_logprob (float32, nats per answer token),
rounding_noise (float32, standard deviation of a delta in nats; null where it was not measured, and
not there in folders of former versions).
anchor_set names the set an anchor belongs to: its name in anchors.sets, or the method that chose it
where a run has one set.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from nuggets_ray.io import exists, read_table, telling_damage, write_table
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.layout import RunFolder

SCHEMA = pa.schema(
    [
        ("anchor_id", pa.string()),
        ("content_id", pa.string()),
        ("anchor_set", pa.string()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("answer_mask", pa.list_(pa.bool_())),
        ("num_answer_tokens", pa.int32()),
        ("num_dropped_tokens", pa.int32()),
        ("zero_shot_logprob", pa.float32()),
        ("rounding_noise", pa.float32()),
    ]
)


def write_anchors(uri: str, anchors: Sequence[Anchor], zero_shot_A: np.ndarray) -> None:
    """Write the anchors and their zero-shot log-probs, shape (A,), atomically and in this order."""
    rows = [
        {
            "anchor_id": anchor.anchor_id,
            "content_id": anchor.content_id,
            "anchor_set": anchor.anchor_set,
            "text": anchor.text,
            "token_ids": anchor.encoding.token_ids.tolist(),
            "answer_mask": anchor.encoding.answer_mask.tolist(),
            "num_answer_tokens": anchor.encoding.num_answer_tokens,
            "num_dropped_tokens": anchor.encoding.num_dropped_tokens,
            "zero_shot_logprob": float(zero_shot),
            "rounding_noise": anchor.rounding_noise,
        }
        for anchor, zero_shot in zip(anchors, zero_shot_A, strict=True)
    ]
    write_table(uri, pa.Table.from_pylist(rows, schema=SCHEMA))


def read_anchors(uri: str) -> tuple[list[Anchor], np.ndarray]:
    """The anchors of a run in order, and their zero-shot log-probs: (A,) float32, nats per answer
    token."""
    table = read_table(uri)
    with telling_damage(uri):
        anchors = [_anchor(row) for row in table.to_pylist()]
        return anchors, np.array(table["zero_shot_logprob"].to_pylist(), np.float32)


def _anchor(row: dict[str, Any]) -> Anchor:
    return Anchor(
        anchor_id=row["anchor_id"],
        content_id=row["content_id"],
        anchor_set=row["anchor_set"],
        text=row["text"],
        encoding=Encoding(
            np.array(row["token_ids"], np.int64),
            np.array(row["answer_mask"], bool),
            row["num_dropped_tokens"],
        ),
        rounding_noise=row.get("rounding_noise"),
    )


def read_known(out_dir: str) -> tuple[list[Anchor], np.ndarray]:
    """The same of the run in `out_dir`; none before they are chosen."""
    uri = RunFolder(out_dir).anchors
    return read_anchors(uri) if exists(uri) else ([], np.zeros(0, np.float32))
