"""The parts of signals/: written, read by column, compacted."""

from pathlib import Path

import numpy as np
import pytest

from nuggets_ray import io
from nuggets_ray.records import SignalRow
from nuggets_ray.run import compaction
from nuggets_ray.run.signals import (
    compact_signals,
    ids_with,
    read_cosines,
    read_signal,
    signal_parts,
    write_signals,
)


def cosine(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """Rows a and b with a perplexity; then a and c with cosines, b's ifd being no number."""
    folder = str(tmp_path)
    write_signals(
        folder, "1", [SignalRow("a", -1.0, perplexity=2.0), SignalRow("b", -1.5, perplexity=3.0)]
    )
    write_signals(
        folder,
        "2",
        [
            SignalRow("a", rds=0.5, rds_cosine=cosine(0.25, 0.5)),
            SignalRow("b", ifd=float("nan"), ifd_perplexity=float("nan"), is_ifd_above_1=False),
            SignalRow("c", rds=0.75, rds_cosine=cosine(0.75)),
        ],
    )
    return folder


def test_each_signal_comes_from_the_part_that_has_it(out_dir: str) -> None:
    ids = np.array(["c", "b", "a"])
    values = read_signal(out_dir, "perplexity", ids)
    assert np.isnan(values[0]) and values[1:].tolist() == [3.0, 2.0]
    assert read_signal(out_dir, "rds", ids)[[0, 2]].tolist() == [0.75, 0.5]
    assert np.isnan(read_signal(out_dir, "ifd", ids)).all()


def test_what_was_asked_counts_whether_or_not_a_number_came_of_it(out_dir: str) -> None:
    assert sorted(ids_with(out_dir, "perplexity", 2)) == ["a", "b"]
    assert ids_with(out_dir, "ifd", 2).tolist() == ["b"]
    assert ids_with(out_dir, "rds", 2).tolist() == ["a"], "c has not met the second anchor"


def test_cosines_by_anchor(out_dir: str) -> None:
    cosine_NA = read_cosines(out_dir, np.array(["a", "b", "c", "a"]), 2)
    assert cosine_NA[0].tolist() == cosine_NA[3].tolist() == [0.25, 0.5]
    assert np.isnan(cosine_NA[1]).all()
    assert cosine_NA[2, 0] == 0.75 and np.isnan(cosine_NA[2, 1])


def test_nothing_was_asked(tmp_path: Path) -> None:
    assert signal_parts(str(tmp_path)) == []
    assert len(ids_with(str(tmp_path), "perplexity", 3)) == 0
    assert np.isnan(read_signal(str(tmp_path), "ifd", np.array(["a"]))).all()
    assert np.isnan(read_cosines(str(tmp_path), np.array(["a"]), 2)).all()


def test_compaction_changes_no_number_and_is_done_once(out_dir: str) -> None:
    compact_signals(out_dir, "3")
    [part] = signal_parts(out_dir)
    assert read_signal(out_dir, "perplexity", np.array(["b", "a"])).tolist() == [3.0, 2.0]
    assert ids_with(out_dir, "rds", 2).tolist() == ["a"]
    compact_signals(out_dir, "4")
    assert signal_parts(out_dir) == [part]


def test_of_a_row_that_two_attempts_told_the_later_counts_whatever_is_compacted(
    out_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.array(["a", "b", "d"])

    def told() -> list[float]:
        return read_signal(out_dir, "perplexity", ids).tolist()

    compact_signals(out_dir, "3")
    write_signals(out_dir, "4", [SignalRow("b", perplexity=9.0), SignalRow("d", perplexity=4.0)])
    assert told() == [2.0, 9.0, 4.0]
    delete, parts = io.delete, signal_parts(out_dir)
    monkeypatch.setattr(compaction, "COMPACT_BYTES", 1)
    for num_deleted in range(len(parts)):  # killed so far, again and again
        deleted: list[str] = []

        def killed(uri: str, deleted: list[str] = deleted, most: int = num_deleted) -> None:
            if len(deleted) == most:
                raise KeyboardInterrupt
            deleted.append(uri)
            delete(uri)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(io, "delete", killed)
            compact_signals(out_dir, f"5{num_deleted}")
        assert len(deleted) == num_deleted and told() == [2.0, 9.0, 4.0]
    compact_signals(out_dir, "6")
    after = signal_parts(out_dir)
    assert told() == [2.0, 9.0, 4.0] and len(after) > 1
    compact_signals(out_dir, "7")
    assert signal_parts(out_dir) == after
