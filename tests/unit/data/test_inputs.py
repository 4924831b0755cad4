"""Listing and reading data files: every kind of file gives the same rows."""

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nuggets_ray import io
from nuggets_ray.data.inputs import (
    find_inputs,
    inputs_sha256,
    list_inputs,
    read_rows,
    read_texts,
)
from nuggets_ray.data.rows import BadRow
from nuggets_ray.errors import UserError

ROWS = [
    {
        "instruction": "Say \u00e9\u4f60\U0001f600\u2028 twice",
        "output": "a\nb\t\x00",
        "n": [1, {"x": None}],
    },
    {"instruction": "", "output": "]", "n": [2.5, {"x": "}{"}]},
    {"instruction": "c" * 3000, "output": "[1, 2]", "n": []},
]


def as_lines(rows: list[object], **options: object) -> bytes:
    return b"".join(json.dumps(row, **options).encode() + b"\n" for row in rows)  # type: ignore[arg-type]


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.jsonl": lambda p: p.write_bytes(as_lines(ROWS)),
    "crlf.jsonl": lambda p: p.write_bytes(as_lines(ROWS).replace(b"\n", b"\r\n").rstrip()),
    "bom.jsonl": lambda p: p.write_bytes(b"\xef\xbb\xbf" + as_lines(ROWS, ensure_ascii=False)),
    "blank_lines.ndjson": lambda p: p.write_bytes(
        b"\n \n" + as_lines(ROWS).replace(b"\n", b"\n\n")
    ),
    "array.json": lambda p: p.write_text(json.dumps(ROWS)),
    "pretty.json": lambda p: p.write_text(json.dumps(ROWS, indent=4, ensure_ascii=False), "utf-8"),
    "crlf.json": lambda p: p.write_bytes(json.dumps(ROWS, indent=1).replace("\n", "\r\n").encode()),
    "bom.json": lambda p: p.write_text(json.dumps(ROWS), "utf-8-sig"),
    "lines.json": lambda p: p.write_bytes(as_lines(ROWS)),
    "a.JSONL.gz": lambda p: p.write_bytes(gzip.compress(as_lines(ROWS))),
    "two_members.jsonl.gz": lambda p: p.write_bytes(
        gzip.compress(as_lines(ROWS[:1])) + gzip.compress(as_lines(ROWS[1:]))
    ),
    "array.json.gz": lambda p: p.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    "a.jsonl.bz2": lambda p: p.write_bytes(bz2.compress(as_lines(ROWS))),
    "a.jsonl.xz": lambda p: p.write_bytes(lzma.compress(as_lines(ROWS))),
    "two_frames.jsonl.zst": lambda p: p.write_bytes(
        zstd(as_lines(ROWS[:1])) + zstd(as_lines(ROWS[1:]))
    ),
    "array.json.zstd": lambda p: p.write_bytes(zstd(json.dumps(ROWS).encode())),
    "array.jsonl": lambda p: p.write_text(json.dumps(ROWS)),
    "pretty.jsonl": lambda p: p.write_text(json.dumps(ROWS, indent=2)),
    "wrapped.json": lambda p: p.write_text(json.dumps({"version": "1", "data": ROWS, "n": [3]})),
    "pretty_wrapped.json": lambda p: p.write_text(json.dumps({"data": ROWS}, indent=1)),
    "utf_16.jsonl": lambda p: p.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-16"
    ),
    "utf_32.json": lambda p: p.write_text(json.dumps(ROWS, ensure_ascii=False), "utf-32"),
    "utf_16.jsonl.gz": lambda p: p.write_bytes(
        gzip.compress(as_lines(ROWS).decode().encode("utf-16"))
    ),
}


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_text_file_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    (file,) = list_inputs(str(tmp_path / name))
    assert list(read_rows(file)) == ROWS
    assert file.num_bytes == (tmp_path / name).stat().st_size
    texts = list(read_texts(file))
    assert all(isinstance(text, str) and "\n" not in text and "\r" not in text for text in texts)


def test_parquet_rows_come_in_order_with_nested_values(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"q{i}"}], "n": i} for i in range(1700)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=600)
    (file,) = list_inputs(str(tmp_path / "a.parquet"))
    assert list(read_rows(file)) == rows


