"""What was survived: runs broken by chaos.py, held against runs that nothing happened to.

`python tests/chaos/chaos_runs.py --faults 100 --seed 0` prints a table; `make chaos` calls it.

What must hold after each: the scores are bit for bit those of the undisturbed run, each id once; no
row is skipped that was not skipped there; the selection is the same file, and so are the weights of
what was trained on it and the results of its evaluation.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from cases import CASES
from chaos import Chaos, Struck, Survived
from faults import FAULTS
from score_runs import ROOT, environment
from tiny_models import write_tiny_llama

from nuggets_ray.markdown import markdown_table

FAULTS_A_RUN = 10
SELECTION = "the selection is killed"
MAX_SELECTION_S = 6.0


def survive(
    cases: list[str],
    model: Path,
    folder: Path,
    num_faults: int,
    seed: int,
    kinds: Sequence[str] = tuple(FAULTS),
) -> Iterator[Survived]:
    """Runs of the cases in turn until so many faults were survived. AssertionError where anything
    was lost."""
    calm: dict[str, Survived] = {}
    number, left = 0, num_faults
    while left > 0:
        name = cases[number % len(cases)]
        if name not in calm:
            calm[name] = _run(Chaos(CASES[name], model, folder / f"calm-{name}", seed), 0)
        there = folder / f"{number}-{name}"
        chaos = Chaos(CASES[name], model, there, seed + number, kinds)
        survived = _run(chaos, min(left, FAULTS_A_RUN))
        check(there / "kept", folder / f"calm-{name}" / "kept", CASES[name].job)
        survived.num_again = survived.num_pairs - calm[name].num_pairs
        print(f"{name}: {len(survived.struck)} faults, {survived.num_starts} starts", flush=True)
        number, left = number + 1, left - len(survived.struck)
        yield survived


def _run(chaos: Chaos, num_faults: int) -> Survived:
    """A run and its selection; the run folder is kept as kept/ of the folder of `chaos`."""
    with chaos.place():
        survived = chaos.run(num_faults)
        chaos.end()
        select = [sys.executable, str(ROOT / "jobs" / "select_topk.py"), "select=top_k"]
        command = [*select, "select.k=15", f"out_dir={chaos.uri}"]
        if num_faults:
            with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL) as job:
                time.sleep(chaos.random.uniform(0, MAX_SELECTION_S))
                if job.poll() is None:
                    job.kill()
                    survived.struck.append(Struck(SELECTION, survived.seconds, stage="select"))
        subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)
        chaos.keep(chaos.folder / "kept")
    return survived


def results(out_dir: Path) -> dict[str, Any]:
    """What must be the same, whatever happened."""
    scores = pq.read_table(out_dir / "scores").sort_by("example_id")
    skipped = pq.read_table(out_dir / "skipped.parquet").sort_by("row_number")
    selected = out_dir / "selections" / "golden" / "selected.jsonl"
    return {
        "scores": scores.to_pylist(),
        "skipped": skipped.select(["source_path", "row_number", "reason"]).to_pylist(),
        "selected": selected.read_bytes(),
        "weights": {
            path.parent.name: path.read_bytes()
            for path in sorted(out_dir.glob("models/*/model.safetensors"))
        },
        "evaluation": [path.read_bytes() for path in out_dir.glob("evaluation/results.json")],
    }


def check(disturbed: Path, undisturbed: Path, job: str = "score") -> None:
    """AssertionError where one run gave something else than the other."""
    one, other = results(disturbed), results(undisturbed)
    assert job == "score" or (one["weights"] and one["evaluation"]), "nothing was trained"
    ids = [row["example_id"] for row in one["scores"]]
    assert len(ids) == len(set(ids)), "an id is there twice"
    np.testing.assert_equal(one.pop("scores"), other.pop("scores"))
    for what, value in one.items():
        assert value == other[what], f"{what} of {disturbed} differ from those of {undisturbed}"


def table(runs: list[Survived]) -> str:
    """Faults by kind, with the seconds until something was computed again, and what was computed
    more often than once."""
    seconds: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for run in runs:
        for struck in run.struck:
            counts[struck.kind] += 1
            if struck.recovered_s is not None:
                seconds[struck.kind].append(struck.recovered_s)
    rows = [
        [kind, str(counts[kind]), *_median_and_longest(seconds[kind])]
        for kind in (*FAULTS, SELECTION)
        if counts[kind]
    ]
    faults = markdown_table(["fault", "times", "median s to go on", "longest"], rows)
    stages = Counter(struck.stage for run in runs for struck in run.struck)
    num_pairs = sum(run.num_pairs - run.num_again for run in runs)
    again = sum(run.num_again for run in runs)
    repeated = ""
    if num_pairs:  # the stand-in counts them
        repeated = f"; {again} of {num_pairs} pairs were computed again ({again / num_pairs:.1%})"
    return (
        f"{sum(counts.values())} faults in {len(runs)} runs, "
        f"{sum(run.num_starts for run in runs)} starts, nothing lost{repeated}. Struck during "
        f"{', '.join(f'{stage} ({num})' for stage, num in stages.most_common())}.\n\n{faults}"
    )


def _median_and_longest(seconds: list[float]) -> tuple[str, str]:
    if not seconds:
        return "-", "-"
    return f"{statistics.median(seconds):.0f}", f"{max(seconds):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    usual = ["full", "race", "store"]
    parser.add_argument("--kinds", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=usual)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        model, runs = write_tiny_llama(Path(name) / "model"), list[Survived]()
        try:
            chosen = (given.cases, model, Path(name), given.faults, given.seed)
            for survived in survive(*chosen, given.kinds):
                runs.append(survived)
        except KeyboardInterrupt:
            print("interrupted: the runs so far")
        finally:
            if runs:
                print(table(runs) + f"\n\nin {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
