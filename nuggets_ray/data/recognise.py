"""Which format rows have: the one that is set, the one that `auto` recognises from their fields, or
why none fits and the setting that would help.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from nuggets_ray.config.command_line.hints import override
from nuggets_ray.config.schema import COLUMN_FIELDS
from nuggets_ray.data.formats import FORMATS, fit
from nuggets_ray.data.reader import make_names, read_row
from nuggets_ray.data.spellings import ANSWER_HINTS, QUESTION_HINTS, is_absent, role_key
from nuggets_ray.data.values import SkipRow, list_in, object_in
from nuggets_ray.errors import UserError
from nuggets_ray.records import ROLES

MIN_FITTING_SHARE = 0.9
MAX_NAME_CHARS = 40
MAX_NAMED = 12
WHOLE = ("instruction", "input", "output", "messages", "turns")
"""Fields of data.columns that say where question and answer stand, so that no format does."""


def set_format(
    format: str, columns: Mapping[str, str], roles: Mapping[str, str], section: str = "data"
) -> str | None:
    """The format that `<section>.format` and `.columns` name; None where it is to be recognised.

    Raises UserError where they, or `<section>.roles`, are unknown or contradict each other.
    """
    unknown = sorted(set(columns) - set(COLUMN_FIELDS))
    if unknown:
        raise UserError(
            f"{section}.columns has the unknown field {unknown[0]}: "
            f"its keys are {', '.join(COLUMN_FIELDS)}"
        )
    for name, role in roles.items():
        if role not in ROLES:
            raise UserError(
                f"{section}.roles: {name} is {role}, which is no role: take one of "
                f"{', '.join(ROLES)}, as in {override(f'{section}.roles', '{clerk: assistant}')}"
            )
    for name in format.split("+"):
        if name not in (*FORMATS, "columns", "auto"):
            names = [*FORMATS, "columns", "auto"]
            close = get_close_matches(name.lower(), names, n=1)
            raise UserError(
                f"{section}.format={format} is unknown: it is one of {', '.join(names)}"
                + (f"; did you mean {section}.format={close[0]}?" if close else "")
            )
    if any(field in columns for field in WHOLE):
        _check_whole(format, columns, section)
        return "columns"
    if "columns" in format:
        example = override(f"{section}.columns", "{instruction: question, output: reply}")
        raise UserError(f"{section}.format={format} needs {section}.columns, e.g. {example}")
    return None if format == "auto" else format


def _check_whole(format: str, columns: Mapping[str, str], section: str) -> None:
    if format not in ("auto", "columns"):
        raise UserError(
            f"{section}.columns is set, but {section}.format={format}: leave one of them out"
        )
    turns = [field for field in ("turns", "messages") if field in columns]
    if len(turns) > 1:
        raise UserError(f"{section}.columns has turns and messages, which are one: leave one out")
    others = [field for field in ("instruction", "input", "output") if field in columns]
    if turns and others:
        raise UserError(
            f"{section}.columns has {turns[0]} and {others[0]}: give turns, or instruction and "
            "output"
        )
    if not turns and ("instruction" not in columns or not {"output", "chosen"} & set(columns)):
        raise UserError(f"{section}.columns needs instruction and output, or turns")


def detect_format(rows: Sequence[object], section: str = "data", file: str = "") -> str:
    """The one format whose fields at least 90% of these rows have (of those that are objects or
    lists); `file` is where they stand, for the message.

    Raises UserError where there is none or more than one, with why and what to set.
    """
    objects = [row for row in rows if isinstance(row, dict | list)]
    where = f"{section}.format=auto: {file}{': ' if file else ''}"
    if not objects:
        raise UserError(
            f"{where}none of the first {len(rows)} rows is a JSON object, "
            f"so there is nothing to recognise ({_reasons(rows)}): check the file"
        )
    fitting = Counter(name for row in objects for name in _best_fits(row))
    enough = MIN_FITTING_SHARE * len(objects)
    names = [name for name in FORMATS if fitting[name] >= enough]
    if len(names) == 1:
        return names[0]
    if names:
        settings = " or ".join(f"{section}.format={name}" for name in names)
        raise UserError(
            f"{where}the first {len(objects)} rows fit both {' and '.join(names)}: set {settings}"
        )
    raise UserError(where + _nothing_fits(objects, fitting, section))


def _best_fits(row: object) -> list[str]:
    fits = {name: fit(row, format) for name, format in FORMATS.items()}
    best = max(fits.values())
    return [name for name, how_well in fits.items() if how_well == best > 0]


def _reasons(rows: Sequence[object]) -> str:
    """What the first rows that are no objects are."""
    reasons = {getattr(row, "reason", type(row).__name__) for row in rows}
    return ", ".join(sorted(map(str, reasons))) or "the file is empty"


def _nothing_fits(rows: Sequence[Any], fitting: Counter[str], section: str) -> str:
    """Why no format fits: each that fits some rows, or else the nearest and why its rows miss."""
    keys = dict.fromkeys(str(key) for row in rows if isinstance(row, dict) for key in row)
    shown = ", ".join(key[:MAX_NAME_CHARS] for key in [*keys][:MAX_NAMED]) + (
        ", ..." if len(keys) > MAX_NAMED else ""
    )
    shares = [f"{count / len(rows):.0%} fit {name}" for name, count in fitting.most_common(2)]
    near = ", nearest: " + why_not(rows, nearest(rows)) if fitting.total() < len(rows) else ""
    if shares:
        first = f"of the first {len(rows)} rows {' and '.join(shares)}"
        first += f", not {MIN_FITTING_SHARE:.0%}{near}"
    else:
        first = f"no format fits the first {len(rows)} rows{near}"
    setting = _propose_columns(rows, section)
    if setting is None:
        example = override(f"{section}.columns", "{instruction: question, output: reply}")
        setting = f"{section}.format, or fields of yours as in {example}"
    return f"{first} (their fields: {shown or 'none'}): set {setting}"


def nearest(rows: Sequence[Any]) -> str:
    """The format that the most rows have some of the fields of."""

    def closeness(name: str) -> tuple[int, int]:
        format = FORMATS[name]
        columns = {*format.question, *format.answer, *format.turns}
        fits = sum(fit(row, format) > 0 for row in rows)
        return fits, sum(isinstance(row, dict) and bool(columns & set(row)) for row in rows)

    return max(FORMATS, key=closeness)


def why_not(rows: Sequence[Any], name: str) -> str:
    """`messages: 3 of 3 rows, wrong_type:content, null at turn 2`: why rows are none of a format,
    the most frequent reason.
    """
    reasons: Counter[str] = Counter()
    for row in rows:
        try:
            read_row(row, FORMATS[name], make_names({}, {}))
        except SkipRow as skip:
            reasons[", ".join(part for part in (skip.reason, skip.detail) if part)] += 1
    if not reasons:
        return name
    reason, count = reasons.most_common(1)[0]
    return f"{name}: {count} of {len(rows)} rows, {reason}"


def propose_setting(
    rows: Sequence[Any],
    turn_columns: Sequence[str],
    columns: Mapping[str, str],
    roles: Mapping[str, str],
    section: str = "data",
) -> str | None:
    """The setting that would help with rows that cannot be used, ready to paste: for the roles or
    the fields of the turns in `turn_columns`, beside the `columns` and `roles` that are set; None
    where there is none to be seen.
    """
    names = make_names(columns, roles).turn
    rows_turns = [_turns_of(row, turn_columns) for row in rows]
    spoken = [
        [str(turn[key]).strip() for turn in turns for key in names.role if turn.get(key)]
        for turns in rows_turns
    ]
    guesses: dict[str, str] = {}
    for in_row in spoken:
        guesses = {**_guess_roles(in_row, names.roles), **guesses}
    if guesses and len(guesses) <= len(ROLES):
        return override(f"{section}.roles", mapping_text({**roles, **guesses}))
    turns = [turn for in_row in rows_turns for turn in in_row]
    return None if any(spoken) else _propose_turn_fields(turns, columns, section)


def _guess_roles(names: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Roles for the names of a row that are not known: whoever speaks first asks."""
    unknown = [name for name in dict.fromkeys(names) if role_key(name) not in known]
    taken = {known[role_key(name)] for name in names if role_key(name) in known}
    free = [role for role in ("user", "assistant") if role not in taken]
    return dict(zip(unknown, [*free, *["assistant"] * len(unknown)], strict=False))


