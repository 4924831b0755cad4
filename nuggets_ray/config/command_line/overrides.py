"""The arguments of a command line -> overrides that Hydra composes, each value read by the type of
its key.

Hydra's grammar reads `out_dir=1e5` as a number and refuses `data.path=/data/a (1).jsonl`, because
it knows no types. Here the value of a key that holds text is that text, and a mistake is one
sentence with what was probably meant, ready to paste.
"""

import logging
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

from nuggets_ray.config.command_line import grammar, hints, values
from nuggets_ray.config.keys import (
    choices_of,
    is_key,
    is_list,
    is_mapping,
    key_types,
    sections,
    type_of,
)
from nuggets_ray.errors import UserError

logger = logging.getLogger(__name__)

KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*", re.ASCII)


def read(arguments: Sequence[str], uses: Sequence[str], sweeps: bool = False) -> list[str]:
    """`key=value` arguments as Hydra's overrides; of a key that is given twice the last one.

    uses: the sections of the job, from which keys are suggested. sweeps: values may be several, as
    in seed=1,2. Raises UserError for the first argument that cannot be meant so.
    """
    given: dict[str, tuple[str, str]] = {}
    elsewhere = any(argument.startswith("hydra.searchpath=") for argument in arguments)
    for index, argument in enumerate(arguments):
        key, value = _split(argument, arguments[:index], arguments[index + 1 :])
        if key.startswith(("hydra.", "hydra/")):
            given[argument] = (argument, argument)
            continue
        if sweeps and is_key(key) and grammar.is_sweep(key, value):
            read_as = f"{key}={value.strip()}"
        elif key == "experiment" and value.strip() in ("", "null"):
            continue  # none, which it is
        elif key in sections() or key == "experiment":
            read_as = _choice(key, value, elsewhere)
        else:
            read_as = _value(key, value, arguments, uses)
        if key in given and given[key][1] != read_as and not _is_merged(key):
            logger.warning("%s is not used: %s comes after it", given[key][0], argument)
        given[argument if _is_merged(key) else key] = (argument, read_as)
    return [read_as for _, read_as in given.values()]


def _is_merged(key: str) -> bool:
    try:
        return is_mapping(type_of(key)[0])
    except KeyError:
        return False


def _split(argument: str, preceding: Sequence[str], following: Sequence[str]) -> tuple[str, str]:
    """The key and the value of an argument, `+key=` and `++key=` taken for `key=`."""
    if any(0xD800 <= ord(character) <= 0xDFFF for character in argument):
        shown = argument.encode("utf-8", "backslashreplace").decode()
        raise UserError(f"{shown}: is not UTF-8: rename the file or folder, or link to it")
    before, equals, value = argument.partition("=")
    if before.startswith("~"):
        raise UserError(
            f"{argument}: no key can be taken out: leave it out, or give the value that switches "
            "it off, such as data.limit=null"
        )
    if not equals or not before.strip() or _is_split(argument, following):
        raise UserError(_not_an_override(argument, preceding, following))
    if several := _several(argument):
        raise UserError(f"{argument}: is more than one override; did you mean {several}?")
    if (
        preceding
        and re.search(r"[^\w.+/@ -]", before)
        and (whole := _rejoined(argument, preceding))
    ):
        raise UserError(f"{argument}: is cut off at a space; did you mean {whole}?")
    return before.strip().lstrip("+"), value


def _is_split(argument: str, following: Sequence[str]) -> bool:
    """Whether the shell has cut `key=[a, b]` or `key={a: b}` at its spaces, or `key= value`."""
    value = argument.partition("=")[2]
    brackets = {"[": "]", "{": "}"}
    is_open = value[:1] in brackets and brackets[value[:1]] not in value
    return bool(following) and "=" not in following[0] and (is_open or not value)


