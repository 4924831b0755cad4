"""report/index.html whole: what is there, what is absent, what attacks, how large it is."""

import json
from pathlib import Path

import pytest
from reported_run import HOSTILE, Tags, hostile_run, scored, whole_run

from nuggets_ray import io
from nuggets_ray.config.report import ReportConfig
from nuggets_ray.errors import UserError
from nuggets_ray.report import report
from nuggets_ray.report.report import write_report
from nuggets_ray.run.layout import RunFolder

KEYS = {
    *("overview", "warnings", "scores", "rows", "lengths", "anchors", "selections", "signals"),
    *("training", "evaluation", "answers", "studies", "skipped"),
}


def page_of(out_dir: str, **config: object) -> str:
    write_report(out_dir, ReportConfig(**config))  # type: ignore[arg-type]
    return io.read_bytes(RunFolder(out_dir).report.page).decode()


def test_every_section_of_a_whole_run(tmp_path: Path) -> None:
    out_dir = whole_run(str(tmp_path))
    result = write_report(out_dir, ReportConfig())
    page = Tags(io.read_bytes(RunFolder(out_dir).report.page).decode())
    assert {section["id"] for section in page.of("section")} == KEYS
    assert "golden and random are not told apart" in page.text
    assert "Double 11." in page.text and "no_answer: 2 rows" in page.text
    absent = [one for one in page.of("p") if one.get("class") == "absent"]
    assert len(absent) == 1, "no study was made"
    assert result["num_rows"] == 13 and result["partial"] is False
    for uri in result["wrote"]:
        assert len(io.read_bytes(uri)) > 1000
    pngs = [uri for uri in result["wrote"] if uri.endswith(".png")]
    assert len(pngs) == len(page.of("figure")) >= 9
    assert all(io.read_bytes(uri).startswith(b"\x89PNG") for uri in pngs)


def test_a_run_that_is_only_scored_says_what_is_absent(tmp_path: Path) -> None:
    page = Tags(page_of(scored(str(tmp_path))))
    assert "Nothing was trained" in page.text and "so there is no verdict" in page.text
    assert "No selection is made yet" in page.text
    assert {section["id"] for section in page.of("section")} == KEYS


def test_nothing_is_loaded_and_one_script_runs(tmp_path: Path) -> None:
    page = Tags(page_of(whole_run(str(tmp_path))))
    assert len(page.of("script")) == len(page.of("style")) == 1
    assert not page.of("link") and not page.of("iframe")
    assert not [1 for _, given in page.tags if "style" in given]
    links = [one["href"] or "" for one in page.of("a")]
    assert links and all(link.startswith(("#", "../")) for link in links)


def test_texts_that_attack_are_shown_and_do_nothing(tmp_path: Path) -> None:
    text = page_of(hostile_run(str(tmp_path)))
    page = Tags(text)
    assert len(page.of("script")) == 1 and len(page.of("style")) == 1
    assert not page.of("b") and not [one for one in page.of("img")]
    handlers = [name for _, given in page.tags for name in given if name.startswith("on")]
    assert handlers == []
    assert "&lt;script&gt;" in text and HOSTILE[0] in page.text
    assert "{{ 7 * 7 }}" in page.text
    for bad in ("\x1b", "\x00", "\u202e", "\u2066", "\u200f", "\ud83d"):
        assert bad not in text
    assert not any((one["href"] or "").startswith("javascript") for one in page.of("a"))


def test_private_rows_leave_no_text(tmp_path: Path) -> None:
    out_dir = whole_run(str(tmp_path))
    text = page_of(out_dir, text=False)
    for private in ("Double 11.", "It is 22.", "Task 1", "the row:", "So!"):
        assert private not in text
    assert "c11" in text


def test_a_page_is_under_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out_dir = scored(str(tmp_path), 60)
    everything = len(page_of(out_dir).encode())
    limit = everything - 20_000
    monkeypatch.setattr(report, "MAX_BYTES", limit)
    result = write_report(out_dir, ReportConfig())
    assert len(io.read_bytes(RunFolder(out_dir).report.page)) < limit
    assert 1 < result["num_rows"] < 60


def test_a_report_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    out_dir = whole_run(str(tmp_path))
    old = RunFolder(out_dir).report.picture("of_before")
    io.write_bytes(old, b"png")
    page_of(out_dir)
    assert not io.exists(old)


def test_no_run_and_no_such_selection_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run has begun there"):
        write_report(str(tmp_path / "nothing"), ReportConfig())
    out_dir = whole_run(str(tmp_path / "run"))
    with pytest.raises(UserError, match=r"report.selection=best: .*\(golden\)"):
        write_report(out_dir, ReportConfig(selection="best"))


def test_a_run_without_a_score_yet_is_told_as_it_is(tmp_path: Path) -> None:
    out_dir = str(tmp_path)
    attempt = {"attempt_id": "a", "started": "2026-01-01T10:00:00+00:00", "ended": None}
    stages = {"score": {"status": "running", "attempts": [attempt | {"status": "running"}]}}
    manifest = {"schema_version": 1, "stages": stages}
    io.write_bytes(RunFolder(out_dir).manifest, json.dumps(manifest).encode())
    page = Tags(page_of(out_dir))
    assert "No row is scored yet" in page.text and "killed" in page.text
