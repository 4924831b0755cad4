"""Compressed and otherwise encoded text comes out as UTF-8."""

import gzip
from pathlib import Path

import pytest

from nuggets_ray.data.rows import BadRow, line_texts
from nuggets_ray.data.streams import open_stream, resumed

TEXT = "een\u00e9\U0001f600\ntwee\n" * 5000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    mark = "" if encoding in ("utf-8", "utf-16", "utf-32") else "\ufeff"
    path = tmp_path / "a.txt"
    path.write_bytes((mark + TEXT).encode(encoding))
    with open_stream(str(path), None) as stream:
        assert stream.read().decode("utf-8") == TEXT
    path.write_bytes(gzip.compress((mark + TEXT).encode(encoding)))
    with open_stream(str(path), "gzip") as stream:
        assert stream.read().decode("utf-8") == TEXT


def test_a_lone_surrogate_of_utf_16_spoils_its_own_line_only(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffgood\nb\ud800d\nfine\n".encode("utf-16-le", "surrogatepass"))
    with open_stream(str(path), None) as stream:
        lines = [row.reason if isinstance(row, BadRow) else row for row in line_texts(stream)]
    assert lines == ["good", "invalid_unicode", "fine"]


def test_what_was_read_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TEXT, "utf-8")
    with open_stream(str(path), None) as stream:
        head = stream.read(1000)
        assert resumed(head, stream).read().decode("utf-8") == TEXT
