"""An hour of scoring with a model: does anything grow?

    python tests/support/soak.py FOLDER --minutes 60

Scores made-up rows with the demo's model, on a Ray of its own as a user starts it, and ends it when
the time is over. Prints memory and open files of each of its processes, and the files of Ray's
session, in the first third of the time and in the last.
"""

import argparse
import signal
import subprocess
import time
from pathlib import Path

import psutil
from make_million import make
from million_rows import Growth
from score_runs import command, environment

NUM_ROWS = 100_000
ENDING_S = 300


def told_names(driver: psutil.Process) -> dict[int, str]:
    """{pid: name} of a job and of what it started, by what their commands say."""
    names = {driver.pid: "driver"}
    for child in driver.children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if words:
            names[child.pid] = (
                words[0].removeprefix("ray::") if "ray::" in words[0] else child.name()
            )
    return names


def soak(folder: Path, minutes: float) -> list[str]:
    """What each process held, in words, of those that were there from the beginning to the end."""
    make(folder / "rows", NUM_ROWS)
    session = folder / "ray"
    overrides = [
        *(f"data.path={folder / 'rows' / 'rows.parquet'}", "model=demo", "anchors.num=10"),
        *(f"out_dir={folder / 'run'}", "cluster.address=local", "cluster.num_workers=1"),
    ]
    growth, names = Growth(), dict[int, str]()
    environ = {**environment(), "RAY_TMPDIR": str(session)}
    session.mkdir()
    said = (folder / "said.txt").open("wb")
    files: list[int] = []
    with (
        said,
        subprocess.Popen(
            command("score", *overrides), stdout=said, stderr=said, env=environ
        ) as job,
    ):
        try:
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                if job.poll() is not None:
                    raise AssertionError((folder / "said.txt").read_text()[-2000:])
                if any(name.startswith("MapWorker") for name in names.values()):
                    growth.look(names)
                else:  # nothing is scored yet
                    names = told_names(psutil.Process(job.pid))
                files.append(sum(1 for _ in session.rglob("*")))
                time.sleep(Growth.EVERY_S)
        finally:
            job.send_signal(signal.SIGTERM)
            job.wait(ENDING_S)
    third = max(1, len(files) // 3)
    told = [growth.told(pid, name) for pid, name in sorted(names.items())]
    in_session = f"Ray's session: {max(files[:third])} to {max(files[-third:])} files"
    return [*filter(None, told), in_session]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    given = parser.parse_args()
    print("\n".join(soak(given.folder.absolute(), given.minutes)))


if __name__ == "__main__":
    main()
