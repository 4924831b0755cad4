"""The rounds of a race as people see them."""

from pathlib import Path
from typing import Any

import numpy as np

from nuggets_ray.run.funnel import funnel_line, funnel_table, make_funnel, read_funnel
from nuggets_ray.run.rounds import Round, RoundAsk, write_round

PILOT = {
    **{"phase": "pilot", "num_live": 48, "num_left": 0, "num_complete": 0, "top_k": 20},
    **{"num_candidates": 500, "num_anchors": 40, "num_passes": 1920, "num_passes_saved": 0},
}
SECOND = {
    **{"phase": "block 2", "num_live": 90, "num_left": 362, "num_complete": 48, "num_back": 3},
    **{"allowed_loss": 0.1, "expected_loss": 0.04, "expected_recall": 0.998, "top_k": 20},
    **{"num_candidates": 500, "num_anchors": 40, "num_passes": 900, "num_passes_saved": 12_670},
}
TIMES = {
    "stages": {
        "score": {
            "attempts": [
                {"rounds": [{"number": 0, "seconds": 10.0, "waited_s": 1.0}]},
                {"rounds": [{"number": 0, "seconds": 2.0, "waited_s": 0.5}]},
                {},
            ]
        }
    }
}


def test_a_round_s_numbers_add_up() -> None:
    pilot, second = make_funnel([(0, PILOT), (1, SECOND)], TIMES)
    assert (pilot.num_alive, second.num_alive) == (500, 90)
    assert (pilot.num_passes_so_far, second.num_passes_so_far) == (1920, 2820)
    assert second.num_passes_full == 20_000 and second.num_passes_saved == 12_670
    assert (pilot.seconds, pilot.waited_s) == (12.0, 1.5)
    assert second.seconds is None


def test_the_log_says_who_is_alive_and_what_was_spent() -> None:
    _, second = make_funnel([(0, PILOT), (1, SECOND)], {})
    line = funnel_line(second)
    for part in (
        "round 1, block 2: 90 alive, 90 asked, 362 left behind, 3 came back, 48 complete",
        "loss spent 0.04 of 0.10 rows",
        "2,820 passes with it, 14% of full scoring's",
        "12,670 saved so far",
    ):
        assert part in line
    assert "loss" not in funnel_line(make_funnel([(0, PILOT)], {})[0])


def test_the_table_has_a_line_a_round_in_columns() -> None:
    head, pilot, second = funnel_table(make_funnel([(0, PILOT), (1, SECOND)], TIMES))
    assert len(head) == len(pilot) == len(second)
    assert "left behind" in head and "12 s" in pilot and "2,820" in second


def test_rounds_of_an_older_run_are_read_without_what_they_did_not_say(tmp_path: Path) -> None:
    old: dict[str, Any] = {"phase": "pilot", "num_live": 2, "num_left": 0, "num_complete": 0}
    asks = (RoundAsk(np.array(["a", "b"]), np.arange(3)),)
    write_round(str(tmp_path), Round(0, asks, None, None, old))
    [one] = read_funnel(str(tmp_path), {})
    assert (one.phase, one.num_asked, one.num_alive, one.num_passes) == ("pilot", 2, None, None)
    assert funnel_table([one])[1].split()[:2] == ["0", "pilot"]
    assert "2 asked" in funnel_line(one)
    assert read_funnel(str(tmp_path / "none"), {}) == ()
