"""The text of a value on the command line -> the same value in Hydra's grammar, by the type of its
key.

Every reader raises UserError with what was probably meant. hydra and omegaconf are
imported inside the functions only.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from nuggets_ray.config.command_line.grammar import (
    QUOTED,
    any_name,
    from_json,
    items_of,
    parsed,
    quote,
    quoted,
    render,
)
from nuggets_ray.config.command_line.hints import override
from nuggets_ray.config.schema import COLUMN_FIELDS
from nuggets_ray.errors import UserError

TRUTHS = {
    **dict.fromkeys(("true", "yes", "on", "1"), "true"),
    **dict.fromkeys(("false", "no", "off", "0"), "false"),
}
MULTIPLES = {"k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}


def read(key: str, text: str, kind: Any, optional: bool) -> str:
    """The value of a key of this type, but of a list's (see `read_list`)."""
    if text.strip().startswith("="):
        meant = override(key, text.strip().lstrip("= "))
        raise UserError(f"{key}={text}: has one = too many; did you mean {meant}?")
    if optional and text.strip().lower() == "null":
        return "null"
    if kind is str:
        return _text(key, text, optional)
    text = text.strip()
    if kind in READERS and QUOTED.fullmatch(text):
        text = text[1:-1].strip()
    if "${" in text and not text.startswith(("{", "[")):
        return text  # another key's value, or a variable of the environment
    nothing = ("none", "nil", "all", "inf", "unlimited", "")
    if optional and kind in READERS and text.lower() in nothing:
        raise UserError(f"{key}={text}: did you mean {override(key, 'null')}?")
    if kind in READERS:
        return READERS[kind](key, text)
    if kind == dict[str, float]:
        return _numbers_by_name(key, text)
    return _texts_by_name(key, text) if kind == dict[str, str] else _anything(key, text, kind)


def _text(key: str, text: str, optional: bool) -> str:
    """Text is what it is; only what no one can have meant is refused."""
    bare = text.strip()
    if QUOTED.fullmatch(bare):
        return bare
    if optional and bare.lower() in ("none", "nil"):
        raise UserError(
            f"{key}={text}: for none give {override(key, 'null')}, for that very name "
            f"{override(key, quote(bare))}"
        )
    if not bare.isprintable() or bare != text:
        shown = json.dumps(text, ensure_ascii=False)
        what = "a space or line end at its start or end" if bare != text else "a control character"
        clean = "".join(filter(str.isprintable, bare))
        raise UserError(f"{key}={shown}: has {what}; did you mean {override(key, clean)}?")
    if bare == "???":
        raise UserError(f"{key}=???: give a value")
    if bare[:1] in ("'", '"'):
        meant = override(key, bare.strip("\"'"))
        raise UserError(f"{key}={text}: has a quote that nothing closes; did you mean {meant}?")
    if bare[:1] in set("“”„‘’«»"):
        clean = bare.strip("“”„‘’«»")
        raise UserError(
            f"{key}={text}: has typographic quotes; did you mean {override(key, clean)}?"
        )
    return quote(text)


def _whole(key: str, text: str) -> str:
    if re.fullmatch(r"[+-]?\d+(_\d+)*", text):
        return str(int(text))
    meant = _meant_whole(text)
    way_out = f"; did you mean {override(key, str(meant))}?" if meant is not None else ""
    raise UserError(f"{key}={text}: must be a whole number{way_out or _several(text)}")


def _meant_whole(text: str) -> int | None:
    plain = re.sub(r"(?<=\d)[,' ](?=\d{3}\b)", "", text)
    factor = MULTIPLES.get(plain[-1:].lower(), 1)
    number = _float(plain[:-1] if factor > 1 else plain)
    if re.fullmatch(r"[+-]?0[xob][0-9a-f]+", text, re.IGNORECASE):
        return int(text, 0)
    if number is None or not math.isfinite(number) or number * factor != int(number * factor):
        return None
    return int(number * factor)


def _number(key: str, text: str) -> str:
    number = _float(text)
    if number is not None and math.isfinite(number):
        return repr(number)
    meant = _float(re.sub("[−–]", "-", text).replace(",", ".", 1))
    if text.endswith("%") and (share := _float(text[:-1])) is not None:
        meant = share / 100
    if text.count("/") == 1 and all(map(_float, parts := text.split("/"))):
        meant = (_float(parts[0]) or 0.0) / (_float(parts[1]) or 1.0)
    is_meant = meant is not None and math.isfinite(meant)
    way_out = f"; did you mean {override(key, f'{meant:.6g}')}?" if is_meant else ""
    raise UserError(f"{key}={text}: must be a finite number{way_out or _several(text)}")


def _truth(key: str, text: str) -> str:
    if text.lower() not in TRUTHS:
        raise UserError(f"{key}={text}: must be true or false")
    return TRUTHS[text.lower()]


READERS: dict[Any, Callable[[str, str], str]] = {int: _whole, float: _number, bool: _truth}


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _several(text: str) -> str:
    several = re.fullmatch(r"[^,]+(,[^,]+)+|(range|choice)\(.*\)", text)
    return "; a run for each of several values needs --multirun" if several else ""


