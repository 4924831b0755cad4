"""The keys of the configuration: their names, their types, and the choices that conf/ has for a
section.

Read from the dataclasses of schema.py, so that there is one list. Imports neither hydra nor
omegaconf.
"""

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from nuggets_ray.config.schema import Config

PACKAGE = Path(__file__).resolve().parents[1]
CONF_DIR = next(
    (path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir()),
    PACKAGE / "conf",
)
"""A wheel holds conf/ in the package; in a clone it stands beside it."""
SCRIPTS = {"select": "select_topk"}
"""Scripts in jobs/ with another name than the job's: jobs/select.py would hide Python's own."""


def job_command(job: str) -> str:
    """What runs a job here: jobs/score.py in a clone, `nuggets score` where a wheel is."""
    script = f"jobs/{SCRIPTS.get(job, job)}.py"
    return script if (CONF_DIR.parent / script).is_file() else f"nuggets {job}"


def shell_command(job: str) -> str:
    """The same as one types it: `python jobs/score.py`, or `nuggets score`."""
    command = job_command(job)
    return f"python {command}" if command.endswith(".py") else command


@cache
def key_types() -> dict[str, Any]:
    """Every key of the configuration, dotted, with its type: {"data.limit": int | None, ...}."""
    return {key: kind for key, kind, _, _ in _members(Config)}


@cache
def key_choices() -> dict[str, tuple[str, ...]]:
    """The values of every key that takes one of a few: {"score.backend": ("transformers", ...)."""
    members = _members(Config)
    return {
        key: item.metadata["one_of"] for key, _, item, _ in members if "one_of" in item.metadata
    }


@cache
def key_fields() -> dict[str, tuple[type, "Field[Any]"]]:
    """Every key with the dataclass that it stands in, and its field there."""
    return {key: (schema, item) for key, _, item, schema in _members(Config)}


def _members(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, "Field[Any]", type]]:
    """Every key of a section with its type, its field and its dataclass, and those of the sections
    below it.
    """
    hints = get_type_hints(schema)
    for item in fields(schema):
        kind = hints[item.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _members(kind, f"{item.name}.")
        else:
            yield prefix + item.name, kind, item, schema


def all_keys() -> list[str]:
    """Every key of the configuration, dotted: `out_dir`, `model.path`, ..."""
    return list(key_types())


@cache
def sections() -> tuple[str, ...]:
    """What keys stand under: `model`, `data`, ..."""
    return tuple(dict.fromkeys(section_of(key) for key in all_keys() if "." in key))


def section_of(key: str) -> str:
    """`data` for data.limit, "" for a key that stands under nothing, such as out_dir."""
    return key.partition(".")[0] if "." in key else ""


def choices_of(group: str) -> list[str]:
    """The names that `group=` takes, such as anchors=kmeans; [] for what is no group."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml")) if group else []


def type_of(key: str) -> tuple[Any, bool]:
    """The type of a key without its None, and whether None is allowed; `str` or `Any` for an entry
    of a dictionary, such as data.columns.output. Raises KeyError for what is no key.
    """
    known = key_types()
    if key in known:
        members = [kind for kind in get_args(known[key]) if kind is not NoneType]
        if NoneType in get_args(known[key]):
            return members[0], True
        return known[key], False
    parent = next(
        (name for name in known if key.startswith(f"{name}.") and is_mapping(known[name])), None
    )
    if parent is None:
        raise KeyError(key)
    entry = get_args(known[parent])[1]
    below = key.removeprefix(f"{parent}.")
    if not below or (entry is str and "." in below):
        raise KeyError(key)
    return entry, entry is Any


def is_key(key: str) -> bool:
    """Whether something can be given by this name: a key, a section, or `experiment`."""
    try:
        return bool(type_of(key))
    except KeyError:
        return key in (*sections(), "experiment")


def is_list(kind: Any) -> bool:
    """Whether this is the type of a key that holds several values."""
    return get_origin(kind) is list


def is_mapping(kind: Any) -> bool:
    """Whether this is the type of a key with free keys below it."""
    return get_origin(kind) is dict
