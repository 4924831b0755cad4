"""The run folder's books: attempts, the fingerprint, the lease."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nuggets_ray.config.compose import load
from nuggets_ray.errors import UserError
from nuggets_ray.run import manifest
from nuggets_ray.run.job_configs import check_same_run, write_config
from nuggets_ray.run.lease import read_lease, write_lease
from nuggets_ray.run.manifest import Run, read_manifest
from nuggets_ray.run.stage_status import WorkDone


def ends(folder: Path) -> list[str]:
    recorded = read_manifest(str(folder))
    assert recorded is not None
    return [attempt["status"] for attempt in recorded["stages"]["score"]["attempts"]]


def stage_status(folder: Path) -> str:
    recorded = read_manifest(str(folder))
    assert recorded is not None
    return str(recorded["stages"]["score"]["status"])


def test_each_end_of_an_attempt_is_recorded(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score") as run:
        run.update(num_computed=3)
    with pytest.raises(KeyboardInterrupt), Run(str(tmp_path), "score"):
        raise KeyboardInterrupt
    with pytest.raises(ValueError), Run(str(tmp_path), "score"):
        raise ValueError
    assert ends(tmp_path) == ["done", "interrupted", "failed"]
    recorded = read_manifest(str(tmp_path))
    assert recorded is not None
    assert recorded["stages"]["score"]["attempts"][0]["num_computed"] == 3
    assert recorded["stages"]["score"]["status"] == "failed"
    assert not (tmp_path / "lease.json").exists()


def test_a_refused_call_leaves_a_stage_what_it_was(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score"):
        pass
    with pytest.raises(UserError), Run(str(tmp_path), "score"):
        raise UserError("out_dir=...: holds scores made with another dtype")
    assert ends(tmp_path) == ["done", "refused"]
    assert stage_status(tmp_path) == "done"
    # what it did itself is its own failure
    with pytest.raises(UserError), Run(str(tmp_path), "score") as run:
        run.tell("scoring", work=WorkDone("candidates", num_done=3, num_total=9, num_reused=3))
        run.tell("putting the scores together")
        raise UserError("data.max_skipped_fraction=0.5: 5 of 9 rows were skipped")
    assert (ends(tmp_path)[-1], stage_status(tmp_path)) == ("failed", "failed")


def test_a_refused_call_after_a_kill_leaves_it_to_be_gone_on_with(tmp_path: Path) -> None:
    start = f"Run({str(tmp_path)!r}, 'score').__enter__()"
    code = f"import os; from nuggets_ray.run.manifest import Run; {start}; os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    with pytest.raises(UserError), Run(str(tmp_path), "score"):
        raise UserError("score.dtype=...")
    assert (ends(tmp_path), stage_status(tmp_path)) == (["killed", "refused"], "interrupted")


def test_a_first_call_that_is_refused_has_failed(tmp_path: Path) -> None:
    with pytest.raises(UserError), Run(str(tmp_path), "score"):
        raise UserError("anchors.num=...")
    assert (ends(tmp_path), stage_status(tmp_path)) == (["failed"], "failed")


def test_what_fails_while_an_attempt_is_interrupted_is_not_why_it_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Run(str(tmp_path), "score") as run:
        run.interrupted.set()
        raise RuntimeError("the workers are gone already")
    assert ends(tmp_path) == ["interrupted"]
    assert not (tmp_path / "lease.json").exists()


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a file can be written in `folder` only where another one has gone."""
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())

    def fsync(descriptor: int) -> None:
        if sum(path.stat().st_size for path in folder.iterdir()) > num_bytes:
            raise FULL

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize(
    ("error", "status"), [(FULL, "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_the_books_are_closed_on_a_full_disk(
    error: BaseException, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(error)), Run(str(tmp_path), "score") as run:
        fill_disk(tmp_path, monkeypatch)
        with pytest.raises(OSError, match="No space left"):
            run.update(num_computed=3)
        raise error
    assert ends(tmp_path) == [status]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "status"]


def test_books_that_cannot_be_closed_do_not_hide_why_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(descriptor: int) -> None:
        raise FULL

    with pytest.raises(ValueError, match="why"), Run(str(tmp_path), "score"):
        monkeypatch.setattr(os, "fsync", no_room)
        raise ValueError("why")
    assert "still says running" in caplog.text
    assert not (tmp_path / "lease.json").exists()
    monkeypatch.undo()
    with Run(str(tmp_path), "score"):
        pass
    assert ends(tmp_path) == ["killed", "done"]


def test_a_signal_in_a_run_is_one_of_the_job_s_too(tmp_path: Path) -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: told.append(signum))
    try:
        with Run(str(tmp_path), "score") as run:
            os.kill(os.getpid(), signal.SIGTERM)
            assert run.interrupted.is_set() and told == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_killed_attempt_is_found_by_the_next(tmp_path: Path) -> None:
    start = f"Run({str(tmp_path)!r}, 'score').__enter__()"
    code = f"import os; from nuggets_ray.run.manifest import Run; {start}; os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    with Run(str(tmp_path), "score"):
        pass
    assert ends(tmp_path) == ["killed", "done"]


