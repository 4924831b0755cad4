"""What studies found, in the report."""

from pathlib import Path

import pytest
from reported_run import material, scored

from nuggets_ray import io
from nuggets_ray.io import write_json
from nuggets_ray.report import studies as report_studies
from nuggets_ray.report.studies import studies
from nuggets_ray.run.layout import RunFolder


def test_sentences_and_pictures_of_each_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_dir = scored(str(tmp_path))
    folder = RunFolder(out_dir).study("anchor_robustness")
    assert "No study of this run was made" in studies(material(out_dir)).absent
    write_json(folder.numbers, {"title": "Robust?", "meaning": ["Yes."], "numbers": []})
    for name in ("a", "b"):
        io.write_bytes(folder.picture(name), b"png of " + name.encode())
    (told,) = studies(material(out_dir)).values["studies"]
    assert (told["title"], told["meaning"], told["remarks"]) == ("Robust?", ["Yes."], [])
    assert [name for name, _ in told["pictures"]] == ["a.png", "b.png"] and told["linked"] == []
    monkeypatch.setattr(report_studies, "MAX_PICTURES_BYTES", 10)
    (told,) = studies(material(out_dir)).values["studies"]
    assert told["linked"] == ["b.png"]


def test_a_study_that_is_not_whole_is_left_out(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    io.write_bytes(RunFolder(out_dir).study("half").picture("a"), b"png")
    assert studies(material(out_dir)).absent
