"""Hydra's grammar: texts and JSON written in it, and what it reads. hydra is imported inside the
functions only.
"""

import json
import math
import re
from typing import Any
from urllib import parse as percent

from nuggets_ray.config.command_line.hints import override
from nuggets_ray.errors import UserError

QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*\1""", re.DOTALL)
"""A text in quotes, with backslashes before quotes in it."""


def from_json(text: str) -> Any:
    """The list or dictionary that this is in JSON; None where it is none."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def render(value: Any) -> str:
    """What JSON holds, in Hydra's grammar."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "[" + ",".join(map(render, value)) + "]"
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{_name(name)}: {render(item)}" for name, item in value.items()) + "}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{value}: must be a finite number")
    return json.dumps(value)


def _name(name: str) -> str:
    """A dictionary's key, which Hydra's grammar takes without quotes only."""
    escaped = re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", name)
    if not re.fullmatch(r"[\w/+.$%*@?|\\()\[\]{}:=, \t-]+", name, re.ASCII):
        raise UserError(f"{name}: cannot be set: it has other than letters, digits and / - + . @ %")
    return escaped


def any_name(name: str) -> str:
    """Any text as a name that Hydra's grammar takes; `plain_name` undoes it."""
    return percent.quote(name, safe="").replace("-", "%2D").replace(".", "%2E").replace("~", "%7E")


def plain_name(name: str) -> str:
    """The text that `any_name` wrote."""
    return percent.unquote(name)


def items_of(text: str) -> list[str]:
    """The parts of `[a, "b, c", {d, e}]` or `{...}` between its outer commas, stripped."""
    items, item, depth, at, inner = [], "", 0, 0, text[1:-1]
    while at < len(inner):
        begins = not item.strip() or item.rstrip()[-1] in ":[{("
        string = QUOTED.match(inner, at) if begins else None
        # an escaped comma parts nothing, as in Hydra's grammar
        is_comma = inner.startswith("\\,", at)
        token = string[0] if string else "\\," if is_comma else inner[at]
        depth += (token in ("[", "{", "(")) - (token in ("]", "}", ")"))
        if token == "," and depth <= 0:
            items.append(item.strip())
            item = ""
        else:
            item += token
        at += len(token)
    return [*items, item.strip()] if items or item.strip() else []


def quote(text: str) -> str:
    """Text as Hydra's grammar takes any text: in double quotes."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.double).with_quotes()


def is_sweep(key: str, text: str) -> bool:
    """Whether this is several values, a run for each, as in seed=1,2 or seed=range(3). Raises
    UserError where a comma might part values but the grammar cannot read them.
    """
    override_read = parsed(key, text)
    if override_read is not None:
        return bool(override_read.is_sweep_override())
    parts = items_of(f"[{text}]")
    if len(parts) < 2:
        return False
    both = override(key, ",".join(map(quoted, parts)))
    raise UserError(
        f"{key}={text}: {both} is a run for each, {override(key, quote(text))} is one value with "
        "commas"
    )


def parsed(key: str, text: str) -> Any:
    """Hydra's `Override`, or None where its grammar cannot read `key=text`."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException:
        return None


def quoted(item: str) -> str:
    """A text in quotes, in which it may be already."""
    return item if QUOTED.fullmatch(item) else quote(item.replace("\\,", ","))
