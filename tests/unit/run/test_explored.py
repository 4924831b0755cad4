"""What a folder says of its exploration."""

from nuggets_ray.run.explored import explored_line, is_explored

EXPLORED = {
    **{"num_candidates": 900, "num_anchors": 100, "num_anchors_met": 30, "num_complete": 100},
    **{"num_passes": 34_000, "num_passes_full": 90_000},
}


def test_it_says_what_was_met_what_it_cost_and_that_there_are_no_golden_scores() -> None:
    line = explored_line({"explore": EXPLORED}) or ""
    assert line.startswith("800 rows met 30 of the 100 anchors, 100 all of them: 37.8 passes a row")
    assert "2.6 times fewer" in line and "no golden scores" in line
    assert is_explored({"explore": EXPLORED})


def test_one_under_way_says_so_and_one_that_fell_back_says_why() -> None:
    assert "under way" in (explored_line({"explore": {}}) or "") and is_explored({"explore": {}})
    fell_back = {"explore": {"fell_back": "12 candidates are fewer than 400"}}
    assert explored_line(fell_back) == (
        "nothing to gain, so all was scored: 12 candidates are fewer than 400"
    )
    assert not is_explored(fell_back)


def test_other_folders_say_nothing() -> None:
    assert explored_line({"race": {"top_k": 3}}) is None and not is_explored({})
