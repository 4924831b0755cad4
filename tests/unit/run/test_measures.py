"""All signals of a run by name, and what is said of one that is not there."""

from pathlib import Path

import numpy as np
from shown_run import readable_run

from nuggets_ray import io
from nuggets_ray.records import SignalRow
from nuggets_ray.run.joined import join_scores
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.measures import known_signals, read_measures, way_to
from nuggets_ray.run.posterior import write_posterior
from nuggets_ray.run.signals import write_signals
from nuggets_ray.signals.names import SIGNALS

COLUMNS = ["golden_score", "num_answer_tokens"]
NUMBERS = [name for name in SIGNALS if name != "random"]


def test_an_old_folder_has_what_its_scores_tell(tmp_path: Path) -> None:
    out_dir = readable_run(str(tmp_path))
    table = join_scores(out_dir, COLUMNS).table
    measures = read_measures(out_dir, table, NUMBERS)
    assert set(measures.values) == set(NUMBERS)
    there = [name for name, value_N in measures.values.items() if not np.isnan(value_N).all()]
    assert there == ["golden_score", "longest", "standardised_delta", "loss_ratio"]
    assert measures.values["longest"].tolist() == table["num_answer_tokens"].to_pylist()
    assert measures.rds_turn_N is None and known_signals(out_dir) == []


def test_signals_are_joined_by_content_and_copies_have_those_of_the_first(tmp_path: Path) -> None:
    out_dir = readable_run(str(tmp_path))
    near = np.array([0.1, 0.9, 0.2, 0.3], np.float32)
    far = np.array([0.2, 0.1, 0.1, 0.2], np.float32)
    write_signals(
        out_dir,
        "1",
        [
            SignalRow("c05", perplexity=5.0, rds=0.9, rds_cosine=near),
            SignalRow("c07", perplexity=7.0, rds=0.2, rds_cosine=far),
        ],
    )
    half = np.full(2, 0.5)
    write_posterior(out_dir, np.array(["c05", "c07"]), half, half, half)
    table = join_scores(out_dir, COLUMNS).table
    measures = read_measures(out_dir, table, ["perplexity", "rds", "posterior_score"])
    ids = table["example_id"].to_pylist()
    rows = [ids.index(name) for name in ("c05", "c05-2", "c07")]
    assert measures.values["perplexity"][rows].tolist() == [5.0, 5.0, 7.0]
    assert measures.values["posterior_score"][rows].tolist() == [0.5] * 3
    assert measures.rds_turn_N is not None
    # the first anchor takes c07, the second c05
    assert measures.rds_turn_N[rows].tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(measures.rds_turn_N).sum() == len(ids) - 3
    assert known_signals(out_dir) == ["perplexity", "rds"]


def test_the_way_to_a_signal_is_the_command_of_the_run(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    assert "'signals=[ifd]'" in way_to(out_dir, "ifd_perplexity")
    told = {
        "stage": "score",
        "attempt_id": "1",
        "command": "python jobs/score.py 'data.path=/my rows.jsonl' 'signals=[perplexity]'",
    }
    io.write_json(RunFolder(out_dir).status("score"), told)
    way = way_to(out_dir, "rds")
    assert "run python jobs/score.py 'data.path=/my rows.jsonl' 'signals=[rds]'" in way
    assert "perplexity" not in way
    assert way_to(out_dir, "posterior_score").startswith("run python jobs/score.py")
