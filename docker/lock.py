"""Resolve the three locks beside this file, with uv: each package with the hashes of its files.

requirements-cpu.lock  what runs on a CPU machine, but for torch, which is installed before it
requirements-dev.lock  what tests and checks need besides, on either machine
requirements-gpu.lock  what runs on a machine with GPUs, torch and CUDA among it
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
CPU, DEV, GPU = (HERE / f"requirements-{name}.lock" for name in ("cpu", "dev", "gpu"))
HEAD = """\
# {what}: Python 3.11, Linux x86-64.
# Made by `make lock` from pyproject.toml; do not edit. `pip install --no-deps -r` refuses a file
# that has none of the hashes of its package.
"""
WHAT = {
    CPU: "What runs on a CPU machine (extra cpu), but for torch, which goes first",
    DEV: "What tests and checks need (extra dev) beside one of the other two locks",
    GPU: "What runs on a machine with GPUs (extra gpu), torch among it",
}
UV = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", str(HERE.parent / "pyproject.toml")]
FORM = ["--python-version=3.11", "--no-header", "--no-annotate", "--generate-hashes"]
TORCHS = re.compile(r"torch|cuda-[a-z]+|nvidia-[a-z0-9-]+")
"""torch, and what its CUDA builds ask for."""

Lock = dict[str, str]
"""name -> its line and the lines of its hashes."""


def packages(text: str) -> Lock:
    """The packages of a lock. A line that begins with white space goes with the one before it."""
    found: Lock = {}
    for entry in re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE):
        named = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", entry)
        if named:
            found[named[1]] = entry
    return found


def write(path: Path, lock: Mapping[str, str]) -> None:
    """The lock under its head; an error where a package has no hash."""
    bare = [name for name, entry in lock.items() if "--hash=sha256:" not in entry]
    assert not bare, f"no hash of {', '.join(bare)}"
    path.write_text(HEAD.format(what=WHAT[path]) + "".join(lock.values()), encoding="utf-8")


def resolve(extras: list[str], near: Mapping[str, str], *options: str) -> Lock:
    """What `extras` of pyproject.toml ask for, in the versions of `near` where those fit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lock"
        path.write_text("".join(near.values()), encoding="utf-8")
        wanted = [f"--extra={extra}" for extra in extras]
        subprocess.run([*UV, *FORM, *wanted, *options, f"--output-file={path}"], check=True)
        return packages(path.read_text(encoding="utf-8"))


def locks() -> Iterator[tuple[Path, Lock]]:
    """Each lock and its packages."""
    overrides = f"--overrides={HERE / 'lock-overrides.txt'}"
    cpu = resolve(["cpu"], {}, overrides)
    both = resolve(["cpu", "dev"], cpu, overrides)
    yield CPU, {name: entry for name, entry in cpu.items() if not TORCHS.fullmatch(name)}
    yield DEV, {name: entry for name, entry in both.items() if name not in cpu}
    yield GPU, resolve(["gpu"], both, "--python-platform=x86_64-manylinux_2_28")


def main() -> None:
    for path, lock in list(locks()):
        write(path, lock)
        print(f"{path.name}: {len(lock)} packages")


if __name__ == "__main__":
    main()
