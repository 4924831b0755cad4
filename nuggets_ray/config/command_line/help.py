"""--help in words: a job's own keys in groups, each with its meaning, its value and what it may be.

The meanings are the texts below the fields in the sources of the dataclasses, read by ast, so that
code and page say the same. Imports neither hydra nor omegaconf.
"""

import ast
import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from nuggets_ray.config.keys import CONF_DIR, choices_of, job_command, key_fields, section_of
from nuggets_ray.config.schema import Config

MAX_WIDTH, MIN_WIDTH = 100, 60
MAX_KEY_WIDTH = 32
FLAGS = {
    "--help": "this page; key=value beside it shows the values with them",
    "--cfg job": "the values that the command would run with",
    "--multirun": "a run for each of several values, as in seed=1,2",
    "--config-dir FOLDER": "experiments of your own: FOLDER/experiment/NAME.yaml",
    "--hydra-help": "Hydra's other flags",
}


def help_page(
    job: str,
    about: str,
    keys: Sequence[str],
    required: Sequence[str],
    examples: Mapping[str, str],
    config: Config,
) -> str:
    """The page of a job that reads `keys` and cannot do without those `required`.

    `examples`: {arguments: what they do}. `config` holds the values without further arguments.
    """
    given = "".join(f" {key}=..." for key in required)
    command = job_command(job)
    command = command if command.startswith("nuggets ") else f"python {command}"
    lines = [f"{job}: {about}", "", f"Usage: {command}{given} [key=value ...]", "", "Examples:"]
    for arguments, words in examples.items():
        lines += [f"  {command} {arguments}", f"      {words}"]
    lines += ["", *_wrapped(LEGEND, "", "")]
    for section in dict.fromkeys(map(section_of, keys)):
        members = [key for key in keys if section_of(key) == section]
        lines += ["", *_section_lines(section, members, required, config)]
    if "data.path" in required:
        lines += ["", "experiment: values of many keys at once.", *_choice_lines("experiment")]
    lines += ["", "Flags:", *_table(list(FLAGS.items()))]
    return "\n".join(lines)


LEGEND = (
    "Keys, with their meaning; in brackets the value that a key has if it is not given, and what "
    "it may be. A choice such as select=top_k is a group of values that go together."
)


def _section_lines(
    section: str, keys: Sequence[str], required: Sequence[str], config: Config
) -> Iterator[str]:
    yield f"{section}: {section_meanings()[section]}" if section else "Of the whole run:"
    yield from _choice_lines(section)
    rows = []
    for key in keys:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        shown = "required" if key in required and not value else _value_text(value)
        limits = _limits_text(key)
        rows.append((key, f"{key_meanings()[key]} [{'; '.join(filter(None, (shown, limits)))}]"))
    yield from _table(rows)


def _choice_lines(group: str) -> list[str]:
    """What each choice of a group is; nothing where there are not several."""
    names = choices_of(group)
    if len(names) < 2:
        return []
    default = _default_choices().get(group)
    rows = []
    for name in names:
        text = (CONF_DIR / group / f"{name}.yaml").read_text(encoding="utf-8")
        comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
        words = " ".join(line for line in comments if not line.startswith("@"))
        rows.append((f"{group}={name}", words + (" [default]" if name == default else "")))
    return _table(rows)


@cache
def _default_choices() -> dict[str, str]:
    """{group: the choice that conf/config.yaml takes}"""
    text = (CONF_DIR / "config.yaml").read_text(encoding="utf-8")
    entries = [entry for entry in yaml.safe_load(text)["defaults"] if isinstance(entry, dict)]
    return {group: name for entry in entries for group, name in entry.items()}


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Two columns, the second one wrapped; a key too long for its column has a line of its own."""
    width = min(MAX_KEY_WIDTH, max(len(key) for key, _ in rows))
    lines = []
    for key, text in rows:
        indent = " " * (width + 4)
        if len(key) > width:
            lines += [f"  {key}", *_wrapped(text, indent, indent)]
        else:
            lines += _wrapped(text, f"  {key:<{width}}  ", indent)
    return lines


def _wrapped(text: str, first: str, following: str) -> list[str]:
    columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns
    width = max(MIN_WIDTH, min(MAX_WIDTH, columns))
    wrapper = textwrap.TextWrapper(
        width,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapper.wrap(text) or [first.rstrip()]


def _value_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "empty" if value in ("", {}) else str(value)


def _limits_text(key: str) -> str:
    """What a key may hold, where its meaning does not say so."""
    metadata = key_fields()[key][1].metadata
    allowed = metadata.get("one_of") or metadata.get("each_of", ())
    if any(name not in key_meanings()[key] for name in allowed):
        return f"one of {', '.join(allowed)}"
    at_least, at_most = metadata.get("at_least"), metadata.get("at_most")
    if metadata.get("is_share"):
        at_least, at_most = at_least or 0, 1
    if at_least is not None and at_most is not None:
        return f"{at_least} to {at_most}"
    return "" if at_least is None else f"at least {at_least}"


@cache
def key_meanings() -> dict[str, str]:
    """{key: what it means}: the text below its field in the source, on one line; "" for none."""
    owners = key_fields()
    return {key: _texts_below(owner).get(item.name, "") for key, (owner, item) in owners.items()}


@cache
def section_meanings() -> dict[str, str]:
    """{section: what its keys are about}: the docstring of its dataclass, "" for none."""
    return {
        section_of(key): " ".join((ast.get_docstring(_class_node(owner)) or "").split())
        for key, (owner, _) in key_fields().items()
        if section_of(key)
    }


@cache
def _texts_below(schema: type) -> dict[str, str]:
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(_class_node(schema).body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


@cache
def _class_node(schema: type) -> ast.ClassDef:
    tree = ast.parse(Path(inspect.getfile(schema)).read_text(encoding="utf-8"))
    nodes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    return next(node for node in nodes if node.name == schema.__name__)
