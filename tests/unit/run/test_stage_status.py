"""What a stage tells, as others read it."""

import json
import logging
from pathlib import Path

import pytest

from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.stage_status import (
    StageStatus,
    Telling,
    WorkDone,
    WorkerCounts,
    read_stage_status,
)


def read(folder: Path) -> StageStatus:
    status = read_stage_status(str(folder), "score")
    assert status is not None
    return status


def test_what_is_told_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="nuggets_ray")
    log = logging.getLogger("nuggets_ray.stages.score")
    with Run(str(tmp_path), "score") as run:
        assert read(tmp_path).phase == "starting"
        run.tell("scoring 9 candidates", numbers={"skipped": 1})
        log.warning("worker 2 of 2 is lost\n(by a signal)")
        log.info("no warning")
        work = WorkDone("candidates", 4, 9, 3, rate=1.5)
        run.tell(work=work)
        run.tell(workers=WorkerCounts(wanted=2, ready=1, loading=1))
        told = read(tmp_path)
        assert (told.attempt_id, told.phase) == (run.attempt_id, "scoring 9 candidates")
        assert told.work == work and told.workers == WorkerCounts(2, loading=1, ready=1)
        assert told.numbers == {"skipped": 1} and told.progressed is None
        assert told.warning is not None and told.error is None
        assert told.warning.text == "worker 2 of 2 is lost (by a signal)"
    assert "scoring 9 candidates" in caplog.text, "a phase is a line of the log"
    assert read(tmp_path).phase == "done" and read(tmp_path).work == work


def test_why_it_failed_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Run(str(tmp_path), "score"):
        raise RuntimeError("a worker failed:\nTraceback (most recent call last):\nKeyError: 'x'")
    error = read(tmp_path).error
    assert error is not None and error.text == "RuntimeError: KeyError: 'x'"


def test_the_time_of_the_last_progress_is_that_of_the_last_count(tmp_path: Path) -> None:
    telling = Telling(str(tmp_path), "score", "a", "")
    telling.tell(phase="scoring", work=WorkDone("candidates", 4, 9))
    assert telling.status.progressed is None, "these were there"
    telling.tell(work=WorkDone("candidates", 5, 9))
    first = telling.status.progressed
    telling.tell(work=WorkDone("candidates", 5, 9, rate=2.0))
    assert first is not None and telling.status.progressed == first
    telling.tell(work=WorkDone("candidates", 6, 9))
    assert telling.status.progressed is not None and telling.status.progressed >= first


def test_a_new_phase_forgets_the_work_of_the_last(tmp_path: Path) -> None:
    telling = Telling(str(tmp_path), "score", "a", "")
    assert telling.tell(phase="scoring", work=WorkDone("candidates", 4, 9))
    assert telling.tell(phase="putting the scores together")
    assert telling.status.work is None and not telling.tell(numbers={"skipped": 1})


def test_a_file_that_cannot_be_written_does_not_end_a_run(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("in the way")
    telling = Telling(str(tmp_path), "score", "a", "")
    telling.write()
    (tmp_path / "status").unlink()
    telling.write()
    assert read(tmp_path).attempt_id == "a"


def test_another_version_may_have_told_more(tmp_path: Path) -> None:
    assert read_stage_status(str(tmp_path), "score") is None
    path = Path(RunFolder(str(tmp_path)).status("score"))
    path.parent.mkdir()
    more = {"stage": "score", "attempt_id": "a", "to_come": 1, "workers": {"wanted": 2, "new": 3}}
    path.write_text(json.dumps(more))
    assert read(tmp_path).workers == WorkerCounts(wanted=2)
