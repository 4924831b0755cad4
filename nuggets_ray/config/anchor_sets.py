"""anchors.sets -> the settings of each set, checked: what a mapping on the command line cannot be
by the type of its keys.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from difflib import get_close_matches
from typing import Any, get_args, get_origin, get_type_hints

from nuggets_ray.config.limits import check_limits
from nuggets_ray.config.schema import AnchorsConfig
from nuggets_ray.errors import UserError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
OF_ALL = ("exclude_from_candidates", "sets")
"""Keys of anchors.* that hold for all sets together."""


def anchor_sets(config: AnchorsConfig) -> dict[str, AnchorsConfig]:
    """{name of a set: its settings}, in the order given; without anchors.sets the one that the
    other keys describe, named after its method. Raises UserError for what no set can have.

    A set with a path is a file, and one with `per` stratified, where no method is given. What a set
    that is drawn does not say of `num` is anchors.num.
    """
    if not config.sets:
        _check_used(config, "anchors.")
        return {config.method: config}
    if config.path:
        raise UserError(
            f"anchors.path={config.path} is not used beside anchors.sets: give it as a set, as in "
            f"'anchors.sets={{file: {{path: {config.path}}}, ...}}'"
        )
    return {name: _one_set(name, values, config) for name, values in config.sets.items()}


@contextmanager
def told_of_set(config: AnchorsConfig, name: str) -> Iterator[None]:
    """A UserError within names the set too, where there are several."""
    try:
        yield
    except UserError as error:
        if not config.sets:
            raise
        raise type(error)(f"anchors.sets.{name}: {error}") from error


def _one_set(name: str, given: Any, config: AnchorsConfig) -> AnchorsConfig:
    key = f"anchors.sets.{name}"
    if not re.fullmatch(NAME, name):
        raise UserError(
            f"anchors.sets: {name!r} cannot name a set: use letters, digits, '.', '_' and '-', "
            "starting with a letter or digit"
        )
    if not isinstance(given, Mapping):
        raise UserError(f"{key}={given}: must be settings, as in {key}={{path: maths.jsonl}}")
    known = [item.name for item in fields(AnchorsConfig) if item.name not in OF_ALL]
    for one, value in given.items():
        if one not in known:
            meant = next(iter(get_close_matches(str(one), known, n=1)), "")
            hint = f"; did you mean {meant}?" if meant else f"; take one of {', '.join(known)}"
            if one in OF_ALL:
                hint = f": it holds for all sets, as anchors.{one}"
            raise UserError(f"{key}.{one}: there is no such key of a set{hint}")
        _check_type(f"{key}.{one}", value, get_type_hints(AnchorsConfig)[one])
    method = given.get("method") or _method(given)
    num = given.get("num", None if method == "file" else config.num)
    one_set = replace(AnchorsConfig(), **{**given, "method": method, "num": num})
    check_limits(one_set, f"{key}.")
    _check_used(one_set, f"{key}.")
    return one_set


def _method(given: Mapping[str, Any]) -> str:
    if given.get("path"):
        return "file"
    return "stratified" if given.get("per") else "random"


def _default(name: str) -> Any:
    [value] = [item.default for item in fields(AnchorsConfig) if item.name == name]
    assert value is not MISSING
    return value


def _check_type(key: str, value: Any, kind: Any) -> None:
    kinds = get_args(kind) if get_origin(kind) is not dict else (kind,)
    plain = tuple(get_origin(one) or one for one in (kinds or (kind,)))
    if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
        wanted = " or ".join(one.__name__.replace("NoneType", "null") for one in plain)
        raise UserError(f"{key}={value}: must be {wanted}")


def _check_used(config: AnchorsConfig, prefix: str) -> None:
    """Raise UserError for a setting that the method of the set does not look at."""
    is_file, is_stratified = config.method == "file", config.method == "stratified"
    unused = {
        "per": bool(config.per) and not is_stratified,
        "clusters": config.clusters != _default("clusters")
        and not (is_stratified and config.per is None),
        "divide": config.divide != _default("divide") and not is_stratified,
        "path": bool(config.path) and not is_file and prefix != "anchors.",  # compose.py tells it
    }
    for name, is_unused in unused.items():
        if is_unused:
            of = "anchors.per" if is_stratified else f"{prefix}method={config.method}"
            way_out = "" if is_stratified or name == "path" else ", or take stratified anchors"
            raise UserError(
                f"{prefix}{name}={getattr(config, name)} is not used by {of}: leave it out{way_out}"
            )
