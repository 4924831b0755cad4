"""Exit codes and streams of a job: what a shell script and a person see of each end."""

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from nuggets_ray.cli import ended_after, guard

JOB = """
    import sys

    from nuggets_ray.cli import Job, run
    from nuggets_ray.config.keys import sections
    from nuggets_ray.errors import UserError

    def main(config):
        {body}

    run(Job("made_up", "", lambda: main, sections()), sys.argv[1:])
"""


def run_job(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(JOB).replace("{body}", body)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_last_line_of_stdout_is_the_result() -> None:
    done = run_job(
        "print('table'); return {'status': 'done', 'seed': config.seed}", "out_dir=/tmp/x", "seed=4"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"status": "done", "seed": 4}


@pytest.mark.parametrize(
    ("body", "arguments", "code", "message"),
    [
        (
            "raise UserError('data.path=x: no such file')",
            ["out_dir=/tmp/x"],
            2,
            "error: data.path=x: no such file",
        ),
        ("return {}", [], 2, "error: out_dir is missing"),
        ("return {}", ["out_dirr=/tmp/x"], 2, "did you mean out_dir=/tmp/x?"),
        ("raise KeyboardInterrupt", ["out_dir=/tmp/x"], 130, "run the same command again"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
            ["out_dir=/tmp/x"],
            130,
            "interrupted",
        ),
        (
            "import errno; raise OSError(errno.ENOSPC, 'No space left on device', '/d/part')",
            ["out_dir=/tmp/x"],
            1,
            "error: no space is left in /d: what is finished in out_dir=/tmp/x is kept",
        ),
    ],
)
def test_a_user_s_end_has_its_code_and_no_traceback(
    body: str, arguments: list[str], code: int, message: str
) -> None:
    ended = run_job(body, *arguments)
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


FLUSHES = """
import os, signal, time

try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
finally:
    for _ in range({more}):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    print("flushed", flush=True)
"""


def test_a_second_ctrl_c_is_answered_and_cuts_nothing_short() -> None:
    body = textwrap.indent(FLUSHES.format(more=1), "    ").strip()
    ended = run_job(body, "out_dir=/tmp/x")
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout == "flushed\n"
    assert "Ctrl-C once more: end at once" in ended.stderr
    assert "run the same command again" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_third_ctrl_c_ends_at_once() -> None:
    ended = run_job(textwrap.indent(FLUSHES.format(more=2), "    ").strip(), "out_dir=/tmp/x")
    assert (ended.returncode, ended.stdout) == (130, "")
    assert "Traceback" not in ended.stderr


def test_a_fault_of_ours_has_a_traceback_and_code_1() -> None:
    ended = run_job("return 1 // 0", "out_dir=/tmp/x")
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


def test_a_typo_beside_a_flag_is_told_without_hydra() -> None:
    ended = run_job("return {}", "--cfg", "job", "data.pth=x")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: data.pth: there is no such key; did you mean data.path=x?\n"


def test_a_sweep_leaves_nothing_in_the_caller_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    swept = run_job("return {'seed': config.seed}", "-m", "seed=1,2", "out_dir=x-${seed}")
    found = [json.loads(line)["seed"] for line in swept.stdout.splitlines() if line[:1] == "{"]
    assert found == [1, 2], swept.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_fault() -> None:
    code = textwrap.dedent(JOB).replace("{body}", "return {}")
    with subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_job_ends_as_at_ctrl_c_when_its_hours_are_over(caplog: pytest.LogCaptureFixture) -> None:
    def run() -> int:
        with ended_after(0.1 / 3600):
            time.sleep(20)
        return 0

    assert guard(run) == 130
    assert "cluster.max_hours=" in caplog.text
    with ended_after(None), ended_after(1.0):
        pass
