"""Data sets of the hub, with a folder in its place: no test asks the network."""

import json
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.data.inputs import find_inputs, list_inputs, read_rows
from nuggets_ray.errors import UserError

datasets = pytest.importorskip("datasets")


def rows(split: str, num: int) -> list[dict[str, Any]]:
    return [{"instruction": f"{split} {i}", "output": "a", "n": [i]} for i in range(num)]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the hub is asked for; it answers with a folder of two splits, by the library itself."""
    for split in ("train", "test"):
        lines = "".join(json.dumps(row) + "\n" for row in rows(split, 1200))
        (tmp_path / "repository" / f"{split}.jsonl").parent.mkdir(exist_ok=True)
        (tmp_path / "repository" / f"{split}.jsonl").write_text(lines)
    load_dataset, calls = datasets.load_dataset, []

    def load(name: str, config: str | None, data_files: Any, revision: Any, **more: Any) -> Any:
        calls.append((name, config, data_files, revision))
        return load_dataset(
            str(tmp_path / "repository"),
            data_files=data_files,
            cache_dir=tmp_path / "cache",
            **more,
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def test_the_training_split_is_read_and_the_other_is_named(
    asked: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    path = "hf://datasets/org/both"
    files = list_inputs(path)
    assert [row for file in files for row in read_rows(file)] == rows("train", 1200)
    assert asked == [("org/both", None, None, None)], "once, whoever lists it"
    assert "left out: test (stands beside training rows: data.splits=[train,test]" in caplog.text
    assert files[0].kind == "arrow" and files[0].num_bytes > 0
    listing = find_inputs(path, splits=("test",))
    assert [row for file in listing.files for row in read_rows(file)] == rows("test", 1200)
    with pytest.raises(UserError, match=r"has no split dev \(there are: train, test\)"):
        find_inputs(path, splits=("dev",))


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("hf://datasets/org/a@v1/main", ("org/a", "main", None, "v1")),
        ("hf://datasets/org/a/te*.jsonl", ("org/a", None, "te*.jsonl", None)),
    ],
)
def test_a_revision_a_configuration_a_file(
    asked: list[tuple[Any, ...]], path: str, call: tuple[Any, ...]
) -> None:
    list_inputs(path)
    assert asked == [call]


@pytest.mark.parametrize("path", ["hf://org/name", "hf://datasets/name", "hf://models/a/b"])
def test_what_is_no_data_set_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="hf://datasets/ORG/NAME"):
        list_inputs(path)


def test_what_the_library_says_reaches_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise ValueError("Config name is missing.\nPlease pick one among ['a', 'b']")

    monkeypatch.setattr(datasets, "load_dataset", failing)
    with pytest.raises(UserError, match=r"data.path=hf://datasets/o/n: .*pick one among.*CONFIG"):
        list_inputs("hf://datasets/o/n")
