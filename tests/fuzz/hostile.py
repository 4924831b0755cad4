"""Hostile input, made from a seeded generator: values, rows, texts and files of rows.

Each starts from what a user may have and spoils some of it, since what is spoilt throughout is
refused at the first byte and reaches nothing.
"""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

FIELDS = (
    *("instruction", "input", "output", "context", "response", "prompt", "completion", "text"),
    *("messages", "conversations", "history", "system", "tools", "chosen", "rejected", "weight"),
    *("role", "content", "from", "value", "tool_calls", "reasoning_content", "question", "answer"),
    *("instances", "id", "data", "rows", "", " ", "a.b", "\x00", "é", "__class__"),
)
ROLES = ("user", "assistant", "system", "tool", "human", "gpt", "clerk", "", "USER ")
TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udc00x",
        "\ufeff",
        "\u2028",
        "\u202e",
        "🙂" * 40,
        "é" * 200,
    ),
    *("{{ x }}", "{% for a in b %}", "${oc.env:HOME}", "<|im_end|>", "<s>", "</script>", "'; --"),
    *(
        "NaN",
        "null",
        "None",
        "true",
        "007",
        "1e999",
        "=cmd()",
        "\r\n\r\n",
        "\t",
        "`",
        "[1, 2",
        "[]",
    ),
    *('{"a": 1}', '[{"role": "user", "content": "x"}]', "../../etc/passwd", "\\ud800", "\x1b[31m"),
)
NUMBERS = (
    *(0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 10**400, 0.0, -0.0, 1e-320, 1e308),
    *(float("inf"), float("-inf"), float("nan"), True, False),
)


def make_text(random: Random) -> str:
    """A text: mostly short, at times long, odd or enormous."""
    kind = random.random()
    if kind < 0.7:
        return " ".join(random.choice(("what", "is", "a", "cat", "7", "é", "\n")) for _ in range(9))
    if kind < 0.98:
        return random.choice(TEXTS)
    if kind < 0.9998:
        return random.choice('ab\x00é\ud83d\n"\\') * random.randrange(1, 20_000)
    return "x" * 10_000_000


def make_value(random: Random, depth: int = 0) -> Any:
    """A value of any type that JSON has."""
    kind = random.random()
    if kind < 0.45 or depth > 5:
        return make_text(random)
    if kind < 0.6:
        return random.choice(NUMBERS)
    if kind < 0.68:
        return None
    if kind < 0.84:
        return [make_value(random, depth + 1) for _ in range(random.randrange(5))]
    return {
        random.choice(FIELDS): make_value(random, depth + 1) for _ in range(random.randrange(5))
    }


def _turns(random: Random) -> list[Any]:
    names = random.choice((("role", "content"), ("from", "value")))
    return [
        dict(zip(names, (random.choice(ROLES), make_text(random)), strict=True))
        for _ in range(random.randrange(6))
    ]


SHAPES: tuple[Callable[[Random], dict[str, Any]], ...] = (
    lambda random: {"instruction": make_text(random), "input": "", "output": make_text(random)},
    lambda random: {"instruction": "Do.", "context": "", "response": make_text(random)},
    lambda random: {"prompt": make_text(random), "completion": make_text(random)},
    lambda random: {"messages": _turns(random), "tools": make_value(random)},
    lambda random: {"conversations": _turns(random), "system": make_text(random)},
    lambda random: {"prompt": "Hi.", "chosen": _turns(random), "rejected": _turns(random)},
    lambda random: {"instruction": "Do.", "instances": [{"input": "", "output": "x"}]},
)
"""Rows of the formats that data.format knows."""


def make_rows(random: Random, num: int) -> list[Any]:
    """Rows of one format, or of all: half as they should be, others with what should not be
    there.
    """
    shapes = SHAPES if random.random() < 0.2 else (random.choice(SHAPES),)
    return [_row(random, random.choice(shapes)(random)) for _ in range(num)]


def _row(random: Random, row: dict[str, Any]) -> Any:
    kind = random.random()
    if kind < 0.02:
        return make_value(random)
    if kind > 0.6:
        for _ in range(random.randrange(1, 3)):
            row[random.choice((*row, random.choice(FIELDS)))] = make_value(random)
    return row


