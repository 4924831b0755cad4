"""Fuzz the readers by hand: python tests/fuzz/run.py [--cases N] [--seed S] [--only TARGET ...]

Each case is a seed, so that a finding is one number: python tests/fuzz/run.py --only files --case N
shows it. Cases run in a child with limits of memory and of time; one that dies is a finding, too,
and the next child goes on behind it. Prints a table for LOG.md.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from types import FrameType

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parent / "support")]

LIMIT_S = 20
LIMIT_BYTES = 6 << 30
CASES = {"files": 100_000, "rows": 5_000, "command_line": 2_000, "run_folder": 5_000}


def work(target: str, seed: int, first: int, last: int) -> None:
    """Run cases; a line of JSON for each that is not as it should be, and the counts at the end."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    signal.signal(signal.SIGALRM, _too_long)
    import logging

    logging.disable(logging.CRITICAL)
    from targets import TARGETS

    words: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    taken = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in range(first, last):
            print(json.dumps({"case": case}), flush=True)
            signal.alarm(LIMIT_S)
            try:
                outcome = TARGETS[target](Random(f"{target}-{seed}-{case}"), Path(folder))
            except BaseException as error:
                words["found"] += 1
                trace = traceback.extract_tb(error.__traceback__)
                where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in trace[::-1][:6])
                told = f"{type(error).__name__}: {str(error)[:300]} at {where}"
                print(json.dumps({"found": case, "told": told}), flush=True)
            else:
                words[outcome.word] += 1
                reasons.update(outcome.reasons)
                taken += outcome.num_taken
            finally:
                signal.alarm(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    counts = {"words": words, "reasons": reasons, "taken": taken, "peak_mib": peak}
    print(json.dumps({"counts": counts}), flush=True)


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"longer than {LIMIT_S} s")


def run(target: str, seed: int, num_cases: int, batch: int = 2000) -> None:
    """All cases of a target, a child at a time; prints its row of the table."""
    started = time.monotonic()
    words: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    taken, peak, first = 0, 0, 0
    while first < num_cases:
        last = min(num_cases, first + batch)
        command = [sys.executable, __file__, "--worker", target, *map(str, (seed, first, last))]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        told = [json.loads(line) for line in child.stdout.splitlines()]
        for line in told:
            if "found" in line:
                print(
                    f"  {target} --seed {seed} --case {line['found']}: {line['told']}", flush=True
                )
        if counts := next((line["counts"] for line in told if "counts" in line), None):
            words.update(counts["words"])
            reasons.update(counts["reasons"])
            taken += counts["taken"]
            peak = max(peak, counts["peak_mib"])
            first = last
        else:
            died = max((line["case"] for line in told if "case" in line), default=first)
            words["found"] += 1
            words["uncounted"] += died - first
            print(
                f"  {target} --seed {seed} --case {died}: ended by {child.returncode}", flush=True
            )
            first = died + 1
    skipped = sum(reasons.values())
    print(
        f"| {target} | {num_cases:,} | {words['loaded']:,} | {words['refused']:,} | {taken:,} | "
        f"{skipped:,} ({len(reasons)} reasons) | {words['found']} | {peak:,} MiB | "
        f"{time.monotonic() - started:.0f} s |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--case", type=int, help="this one alone, in this process")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker[0], *map(int, given.worker[1:]))
    elif given.case is not None:
        from targets import TARGETS

        with tempfile.TemporaryDirectory() as folder:
            random = Random(f"{given.only[0]}-{given.seed}-{given.case}")
            print(TARGETS[given.only[0]](random, Path(folder)))
    else:
        print(
            "| target | cases | loaded | refused | rows taken | skipped | found | memory | time |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for target in given.only:
            run(target, given.seed, given.cases or CASES[target])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
