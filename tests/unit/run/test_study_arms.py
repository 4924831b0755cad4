"""What an arm gave is kept, a file each."""

from pathlib import Path

from nuggets_ray.run.study_arms import read_arm, write_arm


def test_an_arm_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_arm(str(tmp_path), "correlation", "study-random-0") is None
    uri = write_arm(str(tmp_path), "correlation", "study-random-0", {"seed": 1}, {"gain": 0.25})
    assert Path(uri).parent == tmp_path / "studies" / "correlation" / "arms"
    assert read_arm(str(tmp_path), "correlation", "study-random-0") == ({"seed": 1}, {"gain": 0.25})
