"""What the select job ends with."""

import pytest
from shown_run import readable_run

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.choose import choose
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.select_materials import read_materials
from nuggets_ray.run.select_report import selection_report
from nuggets_ray.run.select_signals import with_signals
from nuggets_ray.run.selection_profile import profile_of


@pytest.fixture
def out_dir(tmp_path: object) -> str:
    return readable_run(f"{tmp_path}/run")


def report(out_dir: str, **keys: object) -> str:
    config = SelectConfig(**{"rule": "top_k", "k": 4, **keys})  # type: ignore[arg-type]
    scored = with_signals(out_dir, read_scored(out_dir), config)
    chosen = choose(scored.scores, config, 0, read_materials(out_dir, config, scored, None))
    profile = profile_of(out_dir, scored, chosen.selection, config, 0)
    return selection_report(out_dir, scored, chosen, profile, config)


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


def test_the_steps_tell_what_they_did(out_dir: str) -> None:
    text = report(out_dir, per="category", divide="equal", min_answer_tokens=12)
    assert "2 rows are not eligible by their answer's length (select.min_answer_tokens=12, " in text
    [table] = [part for part in text.split("\n\n") if part.startswith("| category | eligible")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert cells[2:] == [["maths", "6", "2", "2"], ["trivia", "4", "2", "2"]]
    assert "The cut is at" not in text, "there is none"


def test_sources_are_told(out_dir: str) -> None:
    assert "| category | kept" in report(out_dir)


def test_rows_are_shown_by_the_signal_that_ranks_them(out_dir: str) -> None:
    text = report(out_dir, by="loss_ratio")
    assert text.startswith("Values of loss_ratio of 12 scored rows")
    assert "The cut is at 1." in text and "where no other row is" in text
    assert report(out_dir, by={"loss_ratio": 1, "longest": 1}).startswith("Values of blend of 12")
