"""Which rows are shown, and what is told of each."""

import json

import numpy as np
import pytest
from shown_run import NUM_ROWS, readable_run

from nuggets_ray import io
from nuggets_ray.config.show import ShowConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import SCORE_COLUMNS, join_scores
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.shown_rows import (
    ShownRow,
    choose_rows,
    read_shown,
    rows_with_text,
    score_text,
)


@pytest.fixture(scope="module")
def out_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    return readable_run(str(tmp_path_factory.mktemp("run")))


def chosen(out_dir: str, **keys: object) -> list[str]:
    table = join_scores(out_dir, SCORE_COLUMNS).table
    config = ShowConfig(**keys)  # type: ignore[arg-type]
    matching = None if config.search is None else rows_with_text(out_dir, config.search)
    return table["example_id"].take(choose_rows(table, config, matching)).to_pylist()


def shown(out_dir: str, example_id: str) -> ShownRow:
    table = join_scores(out_dir, SCORE_COLUMNS).table
    place = table["example_id"].to_pylist().index(example_id)
    [row] = read_shown(out_dir, table, [place])
    return row


def test_rows_come_in_the_order_that_is_asked_for(out_dir: str) -> None:
    assert chosen(out_dir, num=2) == ["c11", "c10"]
    assert chosen(out_dir, num=3, order="bottom") == ["c00", "c02", "c01"]
    assert chosen(out_dir, num=1, by="num_answer_tokens", order="bottom") == ["c00"]
    everything = chosen(out_dir, num=99, by="mean_delta")
    assert len(everything) == len(set(everything)) == NUM_ROWS + 1


def test_a_row_by_its_id_and_all_copies_by_their_content(out_dir: str) -> None:
    assert chosen(out_dir, id="c05-2") == ["c05-2"]
    assert chosen(out_dir, id="c05") == ["c05", "c05-2"]
    with pytest.raises(UserError, match="show.id=c99: no scored row has this"):
        chosen(out_dir, id="c99")


def test_rows_that_hold_a_text(out_dir: str) -> None:
    assert chosen(out_dir, search="DOUBLE 1", num=99) == ["c11", "c10", "c01"]
    assert chosen(out_dir, search="trivia", num=1, order="bottom") == ["c08"]
    with pytest.raises(UserError, match="show.search=instruction: no scored row holds this text"):
        chosen(out_dir, search="instruction")  # the name of a field, in no value


def test_a_text_is_found_behind_json_s_escapes(out_dir: str, tmp_path: object) -> None:
    folder = readable_run(f"{tmp_path}/run", num_rows=3)
    part = io.join(RunFolder(folder).candidates, "part-0.parquet")
    table = io.read_table(part)
    rows = [*table["row_json"].to_pylist()]
    rows[1] = json.dumps({"instruction": 'Say "é"\nnow', "output": ["naïve", {"x": 7.5}]})
    io.write_table(part, table.set_column(4, "row_json", [rows]))
    for text in ("É", '"é"\nnow', "NAÏVE", "7.5"):
        assert rows_with_text(folder, text) == {"c01"}, text


def test_a_run_without_the_column_says_so(out_dir: str) -> None:
    table = join_scores(out_dir, SCORE_COLUMNS).table.drop_columns(["num_near_ties"])
    with pytest.raises(UserError, match="show.by=num_near_ties: the scores of this run have no"):
        choose_rows(table, ShowConfig(by="num_near_ties"), None)


def test_a_row_that_is_not_complete_comes_last(out_dir: str) -> None:
    table = join_scores(out_dir, SCORE_COLUMNS).table
    golden = [None if name == "c11" else 0.5 for name in table["example_id"].to_pylist()]
    place = table.column_names.index("golden_score")
    table = table.set_column(place, "golden_score", [golden])
    for order in ("top", "bottom"):
        rows = choose_rows(table, ShowConfig(num=99, order=order), None)
        assert table["example_id"][int(rows[-1])].as_py() == "c11"


def test_a_row_is_told_with_its_score_and_its_anchors(out_dir: str) -> None:
    row = shown(out_dir, "c05")
    assert (row.source_path, row.row_number) == ("/data/rows.jsonl", 5)
    assert row.turns == (("user", "Double 5."), ("assistant", "It is 10."))
    assert [delta.anchor_id for delta in row.deltas] == ["a0", "a1", "a2", "a3"]
    found = [delta.delta for delta in row.deltas]
    np.testing.assert_allclose(found, [0.5, 0.2, -0.1, -0.4], atol=1e-6)
    assert row.deltas[1].text == "Task 1", "without the template that all share"
    assert score_text(row) == "0.50 [0.15, 0.85]"  # Wilson, 2 of 4


def test_a_copy_has_the_anchors_of_its_content(out_dir: str) -> None:
    copy = shown(out_dir, "c05-2")
    assert copy.row_number == 105 and copy.deltas == shown(out_dir, "c05").deltas


def test_a_row_is_not_held_against_itself(out_dir: str) -> None:
    assert [delta.anchor_id for delta in shown(out_dir, "c02").deltas] == ["a1", "a2", "a3"]


def test_a_run_without_anchors_shows_its_rows_all_the_same(tmp_path: object) -> None:
    folder = readable_run(f"{tmp_path}/run")
    io.delete(RunFolder(folder).anchors)
    assert shown(folder, "c03").deltas == ()


def test_a_score_that_is_none_is_said() -> None:
    row = ShownRow("c", "p", 0, {"golden_score": None}, (), ())
    assert score_text(row).startswith("no golden score")
    assert score_text(ShownRow("c", "p", 0, {"golden_score": 0.5}, (), ())) == "0.50"
