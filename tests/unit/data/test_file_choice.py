"""Which files hold rows, by their names alone."""

import pytest
from pyarrow import fs

from nuggets_ray.data.file_choice import choose_files, kind_of, split_of
from nuggets_ray.errors import UserError


def chosen(*paths: str, splits: tuple[str, ...] = ()) -> list[str]:
    return list(choose_files(found(*paths), splits, "data.path=x")[0])


def left_out(*paths: str) -> dict[str, str]:
    return {file.path: file.why for file in choose_files(found(*paths), (), "data.path=x")[1]}


def found(*paths: str) -> dict[str, fs.FileInfo]:
    return {path: fs.FileInfo(path, fs.FileType.File) for path in paths}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", ("jsonl", None)),
        ("A.NDJSON.GZ", ("jsonl", "gzip")),
        ("a.json.zst", ("json", "zstd")),
        ("a.csv.bz2", ("csv", "bz2")),
        ("a.tsv.xz", ("tsv", "xz")),
        ("a.arrow", ("arrow", None)),
    ],
)
def test_kinds(name: str, kind: tuple[str, str | None]) -> None:
    told = kind_of(name)
    assert told is not None and (told.name, told.compression) == kind


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet.gz", "a.jsonl.7z", "json", "a.gz", "README"])
def test_endings_that_are_not_known(name: str) -> None:
    assert kind_of(name) is None


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("data/train_sft-00000.parquet", "train"),
        ("my.dev.jsonl", "validation"),
        ("test/data-00000-of-00001.arrow", "test"),
        ("test/train.jsonl", "train"),
        ("train_test.json", "train"),
        ("alpaca_eval.json", "test"),
        ("latest.json", None),
        ("training-set/part1.csv", "train"),
        ("strain/evaluate.csv", None),
    ],
)
def test_the_split_that_a_name_tells(path: str, split: str | None) -> None:
    assert split_of(path) == split


def test_held_out_splits_are_left_out_beside_training_rows_only() -> None:
    assert chosen("test.csv", "b.csv") == ["b.csv", "test.csv"]
    assert chosen("train.csv", "test.csv", "val/a.csv", "b.csv") == ["b.csv", "train.csv"]
    whys = left_out("train.csv", "test.csv", "val/a.csv")
    assert whys.keys() == {"test.csv", "val/a.csv"}
    assert all("data.splits=[test,train,validation]" in why for why in whys.values())


def test_splits_of_other_names() -> None:
    names = ("train_sft-0.parquet", "train_gen-0.parquet", "test_sft-0.parquet")
    assert chosen(*names, splits=("train_sft",)) == ["train_sft-0.parquet"]
    with pytest.raises(UserError, match=r"data.splits=\[sf\]: no file of data.path=x"):
        chosen(*names, splits=("sf",))


def test_a_side_file_that_is_asked_for_by_name_is_read() -> None:
    assert chosen("state.json") == ["state.json"]
    assert chosen("state.json", "cache-1f.arrow", "data-0.arrow") == ["data-0.arrow"]


def test_of_the_same_rows_the_kind_nearest_to_what_was_written_is_read() -> None:
    assert chosen("a.csv", "a.parquet", "a.jsonl.gz", "b.csv") == ["a.jsonl.gz", "b.csv"]
    assert chosen("x/a.csv", "y/a.parquet") == ["x/a.csv", "y/a.parquet"]
    assert left_out("a.csv", "a.json")["a.csv"].startswith("is taken for the rows of a.json")
