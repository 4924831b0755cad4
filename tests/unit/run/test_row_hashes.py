"""The hashed word 5-grams of rows of a run."""

import json

import numpy as np
import pytest
from shown_run import question, readable_run

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.row_hashes import read_row_hashes

pytest.importorskip("datasketch")

from nuggets_ray.curate.near_duplicates import hashes_of
from nuggets_ray.data.shingles import shingles


def test_hashes_are_of_the_turns_in_the_order_asked_for(tmp_path: object) -> None:
    out_dir = readable_run(f"{tmp_path}/run")
    hashes = read_row_hashes(out_dir, np.array(["c07", "c02", "c05-2"]))
    for row, number in zip(hashes, (7, 2, 5), strict=True):
        asked = question(number)
        text = f"{asked['instruction']}\n{asked['output']}"
        assert row.dtype == np.uint32 and np.array_equal(row, hashes_of(shingles(text)))


def test_a_run_that_does_not_say_its_format_is_compared_by_its_json(
    tmp_path: object, caplog: pytest.LogCaptureFixture
) -> None:
    out_dir = readable_run(f"{tmp_path}/run")
    io.delete(RunFolder(out_dir).manifest)
    [by_json] = read_row_hashes(out_dir, np.array(["c07"]))
    assert np.array_equal(by_json, hashes_of(shingles(json.dumps(question(7)))))
    assert "does not say how its rows are read" in caplog.text
