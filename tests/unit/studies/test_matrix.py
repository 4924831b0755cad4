"""Which rows a study rests on: complete ones, and after a race its pilot alone."""

from pathlib import Path

import numpy as np
import pytest
from studied_run import factor_deltas, studied_run

from nuggets_ray.errors import UserError
from nuggets_ray.run.rounds import Round, RoundAsk, write_round
from nuggets_ray.studies.matrix import read_deltas


def pilot_round(out_dir: str, numbers: range, num_anchors: int) -> None:
    ids = np.array([f"c{number:05d}" for number in numbers])
    ask = RoundAsk(ids, np.arange(num_anchors))
    write_round(out_dir, Round(0, (ask,), None, None, {"phase": "pilot"}))


def test_the_deltas_are_read_as_they_were_written(tmp_path: Path) -> None:
    delta = factor_deltas(30, 6)
    matrix = read_deltas(studied_run(str(tmp_path), delta, {3: 2}), 1000, 0)
    assert matrix.content_id_N[3] == "c00003"
    assert (matrix.num_rows, matrix.num_anchors, matrix.num_complete) == (30, 6, 30)
    assert np.isnan(matrix.delta_NA[3, 2]) and np.isnan(matrix.delta_NA).sum() == 1
    np.testing.assert_allclose(np.delete(matrix.delta_NA, 3, 0), np.delete(delta, 3, 0), atol=1e-6)
    assert not matrix.is_pilot and not matrix.is_partial


def test_of_many_rows_the_same_sample_is_taken_again(tmp_path: Path) -> None:
    out_dir = studied_run(str(tmp_path), factor_deltas(60, 4))
    first, again = read_deltas(out_dir, 25, 0), read_deltas(out_dir, 25, 0)
    other = read_deltas(out_dir, 25, 1)
    assert first.content_id_N.tolist() == again.content_id_N.tolist()
    assert first.num_rows == 25 and first.num_complete == 60
    assert set(first.content_id_N) != set(other.content_id_N)


def test_a_raced_folder_gives_its_pilot(tmp_path: Path) -> None:
    out_dir = studied_run(str(tmp_path), factor_deltas(90, 5), eliminated=30)
    pilot_round(out_dir, range(10, 40), 5)
    matrix = read_deltas(out_dir, 1000, 0)
    assert matrix.is_pilot
    assert matrix.content_id_N.tolist() == [f"c{number:05d}" for number in range(10, 40)]


def test_a_raced_folder_that_was_scored_on_in_full_gives_all(tmp_path: Path) -> None:
    out_dir = studied_run(str(tmp_path), factor_deltas(90, 5))
    pilot_round(out_dir, range(10, 40), 5)
    matrix = read_deltas(out_dir, 1000, 0)
    assert not matrix.is_pilot and matrix.num_rows == 90


def test_a_run_that_goes_on_is_partial(tmp_path: Path) -> None:
    out_dir = studied_run(str(tmp_path), factor_deltas(30, 4), status="running")
    assert read_deltas(out_dir, 1000, 0).is_partial


@pytest.mark.parametrize("shape", [(19, 6), (30, 3)])
def test_too_little_to_tell_anything_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    out_dir = studied_run(str(tmp_path), factor_deltas(*shape))
    with pytest.raises(UserError, match=f"holds {shape[0]} rows that met every one of {shape[1]}"):
        read_deltas(out_dir, 1000, 0)
