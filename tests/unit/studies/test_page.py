"""The page of a study, and the same numbers for programs."""

import json
from pathlib import Path

from nuggets_ray import io
from nuggets_ray.studies.page import Picture, Report, Table, page_text, write_report

REPORT = Report(
    title="Is it?",
    ran={"rows": "12", "seed": "0"},
    meaning=["It is.", "It was.", "It will be."],
    tables=[Table("**All** of it", ["a", "b"], [["1", "2"]])],
    pictures=[Picture("lines", "two lines", b"\x89PNG")],
    numbers=[{"part": "one", "value": 0.5}, {"part": "two", "count": 3}],
    remarks=["roughly"],
)


def test_the_page_holds_the_meaning_first_then_what_was_run_and_the_numbers() -> None:
    text = page_text(REPORT)
    places = [text.index(one) for one in ("# Is it?", "It is.", "* rows: 12", "* roughly")]
    assert places == sorted(places)
    assert "![two lines](lines.png)" in text
    assert "**All** of it\n\n| a | b |" in text


def test_everything_lies_in_the_folder_of_the_study(tmp_path: Path) -> None:
    wrote = write_report(str(tmp_path), "some_study", REPORT)
    folder = tmp_path / "studies" / "some_study"
    assert {Path(uri).parent for uri in wrote} == {folder}
    assert Path(wrote[0]).read_text() == page_text(REPORT)
    assert (folder / "lines.png").read_bytes() == b"\x89PNG"
    told = json.loads(next(Path(uri) for uri in wrote if uri.endswith(".json")).read_text())
    assert told["meaning"] == list(REPORT.meaning) and told["numbers"] == list(REPORT.numbers)
    table = io.read_table(next(uri for uri in wrote if uri.endswith(".parquet")))
    assert table.to_pylist() == [
        {"part": "one", "value": 0.5, "count": None},
        {"part": "two", "value": None, "count": 3},
    ]