def test_parquet_text_that_is_not_utf8_is_a_bad_row(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary())
    table = pa.table({"output": pa.Array.from_buffers(pa.string(), 3, raw.buffers())})
    pq.write_table(table, tmp_path / "a.parquet")
    (file,) = list_inputs(str(tmp_path / "a.parquet"))
    rows = list(read_rows(file))
    assert rows[0] == {"output": "good"} and rows[2] == {"output": "fine"}
    assert isinstance(rows[1], BadRow) and rows[1].reason == "invalid_unicode"


def test_an_undecodable_line_is_a_bad_row_in_its_place(tmp_path: Path) -> None:
    lines = [
        b'{"a": 1}',
        b"{broken",
        b'{"a": "\xff"}',
        b"[1, 2]",
        b"[" * 20_000,
        b"3",
        b'{"a": 2} x',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    rows = list(read_rows(list_inputs(str(tmp_path))[0]))
    reasons = [row.reason if isinstance(row, BadRow) else row for row in rows]
    bad = "invalid_json"
    assert reasons == [{"a": 1}, bad, "invalid_unicode", [1, 2], bad, 3, bad]
    assert isinstance(rows[1], BadRow) and rows[1].excerpt == "{broken"


def test_an_array_element_that_is_not_utf8_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"a": "ok"}, {"a": "\xff"}, {"a": "\xc3\xa9"}]')
    rows = list(read_rows(list_inputs(str(tmp_path))[0]))
    assert [type(row) for row in rows] == [dict, BadRow, dict] and rows[2] == {"a": "\u00e9"}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.json", b'[{"a": 1}, {"a": 2', "cut off after 1 rows"),
        ("cut2.json", b'[{"a": 1}, {"a": 2},', "cut off after 2 rows"),
        ("comma.json", b'[{"a": 1} {"a": 2}]', "no comma"),
        ("bad.json", b'[{"a": 1}, {a: 2}, {"aaaaaaaaaaaaaaaaaa": 3}]', "no JSON in row 1"),
        ("behind.json", b"[1] [2]", "behind the array"),
        ("wrapped.json", b'{"data": [{"a": 1}, {"a": 2}', "cut off after 1 rows"),
        ("wrapped2.json", b'{"data": [{"a": 1}, {"a": 2}], ', "cut off behind its 2 rows"),
        ("unequal.json", b'{"instruction": ["a", "b"], "output": ["c"]}', "unequal length"),
        ("plain.jsonl.zst", b'{"a": 1}\n', "ZSTD"),
        ("plain.jsonl.xz", b'{"a": 1}\n', "format not supported"),
        ("cut.jsonl.zst", zstd(as_lines(ROWS * 99))[:-9], "Truncated"),
        ("cut.jsonl.bz2", bz2.compress(as_lines(ROWS))[:-9], "Truncated"),
        ("cut.jsonl.xz", lzma.compress(as_lines(ROWS))[:-9], "ended before"),
        ("half.jsonl", "\ufeff{}".encode("utf-16-le") + b"\x00", "utf-16"),
        ("quote.csv", b'a,b\n1,"2\n', "line 2: unexpected end"),
        ("twice.csv", b"a,b,a\n1,2,3\n", "have the name 'a'"),
        ("text.arrow", b"no arrow at all", "arrow"),
        ("plain.jsonl.gz", b'{"a": 1}\n', "gzip"),
        ("cut.jsonl.gz", gzip.compress(as_lines(ROWS))[:-9], "end"),
        ("text.parquet", b"no parquet", "arquet"),
        ("empty.parquet", b"", "arquet"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=reason) as error:
        list(read_rows(list_inputs(str(tmp_path))[0]))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_files_of_a_folder_and_of_a_glob(tmp_path: Path) -> None:
    names = ["b.json", "a.jsonl", "sub/c.parquet", "sub/deep/d.jsonl.gz", "README.md"]
    hidden = [".x.json", "_y.json", ".git/z.json", "sub/_delta_log/0.json"]
    for name in names + hidden:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(pattern: str) -> list[str]:
        files = list_inputs(str(tmp_path / pattern))
        return [os.path.relpath(file.path, tmp_path) for file in files]

    assert found("") == ["a.jsonl", "b.json", "sub/c.parquet", "sub/deep/d.jsonl.gz"]
    assert found("*") == ["_y.json", "a.jsonl", "b.json"]
    assert found("[ab].json*") == ["a.jsonl", "b.json"]
    assert found("sub/?.parquet") == found("s*/*.parquet") == ["sub/c.parquet"]
    assert found("**/*.gz") == ["sub/deep/d.jsonl.gz"]
    assert found("sub/**") == ["sub/_delta_log/0.json", "sub/c.parquet", "sub/deep/d.jsonl.gz"]
    assert [(file.kind, file.compression) for file in list_inputs(str(tmp_path / "sub"))] == [
        ("parquet", None),
        ("jsonl", "gzip"),
    ]


