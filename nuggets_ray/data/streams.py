"""A file of text as a stream of UTF-8 bytes, whatever it is compressed by and encoded in.

gzip, bz2, xz and zstd by the file's ending; UTF-16 and UTF-32 by the mark that the file begins
with. A mark of UTF-8 is left where it is.
"""

import codecs
import gzip
import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa

from nuggets_ray.io import BUFFER_BYTES, open_fs

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What a file that is not UTF-8 begins with. The order counts: one mark of UTF-32 begins with one
of UTF-16.
"""


@contextmanager
def open_stream(uri: str, compression: str | None) -> Iterator[io.BufferedReader]:
    """The text of a file as UTF-8. Raises OSError, EOFError, lzma.LZMAError or zlib.error where it
    is not compressed as its ending says, or cut off, and ValueError where it is not encoded as its
    mark says.
    """
    store, path = open_fs(uri)
    with (
        store.open_input_stream(path, compression=None) as raw,
        _buffered(_decompressed(raw, compression)) as stream,
    ):
        head = stream.peek(4)[:4]
        encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
        if encoding is None:
            yield stream
            return
        text = io.TextIOWrapper(stream, encoding, errors="surrogatepass", newline="")
        with _buffered(_Utf8(text)) as recoded:
            yield recoded


def resumed(head: bytes, stream: io.BufferedReader) -> io.BufferedReader:
    """A stream of which `head` was read already, with that in front again."""
    return _buffered(_Resumed(head, stream))


def _buffered(stream: object) -> io.BufferedReader:
    return io.BufferedReader(cast(io.RawIOBase, stream), BUFFER_BYTES)


def _decompressed(raw: Any, compression: str | None) -> object:
    if compression is None:
        return raw
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if compression == "xz":
        return lzma.LZMAFile(cast(IO[bytes], raw))
    return pa.CompressedInputStream(raw, compression)


class _Resumed(io.RawIOBase):
    """Some bytes, then a stream."""

    def __init__(self, head: bytes, stream: io.BufferedReader) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            return self._stream.readinto(buffer)
        num_bytes = min(len(buffer), len(self._head))
        buffer[:num_bytes] = self._head[:num_bytes]
        self._head = self._head[num_bytes:]
        return num_bytes


class _Utf8(io.RawIOBase):
    """Text as UTF-8. A lone surrogate is written as bytes that are no UTF-8, so that its row alone
    is bad.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._text.read(BUFFER_BYTES).encode("utf-8", "surrogatepass")
        num_bytes = min(len(buffer), len(self._rest))
        buffer[:num_bytes] = self._rest[:num_bytes]
        self._rest = self._rest[num_bytes:]
        return num_bytes
