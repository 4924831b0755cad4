"""What ray_cluster.sh needs of Python.

ray_cluster.py start ARGUMENT ...          `ray start` without Ray's client server
ray_cluster.py wait DASHBOARD PID LIMIT_S  until a node is alive with its CPUs, else says why
ray_cluster.py excludes                    what of this folder no job is sent, for Ray
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

# .gitignore's syntax. Ray leaves out what .gitignore names too; this holds where there is none.
NEVER_SENT = (".git", ".venv*", ".env*", "/data", "/models", "runs", "__pycache__", ".*_cache")
POLL_S = 1.0


def start(arguments: Sequence[str]) -> None:
    """Never returns with --block. On a busy machine Ray's client server, which no job of ours uses,
    does not come up in time, and `ray start --block` then ends everything.
    """
    from ray.scripts import scripts

    # what `ray start` asks before it takes the default port for one: no flag turns it off
    assert hasattr(scripts, "get_ray_client_dependency_error"), "Ray asks in another way now"
    scripts.get_ray_client_dependency_error = lambda: ImportError("the client server is left out")
    scripts.cli(["start", *arguments])


def wait(dashboard: str, pid: int, limit_s: float) -> str | None:
    """Wait for a node that is alive with its CPUs; None then, else why there is none."""
    deadline = time.monotonic() + limit_s
    missing = ""
    while time.monotonic() < deadline:
        if not _is_running(pid):
            return "Ray ended while starting"
        missing = _missing(dashboard)
        if not missing:
            return None
        time.sleep(POLL_S)
    return f"{missing} within {limit_s:g} s"


def _missing(dashboard: str) -> str:
    from ray.util.state import list_nodes

    try:
        nodes = list_nodes(dashboard, timeout=10, detail=True, raise_on_missing_output=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return f"the dashboard at {dashboard} did not answer ({type(error).__name__}: {reason})"
    if any(node.state == "ALIVE" and node.resources_total.get("CPU") for node in nodes):
        return ""
    return f"no node with CPUs registered ({len(nodes)} nodes known)"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()


def excludes(folder: Path) -> list[str]:
    """Patterns of what is not sent: caches, results, secrets, and any Python environment."""
    found = [f"/{_escaped(path)}" for path in _environments(folder)]
    return [*NEVER_SENT, *sorted(found)]


def _environments(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files and Path(place) != folder:
            folders.clear()
            yield Path(place).relative_to(folder).as_posix()
        folders[:] = [name for name in folders if name != ".git"]


def _escaped(path: str) -> str:
    return re.sub(r"([\\*?\[\]!# ])", r"\\\1", path)


def main(command: str, *arguments: str) -> str | None:
    """An error's text, for sys.exit; None where all is well."""
    if command == "start":
        start(arguments)
    elif command == "wait":
        dashboard, pid, limit_s = arguments
        return wait(dashboard, int(pid), float(limit_s))
    else:
        print(json.dumps({"excludes": excludes(Path.cwd())}))
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
