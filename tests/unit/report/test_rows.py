"""The table of rows."""

from pathlib import Path

from reported_run import choose, material, scored

from nuggets_ray.report.rows import choose_groups, rows


def ids(run: object, groups: dict[int, tuple[str, ...]], name: str) -> list[str]:
    table = run.table["example_id"].to_pylist()  # type: ignore[attr-defined]
    return [table[row] for row, names in groups.items() if name in names]


def test_few_rows_are_all_shown_best_first(tmp_path: Path) -> None:
    section = rows(material(choose(scored(str(tmp_path)))), 300)
    lines = section.values["lines"]
    assert [line.rank for line in lines] == list(range(1, 14))
    assert lines[0].shown.example_id == "c11" and lines[0].kept_in == ("golden",)
    assert lines[0].asked == "Double 11." and lines[0].answered == "It is 22."
    assert not section.values["is_sample"] and section.values["groups"] == {}
    assert section.values["source_name"] == "category"


def test_of_many_rows_the_ends_the_border_and_a_sample(tmp_path: Path) -> None:
    run = material(choose(scored(str(tmp_path), 100), k=30))
    groups = choose_groups(run, 20)
    assert len(groups) <= 20
    assert ids(run, groups, "best") == [f"c{n}" for n in range(99, 92, -1)]
    assert "c00" in ids(run, groups, "worst")
    border = ids(run, groups, "border")
    assert len(border) == 4 and {"c70", "c69"} <= set(border)
    assert ids(run, groups, "sample")
    section = rows(run, 20)
    assert section.values["is_sample"] and "border" in section.values["groups"]


def test_anchors_that_a_row_helped_and_hurt(tmp_path: Path) -> None:
    run = material(scored(str(tmp_path)), num_anchors=2)
    (line,) = (line for line in rows(run, 300).values["lines"] if line.shown.example_id == "c04")
    assert [(d.anchor_id, d.text) for d in line.helped] == [("a0", "Task 0"), ("a1", "Task 1")]
    assert [d.anchor_id for d in line.hurt] == ["a3", "a2"]


def test_without_texts(tmp_path: Path) -> None:
    (line, *_) = rows(material(scored(str(tmp_path)), text=False), 300).values["lines"]
    assert (line.asked, line.answered, line.turns) == ("", "", ())
    assert all(delta.text == "" for delta in (*line.helped, *line.hurt))


def test_texts_are_cut(tmp_path: Path) -> None:
    (line, *_) = rows(material(scored(str(tmp_path)), max_chars=4), 300).values["lines"]
    assert line.turns[0][1] == "Dou…"
