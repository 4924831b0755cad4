"""Medians, ratios, rows and tables, and what is appended to the log."""

import json
from pathlib import Path

import pytest
from made_up_bench import Machine, make_plan

from nuggets_ray.bench.measure import measure
from nuggets_ray.bench.plan import BenchResults, Contender, Plan
from nuggets_ray.bench.rows import format_number, write_rows
from nuggets_ray.bench.tables import (
    Comparison,
    append_log,
    compare,
    compared_rows,
    cost_rows,
    difference_from,
    hardware,
    median_of,
    readings_of,
)
from nuggets_ray.errors import UserError

TREE = Contender("tree", "tree", "bfloat16", "")
OTHER = Contender("other", "other", "bfloat16", "")
# The other one takes twice as long as the tree, but in the first repeat, where it was disturbed.
SECONDS = {"tree": [1.0, 2.0, 3.0, 4.0, 5.0], "other": [50.0, 4.0, 6.0, 8.0, 10.0]}


@pytest.fixture
def measured() -> tuple[Plan, BenchResults]:
    plan = make_plan({"cut-50": [TREE, OTHER]})
    machine = Machine(plan, seconds=lambda name, repeat: SECONDS[name][repeat])
    return plan, measure(plan, machine.start, checked=False)


def rows_of(rows: list[dict], contender: str) -> dict:
    return {row["metric"]: row["value"] for row in rows if row["contender"] == contender}


def test_figures_are_medians(measured) -> None:
    plan, results = measured
    readings = readings_of(results, "cut-50", OTHER)
    assert median_of(readings, lambda r: r.cost.cpu_s) == 8.0
    rows = cost_rows(plan, results)
    assert all(row.keys() == {"case", "contender", "metric", "value", "unit"} for row in rows)
    found = rows_of(rows, "other")
    assert (found["cpu_s"], found["wall_s"], found["peak_memory"]) == (8.0, 16.0, 1.5)
    assert found["repeats"] == 5
    assert rows_of(rows, "")["anchor_tokens"] == sum(range(3, 15))


def test_a_ratio_is_the_median_over_ratios_of_the_same_repeat(measured) -> None:
    _, results = measured
    # the ratio of the medians would be 8 over 3
    compared = compare(Comparison("cut-50", "other", "tree"), results, "cpu")
    assert compared.ratio == 2.0
    assert rows_of(compared_rows([compared]), "other") == {"ratio to tree": 2.0}


def test_on_a_gpu_wall_seconds_are_compared(measured) -> None:
    _, results = measured
    for reading in list(results.readings):
        assert reading.cost.wall_s == 2 * reading.cost.cpu_s
    assert compare(Comparison("cut-50", "other", "tree"), results, "cuda").ratio == 2.0


def test_one_without_figures_has_no_ratio_and_says_why() -> None:
    plan = make_plan({"cut-50": [TREE, OTHER]}, repeats=2)
    machine = Machine(plan, change={"other": lambda found: found + 1})
    results = measure(plan, machine.start, checked=True)
    compared = compare(Comparison("cut-50", "other", "tree"), results, "cpu")
    assert compared.ratio is None and compared_rows([compared]) == []
    found = rows_of(cost_rows(plan, results), "other")
    assert found == {"float32_difference": 1.0, "status": "invalid: off by 1 nats in float32"}


def test_the_difference_from_the_tree_is_of_the_same_runs() -> None:
    plan = make_plan({"cut-50": [TREE, OTHER]}, repeats=2)
    machine = Machine(plan, change={"other": lambda found: found - 0.25})
    results = measure(plan, machine.start, checked=False)
    assert difference_from("tree", readings_of(results, "cut-50", OTHER), results) == pytest.approx(
        0.25
    )
    assert difference_from("tree", readings_of(results, "cut-50", TREE), results) == 0


def test_numbers_are_shown_with_three_digits() -> None:
    assert [format_number(value) for value in (123.456, 0.0012345, None)] == ["123", "0.00123", "-"]


def test_the_hardware_is_one_line() -> None:
    line = hardware("cpu", 1)
    assert "cores" in line and "torch" in line and "1 thread a" in line and "\n" not in line


def test_the_log_grows_by_a_dated_section(tmp_path: Path) -> None:
    path = tmp_path / "LOG.md"
    append_log(str(path), "bench=peers", "| a |\n")
    append_log(str(path), "bench=engine", "| b |")
    lines = path.read_text().splitlines()
    assert lines[0] == "# Bench log" and sum(line.startswith("# ") for line in lines) == 1
    titles = [line for line in lines if line.startswith("## ")]
    assert [title.split()[-1] for title in titles] == ["bench=peers", "bench=engine"]
    assert lines.index("| a |") < lines.index(titles[1]) < lines.index("| b |")


def test_files_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    write_rows(str(tmp_path / "rows.json"), [{"case": "a"}])
    assert json.loads((tmp_path / "rows.json").read_text()) == [{"case": "a"}]
    with pytest.raises(UserError, match="bench.out="):
        write_rows(str(tmp_path / "nowhere" / "rows.json"), [])
