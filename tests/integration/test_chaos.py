"""Runs that are broken at random, on a cluster of several nodes of this machine, with an engine
that needs no model."""

import time
from pathlib import Path

import pytest
from cases import CASES, Case
from chaos import Chaos, Struck, Survived
from chaos_runs import SELECTION, check, survive, table
from faults import FAULTS
from faulty_workers import run_faulty
from score_runs import result_of, score_overrides, write_rows

FAILS_ONCE = """
import time
from pathlib import Path

score = scorer.Scorer.score_some

def fails_once(self, candidates, demonstrations, signals):
    mark = Path(self.setup.config.out_dir).with_name("failed")
    is_first = not mark.exists()
    mark.touch()
    if is_first:
        FAILS
    return score(self, candidates, demonstrations, signals)

scorer.Scorer.score_some = fails_once
"""


def test_nothing_is_lost_by_what_breaks(tiny_model: Path, tmp_path: Path) -> None:
    kinds = ("a worker is killed", "the driver is killed")
    runs = list(survive(["short"], tiny_model, tmp_path, 2, 0, kinds))
    struck = [one.kind for run in runs for one in run.struck]
    assert set(struck) & set(kinds) and set(struck) <= {*kinds, SELECTION}
    assert "nothing lost" in table(runs)


@pytest.mark.slow
def test_nothing_is_lost_of_a_race_either(tiny_model: Path, tmp_path: Path) -> None:
    runs = list(survive(["race"], tiny_model, tmp_path, len(FAULTS), seed=0))
    assert sum(len(run.struck) for run in runs) >= len(FAULTS)


def test_what_is_lost_is_noticed(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def folder(
        name: str,
        ids: list[str],
        scores: list[float],
        selected: bytes = b"1",
        weights: bytes = b"2",
    ) -> Path:
        there = tmp_path / name
        (there / "scores").mkdir(parents=True)
        (there / "selections" / "golden").mkdir(parents=True)
        (there / "selections" / "golden" / "selected.jsonl").write_bytes(selected)
        rows = pa.table({"example_id": ids, "golden_score": scores})
        pq.write_table(rows, there / "scores" / "part.parquet")
        none = pa.table({name: pa.array([], pa.string()) for name in ("source_path", "reason")})
        none = none.append_column("row_number", pa.array([], pa.int64()))
        pq.write_table(none, there / "skipped.parquet")
        for of_training in (there / "models" / "golden", there / "evaluation"):
            of_training.mkdir(parents=True)
        (there / "models" / "golden" / "model.safetensors").write_bytes(weights)
        (there / "evaluation" / "results.json").write_bytes(b"{}")
        return there

    calm = folder("calm", ["a", "b"], [0.5, 0.25])
    check(folder("same", ["b", "a"], [0.25, 0.5]), calm, "pipeline")
    for name, ids, scores, *files in (
        ("other", ["a", "b"], [0.5, 0.26]),
        ("fewer", ["a"], [0.5]),
        ("twice", ["a", "b", "b"], [0.5, 0.25, 0.25]),
        ("selected", ["a", "b"], [0.5, 0.25], b"2"),
        ("trained", ["a", "b"], [0.5, 0.25], b"1", b"3"),
    ):
        with pytest.raises(AssertionError):
            check(folder(name, ids, scores, *files), calm)
    (calm / "evaluation" / "results.json").unlink()
    with pytest.raises(AssertionError, match="nothing was trained"):
        check(calm, calm, "pipeline")


def test_the_table_tells_each_kind() -> None:
    struck = [
        Struck("SIGTERM", 1.0, 4.0),
        Struck("SIGTERM", 9.0, 6.0, "score"),
        Struck("a node is lost", 2.0, stage="score"),
    ]
    told = table([Survived("full", 3, struck, 20.0, num_pairs=110, num_again=10)])
    assert "3 faults in 1 runs, 3 starts, nothing lost; 10 of 100 pairs" in told
    assert "during score (2), before the first stage (1)." in told
    assert "| SIGTERM        | 2     | 5                 | 6       |" in told
    assert "| a node is lost | 1     | -                 | -       |" in told


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["time.sleep(600)", "raise MemoryError"])
def test_a_call_that_hangs_or_finds_no_memory_costs_its_worker_and_no_row(
    tiny_model: Path, tmp_path: Path, fails: str
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    overrides = score_overrides(rows, tiny_model, tmp_path / "run", "score.batch_timeout_s=8")
    ended = run_faulty(FAILS_ONCE.replace("FAILS", fails), tmp_path, *overrides)
    assert result_of(ended)["num_scored"] == 24
    assert ("see score.batch_timeout_s" in ended.stderr) == ("sleep" in fails)
    assert (tmp_path / "failed").exists()


@pytest.mark.slow
def test_nodes_that_join_are_used(tiny_model: Path, tmp_path: Path) -> None:
    case = CASES["full"]
    overrides = (*case.overrides, "cluster.max_workers=3")
    chaos = Chaos(Case("grows", 200, 0.2, overrides), tiny_model, tmp_path, 0)
    with chaos.place():
        chaos.driver = chaos.start_driver()
        assert chaos.cluster is not None
        while not chaos.computed():
            assert chaos.driver.poll() is None
            time.sleep(0.2)
        chaos.add_node()
        assert chaos.driver.wait(300) == 0
    assert "worker 3 of 3 is ready" in (tmp_path / "said.txt").read_text()
    pids = {one["pid"] for one in chaos.computed()}
    assert len(pids) >= 3
