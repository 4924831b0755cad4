"""What the select job ends with."""

import json

import pytest
from shown_run import readable_run

from nuggets_ray import io
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.select_report import read_sources, selection_report
from nuggets_ray.select import select


@pytest.fixture
def out_dir(tmp_path: object) -> str:
    return readable_run(f"{tmp_path}/run")


def report(out_dir: str, **keys: object) -> str:
    config = SelectConfig(**{"rule": "top_k", "k": 4, **keys})  # type: ignore[arg-type]
    scored = read_scored(out_dir)
    return selection_report(out_dir, scored, select(scored.scores, config, 0), config, 0)


def ids_below(text: str, title: str) -> list[str]:
    [part] = [part for part in text.split("\n\n") if part.startswith(f"{title}:\n")]
    return [line.rpartition(", ")[2] for line in part.splitlines() if " answer tokens, " in line]


def test_the_report_has_the_rows_of_the_top_of_the_border_and_of_the_end(out_dir: str) -> None:
    text = report(out_dir)
    assert text.startswith("Golden scores of 12 scored rows (# kept, - left out):")
    assert "The cut is at 0.75, amid a tie: 3 rows are there, and 2 of them" in text
    assert ids_below(text, "The first") == ["c11", "c10", "c09"]
    assert ids_below(text, "The last kept") == ["c08"]
    assert ids_below(text, "The first left out") == ["c07", "c06"]
    assert ids_below(text, "The last of all") == ["c01", "c02", "c00"]
    assert "  1.00 [0.51, 1.00], 21 answer tokens, c11\n      Double 11. -> It is 22.\n" in text
    assert f"jobs/show.py out_dir={out_dir} shows more rows" in text


def test_private_rows_are_told_by_ids_and_numbers_alone(out_dir: str) -> None:
    text = report(out_dir, show_text=False)
    assert ids_below(text, "The first") == ["c11", "c10", "c09"]
    assert "Double" not in text and "It is" not in text


def test_other_measures_than_the_score(out_dir: str) -> None:
    by_length = report(out_dir, by="longest")
    assert by_length.startswith("Answer tokens of 12 scored rows")
    random = report(out_dir, by="random")
    assert random.startswith("Golden scores of 12 scored rows")
    assert "The cut" not in random and "The last kept" not in random
    assert len(ids_below(random, "The first")) == 3


def test_everything_kept_has_no_border(out_dir: str) -> None:
    text = report(out_dir, k=13, unique=False)
    assert "The first left out" not in text and "The last of all" not in text
    assert ids_below(text, "The last kept") == ["c02", "c00"]
    assert text.startswith("Golden scores of 13 scored rows"), "copies count where they are chosen"


def test_sources_are_a_field_that_tells_rows_apart(out_dir: str) -> None:
    table = read_scored(out_dir).table
    sources = read_sources(out_dir, table)
    assert sources is not None and sources.name == "category"
    values = [sources.values[value] for value in sources.value_N]
    numbers = [int(name[1:3]) for name in table["example_id"].to_pylist()]
    assert values == ["maths" if number < 8 else "trivia" for number in numbers]
    assert "| category | kept" in report(out_dir)


def test_without_such_a_field_sources_are_the_files(out_dir: str) -> None:
    part = io.join(RunFolder(out_dir).candidates, "part-0.parquet")
    table = io.read_table(part)
    rows = [json.loads(text) for text in table["row_json"].to_pylist()]
    for number, row in enumerate(rows):
        row["category"] = f"a category of its own {number}"
    place = table.column_names.index("row_json")
    table = table.set_column(place, "row_json", [[json.dumps(row) for row in rows]])
    io.write_table(part, table)
    assert read_sources(out_dir, read_scored(out_dir).table) is None, "one file tells nothing"
    place = table.column_names.index("source_path")
    files = ["/data/b.jsonl" if number % 3 else "/data/a.jsonl" for number in range(len(rows))]
    io.write_table(part, table.set_column(place, "source_path", [files]))
    sources = read_sources(out_dir, read_scored(out_dir).table)
    assert sources is not None and sources.name == "file"
    assert sorted(sources.values) == ["/data/a.jsonl", "/data/b.jsonl"]
