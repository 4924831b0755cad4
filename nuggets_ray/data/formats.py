"""Rows of an instruction dataset -> Example, or the reason why not (FORMATS, and a mapping of
columns).

A conversation is kept whole. Turns of one role in a row (user, assistant) become one turn, joined
by a line break; what follows the last answer is dropped; an empty system turn is no turn. A
self-instruct row is one conversation, a question and an answer an instance.
"""

from collections.abc import Callable, Mapping, Sequence

from nuggets_ray.config.schema import COLUMN_FIELDS
from nuggets_ray.data.rows import BadRow
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example, Message

ROLE_NAMES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "observation": "tool",
}
"""What the formats call the roles; a function_call is written by the model, so it is an answer."""

MIN_FITTING_SHARE = 0.9
STRUCTURE = ("missing_field", "wrong_type")
"""Reasons that say a row is not of the format at all; any other is a defect of a row that is."""


class SkipRow(Exception):
    """This row cannot be used. `reason` is a machine word, after a colon the field:
    missing_field:output.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(row: object, format: str, columns: Mapping[str, str]) -> Example:
    """The example in a row of the given format ("columns": by the mapping our field -> column).

    Raises SkipRow: a BadRow's own reason, not_an_object, missing_field:F, wrong_type:F,
    unknown_role, no_assistant_turn, no_user_turn (none before the first answer), empty_instruction,
    empty_answer, invalid_unicode (lone surrogates).
    """
    if isinstance(row, BadRow):
        raise SkipRow(row.reason)
    if not isinstance(row, dict):
        raise SkipRow("not_an_object")
    if format == "columns":
        return _from_columns(row, columns)
    return FORMATS[format](row)


def resolve_format(
    format: str, columns: Mapping[str, str], rows: Sequence[object], section: str = "data"
) -> str:
    """The format that `<section>.format` and `<section>.columns` stand for, given the first rows.

    Raises UserError where they contradict each other, are unknown, or `auto` cannot tell.
    """
    unknown = sorted(set(columns) - set(COLUMN_FIELDS))
    if unknown:
        raise UserError(
            f"{section}.columns has the unknown field {unknown[0]}: "
            f"its keys are {', '.join(COLUMN_FIELDS)}"
        )
    if columns and format not in ("auto", "columns"):
        raise UserError(
            f"{section}.columns is set, but {section}.format={format}: leave one of them out"
        )
    if columns and "messages" not in columns and not {"instruction", "output"} <= set(columns):
        raise UserError(f"{section}.columns needs instruction and output, or messages")
    if format == "columns" and not columns:
        raise UserError(
            f"{section}.format=columns needs {section}.columns, "
            f"e.g. {section}.columns={{instruction: question, output: reply}}"
        )
    if columns or format == "columns":
        return "columns"
    if format == "auto":
        return detect_format(rows, section)
    if format not in FORMATS:
        names = ", ".join([*FORMATS, "columns", "auto"])
        raise UserError(f"{section}.format={format} is unknown: it is one of {names}")
    return format


def detect_format(rows: Sequence[object], section: str = "data") -> str:
    """The one format that at least 90% of these rows (of those that are objects) fit.

    Raises UserError where there is none or more than one, naming the two best and what to set.
    """
    objects = [row for row in rows if isinstance(row, dict)]
    if not objects:
        raise UserError(
            f"{section}.format=auto: none of the first {len(rows)} rows is a JSON object, "
            "so there is nothing to recognise: check the file"
        )
    shares = {name: sum(_fits(row, name) for row in objects) / len(objects) for name in FORMATS}
    best, second = sorted(FORMATS, key=lambda name: -shares[name])[:2]
    if shares[best] < MIN_FITTING_SHARE:
        fields = ", ".join(sorted({str(key) for row in objects for key in row})[:12])
        raise UserError(
            f"{section}.format=auto: of the first {len(objects)} rows {shares[best]:.0%} fit "
            f"{best} and {shares[second]:.0%} fit {second}, not {MIN_FITTING_SHARE:.0%}: set "
            f"{section}.format, or {section}.columns={{instruction: ..., output: ...}} to fields "
            f"of yours ({fields})"
        )
    if shares[second] >= MIN_FITTING_SHARE:
        raise UserError(
            f"{section}.format=auto: the first {len(objects)} rows fit both {best} and {second}: "
            f"set {section}.format={best} or {section}.format={second}"
        )
    return best


def _fits(row: dict[str, object], format: str) -> bool:
    try:
        FORMATS[format](row)
    except SkipRow as skip:
        return skip.reason.partition(":")[0] not in STRUCTURE
    return True


def alpaca(row: dict[str, object]) -> Example:
    """{instruction, input?, output, system?}"""
    return _instruction(row, "instruction", "input", "output", "system")


def dolly(row: dict[str, object]) -> Example:
    """{instruction, context?, response}"""
    return _instruction(row, "instruction", "context", "response")


def prompt_completion(row: dict[str, object]) -> Example:
    """{prompt, completion}, or {prompt, response}"""
    answer = "response" if "response" in row and "completion" not in row else "completion"
    return _instruction(row, "prompt", None, answer)


def self_instruct(row: dict[str, object]) -> Example:
    """{instruction, instances: [{input?, output}]}: an instance is a question and its answer."""
    instruction = _text(row, "instruction")
    turns = []
    for instance in _list_of_objects(row, "instances"):
        turns.append(Message("user", instruction, _optional_text(instance, "input")))
        turns.append(Message("assistant", _text(instance, "output")))
    return _example(turns)


def sharegpt(row: dict[str, object]) -> Example:
    """{conversations: [{from, value}]}, or conversation"""
    is_single = "conversation" in row and "conversations" not in row
    field = "conversation" if is_single else "conversations"
    return _conversation(row, field, "from", "value")


def messages(row: dict[str, object]) -> Example:
    """{messages: [{role, content}]}, content a text or a list of {type: text, text or value}"""
    return _conversation(row, "messages", "role", "content")


def _from_columns(row: dict[str, object], columns: Mapping[str, str]) -> Example:
    if "messages" not in columns:
        names = [columns.get(field) for field in ("input", "output", "system")]
        return _instruction(row, columns["instruction"], names[0], columns["output"], names[2])
    field = columns["messages"]
    turns = _list_of_objects(row, field)
    keys = ("from", "value") if turns and "from" in turns[0] else ("role", "content")
    return _conversation(row, field, *keys)


def _instruction(
    row: dict[str, object],
    instruction: str,
    input: str | None,
    output: str,
    system: str | None = None,
) -> Example:
    asked = Message("user", _text(row, instruction), _optional_text(row, input))
    answered = Message("assistant", _text(row, output))
    return _example([Message("system", _optional_text(row, system)), asked, answered])


def _conversation(row: dict[str, object], field: str, role_key: str, text_key: str) -> Example:
    turns = []
    for turn in _list_of_objects(row, field):
        role, text = _text(turn, role_key), _content(turn, text_key)
        if role.lower() not in ROLE_NAMES:
            raise SkipRow("unknown_role")
        turns.append(Message(ROLE_NAMES[role.lower()], text))
    return _example(turns)


def _text(row: dict[str, object], field: str) -> str:
    if field not in row:
        raise SkipRow(f"missing_field:{field}")
    value = row[field]
    if not isinstance(value, str):
        raise SkipRow(f"wrong_type:{field}")
    return value


def _optional_text(row: dict[str, object], field: str | None) -> str:
    return "" if field is None or row.get(field) is None else _text(row, field)


def _content(turn: dict[str, object], field: str) -> str:
    if not isinstance(turn.get(field), list):
        return _text(turn, field)
    parts = _list_of_objects(turn, field)
    if any(part.get("type") not in (None, "text") for part in parts):
        raise SkipRow(f"wrong_type:{field}")
    return "".join(_text(part, "value" if part.get("text") is None else "text") for part in parts)


def _list_of_objects(row: dict[str, object], field: str) -> list[dict[str, object]]:
    if field not in row:
        raise SkipRow(f"missing_field:{field}")
    value = row[field]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise SkipRow(f"wrong_type:{field}")
    return value


def _example(turns: Sequence[Message]) -> Example:
    """The conversation in its canonical shape, or SkipRow."""
    kept: list[Message] = []
    for turn in turns:
        if turn.role == "system" and not turn.content:
            continue
        if kept and kept[-1].role == turn.role and turn.role in ("user", "assistant"):
            texts = (kept.pop().content, turn.content)
            turn = Message(turn.role, "\n".join(text for text in texts if text))
        kept.append(turn)
    while kept and kept[-1].role != "assistant":
        kept.pop()
    roles = [turn.role for turn in kept]
    if not roles:
        raise SkipRow("no_assistant_turn")
    if "user" not in roles[: roles.index("assistant")]:
        raise SkipRow("no_user_turn")
    if any(turn.role == "user" and not turn.content for turn in kept):
        raise SkipRow("empty_instruction")
    if any(turn.role == "assistant" and not turn.content for turn in kept):
        raise SkipRow("empty_answer")
    for turn in kept:
        try:
            turn.content.encode("utf-8")
        except UnicodeEncodeError:
            raise SkipRow("invalid_unicode") from None
    return Example(tuple(kept))


FORMATS: dict[str, Callable[[dict[str, object]], Example]] = {
    "alpaca": alpaca,
    "dolly": dolly,
    "sharegpt": sharegpt,
    "messages": messages,
    "prompt_completion": prompt_completion,
    "self_instruct": self_instruct,
}
