"""What the other signals would pick."""

from pathlib import Path

import numpy as np
from shown_run import readable_run

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.records import SignalRow
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.signal_table import signal_table
from nuggets_ray.run.signals import write_signals
from nuggets_ray.select import select

TOP_3 = SelectConfig(rule="top_k", k=3)


def lines_of(out_dir: str, config: SelectConfig) -> dict[str, str]:
    """signal -> its line of the table."""
    scored = read_scored(out_dir)
    text = signal_table(out_dir, scored, select(scored.scores, config, 0).row_K, config, 0)
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    return {line[1]: " | ".join(line[2:-1]) for line in cells if len(line) > 3}


def test_an_old_folder_has_the_signals_of_its_scores(tmp_path: Path) -> None:
    lines = lines_of(readable_run(str(tmp_path)), TOP_3)
    assert set(lines) >= {"golden_score", "standardised_delta", "loss_ratio", "longest"}
    assert not {"perplexity", "ifd", "rds", "posterior_score", "random"} & set(lines)
    assert lines["golden_score"].endswith("3 (100%)")
    assert lines["longest"] == "uses no anchors | 3 (100%)"
    # row n helps every anchor by n: any half of the anchors gives the same order, but for the row
    # that is an anchor
    assert float(lines["standardised_delta"].partition(" ")[0]) > 0.9


def test_a_signal_that_too_few_rows_have_is_not_compared(tmp_path: Path) -> None:
    out_dir = readable_run(str(tmp_path))
    write_signals(out_dir, "1", [SignalRow(f"c{n:02d}", perplexity=float(n + 1)) for n in range(2)])
    assert lines_of(out_dir, TOP_3)["perplexity"] == "uses no anchors | -"
    write_signals(
        out_dir,
        "2",
        [
            SignalRow(f"c{n:02d}", rds=n / 20, rds_cosine=np.full(4, n / 20, np.float32))
            for n in range(12)
        ],
    )
    assert lines_of(out_dir, TOP_3)["rds"] == "1.00 | 3 (100%)"