def test_a_second_live_driver_is_refused(tmp_path: Path) -> None:
    with (
        Run(str(tmp_path), "score"),
        pytest.raises(UserError, match=f"in use by process {os.getpid()}"),
    ):
        Run(str(tmp_path), "score").__enter__()


@pytest.mark.parametrize(("age_s", "refused"), [(1.0, True), (1e4, False)])
def test_a_lease_of_another_host_goes_stale(tmp_path: Path, age_s: float, refused: bool) -> None:
    lease = {"attempt_id": "a", "host": "elsewhere", "pid": 1, "process_started": 1}
    heartbeat = time.time() - age_s
    (tmp_path / "lease.json").write_text(json.dumps(lease | {"heartbeat": heartbeat}))
    run = Run(str(tmp_path), "score")
    if refused:
        with pytest.raises(UserError, match="elsewhere"):
            run.__enter__()
    else:
        with run:
            pass


def test_a_reused_process_id_does_not_hold_the_lease(tmp_path: Path) -> None:
    lease = {
        "attempt_id": "a",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": 1,
    }
    (tmp_path / "lease.json").write_text(json.dumps(lease | {"heartbeat": time.time()}))
    with Run(str(tmp_path), "score") as run:
        held = json.loads((tmp_path / "lease.json").read_text())
        assert held["attempt_id"] == run.attempt_id


def test_another_fingerprint_is_refused_and_names_the_keys(tmp_path: Path) -> None:
    with Run(str(tmp_path), "score") as run:
        run.set_fingerprint({"dtype": "float32", "weights": "abc"})
        run.set_fingerprint({"anchors": "123"})
    with Run(str(tmp_path), "score") as run:
        run.set_fingerprint({"dtype": "float32", "weights": "abc", "anchors": "123"})
        with pytest.raises(UserError, match=r"dtype \(was float32, now bfloat16\)"):
            run.set_fingerprint({"dtype": "bfloat16", "weights": "abc"})


def test_a_folder_that_cannot_be_written_is_a_user_s_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Run(str(tmp_path / "file" / "run"), "score").__enter__()


def test_a_vanished_folder_is_noticed_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "HEARTBEAT_S", 0.05)
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="has vanished"), Run(str(folder), "score") as run:
        shutil.rmtree(folder)
        assert run.lost.wait(10)
    assert not folder.exists()


@pytest.mark.parametrize("fails", [True, False])
def test_who_was_taken_for_dead_and_comes_back_stops_and_overwrites_nothing(
    tmp_path: Path, fails: bool
) -> None:
    with (
        pytest.raises(UserError, match="was taken over while the run was going"),
        Run(str(tmp_path), "score") as run,
    ):
        write_lease(str(tmp_path), "another", "score")
        books = (tmp_path / "manifest.json").read_bytes()
        run.update(num_scored=3)
        assert run.lost.is_set()
        with pytest.raises(FileNotFoundError):
            run.tell("compacting")
        if fails:
            raise RuntimeError("whatever comes of it")
    lease = read_lease(str(tmp_path))
    assert lease is not None and lease.attempt_id == "another"
    assert (tmp_path / "manifest.json").read_bytes() == books


def test_a_damaged_lease_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "HEARTBEAT_S", 0.05)
    with Run(str(tmp_path), "score") as run:
        (tmp_path / "lease.json").write_text("[")
        until = time.monotonic() + 10
        while (tmp_path / "lease.json").read_text() == "[" and time.monotonic() < until:
            time.sleep(0.05)
        run.update(num_scored=3)
        lease = read_lease(str(tmp_path))
        assert lease is not None and lease.attempt_id == run.attempt_id


def test_whatever_fails_in_a_vanished_folder_is_told_as_that(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        pytest.raises(UserError, match="has vanished"),
        Run(str(folder), "score"),
    ):
        shutil.rmtree(folder)
        raise FileNotFoundError("a part that a worker wanted")
    assert not folder.exists()


def test_a_later_job_may_not_contradict_the_scoring(tmp_path: Path) -> None:
    scored = load([f"out_dir={tmp_path}", "model=demo", "data.path=/d/rows.jsonl", "data.limit=9"])
    write_config(str(tmp_path), "score", scored)
    check_same_run(load([f"out_dir={tmp_path}", "seed=3"]))
    check_same_run(scored)
    with pytest.raises(UserError, match=r"data.limit=10: .* was scored with 9"):
        check_same_run(load([f"out_dir={tmp_path}", "data.limit=10"]))
    with pytest.raises(UserError, match="prompt.template=official"):
        check_same_run(load([f"out_dir={tmp_path}", "prompt=official"]))