def make_json(random: Random, value: Any) -> str:
    """JSON text of a value, at times with what a writer other than ours puts there."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    kind = random.random()
    if kind < 0.03:
        depth = random.choice((10, 900, 1100, 100_000))
        return '{"output": ' + "[" * depth + "]" * random.choice((depth, 0)) + "}"
    if kind < 0.06 and text.startswith("{"):
        return '{"output": 1, ' + text[1:]  # a key twice
    if kind < 0.08:
        return text.replace(":", ": " + "9" * random.choice((20, 4000, 5000)) + ', "n":', 1)
    if kind < 0.12:
        return text[: random.randrange(len(text) + 1)]
    if kind < 0.14:
        place = random.randrange(len(text) + 1)
        return (
            text[:place] + random.choice(("\x00", "\ufeff", "'", "}", "//", "\x0b")) + text[place:]
        )
    return text


def spoil(random: Random, content: bytes) -> bytes:
    """Bytes that were cut, flipped, doubled or mixed with others."""
    kind = random.randrange(6)
    place = random.randrange(len(content) + 1)
    if kind == 0:
        return content[:place]
    if kind == 1 and content:
        spoilt = bytearray(content)
        for _ in range(random.choice((1, 1, 4, 40))):
            spoilt[random.randrange(len(spoilt))] ^= 1 << random.randrange(8)
        return bytes(spoilt)
    if kind == 2:
        return content + content[:place]
    if kind == 3:
        return content[:place] + random.randbytes(random.choice((1, 8, 300))) + content[place:]
    if kind == 4:
        return random.choice(
            (b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"[", b"{", b"PAR1", b"\n")
        )
    return content[:place] + b"\x00" * random.choice((1, 4, 4096)) + content[place:]


def _lines(random: Random, rows: list[Any]) -> bytes:
    end = random.choice(("\n", "\n", "\r\n", "\n\n", "\r"))
    return _encoded(random, end.join(make_json(random, row) for row in rows) + "\n")


def _array(random: Random, rows: list[Any]) -> bytes:
    texts = ", ".join(make_json(random, row) for row in rows)
    before, after = random.choice(
        (("[", "]"), ("[", "]"), (" [\n", "\n]\n"), ('{"version": 1, "data": [', '], "n": {}}'))
    )
    return _encoded(random, before + texts + after)


def _columns(random: Random, rows: list[Any]) -> bytes:
    columns = {
        name: [make_value(random) for _ in range(random.choice((3, 3, 3, 2)))]
        for name in random.sample(FIELDS, 2)
    }
    return _encoded(random, make_json(random, columns))


def _table(delimiter: str) -> Callable[[Random, list[Any]], bytes]:
    def write(random: Random, rows: list[Any]) -> bytes:
        lines = [delimiter.join(("instruction", "input", "output"))]
        for _ in rows:
            cells = [make_text(random) for _ in range(random.choice((3, 3, 3, 2, 4)))]
            quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
            lines.append(delimiter.join(quoted if random.random() < 0.8 else cells))
        return _encoded(random, "\n".join(lines))

    return write


def _encoded(random: Random, text: str) -> bytes:
    encoding = random.choice(("utf-8",) * 9 + ("utf-8-sig", "utf-16", "utf-32", "latin-1"))
    errors = "replace" if encoding == "latin-1" else "surrogatepass"
    return text.encode(encoding, errors)


def _arrow_table(random: Random, rows: list[Any]) -> pa.Table:
    """The rows as a table, of the types that pyarrow finds or else of text, with a column more."""
    objects = [row if isinstance(row, dict) else {"output": row} for row in rows]
    names = list(dict.fromkeys(name for row in objects for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in objects]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            texts = [json.dumps(value).encode("utf-8", "surrogatepass") for value in values]
            columns[name] = pa.array(texts, pa.binary())
    odd = random.choice(
        (
            pa.array([b"\xff\xfe"] * len(rows), pa.binary()),
            pa.array([10**9] * len(rows), pa.timestamp("ns")),
            pa.array([1] * len(rows), pa.decimal128(38, 3)),
            pa.array([[("k", 1)]] * len(rows), pa.map_(pa.string(), pa.int64())),
            pa.array(["x"] * len(rows)).dictionary_encode(),
            pa.array([2**62] * len(rows), pa.duration("s")),
            pa.array([-(2**61)] * len(rows), pa.timestamp("s")),
            pa.nulls(len(rows)),
        )
    )
    return pa.table({**columns, random.choice(("odd", "output")): odd})


def _parquet(random: Random, rows: list[Any]) -> bytes:
    sink = io.BytesIO()
    table = _arrow_table(random, rows)
    codec = random.choice(("zstd", "snappy", "none", "gzip"))
    try:
        pq.write_table(table, sink, compression=codec, row_group_size=random.choice((1, 2, 1000)))
    except pa.ArrowException:
        return _parquet(random, [{"instruction": "a", "output": "b"}])
    return sink.getvalue()


def _arrow(random: Random, rows: list[Any]) -> bytes:
    sink, table = io.BytesIO(), _arrow_table(random, rows)
    new = random.choice((pa.ipc.new_stream, pa.ipc.new_file))
    options = pa.ipc.IpcWriteOptions(compression=random.choice((None, "zstd", "lz4")))
    with new(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


WRITERS: dict[str, Callable[[Random, list[Any]], bytes]] = {
    "jsonl": _lines,
    "json": _array,
    "columns.json": _columns,
    "csv": _table(","),
    "tsv": _table("\t"),
    "parquet": _parquet,
    "arrow": _arrow,
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda content: gzip.compress(content, 1),
    "bz2": lambda content: bz2.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def make_file(random: Random) -> tuple[str, bytes, int]:
    """(name, content, how many rows were written into it) of a file of rows."""
    rows = make_rows(random, random.choice((0, 1, 2, 5, 5, 20)))
    name = random.choice(tuple(WRITERS))
    content = WRITERS[name](random, rows or [{"instruction": "a", "output": "b"}])
    if random.random() < 0.25 and name not in ("parquet", "arrow"):
        packer = random.choice(tuple(PACKERS))
        name, content = f"{name}.{packer}", PACKERS[packer](content)
    if random.random() < 0.4:
        content = spoil(random, content)
    if random.random() < 0.08:
        name = random.choice(tuple(WRITERS)) + random.choice(("", ".gz", ".zst"))
    return f"data.{name}", content, len(rows)
