"""When a fingerprint binds: with the first score."""

from pathlib import Path

import pyarrow as pa
import pytest

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.run.claim import claim
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run


def test_a_fingerprint_binds_with_the_first_score(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    with Run(out_dir, "score") as run:
        claim(run, {"dtype": "bfloat16", "weights": "a"})
        io.write_bytes(RunFolder(out_dir).anchors, b"of the first attempt")
    with Run(out_dir, "score") as run:
        claim(run, {"dtype": "float32", "weights": "a"})  # nothing is scored: a way out
        assert run.manifest["fingerprint"] == {"dtype": "float32", "weights": "a"}
        assert not (tmp_path / "anchors.parquet").exists()
        part = io.join(RunFolder(out_dir).scores, "part-x.parquet")
        io.write_table(part, pa.table({"example_id": ["a"]}))
        with pytest.raises(UserError, match=r"dtype \(was float32, now bfloat16\)"):
            claim(run, {"dtype": "bfloat16", "weights": "a"})
        claim(run, {"dtype": "float32", "weights": "a"})
