"""The JSON array reader against json.loads, whatever the window's size."""

import io
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from nuggets_ray.data.rows import array_texts

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(['"', "\\", "]", ",", "\\u12", "\n", "\x00", "\u2028"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@example(rows=[0.5, 1e22, -3e-9, float("-inf")], window_chars=1, indent=None, ascii_only=True)
@given(
    rows=st.lists(VALUES, max_size=6),
    window_chars=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
def test_array_rows_do_not_depend_on_the_window(
    rows: list[object], window_chars: int, indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode()
    stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    texts = list(array_texts(stream, window_chars))
    assert all(isinstance(text, str) and "\n" not in text for text in texts)
    assert [json.loads(str(text)) for text in texts] == rows


def test_the_text_of_a_row_is_the_user_s_own() -> None:
    data = b'[\n  {"b": 1.10, "a": 1e5,\r\n   "b": "x\\u00e9\\/"}\n]'
    stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    assert list(array_texts(stream)) == ['{"b": 1.10, "a": 1e5, "b": "x\\u00e9\\/"}']
