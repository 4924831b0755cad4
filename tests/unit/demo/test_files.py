"""The demo's shipped data: what it must hold, and that its cache file is written once."""

import json
from collections import Counter
from pathlib import Path

import pytest

from nuggets_ray.demo import files
from nuggets_ray.demo.damage import DAMAGES, NUM_PER_KIND
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example, Message

CATEGORIES = {
    "writing",
    "reasoning",
    "code",
    "facts",
    "extraction",
    "rewriting",
    "maths",
    "languages",
}


def read_jsonl(path: str | Path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def content_id(row: dict) -> str:
    user = Message("user", row["instruction"], row["input"])
    return Example((user, Message("assistant", row["output"]))).content_id


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUGGETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def whole_rows():
    return read_jsonl(files.PACKAGE_DIR / "candidates.jsonl")


def test_enough_varied_whole_candidates(whole_rows):
    assert len(whole_rows) >= 160
    num_by_category = Counter(row["category"] for row in whole_rows)
    assert set(num_by_category) == CATEGORIES
    assert min(num_by_category.values()) >= 15
    languages = {row["language"] for row in whole_rows if row["category"] == "languages"}
    assert len(languages) >= 6 and "en" not in languages


def test_whole_candidates_are_clean(whole_rows):
    for row in whole_rows:
        assert row["instruction"].strip() and row["output"].strip()
        assert all(row[key] == row[key].strip() for key in ("instruction", "input", "output"))
        assert len(row["instruction"] + row["input"] + row["output"]) <= 700
    assert len({row["output"] for row in whole_rows}) == len(whole_rows)


def test_anchors_are_short_varied_and_no_candidates(whole_rows):
    anchors = read_jsonl(files.anchors_path())
    assert len({content_id(anchor) for anchor in anchors}) == 16
    assert {anchor["category"] for anchor in anchors} == CATEGORIES
    for anchor in anchors:
        text = " ".join((anchor["instruction"], anchor["input"], anchor["output"]))
        assert len(text.split()) <= 40 and len(text) <= 200
        assert len(anchor["output"]) >= 24
    prompts = {(row["instruction"], row["input"]) for row in whole_rows}
    assert prompts.isdisjoint((anchor["instruction"], anchor["input"]) for anchor in anchors)


def test_candidates_are_whole_rows_and_damaged_copies(cache, whole_rows):
    rows = read_jsonl(files.candidates_path())
    num_by_damage = Counter(row["damage"] for row in rows)
    assert num_by_damage == {"none": len(whole_rows)} | dict.fromkeys(DAMAGES, NUM_PER_KIND)
    assert len({content_id(row) for row in rows}) == len(rows)


def test_candidates_are_written_once(cache):
    path = Path(files.candidates_path())
    assert [path] == list(cache.iterdir())
    before = path.stat()
    assert files.candidates_path() == str(path)
    assert path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns == before.st_mtime_ns


def test_unusable_cache_is_a_users_error(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("NUGGETS_CACHE", str(file))
    with pytest.raises(UserError, match="NUGGETS_CACHE"):
        files.candidates_path()


def test_cache_dir_defaults_to_the_home_folder(monkeypatch):
    monkeypatch.delenv("NUGGETS_CACHE", raising=False)
    assert files.cache_dir() == Path.home() / ".cache" / "nuggets_ray"
