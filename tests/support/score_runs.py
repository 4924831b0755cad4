"""What the tests of the main job share: rows with every kind of trouble, and a job run as a user
runs it.
"""

import contextlib
import io
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]


def write_rows(path: Path, num_rows: int) -> Path:
    """`num_rows` good Alpaca rows of varied length, no two the same."""
    rows = [
        {
            "instruction": f"Say number {i} in words, {'please ' * (i % 5)}now.",
            "input": f"The number is {i * 37}." if i % 3 == 0 else "",
            "output": f"It is {i}: " + "one more, " * (i % 7) + "done.",
            "tag": i,
        }
        for i in range(num_rows)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def command(name: str, *overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "jobs" / f"{name}.py"), *overrides]


def score_overrides(data: Path, model: Path, out_dir: Path, *more: str) -> list[str]:
    return [
        f"data.path={data}",
        f"model.path={model}",
        f"out_dir={out_dir}",
        "anchors.num=6",
        "score.dtype=float32",
        "cluster.address=local",
        "cluster.num_workers=2",
        "cluster.object_store_gib=0.15",
        *more,
    ]


def run_job(
    name: str, *overrides: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run jobs/<name>.py to its end in this process and return it with its streams.

    It works on the Ray of the fixture `shared_ray`, as a stage of a pipeline does on the
    pipeline's: neither Ray nor the imports start anew.
    """
    arguments = command(name, *overrides)
    stdout, stderr = io.StringIO(), io.StringIO()
    code: str | int | None = 0
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        contextlib.chdir(cwd or Path.cwd()),
        _as_it_was(),
    ):
        sys.argv = arguments[1:]
        try:
            runpy.run_path(arguments[1], run_name="__main__")
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """What a job sets for its own process: arguments, log handlers, signal handlers."""
    argv, logger = sys.argv, logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        sys.argv, logger.handlers[:] = argv, handlers
        logger.setLevel(level)
        for number, handler in signals.items():
            signal.signal(number, handler)


def run_process(
    name: str, *overrides: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, with a Ray of its own: where that is the point."""
    return subprocess.run(
        command(name, *overrides),
        capture_output=True,
        text=True,
        timeout=600,
        cwd=cwd,
        env=environment(),
    )


def environment() -> dict[str, str]:
    return {**os.environ, "RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def result_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line of stdout of a job that must have ended well."""
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def read_scores(out_dir: Path) -> dict[str, dict[str, Any]]:
    """example_id -> row of scores/, which must hold each id once."""
    tables = [pq.read_table(part) for part in sorted((out_dir / "scores").glob("part-*.parquet"))]
    rows = pa.concat_tables(tables).to_pylist()
    by_id = {row["example_id"]: row for row in rows}
    assert len(by_id) == len(rows)
    return by_id


def manifest_of(out_dir: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((out_dir / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def ray_sessions(pid: int, since: float) -> list[Path]:
    """The Ray sessions that the driver `pid` opened after the moment `since`: ids of processes come
    again, and the sessions of tests long gone lie in the same folder.
    """
    sessions = Path(tempfile.gettempdir(), "ray").glob(f"session_*_{pid}")
    return [session for session in sessions if session.stat().st_mtime >= since]
