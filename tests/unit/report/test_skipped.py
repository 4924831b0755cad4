"""Rows without a score, and fields that were not read."""

from pathlib import Path

from reported_run import material, scored, skip

from nuggets_ray.io import write_json
from nuggets_ray.report.skipped import skipped
from nuggets_ray.run.layout import RunFolder


def test_reasons_with_examples(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    skip(out_dir, *["no_answer"] * 5, "held_out", excerpt="the row\nitself")
    values = skipped(material(out_dir)).values
    assert (values["num_skipped"], values["num_excluded"]) == (5, 1)
    assert [(one["reason"], one["num"]) for one in values["reasons"]] == [
        ("no_answer", 5),
        ("held_out", 1),
    ]
    assert values["reasons"][0]["rows"][0] == "row 0 of /data/rows.jsonl: the row itself"
    assert len(values["reasons"][0]["rows"]) == 3
    private = skipped(material(out_dir, text=False)).values
    assert private["reasons"][0]["rows"][0] == "row 0 of /data/rows.jsonl: -"


def test_fields(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    told = {"fields_read": {"output": 12}, "fields_not_read": {"grade": 3}, "num_rows": 12}
    write_json(RunFolder(out_dir).prepared, {"prepared": told})
    values = skipped(material(out_dir)).values
    assert values["fields"].rows == [["output", "12", "read"], ["grade", "3", "not read"]]
    assert values["reasons"] == []


def test_nothing_left_out(tmp_path: Path) -> None:
    assert "none was skipped" in skipped(material(scored(str(tmp_path)))).absent
