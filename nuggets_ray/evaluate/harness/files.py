"""The harness's own files of a task: results_DATE.json with groups, configs, versions and settings,
and samples_TASK_DATE.jsonl.

They are written by the harness itself and stand under evaluation/lm_eval/NAME/TASK-HASH/; nothing
is written twice.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nuggets_ray import io

RESULTS = "results_"


@contextmanager
def open_tracker() -> Iterator[Any]:
    """The harness's own writer of files, into a local folder, as it knows no other, that is there
    for the time of the context.
    """
    from lm_eval.loggers import EvaluationTracker

    with tempfile.TemporaryDirectory(prefix="nuggets_lm_eval_") as folder:
        yield EvaluationTracker(output_path=folder)


def write_files(
    folder: str, tracker: Any, results: dict[str, Any], samples: Mapping[str, list[dict[str, Any]]]
) -> str:
    """Have `tracker` write the files, and put them into `folder`; the path of the results.

    Where the folder holds results of the same documents, prompts and targets, those stay.
    `results` get "task_hashes" {task: hash of these}.
    """
    # the harness changes the samples as it writes them, so their hashes come first
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)
    written = [path for path in sorted(Path(tracker.output_path).rglob("*")) if path.is_file()]
    [of_results] = [path for path in written if path.name.startswith(RESULTS)]
    hashes = json.loads(of_results.read_bytes())["task_hashes"]
    for before in io.list_files(folder, ".json"):
        if io.read_json(before)["task_hashes"] == hashes:
            return before
    # the results last: where they stand, the samples do
    for path in [*(path for path in written if path != of_results), of_results]:
        io.write_bytes(io.join(folder, path.name), path.read_bytes())
    return io.join(folder, os.path.basename(of_results))
