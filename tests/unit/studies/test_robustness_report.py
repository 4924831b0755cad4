"""anchor_robustness in words: the sentence of a cut, what is said of pilots and too few rows."""

from dataclasses import replace

import numpy as np
import pytest
from studied_run import factor_deltas

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.anchor_robustness import Cut, study_robustness
from nuggets_ray.studies.matrix import DeltaMatrix
from nuggets_ray.studies.page import Report, page_text
from nuggets_ray.studies.robustness_report import cut_sentence, robustness_report

CUT = Cut(0.01, 52, 26, 0.26, 0.06, 0.7, 450, False)
CONFIG = StudyConfig(draws=3, cuts=[0.01, 0.1])


def report_of(matrix: DeltaMatrix) -> Report:
    return robustness_report(study_robustness(matrix, CONFIG, 0), matrix, CONFIG, {"seed": "0"})


@pytest.fixture(scope="module")
def matrix() -> DeltaMatrix:
    ids = np.array([f"c{number}" for number in range(300)])
    return DeltaMatrix(ids, factor_deltas(300, 40), 300, False, False)


def test_the_sentence_of_a_cut() -> None:
    assert cut_sentence(CUT, 100, 0.5) == (
        "With 100 anchors the top 1% is repeatable to 0.26 (+- 0.06); 1,000 anchors would give "
        "0.70: too small a set for this cut (0.5 takes about 450)."
    )
    enough = replace(CUT, is_enough=True, overlap=0.61)
    assert cut_sentence(enough, 100, 0.5).endswith("1,000 anchors would give 0.70.")
    hopeless = replace(CUT, wanted_anchors=None)
    assert "no number is foreseen to help" in cut_sentence(hopeless, 100, 0.5)


def test_the_page_tells_in_three_paragraphs_and_holds_every_table(matrix: DeltaMatrix) -> None:
    report = report_of(matrix)
    assert len(report.meaning) == 3
    assert "the top 10% is repeatable to" in report.meaning[0]
    assert "reliability of" in report.meaning[0] and "standard error of" in report.meaning[0]
    assert "golden_score itself" in report.meaning[1]
    assert "random" in report.meaning[2] and "stratified" in report.meaning[2]
    text = page_text(report)
    for told in ("**golden_score**", "**The cuts**", "**Check**", "**Composition**"):
        assert told in text
    assert [picture.name for picture in report.pictures] == ["cuts", "signals", "composition"]
    assert "too few rows for the top 1%" in text, "three rows of 300"


def test_the_numbers_are_those_of_the_tables(matrix: DeltaMatrix) -> None:
    report = report_of(matrix)
    parts = {row["part"] for row in report.numbers}
    assert parts == {"size", "golden_score_of_others", "composition", "check", "cut"}
    (row,) = [
        row
        for row in report.numbers
        if row["part"] == "size" and row["signal"] == "golden_score" and row["num_anchors"] == 40
    ]
    assert not row["is_measured"]
    cells = next(
        cells
        for table in report.tables
        if table.caption.startswith("**golden_score**")
        for cells in table.rows
        if cells[0] == "40"
    )
    assert cells[2] == f"{row['linear']:.3f}" and cells[-1] == f"{row['overlap_top_0.1']:.3f}"


def test_a_pilot_and_a_run_that_goes_on_are_said(matrix: DeltaMatrix) -> None:
    text = page_text(report_of(replace(matrix, is_pilot=True, is_partial=True)))
    assert "the pilot of the race" in text and "the scoring has not ended" in text


def test_rows_that_no_cut_can_be_told_of(matrix: DeltaMatrix) -> None:
    few = replace(matrix, content_id_N=matrix.content_id_N[:30], delta_NA=matrix.delta_NA[:30])
    report = report_of(few)
    assert report.meaning[0].startswith("No cut of study.cuts keeps rows enough of these 30")
    assert [picture.name for picture in report.pictures] == ["signals", "composition"]
