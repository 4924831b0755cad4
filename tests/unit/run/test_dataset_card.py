"""A selection's folder is a data set: its card, and what `datasets` reads of it."""

from pathlib import Path

import pytest
import yaml
from scored_run import choose, finished_run

from nuggets_ray import io
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.run.dataset_card import dataset_card
from nuggets_ray.run.layout import RunFolder

RECORD = {
    "settings": {"rule": "top_k", "k": 4, "name": "best", "fraction": None},
    **{"num_rows": 4, "num_scored": 20, "partial": False},
}


def card_of(out_dir: str, name: str) -> str:
    return io.read_bytes(RunFolder(out_dir).selection(name).card).decode()


def test_a_selection_has_a_card(tmp_path: Path) -> None:
    out_dir = finished_run(str(tmp_path))
    result, _ = choose(out_dir)
    assert RunFolder(out_dir).selection("golden").card in result["wrote"]
    text = card_of(out_dir, "golden")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "selected.parquet"}]
    assert front["size_categories"] == ["n<1K"]
    assert "4 of 21 scored instruction rows" in text
    assert '- "conversations"' in text and '- "golden_score"' in text
    assert "vraag" not in text, "no text of a row"


def test_the_folder_is_loaded_as_it_is(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out_dir = finished_run(str(tmp_path / "run"))
    _, rows = choose(out_dir, SelectConfig(rule="top_k", k=4))
    folder = RunFolder(out_dir).selection("golden").path
    loaded = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 4
    assert loaded["example_id"] == [row["example_id"] for row in rows]
    assert loaded["conversations"][0] == rows[0]["conversations"]


def test_what_is_told_and_what_is_not() -> None:
    scored = {"model": {"path": "/m"}, "data": {"path": "/d"}, "anchors": {"method": "random"}}
    text = dataset_card("/run", "best", RECORD, ["a: b"], scored, {"dtype": "float32"})
    assert '"model": "/m"' in text and '"dtype": "float32"' in text
    assert "fraction" not in text and '- "a: b"' in text
    assert "not over" not in text
    partial = dataset_card("/run", "best", RECORD | {"partial": True}, [], None, {})
    assert "the scoring was not over" in partial and "How they were scored" not in partial
