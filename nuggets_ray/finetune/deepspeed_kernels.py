"""DeepSpeed compiles its kernels at first use: what that needs, where they go, one at a time.

    python -m nuggets_ray.finetune.deepspeed_kernels    builds what training on a CPU loads

They lie in TORCH_EXTENSIONS_DIR; unless that is set, in a folder of this environment alone, since
build files hold absolute paths and two environments would compile over each other's. torch marks a
build by a file that stays where its builder is killed, and everyone waits for that file for ever.
So a build here goes on under a lock that the kernel releases with its holder, who may remove a mark
that nobody holds.
"""

import fcntl
import functools
import glob
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, TypeVar

from nuggets_ray.demo.files import cache_dir
from nuggets_ray.errors import UserError

Kernel = TypeVar("Kernel")

CPU_KERNELS = ("ShareMemCommBuilder",)
"""What `deepspeed.init_distributed` loads on a CPU."""
FOLDER = "TORCH_EXTENSIONS_DIR"
LOCK = "nuggets_ray.lock"
TORCHS_LOCK = "lock"
POLL_S = 0.2
COMPILING = "compiling kernels (a minute): {}"
WAITING = "waiting for another process, which compiles kernels"


def set_up_compiler() -> None:
    """Put the folder of this interpreter on PATH, where ninja is: Ray's workers do not have it; and
    name the folder of kernels unless it is named.
    """
    folder = os.path.dirname(sys.executable)
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])
    os.environ.setdefault(FOLDER, default_folder())


def default_folder() -> str:
    """In the environment if that can be written to, else in the user's cache."""
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    tag = f"{python}-torch{version('torch')}-deepspeed{version('deepspeed')}"
    if os.access(sys.prefix, os.W_OK):
        return os.path.join(sys.prefix, "share", "nuggets_ray", "kernels", tag)
    prefix = hashlib.sha256(sys.prefix.encode()).hexdigest()[:12]
    return os.path.join(cache_dir(), "kernels", f"{tag}-{prefix}")


def check_compiler() -> None:
    """Raise UserError where a C++ compiler or ninja is missing on this machine."""
    set_up_compiler()
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"the C++ compiler {compiler} is not there, with which DeepSpeed builds its kernels: "
            "install g++ (apt-get install g++), or name one with the variable CXX"
        )
    if shutil.which("ninja") is None:
        raise UserError(
            "ninja is not there, with which DeepSpeed builds its kernels: install it with "
            "`pip install ninja` into the environment of the workers"
        )


def build_one_at_a_time(tell: Callable[[str], None]) -> None:
    """From now on this process loads each of DeepSpeed's kernels under the lock; `tell` hears when
    one is compiled, or waited for. Where it was called before, what was told then stays.
    """
    set_up_compiler()
    from deepspeed.ops.op_builder.builder import OpBuilder

    original = OpBuilder.jit_load
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def jit_load(self: Any, verbose: bool = True) -> Any:
        return build(self.name, lambda: original(self, verbose), tell)

    OpBuilder.jit_load = jit_load


def build(name: str, load: Callable[[], Kernel], tell: Callable[[str], None]) -> Kernel:
    """What `load`, which compiles the kernel `name` where that is needed, returns."""
    folder = os.environ[FOLDER]
    library = os.path.join(folder, name, f"{name}.so")
    # where it is built, the others are loading it, which takes a moment
    with _alone(folder, tell, is_built=os.path.exists(library)) as is_alone:
        if is_alone:
            _clear(os.path.join(folder, name), tell)
        if os.path.exists(library):
            return load()
        tell(COMPILING.format(name))
        started = time.monotonic()
        kernel = load()
        tell(f"compiled {name} in {time.monotonic() - started:.0f} s")
        return kernel


@contextmanager
def _alone(folder: str, tell: Callable[[str], None], is_built: bool) -> Iterator[bool]:
    """Hold the lock of a folder, once nobody else does; False where it cannot be locked."""
    descriptor = None
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_built:
                tell(WAITING)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        is_locked = True
    except OSError as error:
        tell(f"{FOLDER}={folder} cannot be locked ({error.strerror})")
        is_locked = False
    try:
        yield is_locked
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _clear(folder: str, tell: Callable[[str], None]) -> None:
    """Remove the mark of a build that was killed, once the compilers it has left behind are done.

    A program that knows nothing of our lock and still builds has the mark open: torch waits for it.
    """
    mark = os.path.join(folder, TORCHS_LOCK)
    if not os.path.exists(mark) or any(_processes_with(mark, "fd/*")):
        return
    if _has_ninja(folder):
        tell(WAITING)
    while _has_ninja(folder):
        time.sleep(POLL_S)
    tell(f"{mark} is left of a build that was killed: removed")
    with suppress(FileNotFoundError):
        os.unlink(mark)


def _has_ninja(folder: str) -> bool:
    return any(_read(f"{process}/comm") == "ninja" for process in _processes_with(folder, "cwd"))


def _processes_with(path: str, links: str) -> Iterator[str]:
    """/proc/<pid> of each process of this machine that has a link to the path, of those that we may
    look at."""
    for link in glob.iglob(f"/proc/[0-9]*/{links}"):
        try:
            if os.path.samefile(link, path):
                yield "/".join(link.split("/")[:3])
        except OSError:
            continue  # it has ended, or is another user's


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def build_kernels() -> None:
    """Build what the first training on a CPU would build: about a minute, once."""
    check_compiler()
    os.environ["DS_ACCELERATOR"] = "cpu"
    build_one_at_a_time(lambda text: print(text, file=sys.stderr))
    from deepspeed.accelerator import get_accelerator

    for name in CPU_KERNELS:
        get_accelerator().create_op_builder(name).load(verbose=False)


def main() -> None:
    """Build them; without a compiler say so, since everything but fine-tuning works without."""
    try:
        build_kernels()
    except UserError as error:
        print(f"warning: fine-tuning will not work yet: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
