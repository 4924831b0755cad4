"""Writing and reading files: a write is atomic, tables and folders come as they were put."""

import gzip
import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pytest

from nuggets_ray import io


def test_a_write_leaves_the_old_or_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = io.join(str(tmp_path), "new", "folder", "x.bin")
    io.write_bytes(uri, b"old")

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "fsync", killed)
        io.write_bytes(uri, b"newer")
    assert io.read_bytes(uri) == b"old"
    assert os.listdir(tmp_path / "new" / "folder") == ["x.bin"]
    io.write_bytes(uri, b"newer")
    assert io.read_bytes(uri) == b"newer"
    assert io.sha256(uri) == hashlib.sha256(b"newer").hexdigest()


def test_sha256_is_of_the_bytes_of_a_compressed_file(tmp_path: Path) -> None:
    data = gzip.compress(b"text")
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    assert io.sha256(str(tmp_path / "a.jsonl.gz")) == hashlib.sha256(data).hexdigest()


def test_tables_files_and_folders(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    for name in ("part-2.parquet", "part-1.parquet", ".part-3.parquet", "other.json"):
        io.write_table(io.join(folder, name), table)
    assert io.list_files(folder, ".parquet") == [
        io.join(folder, "part-1.parquet"),
        io.join(folder, "part-2.parquet"),
    ]
    assert io.read_table(io.join(folder, "part-1.parquet")) == table
    assert io.read_table(io.join(folder, "part-1.parquet"), ["b"]).column_names == ["b"]
    assert io.exists(folder) and io.exists(io.join(folder, "other.json"))
    io.delete(io.join(folder, "other.json"))
    io.delete(folder)
    io.delete(folder)
    assert not io.exists(folder)
    assert io.list_files(folder, "") == []
    with pytest.raises(FileNotFoundError):
        io.read_bytes(io.join(folder, "other.json"))


def test_folders_of_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a", "a/deeper"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert io.list_folders(str(tmp_path)) == ["a", "b"]
    assert io.list_folders(str(tmp_path / "none")) == []
