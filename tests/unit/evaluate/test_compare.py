"""Runs side by side, and whatever makes their numbers unlike flagged."""

from dataclasses import replace

import pytest

from nuggets_ray.evaluate.compare import compare_runs, run_labels
from nuggets_ray.evaluate.results import Result, Results

PRIMARY = "likelihood/win_rate"
RATE = Result(
    "golden",
    "likelihood",
    "win_rate",
    0.6,
    90,
    0.5,
    0.7,
    against="base",
    data={"holdout.parquet": "ab12"},
)
JUDGED = Result(
    "golden",
    "alpaca_eval",
    "win_rate",
    0.4,
    80,
    judge="j1",
    prompt_version="v1",
    generation={"temperature": 0, "max_tokens": 64},
)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_lines_and_columns() -> None:
    table = compare_runs(
        {
            "/runs/one": Results(PRIMARY, (JUDGED, RATE)),
            "/runs/two": Results(PRIMARY, (replace(RATE, value=0.7, low=None),)),
        }
    ).splitlines()
    header = ["metric", "subset", "model", "against", "one", "two", "not comparable"]
    assert cells(table[0]) == header
    first = [PRIMARY + " *", "all", "golden", "base", "0.6 [0.5, 0.7]", "0.7", ""]
    assert cells(table[2]) == first
    assert cells(table[3]) == ["alpaca_eval/win_rate", "all", "golden", "", "0.4", "-", ""]
    assert table[-1] == f"* primary, named before the runs: {PRIMARY}"


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"judge": "j2"}, "different judge: one: j1; two: j2"),
        ({"prompt_version": None}, "different prompt version: one: v1; two: none"),
        (
            {"generation": {"max_tokens": 64, "temperature": 1}},
            'different generation settings: one: {"max_tokens": 64, "temperature": 0}; '
            'two: {"max_tokens": 64, "temperature": 1}',
        ),
        ({"data": {"prompts": "cd"}}, 'different data: one: none; two: {"prompts": "cd"}'),
        ({"n": 79}, "different number of rows: one: 80; two: 79"),
    ],
)
def test_unlike_numbers_are_flagged(change: dict, note: str) -> None:
    text = compare_runs(
        {
            "/runs/one": Results(PRIMARY, (RATE, JUDGED)),
            "/runs/two": Results(PRIMARY, (RATE, replace(JUDGED, **change))),
        }
    )
    assert f"\n[1] {note}\n" in text
    flags = {cells(line)[0]: cells(line)[-1] for line in text.splitlines() if line[:1] == "|"}
    assert flags[PRIMARY + " *"] == ""
    assert flags["alpaca_eval/win_rate"] == "[1]"


def test_the_order_of_settings_is_no_difference() -> None:
    other = replace(JUDGED, generation={"max_tokens": 64, "temperature": 0})
    text = compare_runs({"a": Results(PRIMARY, (JUDGED,)), "b": Results(PRIMARY, (other,))})
    assert "different" not in text


def test_one_note_for_the_same_difference_and_several_notes_on_a_line() -> None:
    second = replace(JUDGED, metric="mean_length")
    changed = [replace(result, judge="j2", n=3) for result in (JUDGED, second)]
    text = compare_runs(
        {"a": Results(PRIMARY, (JUDGED, second)), "b": Results(PRIMARY, tuple(changed))}
    )
    assert text.count("different judge") == 1
    assert text.count("[1] [2]") == 2


def test_two_judges_of_one_run_are_two_lines() -> None:
    both = Results(PRIMARY, (JUDGED, replace(JUDGED, judge="j2", value=0.3)))
    text = compare_runs({"a": both, "b": Results(PRIMARY, (JUDGED,))})
    rows = [cells(line) for line in text.splitlines() if line.startswith("| alpaca")]
    assert [(row[0], row[4], row[5]) for row in rows] == [
        ("alpaca_eval/win_rate (j1) (v1)", "0.4", "0.4"),
        ("alpaca_eval/win_rate (j2) (v1)", "0.3", "-"),
    ]


def test_different_primaries_and_verdicts_are_told() -> None:
    verdict = {"outcome": "not told apart", "paragraph": "One random draw cannot tell."}
    text = compare_runs({"a": Results(PRIMARY, (RATE,), verdict), "b": Results("x/y", (RATE,))})
    assert f"The runs named different primary metrics: a: {PRIMARY}; b: x/y" in text
    assert "Verdict of a: not told apart. One random draw cannot tell." in text


def test_nothing_to_compare() -> None:
    assert compare_runs({"a": Results(PRIMARY)}).startswith("No run holds a result.")


def test_labels_are_as_short_as_tells_them_apart() -> None:
    assert list(run_labels(["/r/x/seed0", "/r/y/seed0", "/r/z/", "s3://b/w"]).values()) == [
        *("x/seed0", "y/seed0", "z", "w")
    ]
    assert list(run_labels(["one", "/x/one"]).values()) == ["one", "x/one"]


def test_two_sets_of_one_run_are_two_lines() -> None:
    koala, vicuna = replace(JUDGED, name="koala"), replace(JUDGED, name="vicuna", value=0.3)
    text = compare_runs({"a": Results(PRIMARY, (koala, vicuna)), "b": Results(PRIMARY, (koala,))})
    rows = [cells(line) for line in text.splitlines() if line.startswith("| alpaca")]
    assert [(row[0], row[4], row[5]) for row in rows] == [
        ("alpaca_eval/win_rate (koala) (j1) (v1)", "0.4", "0.4"),
        ("alpaca_eval/win_rate (vicuna) (j1) (v1)", "0.3", "-"),
    ]


def test_primary_metrics_that_rest_on_unlike_rows_or_seeds_are_not_comparable() -> None:
    one = replace(RATE, seed=0)
    runs = {}
    for name, result in (("a", one), ("b", replace(one, seed=1)), ("c", one)):
        runs[name] = Results(PRIMARY).pinned([result]).merged([result])
    text = compare_runs({"a": runs["a"], "b": runs["b"]})
    assert "Not comparable, for the primary metric has another seed (a: 0; b: 1)." in text
    assert "[1] different seed: a: 0; b: 1" in text
    assert "omparable, for" not in compare_runs({"a": runs["a"], "c": runs["c"]})
    other = replace(one, data={"holdout.parquet": "ffff"})
    rows = {"a": runs["a"], "d": Results(PRIMARY).pinned([other]).merged([other])}
    assert "has another rows or files (a: " in compare_runs(rows)


def test_seeds_of_other_metrics_are_no_difference() -> None:
    other = replace(JUDGED, seed=1)
    text = compare_runs(
        {"a": Results(PRIMARY, (replace(JUDGED, seed=0),)), "b": Results(PRIMARY, (other,))}
    )
    assert "different" not in text