def test_what_is_not_read_is_told_once_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("a.jsonl", "b.xlsx", "c.jsonl.7z", "dataset_info.json", "README.md")
    for name in names:
        (tmp_path / name).touch()
    with caplog.at_level("INFO"):
        for _ in range(2):
            assert [Path(file.path).name for file in list_inputs(str(tmp_path))] == ["a.jsonl"]
    [told] = caplog.messages
    assert f"data.path={tmp_path}: left out: " in told
    assert "b.xlsx, c.jsonl.7z (has an ending that is not known)" in told
    assert "README" not in told, "nobody takes it for data"
    everything = find_inputs(str(tmp_path)).left_out_text()
    assert "README.md, dataset_info.json (describes the data, and holds no rows)" in everything


def test_a_long_list_of_files_is_told_in_short(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.bin").touch()
    (tmp_path / "a.csv").touch()
    told = find_inputs(str(tmp_path)).left_out_text()
    assert told == (
        "0.bin, 1.bin, 2.bin, 3.bin, 4.bin and 4 more (has an ending that is not known)"
    )


def test_splits_are_chosen_by_name(tmp_path: Path) -> None:
    for name in ("train.jsonl", "test.jsonl", "more/validation/a.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def read(*splits: str, path: str = "") -> list[str]:
        files = list_inputs(str(tmp_path / path), splits=splits)
        return [os.path.relpath(file.path, tmp_path) for file in files]

    assert read() == read(path="*.jsonl") == ["train.jsonl"]
    held_out = list_inputs(str(tmp_path), "evaluate.held_out_path")
    assert len(held_out) == 3, "which file is held out is for the user to say"
    assert read("train", "test") == ["test.jsonl", "train.jsonl"]
    assert read("eval", "dev") == ["more/validation/a.jsonl", "test.jsonl"]
    assert read(path="test.jsonl") == ["test.jsonl"]
    assert read(path="more") == ["more/validation/a.jsonl"], "nothing stands beside it"
    with pytest.raises(UserError, match=r"data.splits=\[trian\]: .*there are: test, train, val"):
        read("trian")


def test_the_same_rows_in_two_kinds_of_file_are_read_once(tmp_path: Path) -> None:
    for name in ("selected.jsonl", "selected.parquet", "selection.json", "other.parquet"):
        (tmp_path / name).touch()
    listing = find_inputs(str(tmp_path))
    assert [Path(file.path).name for file in listing.files] == ["other.parquet", "selected.jsonl"]
    assert "selected.parquet (is taken for the rows of selected.jsonl" in listing.left_out_text()


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    for name in ("a[1].json", "a1.json"):
        (tmp_path / name).touch()
    assert [Path(f.path).name for f in list_inputs(str(tmp_path / "a[1].json"))] == ["a[1].json"]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").touch()
    monkeypatch.chdir(tmp_path)
    assert list_inputs("a.json")[0].path == str(tmp_path / "a.json")
    assert list_inputs("*.json")[0].path == str(tmp_path / "a.json")


@pytest.mark.parametrize(
    "pattern", ["none.json", "no*.json", "**/none", "x.xlsx", "", "ftp://a/b.json"]
)
def test_nothing_to_read_is_an_error_that_names_key_and_path(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "x.xlsx").touch()
    path = pattern if "://" in pattern else str(tmp_path / pattern)
    with pytest.raises(UserError) as error:
        list_inputs(path, key="anchors.path")
    assert path in str(error.value)
    assert "://" in path or "anchors.path=" in str(error.value)


def test_the_hash_of_inputs(tmp_path):
    for name in ("a.json", "b.jsonl", "c.txt"):
        (tmp_path / name).write_text(name)
    one = inputs_sha256(str(tmp_path / "a.json"))
    assert one == io.sha256(str(tmp_path / "a.json"))
    both = inputs_sha256(str(tmp_path))
    assert both == inputs_sha256(str(tmp_path / "*.json*")) and both != one
    (tmp_path / "b.jsonl").write_text("changed")
    assert inputs_sha256(str(tmp_path)) != both
    with pytest.raises(UserError, match="evaluate.prompts_path=.*no such file"):
        inputs_sha256(str(tmp_path / "none.json"), "evaluate.prompts_path")
