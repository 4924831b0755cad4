"""Files are as open as the user's umask says, those of libraries too.

safetensors and tempfile make their files private (0600) whatever the umask. Must not import
anything of the package.
"""

import os
import uuid
from pathlib import Path


def follow_umask(folder: str | os.PathLike[str]) -> None:
    """Give every file below `folder` the rights of one that is made now; who may execute it stays
    as it is.
    """
    rights = _rights_of_a_new_file(folder)
    for path in Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o111 | rights)


def _rights_of_a_new_file(folder: str | os.PathLike[str]) -> int:
    # asked of the system: reading the umask means setting it, for all threads of the process
    probe = Path(folder) / f".{uuid.uuid4().hex}.tmp"
    probe.touch(exist_ok=False)
    try:
        return probe.stat().st_mode & 0o666
    finally:
        probe.unlink()
