"""Writing and reading files: a write is atomic, tables and folders come as they were put."""

import gzip
import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nuggets_ray import io
from nuggets_ray.errors import UserError


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


def test_a_table_comes_in_pieces_of_the_bytes_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = pa.array([[float(i)] * 100 for i in range(50)], pa.list_(pa.float32()))
    table, uri = pa.table({"id": range(50), "wide": wide}), str(tmp_path / "t.parquet")
    io.write_table(uri, table)
    [whole] = io.read_pieces(uri)
    assert whole == table
    monkeypatch.setattr(io, "PIECE_BYTES", 4000)
    monkeypatch.setattr(io, "BATCH_ROWS", 2)
    pieces = list(io.read_pieces(uri))
    assert pa.concat_tables(pieces) == table and len(pieces) == 5
    assert all(piece.nbytes < 5000 for piece in pieces)
    assert len(list(io.read_pieces(uri, ["id"]))) == 1
    io.write_table(uri, table)  # in pieces as well
    assert pq.read_metadata(uri).num_row_groups > 4
    assert pa.concat_tables(io.read_pieces(uri, ["id"])) == table.select(["id"])
    io.write_table(uri, table.slice(0, 0))
    assert list(io.read_pieces(uri)) == []


def test_a_damaged_table_is_told_by_its_pieces(tmp_path: Path) -> None:
    uri = str(tmp_path / "t.parquet")
    io.write_table(uri, pa.table({"id": range(50)}))
    Path(uri).write_bytes(Path(uri).read_bytes()[:-9])
    with pytest.raises(UserError, match=r"t\.parquet is damaged"):
        list(io.read_pieces(uri))


def test_folders_of_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a", "a/deeper"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert io.list_folders(str(tmp_path)) == ["a", "b"]
    assert io.list_folders(str(tmp_path / "none")) == []
