"""The harness's own files, written by the harness, each once."""

import json
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.evaluate.harness.files import open_tracker, write_files

pytest.importorskip("lm_eval")


def write(folder: Path, doc_hash: str) -> str:
    results: dict[str, Any] = {"results": {"t": {"acc,none": 1.0}}, "configs": {"t": {"task": "t"}}}
    sample: dict[str, Any] = {
        "doc_id": 0, "target": 1, "arguments": [("a", "b")], "resps": [[(-1.0, True)]],
        "filtered_resps": [(-1.0, True)], "acc": 1.0,
        "doc_hash": doc_hash, "prompt_hash": "p", "target_hash": "t",
    }  # fmt: skip
    with open_tracker() as tracker:
        tracker.general_config_tracker.log_experiment_args("hf", "", None, None, False)
        path = write_files(str(folder), tracker, results, {"t": [sample]})
        assert set(results["task_hashes"]) == {"t"}
    assert not Path(tracker.output_path).exists(), "nothing is left behind"
    return path


def test_files_stand_in_the_folder_under_the_harness_s_names(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "out", "one"))
    assert path.parent == tmp_path / "out" and path.name.startswith("results_")
    content = json.loads(path.read_bytes())
    assert content["configs"] == {"t": {"task": "t"}} and content["model_source"] == "hf"
    [samples] = (tmp_path / "out").glob("samples_t_*.jsonl")
    [row] = [json.loads(line) for line in samples.read_bytes().splitlines()]
    assert row["arguments"] == {"gen_args_0": {"arg_0": "a", "arg_1": "b"}}


def test_the_same_again_writes_nothing_and_other_rows_stand_beside(tmp_path: Path) -> None:
    first = write(tmp_path, "one")
    files = sorted(tmp_path.iterdir())
    assert write(tmp_path, "one") == first and sorted(tmp_path.iterdir()) == files
    assert write(tmp_path, "two") != first and len(list(tmp_path.iterdir())) == 4
