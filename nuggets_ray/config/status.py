"""The keys of status.*: how the status of a run is printed.

A part of the schema in schema.py.
"""

from dataclasses import dataclass

from nuggets_ray.config.limits import number


@dataclass(frozen=True)
class StatusConfig:
    """How the status is printed."""

    watch: bool = False
    """Print it again and again, until Ctrl-C."""
    json: bool = False
    """As JSON, a line each time, for programs."""
    every_s: float = number(2.0, at_least=0.1)
    """status.watch=true: seconds between two looks."""
