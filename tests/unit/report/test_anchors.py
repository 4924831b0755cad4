"""The anchors in the report."""

from pathlib import Path

import numpy as np
from reported_run import material, scored
from scored_run import finished_run

from nuggets_ray.report.anchors import anchors, helped_share
from nuggets_ray.report.material import Sampled


def test_shares_leave_out_what_is_not_known() -> None:
    delta = np.array([[0.1, -0.1], [np.nan, 0.2], [-0.3, 0.4]], np.float32)
    sample = Sampled(np.arange(3), delta, delta)
    np.testing.assert_allclose(helped_share(sample), [0.5, 2 / 3])


def test_the_section(tmp_path: Path) -> None:
    section = anchors(material(scored(str(tmp_path))))
    assert [picture.name for picture in section.pictures] == ["anchors", "matrix"]
    rows = section.values["table"].rows
    assert [row[-1] for row in rows] == ["Task 0", "Task 1", "Task 3", "Task 2"]
    assert rows[0][0] == "92%", "rows 1 to 11, of 12 that are not the anchor"
    assert "Reliability" in section.values["stability"]
    assert not section.values["is_sample"]


def test_private_anchors_are_named_alone(tmp_path: Path) -> None:
    section = anchors(material(scored(str(tmp_path)), text=False))
    assert section.values["table"].rows[0][-1] == "a0"


def test_a_run_without_anchors_says_so(tmp_path: Path) -> None:
    assert "No anchors are chosen yet" in anchors(material(finished_run(str(tmp_path)))).absent
