"""How the files of a model and the model fit, by the names of the weights."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]

LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")
"""Where a name holds the number of its layer."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How files and model fit, by name: what the files lack, what has another shape in them
    {name: (theirs, the model's)}, and what the model has no place for.

    `undone` {name: dtype}: floating-point weights stored as float8 or integers, of a model that no
    configuration tells how to undo that.
    """

    missing: frozenset[str] = frozenset()
    mismatched: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)
    unexpected: frozenset[str] = frozenset()
    undone: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, info: Mapping[str, Any], undone: Mapping[str, str]) -> "LoadReport":
        """From what `from_pretrained` returns under output_loading_info."""
        mismatched = {
            name: (tuple(theirs), tuple(ours)) for name, theirs, ours in info["mismatched_keys"]
        }
        missing, unexpected = map(frozenset, (info["missing_keys"], info["unexpected_keys"]))
        return cls(missing, mismatched, unexpected, undone)

    @property
    def names(self) -> set[str]:
        return {*self.missing, *self.mismatched, *self.unexpected, *self.undone}

    def without(self, patterns: Iterable[re.Pattern[str]]) -> "LoadReport":
        """The report without the names that one of the patterns is found in."""
        kept = {name for name in self.names if not any(p.search(name) for p in patterns)}
        return LoadReport(
            self.missing & kept,
            {name: shapes for name, shapes in self.mismatched.items() if name in kept},
            self.unexpected & kept,
            {name: dtype for name, dtype in self.undone.items() if name in kept},
        )


def in_order(names: Iterable[str]) -> list[str]:
    """In the order of people: layer 2 before layer 10."""
    return sorted(names, key=lambda name: re.sub(r"\d+", lambda match: match[0].zfill(9), name))
