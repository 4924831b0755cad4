"""Rows of every format -> messages and tools, what is read beside them, why a row is skipped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.data.examples import Rules
from nuggets_ray.data.formats import FORMATS
from nuggets_ray.data.values import NOT_TEXT, SkipRow
from nuggets_ray.records import Example, Message

Row = dict[str, object]


def chat(*turns: tuple[str, object], keys: tuple[str, str] = ("role", "content")) -> list[Row]:
    return [dict(zip(keys, turn, strict=True)) for turn in turns]


def gpt(*turns: tuple[str, object]) -> list[Row]:
    return chat(*turns, keys=("from", "value"))


def parse(row: object, format: str, columns: dict[str, str] | None = None) -> Example:
    return Rules(format, columns or {}).parse(row)


ASKED, ANSWERED = Message("user", "q"), Message("assistant", "a")
QA = (Message("user", "q", "i"), ANSWERED)
SYSTEM = Message("system", "s")
EARLIER = (Message("user", "p"), Message("assistant", "b"))
EXAMPLES: list[tuple[str, object, tuple[Message, ...]]] = [
    ("alpaca", {"instruction": "q", "input": "i", "output": "a", "extra": 1}, QA),
    ("alpaca", {"instruction": "q", "output": "a"}, (ASKED, ANSWERED)),
    ("alpaca", {"instruction": "q", "input": None, "output": "a"}, (ASKED, ANSWERED)),
    ("alpaca", {"instruction": "q", "input": float("nan"), "output": "a"}, (ASKED, ANSWERED)),
    ("alpaca", {"instruction": "q", "context": "i", "output": "a"}, QA),
    ("alpaca", {"system": "s", "instruction": "q", "input": "i", "output": "a"}, (SYSTEM, *QA)),
    (
        "alpaca",
        {"system_prompt": "s", "instruction": "q", "output": "a"},
        (SYSTEM, ASKED, ANSWERED),
    ),
    ("alpaca", {"system": " ", "instruction": "q", "input": "i", "output": "a"}, QA),
    (
        "alpaca",
        {"instruction": "q", "input": 3, "output": 2.5},
        (Message("user", "q", "3"), Message("assistant", "2.5")),
    ),
    (
        "alpaca",
        {"instruction": "q", "output": "a", "history": [["p", "b"]], "system": "s"},
        (SYSTEM, *EARLIER, ASKED, ANSWERED),
    ),
    (
        "alpaca",
        {"instruction": "q", "output": "a", "history": '[["p", "b"]]'},
        (*EARLIER, ASKED, ANSWERED),
    ),
    (
        "alpaca",
        {"instruction": "q", "reasoning_content": " because ", "output": "a"},
        (ASKED, Message("assistant", "a", reasoning="because")),
    ),
    ("alpaca", {"instruction": b"q", "output": "a"}, (ASKED, ANSWERED)),
    ("dolly", {"instruction": "q", "context": "i", "response": "a", "category": "c"}, QA),
    ("dolly", {"instruction": "q", "input": "i", "response": "a"}, QA),
    (
        "dolly",
        {"instruction": "q", "input": "i", "context": "j", "response": "a"},
        (Message("user", "q", "i\nj"), ANSWERED),
    ),
    ("prompt_completion", {"prompt": "q", "completion": "a"}, (ASKED, ANSWERED)),
    ("prompt_completion", {"prompt": "q", "response": "a"}, (ASKED, ANSWERED)),
    (
        "prompt_completion",
        {
            "prompt": chat(("system", "s"), ("user", "p"), ("assistant", "b"), ("user", "q")),
            "completion": chat(("assistant", "a")),
        },
        (SYSTEM, EARLIER[0], Message("assistant", "b", trains=False), ASKED, ANSWERED),
    ),
    (
        "prompt_completion",
        {"prompt": '[{"role": "user", "content": "q"}]', "completion": '["a"]'},
        (ASKED, Message("assistant", '["a"]')),
    ),
    ("preference", {"prompt": "q", "chosen": "a", "rejected": "b"}, (ASKED, ANSWERED)),
    (
        "preference",
        {"prompt": "q", "chosen": chat(("user", "q"), ("assistant", "a")), "rejected": []},
        (ASKED, ANSWERED),
    ),
    ("preference", {"prompt": chat(("user", "q")), "chosen": gpt(("gpt", "a"))}, (ASKED, ANSWERED)),
    ("preference", {"chosen": chat(("user", "q"), ("assistant", "a"))}, (ASKED, ANSWERED)),
    (
        "self_instruct",
        {
            "instruction": "q",
            "instances": [{"input": "i", "output": "a"}, {"input": "", "output": "b"}],
        },
        (*QA, ASKED, Message("assistant", "b")),
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
        (SYSTEM, ASKED, Message("assistant", "f()"), Message("tool", "1"), ANSWERED),
    ),
    (
        "sharegpt",
        {"conversation": gpt(("user", "q"), ("user", "r"), ("chatgpt", "a"), ("bing", "b"))},
        (Message("user", "q\nr"), Message("assistant", "a\nb")),
    ),
    (
        "sharegpt",
        {"system": "s", "conversations": gpt(("human", "q"), ("gpt", "a"))},
        (SYSTEM, ASKED, ANSWERED),
    ),
    (
        "sharegpt",
        {"system": "s", "dialog": chat(("system", "s"), ("user", "q"), ("assistant", "a"))},
        (SYSTEM, ASKED, ANSWERED),
    ),
    (
        "sharegpt",
        {"system": "s", "dialog": chat(("system", "t"), ("user", "q"), ("assistant", "a"))},
        (Message("system", "s\nt"), ASKED, ANSWERED),
    ),
    (
        "sharegpt",
        {"conversations": gpt(("human", "q")), "chosen": {"from": "gpt", "value": "a"}},
        (ASKED, ANSWERED),
    ),
    (
        "sharegpt",
        {"conversations": gpt(("human", "q"), ("gpt", "a")), "chosen": "never"},
        (ASKED, ANSWERED),
    ),
    ("sharegpt", {"messages": None, "thread": ["q", "a"]}, (ASKED, ANSWERED)),
    (
        "sharegpt",
        {"conversations": '[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]'},
        (ASKED, ANSWERED),
    ),
    ("messages", gpt(("human", "q"), ("gpt", "a")), (ASKED, ANSWERED)),
    (
        "messages",
        {
            "messages": chat(
                ("developer", "s"),
                ("user", [{"type": "text", "text": "q"}, {"type": "text", "value": "{{r}}"}]),
                ("assistant", [{"type": "output_text", "text": "a", "value": None}]),
                ("tool", ""),
                ("assistant", "b"),
            )
        },
        (
            SYSTEM,
            Message("user", "q{{r}}"),
            ANSWERED,
            Message("tool", ""),
            Message("assistant", "b"),
        ),
    ),
]


@pytest.mark.parametrize(("format", "row", "messages"), EXAMPLES)
def test_row_becomes_the_whole_conversation(
    format: str, row: object, messages: tuple[Message, ...]
) -> None:
    assert parse(row, format).messages == messages


def test_the_sample_of_every_format_is_read_whole() -> None:
    for name, format in FORMATS.items():
        read = Rules(name).read(format.sample)
        assert set(read.fields) | set(read.left) - {"rejected"} == set(format.sample) - {"rejected"}


def test_content_id_is_the_same_in_every_format() -> None:
    rows: list[tuple[str, Row]] = [
        ("alpaca", {"instruction": " q", "input": "i", "output": "a\n"}),
        ("alpaca", {"instruction": "q\ni", "input": "", "output": "a"}),
        ("dolly", {"instruction": "q", "context": "i", "response": "a"}),
        ("prompt_completion", {"prompt": "q\ni", "completion": "a"}),
        ("preference", {"prompt": "q\ni", "chosen": "a", "rejected": "b"}),
        ("sharegpt", {"conversations": gpt(("human", "q\ni"), ("gpt", "a"))}),
        ("messages", {"messages": chat(("user", "q\ni"), ("assistant", "a"))}),
        ("self_instruct", {"instruction": "q", "instances": [{"input": "i", "output": "a"}]}),
    ]
    assert len({parse(row, format).content_id for format, row in rows}) == 1


QUESTION: Row = {"messages": chat(("user", "q"), ("assistant", "a"))}


def test_what_carries_meaning_makes_another_content() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    call = {"function": {"name": "f", "arguments": '{"x": 1}'}}
    [asked, answered] = chat(("user", "q"), ("assistant", "a"))
    rows: list[Row] = [
        QUESTION,
        QUESTION | {"system": "s"},
        QUESTION | {"tools": [tool]},
        {"messages": [asked, answered | {"tool_calls": [call]}]},
        {"messages": [asked, answered | {"reasoning_content": "r"}]},
        {"messages": [asked, answered | {"weight": 0}, asked, answered]},
        {"messages": [asked, answered, asked, answered]},
    ]
    assert len({parse(row, "messages").content_id for row in rows}) == len(rows)


def test_tools_are_json_texts_whoever_wrote_them() -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": None}}
    text = '{"type": "function", "function": {"name": "f"}}'
    for tools in ([tool], tool, [text], f"[{text}]", text):
        assert parse(QUESTION | {"tools": tools}, "messages").tools == (text,)
    for nothing in ("[]", [], None, float("nan"), ""):
        assert parse(QUESTION | {"tools": nothing}, "messages").tools == ()


def test_tools_that_are_no_objects_are_told_as_not_read() -> None:
    read = Rules("messages").read(QUESTION | {"tools": "f(x)"})
    assert (read.example.tools, read.left) == ((), ("tools",))


def test_which_fields_were_read_and_which_were_not() -> None:
    row = {"instruction": "q", "input": "", "output": "a", "system_prompt": "s", "id": 1, "x": None}
    read = Rules("alpaca").read(row)
    assert set(read.fields) == {"instruction", "output", "system_prompt"}
    assert read.left == ("id",), "what holds nothing is not told"
    turns = chat(("user", "q"), ("assistant", "a"))
    turns[1] |= {"weight": 1, "name": "Ada"}
    read = Rules("messages").read({"messages": turns, "history": [["p", "b"]]})
    assert read.fields == ("messages", "messages[].weight")
    assert read.left == ("history", "messages[].name")


SKIPPED: list[tuple[str, object, str, str]] = [
    ("alpaca", ["a"], "not_an_object", ""),
    ("alpaca", "a", "not_an_object", ""),
    ("alpaca", None, "not_an_object", ""),
    ("alpaca", {"instruction": "q"}, "missing_field:output", ""),
    ("alpaca", {"instruction": "q", "output": None}, "wrong_type:output", "null"),
    ("alpaca", {"instruction": "q", "output": float("nan")}, "wrong_type:output", "null"),
    ("alpaca", {"instruction": {}, "output": "a"}, "wrong_type:instruction", "an object"),
    ("alpaca", {"instruction": True, "output": "a"}, "wrong_type:instruction", "true or false"),
    ("alpaca", {"instruction": "q", "input": ["i"], "output": "a"}, "wrong_type:input", "a list"),
    ("alpaca", {"instruction": "q", "system": ["s"], "output": "a"}, "wrong_type:system", "a list"),
    (
        "alpaca",
        {"instruction": "q", "history": "p", "output": "a"},
        "wrong_type:history",
        "a text that is no JSON list",
    ),
    ("alpaca", {"instruction": " \n", "output": "a"}, "empty_instruction", ""),
    ("alpaca", {"instruction": "q", "output": "\t"}, "empty_answer", ""),
    ("alpaca", {"instruction": "q", "output": "\ud800"}, "invalid_unicode", ""),
    ("alpaca", {"instruction": "q", "input": "\udfff", "output": "a"}, "invalid_unicode", ""),
    ("alpaca", {"instruction": b"caf\xe9", "output": "a"}, "invalid_unicode", "instruction"),
    (
        "alpaca",
        {"instruction": {NOT_TEXT: "6Q=="}, "output": "a"},
        "invalid_unicode",
        "instruction",
    ),
    ("dolly", {"instruction": "q", "context": "i"}, "missing_field:response", ""),
    ("prompt_completion", {"prompt": "q"}, "missing_field:completion", ""),
    ("prompt_completion", {"prompt": "q", "completion": ["a"]}, "wrong_type:completion", "a list"),
    ("preference", {"prompt": "q", "chosen": {"score": 1}}, "wrong_type:chosen", "an object"),
    ("self_instruct", {"instruction": "q", "instances": []}, "no_assistant_turn", ""),
    ("self_instruct", {"instruction": "q", "instances": "a"}, "wrong_type:instances", "a text"),
    (
        "self_instruct",
        {"instruction": "q", "instances": [{"input": "i"}]},
        "missing_field:output",
        "",
    ),
    ("sharegpt", {}, "missing_field:conversations", ""),
    ("sharegpt", {"conversations": {}}, "wrong_type:conversations", "an object"),
    ("sharegpt", {"conversations": [3]}, "wrong_type:conversations", "int at turn 1"),
    ("sharegpt", {"conversations": []}, "no_assistant_turn", ""),
    ("sharegpt", {"conversations": gpt(("human", "q"))}, "no_assistant_turn", ""),
    ("sharegpt", {"conversations": gpt(("gpt", "a"))}, "no_user_turn", ""),
    (
        "sharegpt",
        {"conversations": gpt(("human", "q"), ("alien", "a"))},
        "unknown_role:alien",
        "at turn 2",
    ),
    (
        "sharegpt",
        {"conversations": gpt(("human", "q"), ("gpt", None))},
        "wrong_type:value",
        "null at turn 2",
    ),
    ("sharegpt", {"conversations": [{"from": "human"}]}, "missing_field:value", "at turn 1"),
    (
        "sharegpt",
        {"conversations": gpt(("human", "q"), ("gpt", "a"), ("human", " "), ("gpt", "b"))},
        "empty_instruction",
        "",
    ),
    ("messages", {"messages": chat(("user", "q"), ("assistant", ""))}, "empty_answer", ""),
    ("messages", {"messages": chat(("user", "q"), ("assistant", []))}, "empty_answer", ""),
    (
        "messages",
        {"messages": chat(("user", "q"), ("assistant", {}))},
        "wrong_type:content",
        "an object at turn 2",
    ),
    ("messages", {"messages": chat((None, "q"))}, "wrong_type:role", "null at turn 1"),  # type: ignore[arg-type]
    (
        "messages",
        {"messages": chat(("user", [{"type": "image_url", "image_url": {}}]), ("assistant", "a"))},
        "wrong_type:content",
        "a part of type image_url at turn 1",
    ),
    (
        "messages",
        {"messages": chat(("user", "<image>q"), ("assistant", "a")), "images": ["x.png"]},
        "needs_image:images",
        "",
    ),
]


@pytest.mark.parametrize(("format", "row", "reason", "detail"), SKIPPED)
def test_bad_row_is_skipped_with_its_reason(
    format: str, row: object, reason: str, detail: str
) -> None:
    with pytest.raises(SkipRow) as skip:
        parse(row, format)
    assert (skip.value.reason, skip.value.detail) == (reason, detail)


def test_a_mark_of_an_image_without_an_image_is_text() -> None:
    row = {"instruction": "<image> in html?", "output": "a", "images": []}
    assert parse(row, "alpaca").messages[0].text == "<image> in html?"


def test_nul_characters_are_text() -> None:
    example = parse({"instruction": "q\x00", "output": "\x00"}, "alpaca")
    assert example.messages[1].text == "\x00"


FIELDS = (
    "instruction input output context response prompt completion chosen instances system tools "
    "history conversations messages from value role content type text weight tool_calls function "
    "name arguments reasoning_content"
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["user", "assistant", "tool", "[", "{}", '[{"role": "user"}]']),
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
        read = Rules(format).read(row)
    except SkipRow as skip:
        assert skip.reason
    else:
        assert read.example.messages[-1].is_answer
        assert len(read.example.content_id) == 32
        assert not set(read.fields) & set(read.left)


def test_columns_map_any_fields() -> None:
    row: Row = {"question": "q", "passage": "i", "reply": "a", "persona": "s"}
    columns = {"instruction": "question", "input": "passage", "output": "reply"}
    assert parse(row, "columns", columns).messages == QA
    with_system = parse(row, "columns", columns | {"system": "persona"})
    assert with_system.messages == (SYSTEM, *QA)
    with pytest.raises(SkipRow, match="missing_field:reply"):
        parse({"question": "q"}, "columns", columns)
    for turns in (chat(("user", "q\ni"), ("assistant", "a")), gpt(("human", "q\ni"), ("gpt", "a"))):
        for name in ("messages", "turns"):
            example = parse(
                {"talk": turns, "persona": "s"}, "columns", {name: "talk", "system": "persona"}
            )
            assert [message.content for message in example.messages] == ["s", "q\ni", "a"]


def test_columns_map_the_fields_of_turns_and_what_stands_beside_them() -> None:
    said = [{"by": "user", "says": "q", "counts": 1}, {"by": "model", "says": "b", "counts": 0}]
    row: Row = {
        "log": said,
        "before": [["p", "b"]],
        "functions_here": '[{"name": "f"}]',
        "best": {"by": "model", "says": "a"},
    }
    columns = {
        "turns": "log",
        "role": "by",
        "content": "says",
        "weight": "counts",
        "tools": "functions_here",
    }
    example = parse(
        {**row, "log": [*said, *said[:1], {"by": "model", "says": "a"}]}, "columns", columns
    )
    assert [m.text for m in example.messages if m.is_answer] == ["a"]
    assert example.tools == ('{"name": "f"}',)
    open_row = {**row, "log": said[:1]}
    assert parse(open_row, "columns", columns | {"chosen": "best"}).messages == (ASKED, ANSWERED)
    asked: Row = {"q": "q", "best": "a", "before": [["p", "b"]]}
    columns = {"instruction": "q", "chosen": "best", "history": "before"}
    assert parse(asked, "columns", columns).messages == (*EARLIER, ASKED, ANSWERED)


def test_a_name_that_is_mapped_elsewhere_is_not_read_twice() -> None:
    row: Row = {"context": "q", "output": "a", "system": "s"}
    columns = {"instruction": "context", "output": "output", "input": "system"}
    assert parse(row, "columns", columns).messages == (Message("user", "q", "s"), ANSWERED)