def _several(argument: str) -> str | None:
    """Each override of an argument that holds more than one, such as "seed=1 data.limit=5"."""
    cuts = [
        cut.start()
        for cut in re.finditer(r"[\s;]+(?=([\w.]+)=)", argument)
        if is_key(cut[1]) and (cut[1] in sections() or cut[1] in key_types())
    ]
    if not cuts or grammar.QUOTED.fullmatch(argument.partition("=")[2]):
        return None
    parts = [argument[i:j].strip(" ;") for i, j in pairwise([0, *cuts, len(argument)])]
    return " ".join(hints.override(*part.split("=", 1)) for part in parts)


def _rejoined(argument: str, preceding: Sequence[str]) -> str | None:
    """The text that the shell has cut in two before `argument`, if it was one."""
    key, equals, value = preceding[-1].partition("=")
    is_text = equals and value and is_key(key) and key in key_types() and type_of(key)[0] is str
    return hints.override(key, f"{value} {argument}") if is_text else None


def _not_an_override(argument: str, preceding: Sequence[str], following: Sequence[str]) -> str:
    """One sentence for an argument that is no `key=value`."""
    form = "an override has the form key=value"
    if not argument.strip():
        return f"'{argument}': an empty argument; {form}, such as data.limit=200"
    if "=" in argument and argument.partition("=")[0].strip():
        return f"{argument}: is cut off at a space; did you mean {_joined(argument, following)}?"
    key = argument.strip("=: ").lstrip("-")
    after = following[0].removeprefix("=") if following else ""
    if following and following[0] == "=" and len(following) > 1:
        after = following[1]
    if is_key(key) and after and "=" not in after:
        return f"{argument}: {form}; did you mean {hints.override(key, after)}?"
    name, colon, rest = argument.partition(":")
    if colon and is_key(name.strip()):
        return f"{argument}: {form}; did you mean {hints.override(name.strip(), rest.strip())}?"
    if argument == "help":
        return "help: did you mean --help?"
    groups = (group for group in ("experiment", *sections()) if argument in choices_of(group))
    if group := next(groups, None):
        return f"{argument}: {form}; did you mean {hints.override(group, argument)}?"
    whole = _rejoined(argument, preceding) if preceding else None
    is_file = bool(re.search(r"[/~]|\.(json|jsonl|parquet)(\.gz)?$", argument))
    if is_file and "=" not in argument and not any(a.startswith("data.path=") for a in preceding):
        whole = hints.override("data.path", argument)
    if whole:
        return f"{argument}: {form}; did you mean {whole}?"
    return f"{argument}: {form}, such as data.limit=200"


def _joined(argument: str, following: Sequence[str]) -> str:
    """The argument with what the shell has cut off it."""
    key, _, value = argument.partition("=")
    if not value:
        return hints.override(key.strip(), following[0])
    end = {"[": "]", "{": "}"}[value[0]]
    parts = [value]
    for part in following:
        parts.append(part)
        if part.endswith(end):
            break
    whole = " ".join(parts)
    if "," not in whole and ":" not in whole:
        whole = ",".join(parts)
    return hints.override(key.strip(), whole if whole.endswith(end) else whole + end)


def _choice(group: str, value: str, elsewhere: bool) -> str:
    """`anchors=kmeans`; elsewhere: more choices than those of conf/ may exist."""
    value = value.strip()
    is_name = re.fullmatch(r"[\w/.-]+", value, re.ASCII)
    if value in choices_of(group) or (elsewhere and is_name):
        return f"{group}={value}"
    raise UserError(hints.no_such_choice(group, value))


def _value(key: str, value: str, arguments: Sequence[str], uses: Sequence[str]) -> str:
    try:
        kind, optional = type_of(key)
    except KeyError:
        raise UserError(hints.no_such_key(key, value, uses)) from None
    if not KEY.fullmatch(key):
        raise UserError(values.odd_field(key, value))
    if kind is str and key not in key_types() and not value.strip():
        raise UserError(f"{key}=: give the name of your column")
    if is_list(kind):
        alike = [a.partition("=")[2] for a in arguments if a.partition("=")[0] == key]
        return f"{key}={values.read_list(key, value, alike, get_args(kind)[0])}"
    return f"{key}={values.read(key, value, kind, optional)}"
