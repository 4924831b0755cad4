"""anchors.parquet: what is written is what is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from nuggets_ray.io import read_table, write_table
from nuggets_ray.records import Anchor, Encoding
from nuggets_ray.run.anchors import read_anchors, write_anchors


def anchor(number: int, token_ids: list[int], answer_mask: list[bool], dropped: int) -> Anchor:
    encoding = Encoding(np.array(token_ids, np.int64), np.array(answer_mask, bool), dropped)
    return Anchor(f"anchor-{number}", f"content-{number}", "random", f"text é {number}", encoding)


def test_round_trip_keeps_order_tokens_and_log_probs(tmp_path: Path) -> None:
    uri = str(tmp_path / "run" / "anchors.parquet")
    anchors = [anchor(1, [5, 70_000, 1], [False, True, True], 0), anchor(0, [3], [False], 9)]
    zero_shot_A = np.array([-1.25, 0.0], np.float32)
    write_anchors(uri, anchors, zero_shot_A)

    read, read_zero_shot_A = read_anchors(uri)
    assert read_zero_shot_A.dtype == np.float32
    np.testing.assert_array_equal(read_zero_shot_A, zero_shot_A)
    for ours, theirs in zip(anchors, read, strict=True):
        assert (ours.anchor_id, ours.content_id, ours.anchor_set, ours.text) == (
            theirs.anchor_id,
            theirs.content_id,
            theirs.anchor_set,
            theirs.text,
        )
        np.testing.assert_array_equal(ours.encoding.token_ids, theirs.encoding.token_ids)
        np.testing.assert_array_equal(ours.encoding.answer_mask, theirs.encoding.answer_mask)
        assert theirs.encoding.token_ids.dtype == np.int64
        assert theirs.encoding.answer_mask.dtype == bool
        assert ours.encoding.num_dropped_tokens == theirs.encoding.num_dropped_tokens


def test_columns_are_those_of_the_run_folder(tmp_path: Path) -> None:
    uri = str(tmp_path / "anchors.parquet")
    write_anchors(uri, [anchor(0, [3, 4], [False, True], 0)], np.zeros(1, np.float32))
    table = read_table(uri)
    assert {field.name: str(field.type) for field in table.schema} == {
        "anchor_id": "string",
        "content_id": "string",
        "anchor_set": "string",
        "text": "string",
        "token_ids": "list<element: int32>",
        "answer_mask": "list<element: bool>",
        "num_answer_tokens": "int32",
        "num_dropped_tokens": "int32",
        "zero_shot_logprob": "float",
        "rounding_noise": "float",
    }
    assert table["num_answer_tokens"].to_pylist() == [1]


def test_the_rounding_noise_is_kept_and_not_there_in_folders_of_former_versions(
    tmp_path: Path,
) -> None:
    uri = str(tmp_path / "anchors.parquet")
    anchors = [replace(anchor(0, [3], [True], 0), rounding_noise=0.25), anchor(1, [4], [True], 0)]
    write_anchors(uri, anchors, np.zeros(2, np.float32))
    assert [one.rounding_noise for one in read_anchors(uri)[0]] == [0.25, None]
    write_table(uri, read_table(uri).drop_columns(["rounding_noise"]))
    assert [one.rounding_noise for one in read_anchors(uri)[0]] == [None, None]
