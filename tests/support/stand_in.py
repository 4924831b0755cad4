"""The score job with an engine that needs no model: log-probs that follow from the tokens alone, so
that any two runs can be held against each other, bit by bit.

`python stand_in.py JOB {"trace": FILE, "pause_s": S, "address": RAY} key=value ...`

Each call of an engine appends a line to the trace: when, by which process, how many pairs. Where a
file `memory` lies beside the trace, the next call finds none; where a file `clock` does, the driver
takes the time to be so many seconds later.

Legend: C candidates, A anchors, Q factors.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from nuggets_ray.records import Encoding

NUM_FACTORS = 3


class StandIn:
    """As score/contract.py has it. A candidate costs `pause_s`, whatever it meets."""

    name, why, max_pack_tokens = "stand_in", "no model", 1

    def __init__(self, anchors: Sequence[Encoding], trace: str, pause_s: float) -> None:
        self.counts: dict[str, int] = {}
        self.details: dict[str, Any] = {}
        self._trace, self._pause_s = trace, pause_s
        self.use_anchors(anchors)

    def use_anchors(self, anchors: Sequence[Encoding]) -> None:
        ids = [np.asarray(anchor.token_ids, np.int64) for anchor in anchors]
        self._anchor_A = np.array([_seed(one, b"pair") for one in ids], np.uint64)
        self._loading_AQ = np.array([_draw(one, b"anchor") for one in ids])

    def log_probs(self, prefixes: Sequence[np.ndarray]) -> np.ndarray:
        try:
            os.unlink(Path(self._trace).with_name("memory"))
        except FileNotFoundError:
            pass
        else:
            raise MemoryError
        rows = []
        for prefix in prefixes:
            time.sleep(self._pause_s)
            ids = np.asarray(prefix, np.int64)
            noise_A = _noise(self._anchor_A ^ np.uint64(_seed(ids, b"pair")))
            row_A = self._loading_AQ @ _draw(ids, b"candidate") + noise_A
            rows.append((-2 + 0.1 * row_A).astype(np.float32))
        self._tell(len(rows))
        return np.array(rows)

    def log_probs_and_own(
        self, demonstrations: Sequence[Encoding], with_states: bool
    ) -> tuple[np.ndarray, Any]:
        log_probs_CA = self.log_probs([one.token_ids for one in demonstrations])
        return log_probs_CA, self.own(demonstrations, with_states)

    def own(self, sequences: Sequence[Encoding], with_states: bool) -> Any:
        from nuggets_ray.score.own import Own

        assert not with_states
        told = [_draw(np.asarray(one.token_ids, np.int64), b"own")[0] for one in sequences]
        return Own(np.array(told, np.float32), None)

    def peak_memory_bytes(self) -> int:
        return 1

    def _tell(self, num_candidates: int) -> None:
        line = {"time": time.time(), "pid": os.getpid(), "rows": num_candidates}
        line["pairs"] = num_candidates * len(self._anchor_A)
        with open(self._trace, "ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode())


def use_clock(trace: str) -> None:
    """Let what a driver tells of the time be ahead by the file `clock` beside the trace. Python's
    own clock stays: Ray sends it about by its name."""
    from nuggets_ray.run import lease, manifest, stage_status

    ahead = Path(trace).with_name("clock")

    def told() -> float:
        try:
            return time.time() + float(ahead.read_text())
        except (OSError, ValueError):
            return time.time()

    clock = SimpleNamespace(**{**vars(time), "time": told})
    for module in (lease, manifest, stage_status):
        module.time = clock  # type: ignore[attr-defined]


def _seed(ids: np.ndarray, what: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(ids.tobytes(), key=what, digest_size=8).digest())


def _draw(ids: np.ndarray, what: bytes) -> np.ndarray:
    """Standard normal numbers of these tokens, (Q,)."""
    return np.random.default_rng(_seed(ids, what)).standard_normal(NUM_FACTORS)


def _noise(seed_A: np.ndarray) -> np.ndarray:
    """A number of mean 0 and variance 1 for each seed, near normal: the sum of four even ones, of
    the bits that splitmix64 makes of it (Steele et al., 2014).
    """
    mixed = seed_A + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    even_A4 = mixed.view(np.uint16).reshape(-1, 4)
    return (even_A4.sum(1, dtype=np.int64) - 2 * 65535) / np.sqrt(65536**2 / 3)


def main() -> None:
    """Run a job on the Ray at the address, whose workers have stand-ins for their engines."""
    job, given, overrides = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
    here = os.path.dirname(os.path.abspath(__file__))

    def replace_engines() -> None:
        sys.path.insert(0, here)
        import stand_in
        from late import when_imported

        def load(setup: Any, encodings: list[Encoding]) -> StandIn:
            return stand_in.StandIn(encodings, given["trace"], given["pause_s"])

        when_imported(
            "nuggets_ray.stages.score.worker", lambda worker: setattr(worker, "load_engine", load)
        )

    import ray

    ray.init(
        address=given["address"],
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": replace_engines},
    )
    from nuggets_ray.jobs import run_job

    use_clock(given["trace"])
    sys.argv = [job, *overrides]
    run_job(job)


if __name__ == "__main__":
    main()
