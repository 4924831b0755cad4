"""Files are as open as the user's umask says, those of libraries too.

safetensors and tempfile make their files private (0600) whatever the umask.
"""

import os
import uuid
from contextlib import suppress
from pathlib import Path


def follow_umask(folder: str | os.PathLike[str]) -> None:
    """Give every file below `folder` the rights of one that is made now; who may execute it stays
    as it is.
    """
    rights = _rights_of_a_new_file(folder)
    for path in Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink():
            mode = path.stat().st_mode & 0o7777
            if mode != (wanted := mode & 0o111 | rights):
                # a file system without rights (CIFS, exFAT) refuses, which costs nobody a model
                with suppress(PermissionError):
                    path.chmod(wanted)


def _rights_of_a_new_file(folder: str | os.PathLike[str]) -> int:
    # asked of the system: reading the umask means setting it, for all threads of the process
    probe = Path(folder) / f".{uuid.uuid4().hex}.tmp"
    probe.touch(exist_ok=False)
    try:
        return probe.stat().st_mode & 0o666
    finally:
        probe.unlink()
