"""The tables of conf/README.md that say what the reader reads, made from the reader's own tables.

`make golden` writes them into the file; a test holds that they are what they would be.
"""

import json
from pathlib import Path

from nuggets_ray.data.formats import FORMATS
from nuggets_ray.data.spellings import (
    CARRIED,
    CONTENT,
    MAY_CARRY,
    MEDIA,
    PAIR_ROLES,
    ROLE,
    ROLE_NAMES,
    TEXT_PARTS,
    TURNS,
)
from nuggets_ray.records import ROLES

README = Path(__file__).resolve().parents[2] / "conf" / "README.md"
BEGIN, END = "<!-- formats: make golden -->", "<!-- /formats -->"

COLUMNS = (
    '`"data.columns={instruction: question, input: context, output: reply, system: persona}"`, or '
    "`{turns: log, role: by, content: says}`"
)
WHAT = {
    "system": "system prompt, in front of the turns",
    "tools": "what the model may call: objects, or their JSON text",
    "history": "earlier questions and answers, as pairs or turns",
    "input": "context below an `instruction`",
    "chosen": "the answer of a preference row, behind open turns or a prompt",
    "reasoning": "what the model thinks before an answer, in its turn or beside the output",
    "tool_calls": "calls of an assistant turn",
    "weight": "flag of a turn: 0 or false is context, not an answer",
}


def tables() -> str:
    """The generated part of conf/README.md, between its marks."""
    formats = [
        (f"`{name}`", f"`{json.dumps(format.sample)}`" + (f" ({format.note})" * bool(format.note)))
        for name, format in FORMATS.items()
    ]
    roles = [
        (
            f"`{role}`",
            _names(*(name for name, stands_for in ROLE_NAMES.items() if stands_for == role)),
        )
        for role in ROLES
    ]
    fields = [
        ("turns", _names("messages", *TURNS)),
        ("a turn's role", _names(*ROLE)),
        ("a turn's text", f"{_names(*CONTENT)}, or parts of type {_names(*TEXT_PARTS)}"),
        ("an exchange as one turn", f"{_names(*PAIR_ROLES)}, or names of roles"),
        *((WHAT[field], _names(*names)) for field, names in CARRIED.items()),
    ]
    known = sorted(
        MAY_CARRY - {name for names in (*CARRIED.values(), *MEDIA.values()) for name in names}
    )
    media = ", ".join(f"{_names(*names)} (`<{kind}>`)" for kind, names in MEDIA.items())
    parts = [
        _table("`data.format`", "a row", [*formats, ("`columns`", COLUMNS)]),
        _table("read as", "names of a field, the first that holds something", fields),
        _table("role", "called", roles),
        f"Not read, and warned of where a row has one: {_names(*known)}, and any name above where "
        "it has no place. A row whose text points at an image, a video or a sound is skipped: "
        f"{media}.",
    ]
    return "\n\n".join([BEGIN, *parts, END])


def put_into(text: str) -> str:
    """The README's text with the tables as they should be."""
    before, _, rest = text.partition(BEGIN)
    return before + tables() + rest.partition(END)[2]


def _names(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(left: str, right: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines)


if __name__ == "__main__":
    README.write_text(put_into(README.read_text("utf-8")), "utf-8")
    print(f"wrote the tables of formats in {README}")
