"""Rows of every format -> Example, the reasons for skipping, and which format is recognised."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.data.formats import FORMATS, SkipRow, detect_format, parse, resolve_format
from nuggets_ray.data.inputs import list_inputs, read_rows, sample_rows
from nuggets_ray.errors import UserError
from nuggets_ray.records import Message

Row = dict[str, object]


def chat(*turns: tuple[str, object], keys: tuple[str, str] = ("role", "content")) -> list[Row]:
    return [dict(zip(keys, turn, strict=True)) for turn in turns]


def gpt(*turns: tuple[str, object]) -> list[Row]:
    return chat(*turns, keys=("from", "value"))


QA = (Message("user", "q", "i"), Message("assistant", "a"))
EXAMPLES: list[tuple[str, Row, tuple[Message, ...]]] = [
    ("alpaca", {"instruction": "q", "input": "i", "output": "a", "extra": 1}, QA),
    ("alpaca", {"instruction": "q", "output": "a"}, (Message("user", "q"), QA[1])),
    ("alpaca", {"instruction": "q", "input": None, "output": "a"}, (Message("user", "q"), QA[1])),
    (
        "alpaca",
        {"system": "s", "instruction": "q", "input": "i", "output": "a"},
        (Message("system", "s"), *QA),
    ),
    ("alpaca", {"system": " ", "instruction": "q", "input": "i", "output": "a"}, QA),
    ("dolly", {"instruction": "q", "context": "i", "response": "a", "category": "c"}, QA),
    ("prompt_completion", {"prompt": "q", "completion": "a"}, (Message("user", "q"), QA[1])),
    ("prompt_completion", {"prompt": "q", "response": "a"}, (Message("user", "q"), QA[1])),
    (
        "self_instruct",
        {
            "instruction": "q",
            "instances": [{"input": "i", "output": "a"}, {"input": "", "output": "b"}],
        },
        (*QA, Message("user", "q"), Message("assistant", "b")),
    ),
    (
        "sharegpt",
        {
            "conversations": gpt(
                ("system", "s"),
                ("human", "q"),
                ("function_call", "f()"),
                ("observation", "1"),
                ("gpt", "a"),
                ("human", "more?"),
            )
        },
        (
            Message("system", "s"),
            Message("user", "q"),
            Message("assistant", "f()"),
            Message("tool", "1"),
            Message("assistant", "a"),
        ),
    ),
    (
        "sharegpt",
        {"conversation": gpt(("user", "q"), ("user", "r"), ("chatgpt", "a"), ("bing", "b"))},
        (Message("user", "q\nr"), Message("assistant", "a\nb")),
    ),
    (
        "messages",
        {
            "messages": chat(
                ("developer", "s"),
                ("user", [{"type": "text", "text": "q"}, {"type": "text", "value": "{{r}}"}]),
                ("assistant", [{"type": "text", "text": "a", "value": None}]),
                ("tool", ""),
                ("assistant", "b"),
            )
        },
        (
            Message("system", "s"),
            Message("user", "q{{r}}"),
            Message("assistant", "a"),
            Message("tool", ""),
            Message("assistant", "b"),
        ),
    ),
]


@pytest.mark.parametrize(("format", "row", "messages"), EXAMPLES)
def test_row_becomes_the_whole_conversation(
    format: str, row: Row, messages: tuple[Message, ...]
) -> None:
    assert parse(row, format, {}).messages == messages


@pytest.mark.parametrize(("format", "row", "messages"), EXAMPLES)
def test_every_example_is_recognised(format: str, row: Row, messages: tuple[Message, ...]) -> None:
    assert detect_format([row] * 9 + [{"other": 1}, "no object"]) == format


def test_content_id_is_the_same_in_every_format() -> None:
    rows: list[tuple[str, Row]] = [
        ("alpaca", {"instruction": " q", "input": "i", "output": "a\n"}),
        ("alpaca", {"instruction": "q\ni", "input": "", "output": "a"}),
        ("dolly", {"instruction": "q", "context": "i", "response": "a"}),
        ("prompt_completion", {"prompt": "q\ni", "completion": "a"}),
        ("sharegpt", {"conversations": gpt(("human", "q\ni"), ("gpt", "a"))}),
        ("messages", {"messages": chat(("user", "q\ni"), ("assistant", "a"))}),
        ("self_instruct", {"instruction": "q", "instances": [{"input": "i", "output": "a"}]}),
    ]
    assert len({parse(row, format, {}).content_id for format, row in rows}) == 1


SKIPPED: list[tuple[str, object, str]] = [
    ("alpaca", ["a"], "not_an_object"),
    ("alpaca", "a", "not_an_object"),
    ("alpaca", None, "not_an_object"),
    ("alpaca", {"instruction": "q"}, "missing_field:output"),
    ("alpaca", {"instruction": "q", "output": None}, "wrong_type:output"),
    ("alpaca", {"instruction": 3, "output": "a"}, "wrong_type:instruction"),
    ("alpaca", {"instruction": "q", "input": ["i"], "output": "a"}, "wrong_type:input"),
    ("alpaca", {"instruction": "q", "system": 1, "output": "a"}, "wrong_type:system"),
    ("alpaca", {"instruction": " \n", "output": "a"}, "empty_instruction"),
    ("alpaca", {"instruction": "q", "output": "\t"}, "empty_answer"),
    ("alpaca", {"instruction": "q", "output": "\ud800"}, "invalid_unicode"),
    ("alpaca", {"instruction": "q", "input": "\udfff", "output": "a"}, "invalid_unicode"),
    ("dolly", {"instruction": "q", "context": "i"}, "missing_field:response"),
    ("prompt_completion", {"prompt": "q"}, "missing_field:completion"),
    ("self_instruct", {"instruction": "q", "instances": []}, "no_assistant_turn"),
    ("self_instruct", {"instruction": "q", "instances": "a"}, "wrong_type:instances"),
    ("self_instruct", {"instruction": "q", "instances": [{"input": "i"}]}, "missing_field:output"),
    ("sharegpt", {}, "missing_field:conversations"),
    ("sharegpt", {"conversations": {}}, "wrong_type:conversations"),
    ("sharegpt", {"conversations": ["hi"]}, "wrong_type:conversations"),
    ("sharegpt", {"conversations": []}, "no_assistant_turn"),
    ("sharegpt", {"conversations": gpt(("human", "q"))}, "no_assistant_turn"),
    ("sharegpt", {"conversations": gpt(("gpt", "a"))}, "no_user_turn"),
    (
        "sharegpt",
        {"conversations": gpt(("gpt", "a"), ("human", "q"), ("gpt", "b"))},
        "no_user_turn",
    ),
    ("sharegpt", {"conversations": gpt(("human", "q"), ("alien", "a"))}, "unknown_role"),
    ("sharegpt", {"conversations": gpt(("human", "q"), ("gpt", None))}, "wrong_type:value"),
    ("sharegpt", {"conversations": [{"from": "human"}]}, "missing_field:value"),
    (
        "sharegpt",
        {"conversations": gpt(("human", "q"), ("gpt", "a"), ("human", " "), ("gpt", "b"))},
        "empty_instruction",
    ),
    ("messages", {"messages": chat(("user", "q"), ("assistant", ""))}, "empty_answer"),
    ("messages", {"messages": chat(("user", "q"), ("assistant", []))}, "empty_answer"),
    ("messages", {"messages": chat(("user", "q"), ("assistant", 1))}, "wrong_type:content"),
    ("messages", {"messages": chat((None, "q"))}, "wrong_type:role"),
    (
        "messages",
        {"messages": chat(("user", [{"type": "image_url", "image_url": {}}]), ("assistant", "a"))},
        "wrong_type:content",
    ),
]


@pytest.mark.parametrize(("format", "row", "reason"), SKIPPED)
def test_bad_row_is_skipped_with_its_reason(format: str, row: object, reason: str) -> None:
    with pytest.raises(SkipRow) as skip:
        parse(row, format, {})
    assert skip.value.reason == reason


def test_nul_characters_are_text() -> None:
    example = parse({"instruction": "q\x00", "output": "\x00"}, "alpaca", {})
    assert example.messages[1].text == "\x00"


FIELDS = (
    "instruction input output context response prompt completion instances system "
    "conversations messages from value role content type text"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS.split()),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(row=JSON, format=st.sampled_from(list(FORMATS)))
def test_any_json_value_is_an_example_or_skipped(row: object, format: str) -> None:
    try:
        example = parse(row, format, {})
    except SkipRow as skip:
        assert skip.reason
    else:
        assert example.messages[-1].role == "assistant"
        assert len(example.content_id) == 32


def test_columns_map_any_fields() -> None:
    row: Row = {"question": "q", "passage": "i", "reply": "a", "persona": "s"}
    columns = {"instruction": "question", "input": "passage", "output": "reply"}
    assert parse(row, "columns", columns).messages == QA
    with_system = parse(row, "columns", columns | {"system": "persona"})
    assert with_system.messages == (Message("system", "s"), *QA)
    with pytest.raises(SkipRow, match="missing_field:reply"):
        parse({"question": "q"}, "columns", columns)
    for turns in (chat(("user", "q\ni"), ("assistant", "a")), gpt(("human", "q\ni"), ("gpt", "a"))):
        example = parse({"talk": turns}, "columns", {"messages": "talk"})
        assert [message.content for message in example.messages] == ["q\ni", "a"]


ALPACA: Row = {"instruction": "q", "input": "", "output": "a"}
DOLLY: Row = {"instruction": "q", "context": "", "response": "a"}


def test_defects_of_a_row_do_not_hide_its_format() -> None:
    assert detect_format([ALPACA | {"output": ""}] * 10) == "alpaca"


def test_two_formats_that_fit_is_an_error_naming_both() -> None:
    with pytest.raises(UserError, match=r"data\.format=alpaca or data\.format=dolly"):
        detect_format([ALPACA | DOLLY] * 5)
    with pytest.raises(UserError, match=r"sharegpt.*messages"):
        row: Row = {
            "messages": chat(("user", "q"), ("assistant", "a")),
            "conversations": gpt(("human", "q"), ("gpt", "a")),
        }
        detect_format([row], section="anchors")


def test_too_few_rows_that_fit_is_an_error_naming_the_two_best() -> None:
    rows = [ALPACA] * 89 + [DOLLY] * 11
    with pytest.raises(UserError, match=r"89% fit alpaca and 11% fit dolly.*data\.columns"):
        detect_format(rows)
    assert detect_format([ALPACA] * 90 + [DOLLY] * 10) == "alpaca"
    with pytest.raises(UserError, match=r"0% fit .*question, reply"):
        detect_format([{"question": "q", "reply": "a"}])


@pytest.mark.parametrize("rows", [[], [1, "a", None, ["x"]]])
def test_no_object_to_look_at_is_an_error(rows: list[object]) -> None:
    with pytest.raises(UserError, match=r"data\.format=auto"):
        detect_format(rows)


def test_resolve_format() -> None:
    assert resolve_format("auto", {}, [ALPACA]) == "alpaca"
    assert resolve_format("dolly", {}, []) == "dolly"
    mapping = {"instruction": "q", "output": "a"}
    assert (
        resolve_format("auto", mapping, []) == resolve_format("columns", mapping, []) == "columns"
    )


@pytest.mark.parametrize(
    ("format", "columns", "named"),
    [
        ("excel", {}, "anchors.format=excel"),
        ("columns", {}, "anchors.columns"),
        ("alpaca", {"instruction": "q", "output": "a"}, "anchors.format=alpaca"),
        ("auto", {"instruction": "q"}, "output"),
        ("auto", {"question": "q", "output": "a"}, "question"),
    ],
)
def test_settings_that_contradict_each_other_are_errors(
    format: str, columns: dict[str, str], named: str
) -> None:
    with pytest.raises(UserError, match=named.replace(".", r"\.")):
        resolve_format(format, columns, [ALPACA], section="anchors")


REAL_FILES = {
    "candidates/alpaca_9229.json": ("alpaca", 9229, {"empty_answer": 4}),
    "candidates/dolly_2996.json": ("alpaca", 2996, {}),
    "formats/alpaca_zh_1000.json": ("alpaca", 1000, {}),
    "formats/dolly_original_fields_12.json": ("dolly", 12, {}),
    "formats/messages_500.jsonl": ("messages", 500, {}),
    "formats/self_instruct_seed_tasks_175.jsonl": ("self_instruct", 175, {}),
    "formats/sharegpt_500.json": ("sharegpt", 500, {}),
}


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_load_with_format_auto(test_data: Path, name: str) -> None:
    files = list_inputs(str(test_data / name))
    format = detect_format(sample_rows(files))
    reasons: Counter[str] = Counter()
    rows = list(read_rows(files[0]))
    for row in rows:
        try:
            parse(row, format, {})
        except SkipRow as skip:
            reasons[skip.reason] += 1
    assert (format, len(rows), dict(reasons)) == REAL_FILES[name]


def test_every_real_file_is_in_the_table(test_data: Path) -> None:
    folders = ("candidates", "formats")
    found = {
        f"{folder}/{path.name}" for folder in folders for path in (test_data / folder).iterdir()
    }
    assert found == set(REAL_FILES)


def test_a_mistyped_format_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(UserError, match="data.format=alpacca is unknown.*mean data.format=alpaca"):
        resolve_format("alpacca", {}, [])
