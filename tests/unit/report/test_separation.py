"""The demo's damaged rows in the report."""

from pathlib import Path

from reported_run import material, scored

from nuggets_ray.io import write_json
from nuggets_ray.report.separation import separation
from nuggets_ray.run.layout import RunFolder


def test_a_table_of_measures_by_damage(tmp_path: Path) -> None:
    out_dir = scored(str(tmp_path))
    assert separation(material(out_dir)) is None
    told = [
        {"measure": measure, "kind": kind, "auc": auc, "auc_low": auc - 0.1, "auc_high": auc + 0.1}
        for measure, kind, auc in (
            *(("golden score", "all", 0.6), ("golden score", "cut", 0.7)),
            ("perplexity", "all", 0.8),
        )
    ]
    write_json(RunFolder(out_dir).separation, {"separation": told})
    section = separation(material(out_dir))
    assert section is not None
    table = section.values["table"]
    assert table.header == ("damage", "golden score", "perplexity")
    assert table.rows == [
        ["all", "0.60 [0.50, 0.70]", "0.80 [0.70, 0.90]"],
        ["cut", "0.70 [0.60, 0.80]", ""],
    ]
