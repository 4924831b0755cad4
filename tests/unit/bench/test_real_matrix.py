"""bench=real_matrix replays races and compares rankings on deltas that were measured."""

from pathlib import Path

import numpy as np
import pytest

from nuggets_ray.bench.real_matrix import RANKINGS, RealMatrix, bench, ranking_scores, read_matrix
from nuggets_ray.bench.worlds import WORLDS
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError


def made_up(num_candidates: int = 420, num_anchors: int = 100) -> RealMatrix:
    world = WORLDS["factor"](num_candidates, num_anchors, 3)
    tokens = world.anchor_tokens.astype(np.int32)
    return RealMatrix(world.delta, world.demo_tokens.astype(np.int32), tokens, tokens // 2)


def save(path: Path, matrix: RealMatrix) -> str:
    np.savez(
        path,
        delta_NA=matrix.delta_NA,
        demo_tokens_N=matrix.demo_tokens_N,
        anchor_tokens_A=matrix.anchor_tokens_A,
        answer_tokens_A=matrix.answer_tokens_A,
    )
    return str(path)


def test_a_ranking_reads_only_its_anchors() -> None:
    matrix = made_up()
    anchors = np.arange(50)
    for kind in RANKINGS:
        before = ranking_scores(kind, matrix, anchors)
        other = matrix.delta_NA.copy()
        other[:, 50:] *= -1
        changed = RealMatrix(
            other, matrix.demo_tokens_N, matrix.anchor_tokens_A, matrix.answer_tokens_A
        )
        after = ranking_scores(kind, changed, anchors)
        assert before is not None and np.array_equal(before, after), kind


def test_win_shares_are_ranked_before_mean_deltas() -> None:
    delta = np.array([[9.0, -0.1, -0.1], [0.1, 0.1, -0.5], [0.1, 0.2, -0.5]])
    matrix = RealMatrix(delta, np.ones(3), np.ones(3), np.ones(3))
    score_N = ranking_scores("win share", matrix, np.arange(3))
    assert score_N is not None and np.argsort(-score_N).tolist() == [2, 1, 0]


def test_too_few_anchors_give_no_posterior() -> None:
    assert ranking_scores("posterior", made_up(), np.arange(10)) is None


def test_a_file_that_is_no_matrix_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    for name in ("x.npz", "missing.npz"):
        with pytest.raises(UserError, match=rf"bench.matrix=.*{name}.*keep"):
            read_matrix(str(tmp_path / name))
    np.savez(tmp_path / "other.npz", delta=np.ones(3))
    with pytest.raises(UserError, match="delta_NA"):
        read_matrix(str(tmp_path / "other.npz"))


def test_the_tables_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "made_up.npz", made_up())
    config = Config(bench=BenchConfig(name="real_matrix", repeats=2, matrix=path))
    assert bench(config)["num_rows"] == 2 * 7 + (3 * 3 + 1) + 2 * 4
    out = capsys.readouterr().out
    assert "best 5%" in out and "mean standardised delta" in out


def test_the_matrix_that_comes_along_is_whole() -> None:
    matrix = read_matrix(None)
    assert matrix.delta_NA.shape == (500, 100) and np.isfinite(matrix.delta_NA).all()
    assert 0.1 < (matrix.delta_NA > 0).mean() < 0.9
    assert matrix.anchor_tokens_A.max() <= 96
    assert (matrix.answer_tokens_A < matrix.anchor_tokens_A).all()
