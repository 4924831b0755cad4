"""The command line that this process runs, for those who ask how to run it again."""

from contextvars import ContextVar

COMMAND: ContextVar[str] = ContextVar("COMMAND", default="")
