"""Golden beside other signals."""

from pathlib import Path

import numpy as np
from reported_run import choose, material, scored

from nuggets_ray.report.signals import read_measures, signals, top_rows
from nuggets_ray.run.posterior import write_posterior


def test_measures_of_a_run(tmp_path: Path) -> None:
    out_dir = choose(scored(str(tmp_path)))
    ids = np.array([f"c{n:02d}" for n in range(12)])
    write_posterior(out_dir, ids, np.linspace(0, 1, 12), np.zeros(12), np.ones(12))
    run = material(out_dir)
    assert list(read_measures(run)) == [
        *("golden_score", "mean_delta", "num_answer_tokens", "posterior_score"),
        *("standardised_delta", "loss_ratio"),
    ]
    section = signals(run)
    rows = {row[0]: row for row in section.values["table"].rows}
    assert section.values["top_k"] == 4
    assert rows["posterior_score"][1] == "13"
    assert rows["mean_delta"][3:] == ["100%", "0%"], "row n helps the more, the larger n"
    assert rows["mean_delta"][2].startswith("+0.9")
    assert section.pictures[0].name == "signals"


def test_top_rows_leave_unknown_ones_for_last() -> None:
    assert top_rows(np.array([0.1, np.nan, 0.9, 0.9]), 3).tolist() == [2, 3, 0]


def test_too_few_rows_say_so(tmp_path: Path) -> None:
    assert "Too few rows" in signals(material(scored(str(tmp_path), 2))).absent
