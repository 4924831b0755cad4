"""Input that was made to break its reader: each that once did, and a short run of tests/fuzz.

A row is read, or skipped with its reason, or the file is refused in one sentence.
"""

import gzip
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import TARGETS, stage

from nuggets_ray import read_examples
from nuggets_ray.data import json_files, rows, table_files
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.inputs import read_rows as decoded_rows
from nuggets_ray.data.rows import BadRow
from nuggets_ray.data.values import MAX_DEPTH, is_too_deep
from nuggets_ray.errors import UserError
from nuggets_ray.io import read_json, read_table

GOOD = {"instruction": "Say a.", "output": "a"}
LINE = json.dumps(GOOD).encode() + b"\n"


@pytest.mark.parametrize("target, num_cases", [("files", 60), ("rows", 6), ("run_folder", 15)])
def test_a_short_fuzz(target: str, num_cases: int, tmp_path: Path) -> None:
    words = Counter(
        TARGETS[target](Random(f"{target}-unit-{case}"), tmp_path).word for case in range(num_cases)
    )
    assert words["loaded"] > num_cases / 4, words
    assert {path.name for path in tmp_path.iterdir()} <= {"run"}


ANY_TEXT = st.text(max_size=20)  # half surrogate pairs too
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "name", "arguments"]) | ANY_TEXT,
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = ("instruction", "output", "input", "messages", "system", "tools", "history", "weight")


