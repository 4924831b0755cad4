"""The formats: where question and answer, or the turns, stand (FORMATS, at the foot), and how well
the fields of a row fit one.

What else carries meaning (system, tools, history, reasoning, ...) is read in every format, under
the names of spellings.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nuggets_ray.data.spellings import TURNS, is_absent


@dataclass(frozen=True, slots=True)
class Format:
    """Where question and answer stand, or the turns: column names, the first that is there counts.

    `takes_input`: a question has an optional context of its own. `sample` is a row, for the docs,
    `note` what to say of it there.
    """

    sample: Mapping[str, Any]
    question: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    takes_input: bool = False
    note: str = ""


def format_of_columns(columns: Mapping[str, str]) -> Format:
    """The format that the user's own columns make."""
    turns = columns.get("turns") or columns.get("messages")
    if turns:
        return Format({}, turns=(turns,))
    answer = columns.get("output") or columns["chosen"]
    return Format({}, (columns["instruction"],), (answer,), takes_input="input" in columns)


def fit(row: object, format: Format) -> int:
    """How well the fields of a row fit: 2, they are there; 1, but one holds null; 0, they are not.

    Looks at fields, and at a value only to tell turns from a text.
    """
    if isinstance(row, list):
        is_turns = all(isinstance(turn, dict | list | str) for turn in row)
        return 2 if row and is_turns and format is FORMATS["messages"] else 0
    if not isinstance(row, dict):
        return 0
    if format.turns:
        values = [row[name] for name in format.turns if name in row]
        if any(_may_be_turns(value) for value in values):
            return 2
        return 1 if values and all(is_absent(value) for value in values) else 0
    if format is FORMATS["preference"]:
        chosen = row.get("chosen")
        if "prompt" not in row:
            return 2 if isinstance(chosen, list) and len(chosen) > 1 else 0
    needed = [[row[name] for name in names if name in row] for names in _sides(format)]
    if not all(needed):
        return 0
    return 2 if all(not all(map(is_absent, values)) for values in needed) else 1


def _sides(format: Format) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return format.question, format.answer


def _may_be_turns(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip()[:1] == "[")


_HI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]

FORMATS: dict[str, Format] = {
    "alpaca": Format(
        {"instruction": "Translate.", "input": "Guten Tag", "output": "Good day"},
        ("instruction",),
        ("output",),
        takes_input=True,
        note="`input` is optional, and may be called `context`",
    ),
    "dolly": Format(
        {"instruction": "Who wrote it?", "context": "Emma is by Austen.", "response": "Austen"},
        ("instruction",),
        ("response",),
        takes_input=True,
        note="`context` is optional, and may be called `input`",
    ),
    "sharegpt": Format(
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]},
        turns=TURNS,
        note="or " + ", ".join(f"`{name}`" for name in TURNS[1:]),
    ),
    "messages": Format(
        {"messages": _HI},
        turns=("messages",),
        note="or the row is the list itself",
    ),
    "prompt_completion": Format(
        {"prompt": "2 + 2 =", "completion": "4"},
        ("prompt",),
        ("completion", "response"),
        note="or `response`; each a text or messages",
    ),
    "preference": Format(
        {"prompt": "2 + 2 =", "chosen": "4", "rejected": "5"},
        ("prompt",),
        ("chosen",),
        note="each a text or messages; `chosen` may hold the prompt",
    ),
    "self_instruct": Format(
        {"instruction": "Add.", "instances": [{"input": "2 and 2", "output": "4"}]},
        ("instruction",),
        ("instances",),
    ),
}
