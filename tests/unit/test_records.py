"""The records: what content is the same, and what an encoding counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.records import Encoding, Example, Message, ToolCall

TEXTS = st.text(max_size=8)


def test_an_input_stands_below_its_instruction() -> None:
    assert Message("user", " Add. ", " 1 and 2\n").content == "Add.\n1 and 2"
    assert Message("user", "Add.").content == "Add."
    assert Message("user", "", "alone").content == "alone"


def test_an_answer_keeps_what_indents_its_first_line() -> None:
    assert Message("assistant", "\n \t\r\n    return 1\n  x \n").content == "    return 1\n  x"
    assert Message("assistant", "\u3000\t 1").content == "\t 1"
    assert Message("assistant", " \n\t").content == ""
    assert Message("user", "    return 1\n").content == "return 1"
    indented, flush = (
        Example((Message("user", "Go on."), Message("assistant", text)))
        for text in ("    return 1", "return 1")
    )
    assert indented.content_id != flush.content_id


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXTS), max_size=4))
def test_content_is_roles_and_texts_without_blank_edges(turns: list[tuple[str, str]]) -> None:
    plain = Example(tuple(Message(role, text) for role, text in turns))
    padded = Example(tuple(Message(role, f" \n{text}\n") for role, text in turns))
    assert plain.content_id == padded.content_id and len(plain.content_id) == 32
    more = Example((*plain.messages, Message("user", "one more")))
    assert more.content_id != plain.content_id


def test_the_border_between_messages_counts() -> None:
    one = Example((Message("user", "a"), Message("user", "b")))
    other = Example((Message("user", "a b"),))
    roles = Example((Message("user", "a"), Message("assistant", "b")))
    assert len({one.content_id, other.content_id, roles.content_id}) == 3


def test_an_encoding_counts_its_tokens() -> None:
    encoding = Encoding(np.arange(5), np.array([False, True, False, True, True]))
    assert (encoding.num_tokens, encoding.num_answer_tokens) == (5, 3)
    assert encoding.num_dropped_tokens == 0


def test_a_content_id_stays_where_a_row_has_only_texts() -> None:
    """An id of a run folder made before the other fields were read."""
    plain = Example((Message("user", "Add.", "1 and 2"), Message("assistant", "3")))
    assert plain.content_id == "c126d1e38bfdab29eb8d2d0279b59e58"


def test_whatever_carries_meaning_is_content() -> None:
    asked = Message("user", "When is high tide?")
    call = ToolCall("tide_table", '{"port": "Vigo"}')
    answers = [
        Message("assistant", "At noon."),
        Message("assistant", "At noon.", reasoning="The moon is full."),
        Message("assistant", "At noon.", tool_calls=(call,)),
        Message("assistant", "At noon.", tool_calls=(call, call)),
        Message("assistant", "At noon.", trains=False),
    ]
    examples = [Example((asked, answer)) for answer in answers]
    examples.append(Example((asked, answers[0]), tools=('{"name": "tide_table"}',)))
    assert len({example.content_id for example in examples}) == len(examples)


def test_only_an_assistant_turn_that_trains_is_an_answer() -> None:
    assert Message("assistant", "Lima.").is_answer
    assert not Message("assistant", "Quito.", trains=False).is_answer
    assert not Message("user", "Capital of Peru?").is_answer