@settings(max_examples=100, deadline=None)
@given(row=st.dictionaries(st.sampled_from(FIELDS), ANY_VALUE, min_size=1))
def test_a_row_in_hand_is_an_example_or_has_a_reason(row: dict[str, Any]) -> None:
    read = read_examples([row, GOOD], format="alpaca" if "output" in row else "messages")
    assert len(read.examples) + len(read.skipped) == 2
    for example in read:
        assert len(example.content_id) == 32
    for skipped in read.skipped:
        assert skipped.reason.encode("utf-8")


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def reasons(path: Path) -> dict[str, int]:
    """Reason -> rows of what is skipped, {"": rows} of what is read."""
    outcome = stage(path, path.parent)
    assert outcome.word == "loaded"
    return dict(outcome.reasons) | {"": outcome.num_taken}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(decoded_rows(list_inputs(str(path))[0]))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def small_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of more than 1,000 bytes are too large."""
    for module in (rows, table_files):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 1000)


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_never_ends_is_one_row_too_large(tmp_path: Path, end: bytes) -> None:
    bomb = LINE + b"x" * 3_000_000 + end
    found = reasons(write(tmp_path, "bomb.jsonl.gz", gzip.compress(bomb + (LINE if end else b""))))
    assert found == {"too_large": 1, "": 2 if end else 1}


@pytest.mark.usefixtures("small_rows")
def test_white_space_is_no_row_however_long(tmp_path: Path) -> None:
    padded = LINE + b" " * 5000 + b"\n" + LINE.strip() + b" " * 5000 + b"\n"
    assert reasons(write(tmp_path, "a.jsonl", padded)) == {"": 2}


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize(
    "content",
    [b'["' + b"a" * 5000 + b'"]', b"[[" + b"1," * 5000, b'{"data": ["' + b"a" * 5000 + b'"]}'],
)
def test_an_array_of_one_endless_row_is_refused(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BufferedReader(io.BytesIO(content))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="row 0 of the array is larger than 1000 bytes"):
        list(rows.array_texts(stream, window_chars=500))


def test_text_behind_an_array_is_not_held(tmp_path: Path) -> None:
    array = b"[" + LINE + b"]"
    assert reasons(write(tmp_path, "a.json", array + b" " * 3_000_000)) == {"": 1}
    told = refusal(write(tmp_path, "b.json", array + b" " * 3_000_000 + b"x"))
    assert "more text behind the array of 1 rows" in told
    wrapped = b'{"data": ' + array + b', "n": "' + b"}" * 3_000_000
    assert "cut off behind its 1 rows" in refusal(write(tmp_path, "c.json", wrapped + b'"'))
    assert reasons(write(tmp_path, "d.json", wrapped + b'"}')) == {"": 1}


def test_columns_are_held_only_where_they_are_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_files, "MAX_OBJECT_BYTES", 1 << 20)
    cells = ", ".join(['"a"'] * 400_000)
    columns = f'{{"instruction": [{cells}], "output": [{cells}]}}'.encode()
    assert "write it as a row a line" in refusal(write(tmp_path, "a.json", columns))


@pytest.mark.usefixtures("small_rows")
@pytest.mark.parametrize("cell", ["a" * 2000, "a\n" * 100, "a," * 600])
def test_a_row_of_csv_that_never_ends_is_refused(tmp_path: Path, cell: str) -> None:
    quote = "" if "," in cell else '"'
    content = f"instruction,output\nq,a\n{quote}{cell}{cell}{cell * 10}{quote},a\n".encode()
    assert "larger than" in refusal(write(tmp_path, "a.csv", content))


def test_bytes_of_another_encoding_are_skipped_or_told_in_any_place(tmp_path: Path) -> None:
    columns = b'{"instruction": ["\xe9", "b"], "output": ["c", "d"]}'
    assert reasons(write(tmp_path, "a.json", columns)) == {"invalid_unicode": 1, "": 1}
    cells = b"instruction,output\na,b,\xe9\nc,d\n"
    assert reasons(write(tmp_path, "b.csv", cells)) == {"invalid_csv": 1, "": 1}
    names = b'{"instruction": "a", "output": "b", "\\ud800": 1}\n'
    assert reasons(write(tmp_path, "c.jsonl", names)) == {"": 1}
    role = b'{"messages": [{"role": "\\udc00\\u001b[31m", "content": "x"}]}\n'
    assert reasons(write(tmp_path, "d.jsonl", role)) == {"unknown_role": 1, "": 0}
    tools = (
        b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]'
    )
    tools += b', "tools": [{"name": "\\ud800"}]}\n'
    assert reasons(write(tmp_path, "e.jsonl", tools)) == {"invalid_unicode": 1, "": 0}


def test_deep_nesting_is_a_reason_and_not_the_end(tmp_path: Path) -> None:
    deep = "[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5)
    lines = [
        json.dumps(GOOD),
        json.dumps(GOOD)[:-1] + f', "more": {deep}}}',
        json.dumps(GOOD)[:-1] + f', "more": {"[" * 100_000}}}',
        json.dumps({**GOOD, "tools": "[" * 500 + "]" * 500}),
    ]
    path = write(tmp_path, "a.jsonl", "\n".join(lines).encode())
    assert reasons(path) == {"too_deep": 1, "invalid_json": 1, "": 2}
    circle: dict[str, Any] = {**GOOD}
    circle["more"] = [circle]
    (skipped,) = read_examples([GOOD, circle], format="alpaca").skipped
    assert skipped.reason == "too_deep"
    assert not is_too_deep(json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH))
    assert is_too_deep(json.loads("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)))


def save_parquet(path: Path, table: pa.Table, **how: Any) -> Path:
    pq.write_table(table, path, **how)
    return path


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([0, -(2**60)], pa.timestamp("s")),
        pa.array([0, 2**62], pa.duration("s")),
        pa.array([0, 2**31 - 1], pa.date32()),
        pa.Array.from_buffers(
            pa.decimal128(38, 2**31 - 1),  # digits behind the point
            2,
            [pa.py_buffer(b"\x02"), pa.py_buffer(bytes(16) + (7).to_bytes(16, "little"))],
        ),
    ],
)
def test_a_value_that_python_has_not_costs_its_row(tmp_path: Path, odd: pa.Array) -> None:
    table = pa.table({"instruction": ["a", "b"], "output": ["c", "d"], "odd": odd})
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    assert reasons(path) == {"invalid_value": 1, "": 1}


def test_a_text_of_a_dictionary_is_not_unpacked_for_all_rows_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte that a file holds once, in each of 60 rows."""
    texts = pa.array(["x" * 1_000_000]).dictionary_encode().dictionary
    answers = pa.DictionaryArray.from_arrays(pa.array([0] * 60, pa.int32()), texts)
    table = pa.table({"instruction": ["a"] * 60, "output": answers})
    path = save_parquet(tmp_path / "bomb.parquet", table)
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(table_files, "MAX_BATCH_BYTES", 4_000_000)
    before = pa.default_memory_pool().max_memory()
    num_rows = sum(isinstance(row, dict) for row in decoded_rows(list_inputs(str(path))[0]))
    assert num_rows == 60
    assert pa.default_memory_pool().max_memory() - before < 30_000_000


