"""What people call the columns of a row, the fields of a turn, and the roles: the reader's tables.

Of several names the first that holds something is read. The tables of conf/README.md are written
from these.
"""

from collections.abc import Mapping
from typing import Any

TURNS = ("conversations", "conversation", "dialog", "dialogue", "thread", "turns")
"""Columns that hold the turns of a conversation, beside `messages`."""

ROLE = ("role", "from")
CONTENT = ("content", "value", "text")
TEXT_PARTS = ("text", "input_text", "output_text")
"""The `type` of a part of a turn's content that is text; the part's text is under `text`."""

ROLE_NAMES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "ai", "bot", "chatbot"), "assistant"),
    **dict.fromkeys(("chatgpt", "bing", "bard", "claude", "gemini"), "assistant"),
    **dict.fromkeys(("function_call", "tool_call", "tool_calls"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "tool_response", "tool_result", "ipython"), "tool"),
    **dict.fromkeys(("function", "function_response", "observation"), "tool"),
}
"""What a role may be called, apart from case, outer spaces, and - or a space for _. A call is
written by the model, so it is an answer.
"""

PAIR_ROLES = {
    **dict.fromkeys(("input", "question", "prompt", "query", "instruction"), "user"),
    **dict.fromkeys(("output", "answer", "response", "completion"), "assistant"),
}
"""Fields of a turn that holds an exchange, {input, output}, beside the names of roles themselves.
"""

CARRIED: Mapping[str, tuple[str, ...]] = {
    "system": ("system", "system_prompt", "system_message"),
    "tools": ("tools", "functions"),
    "history": ("history",),
    "input": ("input", "context"),
    "chosen": ("chosen",),
    "reasoning": ("reasoning_content", "thinking", "reasoning"),
    "tool_calls": ("tool_calls", "function_call"),
    "weight": ("weight", "train", "trains", "training", "trainable", "loss"),
}
"""Our field -> its names, of what a row or a turn may hold beside question and answer, or turns:
read where it stands.
"""

MEDIA: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "images"),
    "video": ("video", "videos"),
    "audio": ("audio", "audios"),
}
"""Columns of what no text can show: with `<image>` in the text, the row is skipped."""

MAY_CARRY = frozenset(
    {
        *(name for names in CARRIED.values() for name in names),
        *(name for names in MEDIA.values() for name in names),
        *("document", "documents", "passage", "passages", "knowledge", "background", "facts"),
        *("persona", "personality", "profile", "scenario", "examples", "few_shot"),
        *("cot", "chain_of_thought", "rationale", "explanation", "train_detail", "prefix"),
    }
)
"""Fields that may carry meaning: one that a row has and that is not read is told in a warning."""

QUESTION_HINTS = ("question", "query", "prompt", "instruction", "problem", "ask", "input", "user")
ANSWER_HINTS = ("answer", "response", "reply", "output", "completion", "solution", "target")
"""Columns that are proposed for data.columns, where a format is not recognised."""


def role_key(name: str) -> str:
    """A role's name as it is looked up in ROLE_NAMES."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def is_absent(value: Any) -> bool:
    """Null, or the NaN that data frames write in its place."""
    return value is None or (isinstance(value, float) and value != value)


def is_empty(value: Any) -> bool:
    """Nothing, or a text, list or object without content."""
    return is_absent(value) or (isinstance(value, str | list | dict | tuple) and not value)
