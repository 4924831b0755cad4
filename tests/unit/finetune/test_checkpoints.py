"""What counts as a checkpoint after kills, and when another run's may not be taken."""

from pathlib import Path

import pytest
from train_runs import zero

from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.errors import UserError
from nuggets_ray.finetune.checkpoints import (
    Saved,
    check_num_workers,
    check_settings,
    commit,
    num_workers_by_step,
    read_committed,
    read_history,
    remove_leftovers,
    write_history,
)

SETTINGS = {
    **{"cluster.num_workers": 2, "finetune.learning_rate": 1e-5},
    "rows": {"sha256": ["a"], "limit": None},
}


def make(folder: Path, attempt: str, step: int, eval_loss: float | None = None) -> Saved:
    path = folder / "checkpoints" / attempt / f"step-{step}"
    path.mkdir(parents=True)
    (path / "part").write_text("weights")
    return Saved(str(path), step, eval_loss)


def test_the_last_and_the_best_are_kept_and_the_rest_goes(tmp_path: Path) -> None:
    saved = [make(tmp_path, "a", step, loss) for step, loss in ((1, 3.0), (2, 2.0), (3, 2.5))]
    for one in saved:
        commit(str(tmp_path), SETTINGS, one)
    committed = read_committed(str(tmp_path))
    assert committed and (committed.last, committed.best) == (saved[2], saved[1])
    assert [Path(one.uri).exists() for one in saved] == [False, True, True]


def test_a_checkpoint_that_a_kill_left_half_written_never_counts(tmp_path: Path) -> None:
    good = make(tmp_path, "a", 1)
    commit(str(tmp_path), SETTINGS, good)
    half, other = make(tmp_path, "a", 2), make(tmp_path, "b", 2)
    assert (committed := read_committed(str(tmp_path))) and committed.last == good
    remove_leftovers(str(tmp_path))
    assert Path(good.uri).exists()
    assert not Path(half.uri).exists() and not Path(other.uri).parent.exists()


def test_nothing_is_committed_at_first(tmp_path: Path) -> None:
    assert read_committed(str(tmp_path)) is None
    make(tmp_path, "a", 1)
    remove_leftovers(str(tmp_path))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_other_settings_are_refused_in_one_sentence(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), SETTINGS, make(tmp_path, "a", 7))
    names = ("golden", "selection best")
    check_settings(committed, SETTINGS, *names)
    check_settings(committed, {**SETTINGS, "cluster.num_workers": 3}, *names)
    with pytest.raises(UserError, match=r"learning_rate \(was 1e-05, now 0.1\).*another"):
        check_settings(committed, {**SETTINGS, "finetune.learning_rate": 0.1}, *names)
    changed = {**SETTINGS, "rows": {"sha256": ["b"], "limit": None}}
    with pytest.raises(UserError, match=r"another set of rows \(selection best holds others now\)"):
        check_settings(committed, changed, *names)
    limited = {**SETTINGS, "rows": {"sha256": ["a"], "limit": 3}}
    with pytest.raises(UserError, match=r"rows \(was .*'limit': None.*, now .*'limit': 3"):
        check_settings(committed, limited, *names)


def test_a_key_that_an_old_checkpoint_does_not_know_had_its_default(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), SETTINGS, make(tmp_path, "a", 7))
    names = ("golden", "selection best")
    default = FinetuneConfig().adam_beta2
    check_settings(committed, {**SETTINGS, "finetune.adam_beta2": default}, *names)
    with pytest.raises(UserError, match=r"finetune.adam_beta2 \(was 0.999, now 0.95\)"):
        check_settings(committed, {**SETTINGS, "finetune.adam_beta2": 0.95}, *names)
    with pytest.raises(UserError, match=r"answer_end \(was None, now 3\)"):
        check_settings(committed, {**SETTINGS, "answer_end": 3}, *names)


def test_another_number_of_workers_goes_on_where_it_can_and_is_told_what_it_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    committed = commit(str(tmp_path), SETTINGS, make(tmp_path, "a", 7))
    check_num_workers(committed, FinetuneConfig(), 2, "golden")
    assert not caplog.records
    check_num_workers(committed, FinetuneConfig(), 3, "golden")
    assert "num_workers=3: the checkpoint of finetune.name=golden at step 7" in caplog.text
    assert "written by 2 workers" in caplog.text and "temporary files" in caplog.text
    caplog.clear()
    check_num_workers(committed, FinetuneConfig(deepspeed=zero(0)), 3, "golden")
    assert "by 2 workers" in caplog.text and "temporary files" not in caplog.text
    offload = zero(3, offload_param={"device": "nvme", "nvme_path": "/nvme"})
    with pytest.raises(UserError, match=r"offload_param.device=nvme.*cluster.num_workers=2, or"):
        check_num_workers(committed, FinetuneConfig(deepspeed=offload), 3, "golden")


def test_the_history_tells_how_many_workers_took_which_steps() -> None:
    steps = [{"step": step, "loss": 1.0, "num_workers": 2 if step < 4 else 1} for step in (1, 2, 4)]
    assert num_workers_by_step([*steps, {"step": 4, "eval_loss": 2.0}]) == {1: 2, 4: 1}
    assert num_workers_by_step([{"step": 1, "loss": 1.0}, steps[2]]) == {4: 1}


def test_the_history_comes_back(tmp_path: Path) -> None:
    history = [{"step": 1, "loss": 2.5}, {"step": 1, "eval_loss": 2.4}]
    write_history(str(tmp_path), history)
    assert read_history(str(tmp_path)) == history
