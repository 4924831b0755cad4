"""The process of one contender: loads once, then answers commands until its stdin closes.

A command and its answer are a line of JSON each; answers go to the stdout that the process was
started with, whatever the libraries print goes to stderr. The first line is the task.
    {"do": "run", "work": name, "candidates": [..]} -> a task.Run
    {"do": "rate", ...} -> flop.MatrixRate's fields: FLOP/s of the model's matrices alone
    {"do": "profile", ...} -> {group: seconds}
Every answer may instead be {"not_measured": why} or {"failed": traceback}.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import psutil

from nuggets_ray.bench.contenders import Loaded, Score, load
from nuggets_ray.bench.task import Cost, NotMeasured, Task
from nuggets_ray.bench.workload import Workload, work_from_json
from nuggets_ray.errors import UserError

PROC_STATUS = "/proc/self/status"
PROC_CLEAR = "/proc/self/clear_refs"
CLEAR_PEAK = "5"
"""Written there, it sets the largest resident set (VmHWM) to the present one."""


class Worker:
    """The contender of `task` with its works."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.loaded: Loaded = load(task)
        self.works = {work["name"]: work_from_json(work) for work in task.works}
        self._scores: dict[str, Score] = {}
        self._probe: Any = None
        if self.loaded.model is not None:
            self._probe = make_probe(self.loaded)

    def run(self, work: str, candidates: list[int]) -> dict[str, Any]:
        """Score the candidates, measured; preparing the work is not."""
        if work not in self._scores:
            self._scores[work] = self.loaded.prepare(self.works[work])
        before = dict(self.loaded.counts)
        log_probs_CA, cost = measured(lambda: self._scores[work](candidates))
        counts = {key: count - before[key] for key, count in self.loaded.counts.items()}
        flop = None
        if self.loaded.model is not None:
            from nuggets_ray.bench.flop import useful_flop

            prefixes = [self.works[work].prefixes[c] for c in candidates]
            flop = useful_flop(self.loaded.model, self.works[work].anchors, prefixes)
        return {
            "cost": asdict(cost),
            "log_probs": log_probs_CA.tolist(),
            "useful_flop": flop,
            "counts": counts,
        }

    def rate(self, work: str, candidates: list[int]) -> dict[str, Any]:
        """FLOP per second of the model's own matrix products, weighted as a run needs them."""
        num_tokens, num_answers = run_tokens(self.works[work], candidates)
        rates = asdict(self._probe.rate(num_tokens, num_answers))
        return {name: rate for name, rate in rates.items() if rate is not None}

    def profile(self, work: str, candidates: list[int]) -> dict[str, Any]:
        """Seconds of a run by group (profiling.py)."""
        from nuggets_ray.bench.profiling import where_time_goes

        assert self.loaded.model is not None
        self.run(work, candidates)
        vocab_size = self.loaded.model.config.get_text_config().vocab_size
        return where_time_goes(lambda: self._scores[work](candidates), vocab_size)


def run_tokens(work: Workload, candidates: list[int]) -> tuple[int, int]:
    """(demonstration and anchor tokens, answer tokens) of a run."""
    num_tokens = sum(len(work.prefixes[c]) + work.num_anchor_tokens for c in candidates)
    return num_tokens, len(candidates) * work.num_answer_tokens


def make_probe(loaded: Loaded) -> Any:
    """The matrices of the loaded model, by as many rows as its engine gives them."""
    from nuggets_ray.bench.flop import MatrixProbe
    from nuggets_ray.score.head import CHUNK_ROWS

    assert loaded.model is not None
    return MatrixProbe(loaded.model, loaded.max_pack_tokens, CHUNK_ROWS[loaded.model.device.type])


def measured(call: Callable[[], Any]) -> tuple[Any, Cost]:
    """What `call` returns, and what it cost this process."""
    import torch

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    forget_peak()
    wall, cpu = time.perf_counter(), cpu_seconds()
    result = call()
    if on_gpu:
        torch.cuda.synchronize()
    cost = Cost(
        cpu_s=cpu_seconds() - cpu,
        wall_s=time.perf_counter() - wall,
        peak_gib=peak_bytes() / 2**30,
        gpu_peak_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0,
    )
    return result, cost


def cpu_seconds() -> float:
    """User and system time of this process, its children and those that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:  # it ended just now: it is among the ended from now on
            continue
        total += times.user + times.system
    return total


def forget_peak() -> None:
    """Let the largest resident set be the present one, where the kernel allows it (else the peak
    is that since the start, loading included)."""
    try:
        with open(PROC_CLEAR, "w") as file:
            file.write(CLEAR_PEAK)
    except OSError:
        return


def peak_bytes() -> int:
    """The largest resident set of this process."""
    with open(PROC_STATUS) as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Serve the task on the first line of stdin until stdin closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM and Data-Juicer print to stdout

    def answer(call: Callable[[], dict[str, Any]]) -> None:
        try:
            result = call()
        except (NotMeasured, UserError) as error:
            result = {"not_measured": str(error)}
        # A contender of any origin runs here: whatever it raises is its result, and is told.
        except Exception:
            result = {"failed": traceback.format_exc()}
        print(json.dumps(result), file=answers, flush=True)

    workers: list[Worker] = []

    def start() -> dict[str, Any]:
        workers.append(Worker(Task(**json.loads(sys.stdin.readline()))))
        return {}

    answer(start)
    for line in sys.stdin:
        command = json.loads(line)
        act = getattr(workers[0], command.pop("do"))
        answer(lambda act=act, command=command: act(**command))  # type: ignore[misc]


if __name__ == "__main__":
    main()