def _propose_turn_fields(
    turns: Sequence[Mapping[str, Any]], columns: Mapping[str, str], section: str
) -> str | None:
    """data.columns for turns {speaker, utterance}: the field with few values is the role."""
    texts: dict[str, list[str]] = {}
    for turn in turns:
        for key, value in turn.items():
            if isinstance(value, str):
                texts.setdefault(str(key), []).append(value)
    if len(texts) < 2:
        return None
    role = min(texts, key=lambda key: len(set(texts[key])) / len(texts[key]))
    content = max(texts, key=lambda key: sum(map(len, texts[key])) * (key != role))
    named = {**columns, "role": role, "content": content}
    return override(f"{section}.columns", mapping_text(named))


def _propose_columns(rows: Sequence[Any], section: str) -> str | None:
    """data.columns for rows that no format fits: a column of turns, or two columns of text, by
    their names, else the first two.
    """
    objects = [row for row in rows if isinstance(row, dict)]
    for name in dict.fromkeys(key for row in objects for key in row):
        turns = [turn for row in objects for turn in _turns_of(row, (name,))]
        if len(turns) >= 2 * len(objects):
            return override(f"{section}.columns", mapping_text({"turns": name}))
    names = [
        str(key)
        for key in dict.fromkeys(key for row in objects for key in row)
        if all(isinstance(row.get(key), str | int | float) for row in objects)
    ]
    answer = _first_like(names, ANSWER_HINTS)
    question = _first_like([name for name in names if name != answer], QUESTION_HINTS)
    if question is None and answer is None and len(names) == 2:
        question, answer = names
    if question is None or answer is None:
        return None
    return override(f"{section}.columns", mapping_text({"instruction": question, "output": answer}))


def _first_like(names: Sequence[str], hints: Sequence[str]) -> str | None:
    return next((name for hint in hints for name in names if hint in name.lower()), None)


def _turns_of(row: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The turns of a row that are objects."""
    value = row
    if isinstance(row, dict):
        value = next((row[name] for name in columns if not is_absent(row.get(name))), None)
    turns = [object_in(item) for item in list_in(value) or []]
    return [turn for turn in turns if turn]


def mapping_text(pairs: Mapping[str, str]) -> str:
    """{a: b, c: d}, as it is typed; in JSON where a name has more than letters and spaces."""
    if all(re.fullmatch(r"\w[\w -]*", text) and text == text.strip() for text in _flat(pairs)):
        return "{" + ", ".join(f"{name}: {value}" for name, value in pairs.items()) + "}"
    return json.dumps(dict(pairs), ensure_ascii=False)


def _flat(pairs: Mapping[str, str]) -> list[str]:
    return [text for pair in pairs.items() for text in pair]
