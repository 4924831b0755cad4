"""Which fields the rows were read from, and which hold something and were not read, by count."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nuggets_ray.config.command_line.hints import override
from nuggets_ray.data.conversation import has_greeting
from nuggets_ray.data.reader import Read
from nuggets_ray.data.spellings import CARRIED, MAY_CARRY

MAX_FIELDS = 12
"""How many fields a line names, the most frequent first."""


@dataclass(slots=True)
class FieldCounts:
    """{field: rows}; a field of a turn is `messages[].weight`. `num_greetings`: rows whose
    assistant speaks first, which is context.
    """

    read: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    num_greetings: int = 0

    def add(self, row: Read) -> None:
        """Count one row."""
        self.read.update(row.fields)
        self.left.update(row.left)
        self.num_greetings += has_greeting(row.example.messages)

    def merge(self, other: "FieldCounts") -> None:
        """Add the counts of other rows."""
        self.read.update(other.read)
        self.left.update(other.left)
        self.num_greetings += other.num_greetings

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> "FieldCounts":
        """What as_dict gave."""
        read, left = Counter(counts["fields_read"]), Counter(counts["fields_not_read"])
        return cls(read, left, counts["num_greetings"])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "fields_read": dict(self.read.most_common()),
            "fields_not_read": dict(self.left.most_common()),
            "num_greetings": self.num_greetings,
        }


def told(read: Mapping[str, int], left: Mapping[str, int]) -> str:
    """`read: instruction 3, output 3; not read: category 3`"""
    return f"read: {listed(read)}; not read: {listed(left)}"


def listed(counts: Mapping[str, int]) -> str:
    """`instruction 3, output 3`, the most frequent first."""
    shown = [f"{name} {count:,}" for name, count in Counter(counts).most_common(MAX_FIELDS)]
    more = [f"{len(counts) - MAX_FIELDS} more"] if len(counts) > MAX_FIELDS else []
    return ", ".join([*shown, *more]) or "nothing"


def warnings(
    read: Mapping[str, int],
    left: Mapping[str, int],
    columns: Mapping[str, str],
    section: str = "data",
) -> list[str]:
    """A sentence for each field that may carry meaning and is not read, and for each column of
    `<section>.columns` that no row holds anything in.
    """
    sentences = []
    for name, count in left.items():
        if name.rpartition(".")[2] in MAY_CARRY:
            mapped = override(f"{section}.columns.system", name)
            way_out = f": {mapped} reads it as the system prompt" * (name in CARRIED["system"])
            sentences.append(f"{name} of {count:,} rows is not read{way_out}")
    told_read = {name.rpartition(".")[2] for name in read}
    for ours, column in columns.items():
        if column not in told_read and ours not in ("role", "content"):
            sentences.append(
                f"{override(f'{section}.columns.{ours}', column)}: no row holds anything there"
            )
    return sentences