@pytest.mark.usefixtures("small_rows")
def test_a_row_of_a_table_that_is_too_large_costs_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "BATCH_ROWS", 1)
    table = pa.table({"instruction": ["a", "b"], "output": ["c" * 5000, "d"]})
    assert reasons(save_parquet(tmp_path / "a.parquet", table)) == {"too_large": 1, "": 1}


def test_offsets_that_point_outside_are_an_error_and_no_crash(tmp_path: Path) -> None:
    table = pa.table({"instruction": ["question"] * 4, "output": ["answer"] * 4})
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    content = path.read_bytes()
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 8, 16, 24, 32))
    assert content.count(offsets) == 1
    far = b"".join(n.to_bytes(4, "little") for n in (0, 8, 1 << 30, 24, 32))
    path.write_bytes(content.replace(offsets, far))
    assert "cannot be read" in refusal(path)


def test_text_that_is_not_utf_8_costs_its_row_of_arrow_alone(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    nested = pa.array([[{"s": "x"}]] * 3)
    table = pa.table({"instruction": ["q"] * 3, "output": texts, "nested": nested})
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    found = list(decoded_rows(list_inputs(str(path))[0]))
    assert [isinstance(row, BadRow) for row in found] == [False, True, False]


def _loop(folder: Path) -> None:
    os.symlink(folder, folder / "again")
    (folder / "sub").mkdir()
    os.symlink(folder, folder / "sub" / "up")


def _to_nowhere(folder: Path) -> None:
    os.symlink(folder / "gone.jsonl", folder / "link.jsonl")


@pytest.mark.parametrize("glob", ["", "/**/*.jsonl"])
@pytest.mark.parametrize("make", [_loop, _to_nowhere])
def test_links_in_a_data_folder_end(
    tmp_path: Path, make: Callable[[Path], None], glob: str
) -> None:
    write(tmp_path, "a.jsonl", LINE)
    make(tmp_path)
    assert len(read_examples(f"{tmp_path}{glob}")) == 1


def test_what_a_terminal_would_obey_is_told_as_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", b'{"\\u001b]0;x\\u0007\\ud800": "a"}\n')
    with pytest.raises(UserError) as caught:
        read_examples(path)
    assert "\\x1b]0;x\\x07\\ud800" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b'{"a": ', b"[" * 100_000, b"\xff"])
def test_a_file_of_ours_that_is_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "a.json", content)
    with pytest.raises(UserError, match=r"a\.json is damaged, or not as this program writes it"):
        read_json(str(path))
    with pytest.raises(UserError, match="is damaged"):
        read_table(str(path))
    with pytest.raises(FileNotFoundError):
        read_table(str(tmp_path / "gone.parquet"))


def test_a_folder_in_the_place_of_a_file_of_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is damaged"):
        read_json(str(tmp_path))


def test_a_table_with_a_bad_page_is_named(tmp_path: Path) -> None:
    path = save_parquet(tmp_path / "a.parquet", pa.table({"a": list(range(1000))}))
    content = bytearray(path.read_bytes())
    content[20:60] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet is damaged"):
        read_table(str(path))


def test_a_column_that_is_described_otherwise_than_it_is_ends_no_process(tmp_path: Path) -> None:
    path = save_parquet(tmp_path / "a.parquet", pa.Table.from_pylist([GOOD]))
    content = path.read_bytes()
    optional, required = (b"\x25" + kind + b"\x18\x0binstruction" for kind in (b"\x02", b"\x00"))
    assert content.count(optional) == 1
    path.write_bytes(content.replace(optional, required))
    with pytest.raises(UserError, match=r"a\.parquet"):
        read_examples(path)