def read_list(key: str, text: str, alike: Sequence[str], kind: Any = str) -> str:
    """A list of texts, or of what another kind of reader reads; alike: all values that the command
    line gives this key."""
    text = text.strip()
    is_whole = text.startswith("[") and text.endswith("]")
    if is_whole and kind in READERS:
        return "[" + ",".join(READERS[kind](key, item) for item in items_of(text)) + "]"
    if is_whole:
        whole = from_json(text)
        is_texts = isinstance(whole, list) and all(isinstance(item, str) for item in whole)
        # JSON would make a backspace of a regular expression's \\b
        if is_texts and not any("\b" in item for item in whole):
            return render(whole)
        items = items_of(text)
        if all(items) or not items:
            return "[" + ",".join(map(quoted, items)) + "]"
    elif "${" in text and "," not in text:
        return text
    inner = [value.strip().strip("[](){}").strip() for value in alike]
    items = [item for value in inner for item in items_of(f"[{value}]") if item]
    if text.lower() in ("null", "none", ""):
        items = []
    shown = [item if re.fullmatch(r"[\w./:@+-]+", item) else quoted(item) for item in items]
    meant = override(key, f"[{','.join(shown)}]")
    raise UserError(f"{key}={text}: must be a list; did you mean {meant}?")


def _texts_by_name(key: str, text: str) -> str:
    """{instruction: question, output: reply}: every name and value is text."""
    whole = from_json(text)
    pairs: list[tuple[str, str]] = []
    if isinstance(whole, dict):
        pairs = [
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in whole.items()
        ]
        pairs = [(name, quote(value)) for name, value in pairs]
    elif text.startswith("{") and text.endswith("}"):
        for item in items_of(text):
            name, colon, value = (part.strip() for part in item.partition(":"))
            if not colon or not value:
                raise UserError(_not_a_mapping(key, text))
            pairs.append((name.strip("\"'"), quoted(value)))
    else:
        raise UserError(_not_a_mapping(key, text))
    if key.endswith(".roles"):
        pairs = [(any_name(name), value) for name, value in pairs]
    for name, value in pairs:
        if not re.fullmatch(r"[\w%]+", name, re.ASCII):
            raise UserError(odd_field(f"{key}.{name}", value[1:-1]))
    return "{" + ",".join(f"{name}: {value}" for name, value in pairs) + "}"


def _numbers_by_name(key: str, text: str) -> str:
    """{maths: 200, "open question": 100}: every name is text, every value a number."""
    whole = from_json(text)
    if isinstance(whole, dict):
        pairs = [(name, json.dumps(value)) for name, value in whole.items()]
    else:
        is_mapping = text.startswith("{") and text.endswith("}")
        parts = [item.rpartition(":") for item in items_of(text)] if is_mapping else [("",) * 3]
        pairs = [(name.strip().strip("\"'"), value.strip()) for name, _, value in parts]
    if not all(name for name, _ in pairs):
        example = override(key, "{maths: 200, writing: 100}")
        raise UserError(f"{key}={text}: must be pairs of a value and a number, as in {example}")
    numbers = [(any_name(name), _number(f"{key}.{name}", value)) for name, value in pairs]
    return "{" + ",".join(f"{name}: {number}" for name, number in numbers) + "}"


def _not_a_mapping(key: str, text: str) -> str:
    name, _, value = re.sub(r"[{}\[\]]", "", text).partition(":" if ":" in text else "=")
    if re.fullmatch(r"\w+", name.strip(), re.ASCII) and value.strip() and "," not in value:
        return f"{key}={text}: did you mean {override(f'{key}.{name.strip()}', value.strip())}?"
    example = override(key, "{instruction: question, output: reply}")
    return f"{key}={text}: must be pairs of a field of ours and a column of yours, as in {example}"


def odd_field(key: str, value: str) -> str:
    """One sentence for a name below a free key that is none of ours, such as a column's."""
    parent, _, name = key.rpartition(".")
    if parent.endswith(".roles"):
        meant = override(parent, f"{{{name}: {value}}}")
        return f"{key}={value}: the name has more than letters and digits; did you mean {meant}?"
    if not parent.endswith(".columns"):
        return f"{key}: {name} cannot be set: it has more than letters, digits, _ and -"
    if value in COLUMN_FIELDS:
        meant = override(f"{parent}.{value}", name)
        return f"{key}={value}: the field of ours comes first; did you mean {meant}?"
    fields = ", ".join(COLUMN_FIELDS)
    return f"{key}: {name} is no field of ours; take one of {fields}, as in {parent}.output=reply"


def _anything(key: str, text: str, kind: Any) -> str:
    """A value whose type the key does not tell: JSON, or what Hydra's grammar makes of it."""
    whole = from_json(text)
    if kind != Any and not (text.startswith("{") and text.endswith("}")):
        raise UserError(f"{key}={text}: must be a mapping, as in {override(key, '{name: value}')}")
    if isinstance(whole, dict | list):
        try:
            return render(whole)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None
    if parsed(key, text) is not None:
        return text
    if text[:1] not in ("{", "["):
        return quote(text)
    meant, example = _yaml(text), override(key, '{"name": "text"}')
    way_out = f"; did you mean {override(key, meant)}?" if meant else f", as in {example}"
    raise UserError(
        f"{key}={text}: cannot be read: texts with special characters need quotes{way_out}"
    )


def _yaml(text: str) -> str | None:
    """The JSON of what was written without its quotes."""
    from omegaconf import OmegaConf

    try:
        return json.dumps(OmegaConf.to_container(OmegaConf.create(text)), ensure_ascii=False)
    except Exception:  # whatever it is, it is only a hint
        return None
