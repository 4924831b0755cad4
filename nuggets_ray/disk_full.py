"""A full disk, as every library that writes tells it, and the sentence for the user.

pyarrow raises OSError, safetensors its own error, torch a RuntimeError without the reason, and
Ray wraps what a worker raised.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator

ERRNOS = (errno.ENOSPC, errno.EDQUOT)
TEXT = re.compile(
    r"No space left on device|Disk quota exceeded"
    # Ray, which wants to write objects out
    r"|object store is full and the local disk"
    # torch.save, whose file came out shorter than what it wrote
    r"|inline_container\.cc\S* \. unexpected pos"
)
FEW_BYTES = 16 << 20


class DiskFull(Exception):
    """A disk or a quota is full; the message is one sentence for the user. Exit code 1."""


def is_disk_full(error: BaseException) -> bool:
    """Whether this error, or one that led to it, says that a disk or a quota is full."""
    return any(
        (isinstance(one, OSError) and one.errno in ERRNOS) or TEXT.search(str(one))
        for one in _chain(error)
    )


def describe_disk_full(error: BaseException, out_dir: str) -> str:
    """Which folder is full, what is kept, how to go on."""
    kept = f"what is finished in out_dir={out_dir} is kept: " if out_dir else ""
    folder = _full_folder(error, out_dir)
    where = f"in {folder}" if folder else f"on some disk that it writes to ({_message(error)})"
    return (
        f"no space is left {where}: {kept}free some there (or have the quota raised), then run the "
        "same command again to go on from it"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop(0)
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "cause", None)]


def _message(error: BaseException) -> str:
    """The line that says so."""
    lines = [line for one in _chain(error) for line in str(one).splitlines() if TEXT.search(line)]
    return lines[0].strip() if lines else "it is not said which"


def _full_folder(error: BaseException, out_dir: str) -> str | None:
    """The folder that the error names, else the first of those we write to with hardly any room."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in ERRNOS and isinstance(one.filename, str):
            return os.path.dirname(one.filename)
    from nuggets_ray import io  # pyarrow, for which a typo need not wait

    folders = [] if not out_dir or io.is_remote(out_dir) else [io.open_fs(out_dir)[1]]
    folders += [tempfile.gettempdir(), os.path.expanduser("~/.cache")]
    return next((folder for folder in folders if _is_full(folder)), None)


def _is_full(folder: str) -> bool:
    return os.path.isdir(folder) and shutil.disk_usage(folder).free < FEW_BYTES
